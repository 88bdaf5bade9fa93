"""What a conversation remembers of its turns, so that another session can go on with it. Pure: the time is given.

Positions are those of `Sound`: bytes of the person's sound since the conversation began.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass

from pipit.services import (
    Event,
    Line,
    ReplyAudio,
    ReplyDone,
    ReplyStarted,
    ReplyText,
    ToolCall,
    ToolCancelled,
    UserStarted,
    UserStopped,
    UserText,
)
from pipit.services.memory import SOUND_S, History, Sound

LOOK_BACK_S = 1.0
"""A service says that somebody speaks after it has heard some of it; a turn that is heard again begins so much earlier."""

FIRST_TURN_S = 10.0
"""What is heard this soon belongs to the first turn: the sound of a call comes in a burst, of which services hear the end late."""

BLIP_S = 15.0
"""A turn that nobody has answered for so long was none."""

GO_ON = "The connection was lost while you were saying this: {said!r} Go on from there, without mentioning the interruption."
RESULT = "The tool {name} that you called has answered: {result} Tell the person what that means."


@dataclass(frozen=True)
class Wish:
    """What a session is to be asked for."""

    instructions: str
    reply: str = ""
    """The broken reply that it goes on with."""


class Turns:
    """Follows what a session says and hears.

    Args:
        input_rate_hz: of the person's sound, mono PCM16.
        output_rate_hz: of replies' sound, mono PCM16.
    """

    def __init__(self, input_rate_hz: int, output_rate_hz: int) -> None:
        self._bytes_per_s = input_rate_hz * 2
        self._output_bytes_per_ms = output_rate_hz * 2 / 1000
        self.sound = Sound(int(SOUND_S * self._bytes_per_s))
        self._history = History()
        self._turn_from: int | None = None
        """Where a turn begins that has not been answered."""
        self._turn_lines: int | None = None
        """How much had been said before that turn."""
        self._ended = False
        """Pipit itself has ended the present turn."""
        self._stopped_at: float | None = None
        """When the person ended the turn that has not been answered."""
        self._quiet_from = 0
        """Where the latest reply ended, or whatever else shows that a session has done with what came before."""
        self._live: dict[str, int] = {}
        """Replies that the provider is still making: bytes of their sound."""
        self._made: tuple[str, int] = "", 0
        """The same of the latest reply that it has made to the end, and that may yet be interrupted."""
        self._unwanted: deque[str] = deque(maxlen=32)
        """Replies that were interrupted: of what is still on its way nothing more is heard."""
        self._calls: dict[str, str] = {}
        """Tools that are being run: call -> name."""
        self._unwanted_calls: set[str] = set()
        """Those of them about which nobody wants to hear any more."""
        self._result: str | None = None
        """What the latest tool answered, until the agent speaks about it."""
        self._lost_from: int | None = None
        """Where the session was lost."""
        self._missed_from: int | None = None
        """Where begins what the lost session had heard and had not reacted to yet."""
        self._wanted: list[Wish] = []
        """What to ask the next session for."""
        self._asked: list[Wish] = []
        """What the present session was asked for, and has not reacted to yet."""
        self.was_cut_short = False
        """The person has stopped an answer before it began, and not spoken since: whatever is said now is taken for it."""

    # -- what the conversation asks ------------------------------------------------------------------------------------------------

    @property
    def waiting(self) -> bool:
        """Whether the person waits for something, or talks."""
        return bool(self._turn_from is not None or self._result is not None or self._asked or self._live or self._calls)

    @property
    def blip_at(self) -> float | None:
        """When a turn that has ended and was not answered is no turn any more."""
        return None if self._stopped_at is None else self._stopped_at + BLIP_S

    @property
    def is_over(self) -> bool:
        """Whether the present turn has ended, as Pipit decided or a session."""
        return self._ended or self._stopped_at is not None

    def said(self) -> tuple[Line, ...]:
        """Return what was said before the present turn, which is heard again."""
        return self._history.said(self._turn_lines)

    def is_unwanted(self, event: Event) -> bool:
        """Return whether an event is the rest of a reply that was interrupted."""
        return isinstance(event, ReplyAudio | ReplyText) and event.reply in self._unwanted

    # -- what the session says -----------------------------------------------------------------------------------------------------

    def note(self, event: Event, now: float) -> None:
        """Remember what another session would have to know."""
        match event:
            case UserStarted():
                self._begin(0 if self._young else self.sound.end - int(LOOK_BACK_S * self._bytes_per_s / 2) * 2)
            case UserStopped():
                if self._turn_from is not None:
                    self._stopped_at = now
            case UserText(text=text, final=True):
                self._history.user(text)
            case ReplyStarted(reply=name):
                self._live.setdefault(name, 0)
            case ReplyAudio(reply=name, pcm=pcm):
                self._live[name] = self._live.get(name, 0) + len(pcm)
                self.answered()
            case ReplyText(reply=name, text=text):
                self._history.words(name, text)
            case ReplyDone(reply=name, status=status):
                self._made = name, self._live.pop(name, 0)
                self._asked.clear()
                self._quiet_from = self.sound.end
                if status != "interrupted":
                    self._history.done(name)
            case ToolCall(call=call, name=name):
                self._calls[call] = name
                self.answered()
            case ToolCancelled(call=call):
                self._calls.pop(call, None)

    @property
    def _young(self) -> bool:
        """Whether all of the sound so far may belong to the first turn."""
        return self._quiet_from == 0 and self.sound.end <= FIRST_TURN_S * self._bytes_per_s

    def _begin(self, position: int) -> None:
        if self._turn_from is None:
            self._turn_from, self._turn_lines = max(0, position), len(self._history)
            self._ended = False
        self._stopped_at = self._result = None
        self._asked.clear()
        self.was_cut_short = False

    def answered(self) -> None:
        """Nobody waits for an answer to the present turn any more."""
        self._turn_from = self._turn_lines = self._stopped_at = self._result = None
        self._ended = False
        self._quiet_from = self.sound.end
        self._asked.clear()
        if self._missed_from is not None:
            self._missed_from = self.sound.end

    # -- what the conversation says ------------------------------------------------------------------------------------------------

    def end_turn(self) -> None:
        """Pipit has ended the person's turn."""
        self._begin(self._quiet_from)
        self._ended = True

    def interrupt(self, reply: str | None, heard_ms: int, *, by_service: bool) -> None:
        """A reply was interrupted, or any that is to come; see `Codec.interrupt`. What was heard of it is all that was said."""
        if not by_service:
            self._unwanted_calls.update(self._calls)
            self._result = None
        if reply is None:
            self.answered()
            self._wanted.clear()
            self.was_cut_short = True
            return
        self._wanted, self._asked = ([wish for wish in wishes if wish.reply != reply] for wishes in (self._wanted, self._asked))
        self._unwanted.append(reply)
        received = self._live.get(reply, self._made[1] if reply == self._made[0] else 0)
        length_ms = received / self._output_bytes_per_ms
        self._history.done(reply, min(1.0, heard_ms / length_ms) if length_ms else 0.0)

    def want(self, instructions: str) -> None:
        """Remember what a session is to be asked for."""
        self._wanted.append(Wish(instructions))

    def ask(self) -> list[Wish]:
        """Return what the present session is asked for now; it is wanted again if the session is lost before it reacts."""
        wanted, self._wanted = self._wanted, []
        self._asked += wanted
        return wanted

    def result(self, call: str, result: str) -> bool:
        """A tool has answered. Returns whether it had been called."""
        name = self._calls.pop(call, None)
        if name is None:
            return False
        if call in self._unwanted_calls:
            self._unwanted_calls.discard(call)
        else:
            self._result = RESULT.format(name=name, result=result)
        return True

    def take_result(self) -> str | None:
        """Return in words what the latest tool has answered, unless the agent has spoken about it or nobody wants to hear of it."""
        result, self._result = self._result, None
        return result

    # -- when a session is lost ----------------------------------------------------------------------------------------------------

    def cut(self, reason: str) -> Iterator[ReplyDone]:
        """End what a lost session had begun; what it owes is wished for."""
        self._wanted, self._asked = self._asked + self._wanted, []
        for name, received in self._live.items():
            said = self._history.done(name)
            if received and said and name not in self._unwanted:
                self._wanted.append(Wish(GO_ON.format(said=said), name))
            yield ReplyDone(name, "failed", reason)
        self._live.clear()
        if (result := self.take_result()) is not None:
            self.want(result)

    def lose(self, *, server_turns: bool) -> None:
        """There is no session from now on.

        Args:
            server_turns: see `Capabilities`; of the one that was lost.
        """
        self._lost_from = self.sound.end
        if not server_turns:
            self._missed_from = self._quiet_from  # it would have said nothing before the end of the turn
        else:
            self._missed_from = 0 if self._young else self.sound.end

    def find(self, *, resumed: bool) -> int | None:
        """Return from where a new session must hear what another was to hear; None: from now on.

        Args:
            resumed: it is the old one, and has heard all before it was lost.
        """
        lost, missed = self._lost_from, self._missed_from
        self._lost_from = self._missed_from = None
        if resumed:
            return lost
        return missed if self._turn_from is None else self._turn_from
