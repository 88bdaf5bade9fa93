"""One conversation with a voice service: from the first socket to the goodbye.

Sound goes up from what `Hearing` keeps, beginning where the person began; sound comes down into the device's mixer. Between the two
it knows, to the sample, what has been heard of a reply, and tells the machine only what matters: ready, started, stopped, audible,
over.
"""

from __future__ import annotations

import asyncio
import sys
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipit import services
from pipit.audio import Device
from pipit.core import events, preroll
from pipit.core.machine import Uplink
from pipit.core.pcm import HEARING_RATE_HZ, Joiner, Resampler
from pipit.hearing import FRAME, Hearing
from pipit.system import Record
from pipit.tasks import Tasks
from pipit.tools import Runner

CHUNK = 2 * FRAME
"""Samples at 16 kHz in one message upwards: 40 ms, half the messages of a 20 ms block for 10 ms of delay on average."""

AUDIBLE = 104
"""Peak of a 16-bit sample that a person can hear from a loudspeaker: -50 dBFS. Some services begin each reply with up to 2 s of
silence."""

QUEUED_S = 600
"""Longest reply that is kept when it arrives faster than it is played: 29 MB at 24 kHz. What is beyond is dropped and recorded."""

ECHO_TAIL_S = 0.2
"""The service goes on hearing as it does during a reply for this long after the loudspeaker fell silent: the room still rings."""

_PIECE_S = 0.1  # a reply is resampled in pieces of this length, so that a burst never holds up the loop
_PACE_AHEAD_S = 0.1  # how far the uplink may run ahead of a service's pace: two messages and some jitter
_PACE_CREDIT_S = 0.2  # and how much of a time in which nothing could be sent may be made up for at once
_LOOK_AGAIN_S = 0.05
_STILL = sys.maxsize  # the end of what has no end yet
_STILL_RUNS_S = 5.0  # how often it is said that a tool still runs: more often than any time limit for an answer
_SAID_FRAMES = 10  # voice of 0.2 s between the call and a session is a request; less may be the end of the wake word
_STARTED_LATE_S = 1.0  # a service reports that somebody has begun to talk within this


@dataclass
class _Reply:
    """What is known of one reply. Positions are speech samples of the mixer, at the device's rate."""

    id: str
    joiner: Joiner = field(default_factory=Joiner)
    begin: int | None = None
    audible: int | None = None
    end: int = 0
    received: int = 0  # samples at the service's rate
    queued: int = 0  # of these, not yet in the mixer
    words: list[str] = field(default_factory=list)
    done: bool = False
    changed: asyncio.Event = field(default_factory=asyncio.Event)
    follower: asyncio.Task[None] | None = None


@dataclass
class Turn:
    """When things happened in one turn, in seconds of the loop's clock. None: not (yet) happened."""

    number: int
    called: float | None = None
    """The wake word was recognised or the button pressed; only in the first turn."""
    wake_score: float | None = None
    connected: float | None = None
    user_started: float | None = None
    user_stopped: float | None = None
    speech_ended: float | None = None
    """The last voice heard by the local detector before `user_stopped`; None: it heard none."""
    reply_started: float | None = None
    first_audio: float | None = None
    """The first byte of the reply's sound arrived."""
    audible: float | None = None
    finished: float | None = None
    interrupted: bool = False
    """The reply was not heard to its end."""
    heard_ms: int = 0
    """How much of the reply left the loudspeaker."""
    gaps: int = 0
    """How often the reply ran dry while it was being played."""
    echo_removed_db: float | None = None
    """How much of Pipit's voice was taken out of the microphone's sound; None: too short to be measured, or nothing to remove."""


class Conversation:
    """Talks to one session.

    Args:
        session: a session that has not been opened yet.
        tools: runs what the agent asks for.
        device: the loudspeaker.
        hearing: the microphone.
        post: takes events for the machine; called on the loop.
        record: the journal.
        failed: takes an exception that is a fault of Pipit itself.
        full_duplex: says whether the service hears the person while Pipit speaks.
        number: of this conversation since the start, for the journal.
        wake: the wake word that began it, or None for the button.
        clock: the loop's clock.
    """

    def __init__(
        self,
        session: services.Session,
        tools: Runner,
        device: Device,
        hearing: Hearing,
        post: Callable[[events.Event], None],
        record: Record,
        failed: Callable[[BaseException], None],
        *,
        full_duplex: Callable[[], bool],
        number: int,
        wake: events.WakeHeard | None,
        clock: Callable[[], float],
    ) -> None:
        self._uplink = Uplink.CLOSED
        self._spoke_from, self._spoke_to = 0, 0  # positions in `heard` where Pipit's own voice is, the latest time that it spoke
        self._session = session
        self._tools = tools
        self._calls: dict[str, asyncio.Task[None]] = {}
        self._answer_due = False  # a tool has answered, and the agent has not spoken about it yet
        self._leaving = False  # the agent was asked to end the conversation
        self._device = device
        self._mixer = device.mixer
        self._hearing = hearing
        self._post = post
        self._record = record
        self._full_duplex = full_duplex
        self._number = number
        self._wake = wake
        self._clock = clock
        self._called_at = hearing.heard.written if wake is None else wake.position
        self._cursor = self._called_at
        self._fresh = asyncio.Event()
        self._on_frame: Callable[[], None] | None = None
        self._voice_until = 0  # position in `heard` of the end of the voice in the latest turn that is over
        self._turn_from = self._called_at  # position in `heard` where what the person says in this turn can begin
        self._down: deque[tuple[_Reply, NDArray[np.int16]]] = deque()
        self._arrived = asyncio.Event()
        self._replies: dict[str, _Reply] = {}
        self._dead: set[str] = set()
        self._unwanted = False
        self._spoken_to = False
        self._over = False
        self._ended_reason = ""
        self._next_started: float | None = None  # the person began to talk while the present turn's reply was being played
        self._gaps_before = device.mixer.gaps
        self._echo_before = hearing.echo_measured
        self._tasks = Tasks(failed)
        self._turn = Turn(1, called=clock(), wake_score=None if wake is None else wake.score)

    # -- what the conductor asks for --------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Open the session and serve it until it ends or `close` is called.

        Network trouble becomes an event, never an exception.
        """
        loop = asyncio.get_running_loop()

        def tell() -> None:
            loop.call_soon_threadsafe(self._fresh.set)

        self._on_frame = self._hearing.on_frame = tell
        try:
            async for event in self._session.events():
                if self._over:
                    break
                self._take(event)
            else:
                await self._ended()
        finally:
            self._look_away()

    def allow(self, uplink: Uplink) -> None:
        """Say what the service may hear from now on. What was captured before is sent as it was allowed then."""
        if uplink is Uplink.DUPLEX and self._uplink is not uplink:
            self._spoke_from, self._spoke_to = self._hearing.heard.written, _STILL
        elif self._uplink is Uplink.DUPLEX and uplink is not self._uplink and self._spoke_to == _STILL:
            now = self._hearing.frames * FRAME  # the canceller may hold some back
            self._spoke_to = now + round(ECHO_TAIL_S * HEARING_RATE_HZ)
        self._uplink = uplink

    def end_turn(self) -> None:
        """The person has finished: by the button, or because the utterance grew too long."""
        self._user_stopped()
        self._tasks.spawn(self._session.end_turn())

    def interrupt(self, wake: events.WakeHeard | None) -> None:
        """Silence the reply within the device's buffer, and tell the service how much of it was heard.

        Args:
            wake: the wake word that did it, if one did: what was said since is sent.
        """
        live = self._live()
        self._answer_due = self._leaving = False
        if not live:
            self._unwanted = True
            self._tasks.spawn(self._session.interrupt(None, 0, by_service=False))
        for reply in live:
            self._tasks.spawn(self._session.interrupt(reply.id, self._silence(reply), by_service=False))
        if wake is not None and self._uplink is Uplink.DUPLEX:
            self._spoke_to = wake.position  # what is sent from here on is the person's, echo in it or not
            if not self._full_duplex():
                self._cursor = self._spoke_to = max(self._hearing.heard.oldest, self._first_sample(wake.position))
        self._finish_turn(interrupted=True)

    def voice(self, event: events.VoiceHeard | events.VoiceEnded | events.VoiceOver | events.VoiceOverEnded) -> events.Event | None:
        """Return what the local voice activity means to the machine: a turn, where the service leaves turns to us."""
        if isinstance(event, events.VoiceOver | events.VoiceOverEnded):
            return self._voice_over(event)
        if self._session.capabilities.server_turns or self._uplink is not Uplink.OPEN:
            return event if isinstance(event, events.VoiceHeard) else None
        if isinstance(event, events.VoiceHeard):
            if self._deaf(self._hearing.voice_at - 1):
                return None
            if self._turn.user_started is not None and self._turn.user_stopped is None:
                return None
            if self._turn.user_stopped is not None:
                if self._hearing.voice_at <= self._voice_until:
                    return None  # it is that of the turn that is over
                self.interrupt(None)  # they go on after a pause, or ask something else: no answer to what was said so far is wanted
            self._user_started()
            return events.UserStarted()
        if self._turn.user_started is None or self._turn.user_stopped is not None:
            return None
        self.end_turn()
        return events.UserStopped()

    def _voice_over(self, event: events.VoiceOver | events.VoiceOverEnded) -> events.Event | None:
        """Make the reply quieter while a person seems to talk over it; where the service would not, interrupt it if they go on."""
        if isinstance(event, events.VoiceOverEnded):
            self._mixer.unduck()
            return None
        if self._uplink is not Uplink.DUPLEX or not self._full_duplex():
            return None
        self._mixer.duck()
        if self._session.capabilities.server_turns or not event.goes_on:
            return None
        self._user_started()
        return event

    async def close(self) -> None:
        """Silence what plays, say goodbye and be done within about a second."""
        self._over = True
        self._mixer.unduck()
        self._look_away()
        live = self._live()
        cut = any(map(self._unheard, live))
        for reply in live:
            self._silence(reply)
        self._finish_turn(interrupted=cut)
        for task in self._tasks:
            task.cancel()
        await self._session.close()

    def _look_away(self) -> None:
        """Take no more frames; the next conversation may do so already, while this one is being closed."""
        if self._hearing.on_frame is self._on_frame:
            self._hearing.on_frame = None

    # -- upwards ----------------------------------------------------------------------------------------------------------------

    def _first_sample(self, position: int) -> int:
        """Return where in `heard` a request that followed a wake word at `position` begins."""
        frame = position // FRAME
        base = max(0, frame - preroll.LOOK_BACK_MS // 20)
        return FRAME * (base + preroll.start_frame(self._hearing.voiced_since(base), frame - base))

    async def _find_start(self) -> None:
        """Wait until it is known where the request begins; costs nothing where connecting took longer than a pause."""
        if self._wake is None:
            return
        frame = self._wake.position // FRAME
        while not preroll.settled(self._hearing.voiced_since(frame), 0):
            self._fresh.clear()
            await self._fresh.wait()
        self._cursor = self._first_sample(self._wake.position)

    async def _send(self) -> None:
        await self._find_start()
        heard, session = self._hearing.heard, self._session
        resampler = Resampler(HEARING_RATE_HZ, session.input_rate_hz)
        began, sent_s, chunk_s = self._clock(), 0.0, CHUNK / HEARING_RATE_HZ
        pace = session.capabilities.pace
        ready_at, made_up = heard.written, False
        while True:
            while self._cursor + CHUNK > heard.written or self._uplink is Uplink.CLOSED:
                self._fresh.clear()
                await self._fresh.wait()
            if pace:
                due = began + (sent_s - _PACE_AHEAD_S) / pace
                late = self._clock() - due
                if late < 0:
                    await asyncio.sleep(-late)
                began += max(0.0, late - _PACE_CREDIT_S)
            if self._cursor < heard.oldest:
                lost_ms = round((heard.oldest - self._cursor) * 1000 / HEARING_RATE_HZ)
                self._record(
                    "lost",
                    f"{lost_ms} ms of speech were lost: the service takes sound too slowly",
                    level="warning",
                    lost_ms=lost_ms,
                )
                self._cursor = heard.oldest
            chunk = heard.read(self._cursor, self._cursor + CHUNK)
            for start in range(0, CHUNK, FRAME):
                if self._deaf(self._cursor + start):
                    chunk[start : start + FRAME] = 0
            self._cursor += CHUNK
            sent_s += chunk_s
            await session.audio(resampler.process(chunk).tobytes())
            if not made_up and self._cursor + CHUNK > ready_at:
                made_up = self._make_up_for_turn()

    def _make_up_for_turn(self) -> bool:
        """Begin the turn of who spoke before there was a session, where the service leaves turns to us; end it if it is over.

        Returns whether it is known that somebody did, or that nobody did.
        """
        hearing = self._hearing
        if self._session.capabilities.server_turns or self._uplink is not Uplink.OPEN or self._turn.user_started is not None:
            return True
        talking = hearing.talking
        if sum(hearing.voiced_since(self._called_at // FRAME)) < _SAID_FRAMES:
            return not talking
        self._user_started()
        self._post(events.UserStarted())
        if not talking:
            self.end_turn()
            self._post(events.UserStopped())
        return True

    def _deaf(self, position: int) -> bool:
        """Whether the service must hear silence at a position in `heard`, because it might take the reply for a person."""
        spoke = self._spoke_from <= position < self._spoke_to
        return spoke and not (self._full_duplex() and self._hearing.clear(position))

    # -- downwards --------------------------------------------------------------------------------------------------------------

    def _take(self, event: services.Event) -> None:
        """Act on one event of the session."""
        match event:
            case services.Ready(session=name):
                self._turn.connected = self._clock()
                self._record("session", f"session {name or 'opened'}", session=name or self._number)
                self._post(events.SessionReady())
                self._tasks.spawn(self._send())
                self._tasks.spawn(self._play())
            case services.UserStarted():
                self._user_started()
                self._post(events.UserStarted())
                if self._session.capabilities.speech_interrupts:
                    self._talked_over()
            case services.UserStopped():
                self._user_stopped()
                self._post(events.UserStopped())
            case services.UserText(text=text, final=True):
                self._record("heard", f"heard: {text}", level="debug", text=text, turn=self._turn.number)
            case services.ReplyStarted(reply=name):
                self._reply(name)
            case services.ReplyAudio(reply=name, pcm=pcm):
                self._sound(name, pcm)
            case services.ReplyText(reply=name, text=text):
                if (reply := self._reply(name)) is not None:
                    reply.words.append(text)
            case services.ReplyDone():
                self._done(event)
            case services.ToolCall(call=call) if call not in self._calls:
                self._calls[call] = self._tasks.spawn(self._run_tool(event))
            case services.ToolCancelled(call=call):
                if (task := self._calls.pop(call, None)) is not None:
                    task.cancel()
            case services.Notice(topic=topic, text=text, warning=warning):
                self._record(topic, text, level="warning" if warning else "info")
            case services.Expiring(in_s=in_s):
                self._record("expiring", f"the service ends this session in {in_s:.0f} s", in_s=in_s)
            case services.Ended(reason=reason):
                self._ended_reason = reason
            case services.Failed(kind="benign", reason=reason):
                self._record("service", reason, level="warning", kind="benign")
            case services.Failed(kind=kind, reason=reason):
                self._over = True
                self._post(events.SessionFailed(reason, retryable=kind == "retryable"))
            case _:
                pass  # partial transcripts: nothing is shown of them yet

    async def _ended(self) -> None:
        """The service closed in good order: let the person hear the end of what it said."""
        if self._over:
            return
        self._mixer.end()
        for reply in self._live():
            reply.done = True
            reply.changed.set()
        if followers := [reply.follower for reply in self._live() if reply.follower is not None]:
            await asyncio.wait(followers)
        self._post(events.SessionEnded(self._ended_reason))

    def _reply(self, name: str) -> _Reply | None:
        """Return the reply of this name, begun if it is new; None for one that nobody wants to hear any more."""
        if name in self._dead:
            return None
        reply = self._replies.get(name)
        if reply is None:
            if self._unwanted:
                self._unwanted = False
                self._dead.add(name)
                self._tasks.spawn(self._session.interrupt(name, 0, by_service=False))
                return None
            reply = self._replies[name] = _Reply(name)
            self._answer_due = False
            self._turn.reply_started = self._turn.reply_started or self._clock()
            self._post(events.ReplyExpected())
            reply.follower = self._tasks.spawn(self._follow(reply))
        return reply

    def _sound(self, name: str, pcm: bytes) -> None:
        reply = self._reply(name)
        if reply is None:
            return
        self._turn.first_audio = self._turn.first_audio or self._clock()
        samples = reply.joiner.feed(pcm)
        if reply.queued + len(samples) > QUEUED_S * self._session.output_rate_hz:
            self._record("dropped", f"a reply longer than {QUEUED_S} s is cut short", level="warning", reply=name)
            return
        reply.received += len(samples)
        reply.queued += len(samples)
        self._down.append((reply, samples))
        self._arrived.set()

    async def _run_tool(self, call: services.ToolCall) -> None:
        began = self._clock()
        reminder = self._tasks.spawn(self._say_that_it_still_runs())
        try:
            outcome = await self._tools.run(call.name, call.arguments)
        finally:
            reminder.cancel()
        took_ms = round((self._clock() - began) * 1000)
        text = f"tool {call.name}: {'failed' if outcome.is_error else 'done'} in {took_ms} ms"
        level = "warning" if outcome.is_error else "info"
        self._record("tool", text, level=level, tool=call.name, took_ms=took_ms, turn=self._turn.number)
        self._record("tool_result", outcome.result, level="debug", tool=call.name)
        del self._calls[call.call]
        self._answer_due = True
        self._leaving = self._leaving or outcome.ends_conversation
        await self._session.tool_result(call.call, outcome.result, is_error=outcome.is_error)

    async def _say_that_it_still_runs(self) -> None:
        while True:
            await asyncio.sleep(_STILL_RUNS_S)
            self._post(events.ToolStillRuns())

    async def _play(self) -> None:
        """Move sound from the queue into the mixer, as much as fits."""
        mixer, rate_hz = self._mixer, self._session.output_rate_hz
        resampler = Resampler(rate_hz, mixer.rate_hz, lobes=32)
        piece = int(rate_hz * _PIECE_S)
        room = int(mixer.rate_hz * _PIECE_S) + 64
        while True:
            while not self._down:
                self._arrived.clear()
                await self._arrived.wait()
            if mixer.free < room:
                await asyncio.sleep(_PIECE_S)
                continue
            reply, samples = self._down.popleft()
            if len(samples) > piece:
                self._down.appendleft((reply, samples[piece:]))
                samples = samples[:piece]
            sound = resampler.process(samples)
            begin = mixer.written
            reply.end = mixer.write(sound)
            reply.queued -= len(samples)
            if reply.begin is None:
                reply.begin = begin
            if reply.audible is None:
                loud = np.flatnonzero(np.abs(sound.astype(np.int32)) > AUDIBLE)
                if len(loud):
                    reply.audible = begin + int(loud[0])
            reply.changed.set()
            if not self._down:
                if reply.done:
                    mixer.end()
                await asyncio.sleep(0)  # a socket that never runs dry must not starve the loop

    def _done(self, event: services.ReplyDone) -> None:
        reply = self._replies.get(event.reply)
        if reply is None or event.reply in self._dead:
            return
        if event.status == "interrupted":
            self._stopped_by_service(reply)
            return
        if event.status == "failed":
            self._record("service", f"the reply failed: {event.reason or 'no reason given'}", level="warning", kind="reply")
        reply.done = True
        if not reply.queued:
            self._mixer.end()
        reply.changed.set()

    def _talked_over(self) -> None:
        """The person talks over replies that the service has sent to the end and that are still being played here."""
        for reply in self._live():
            if reply.done:
                self._stopped_by_service(reply)

    def _stopped_by_service(self, reply: _Reply) -> None:
        self._tasks.spawn(self._session.interrupt(reply.id, self._silence(reply), by_service=True))
        self._finish_turn(interrupted=True)
        self._post(events.ReplyInterrupted())

    async def _follow(self, reply: _Reply) -> None:
        """Report when a reply becomes audible and when it is over, at the loudspeaker."""
        while reply.audible is None and not (reply.done and not reply.queued):
            reply.changed.clear()
            await reply.changed.wait()
        if reply.audible is not None:
            await self._until_heard(reply.audible)
            self._turn.audible = self._turn.audible or self._clock()
            self._post(events.ReplyAudible())
        while not (reply.done and not reply.queued):
            reply.changed.clear()
            await reply.changed.wait()
        await self._until_heard(reply.end)
        self._forget(reply)
        self._turn.heard_ms += self._heard_ms(reply)
        if self._replies:
            return  # another reply follows without a break
        if self._leaving and not self._calls:
            self._finish_turn(interrupted=False)
            self._post(events.SessionEnded("the person wanted to end the conversation"))
            return
        if self._calls or self._answer_due:
            self._post(events.ToolsRunning())
            return
        asked = self._spoken_to
        self._finish_turn(interrupted=False)
        self._post(events.ReplyFinished() if asked else events.GreetingFinished())

    async def _until_heard(self, position: int) -> None:
        while (missing := position - self._device.heard(self._clock())) > 0:  # noqa: ASYNC110 (callbacks signal nothing: they copy)
            # at most so long: what was to be played before may be dropped, and then it is heard sooner
            await asyncio.sleep(min(max(missing / self._mixer.rate_hz, 0.005), _LOOK_AGAIN_S))

    def _live(self) -> list[_Reply]:
        return list(self._replies.values())

    def _forget(self, reply: _Reply) -> None:
        """It is over, at the loudspeaker too; whatever else arrives of it is dropped."""
        self._replies.pop(reply.id, None)
        self._dead.add(reply.id)
        if text := "".join(reply.words).strip():
            self._record("said", f"said: {text}", level="debug", text=text, turn=self._turn.number)

    def _heard_ms(self, reply: _Reply) -> int:
        """Return how much of a reply left the loudspeaker, never more than arrived."""
        if reply.begin is None:
            return 0
        played = min(self._device.heard(self._clock()), reply.end) - reply.begin
        return max(0, min(played * 1000 // self._mixer.rate_hz, reply.received * 1000 // self._session.output_rate_hz))

    def _unheard(self, reply: _Reply) -> bool:
        """Whether something of a reply is still to be heard; one that was heard to its end is live until that is noticed."""
        return not reply.done or reply.queued > 0 or self._device.heard(self._clock()) < reply.end

    def _silence(self, reply: _Reply) -> int:
        """Stop a reply at once; return how many ms of it were heard."""
        heard_ms = self._heard_ms(reply)
        self._turn.heard_ms += heard_ms
        self._forget(reply)
        if reply.follower is not None:
            reply.follower.cancel()
        self._down = deque(item for item in self._down if item[0] is not reply)
        self._mixer.discard()
        self._mixer.unduck()
        return heard_ms

    # -- the turn's record ------------------------------------------------------------------------------------------------------

    def _user_started(self) -> None:
        self._unwanted = False
        self._spoken_to = True
        if self._turn.reply_started is not None:
            self._next_started = self._next_started or self._clock()
        else:
            self._turn.user_started = self._turn.user_started or self._clock()
            self._turn.user_stopped = None

    def _user_stopped(self) -> None:
        now = self._clock()
        self._spoken_to = True
        self._turn.user_stopped = now
        hearing = self._hearing
        self._voice_until = hearing.voice_at
        if hearing.voice_at > self._turn_from:
            self._turn.speech_ended = now - (hearing.heard.written - hearing.voice_at) / HEARING_RATE_HZ

    def _finish_turn(self, *, interrupted: bool) -> None:
        """Write the turn's record and begin the next turn."""
        turn = self._turn
        if turn.user_started is None and turn.user_stopped is None and turn.reply_started is None:
            return  # nothing has happened in it
        turn.finished = self._clock()
        turn.interrupted = interrupted
        turn.gaps = self._mixer.gaps - self._gaps_before
        self._gaps_before = self._mixer.gaps
        turn.echo_removed_db = self._hearing.echo_removed_db(self._echo_before)
        self._echo_before = self._hearing.echo_measured
        self._record("turn", _summary(turn), **_timeline(turn), session=self._number)
        self._turn = Turn(turn.number + 1, user_started=self._next_started)
        since_s = 0.0 if self._next_started is None else turn.finished - self._next_started + _STARTED_LATE_S
        self._turn_from = self._hearing.heard.written - round(since_s * HEARING_RATE_HZ)
        self._next_started = None


def _ms(later: float | None, earlier: float | None) -> int | None:
    return None if later is None or earlier is None else round((later - earlier) * 1000)


def _timeline(turn: Turn) -> dict[str, Any]:
    """Return the facts of a turn, ready for the journal."""
    return {
        "turn": turn.number,
        "wake_score": None if turn.wake_score is None else round(turn.wake_score, 3),
        "wake_to_socket_ms": _ms(turn.connected, turn.called),
        "speech_ms": _ms(turn.speech_ended, turn.user_started),
        "end_of_speech_to_audible_ms": _ms(turn.audible, turn.speech_ended),
        "end_of_turn_to_audible_ms": _ms(turn.audible, turn.user_stopped),
        "first_audio_to_audible_ms": _ms(turn.audible, turn.first_audio),
        "reply_ms": turn.heard_ms,
        "interrupted": turn.interrupted,
        "gaps": turn.gaps,
        "echo_removed_db": None if turn.echo_removed_db is None else round(turn.echo_removed_db, 1),
    }


def _summary(turn: Turn) -> str:
    facts = _timeline(turn)
    words = [f"turn {turn.number}"]
    if facts["end_of_speech_to_audible_ms"] is not None:
        words.append(f"answered after {facts['end_of_speech_to_audible_ms']} ms")
    words.append(f"{turn.heard_ms / 1000:.1f} s of reply heard")
    if turn.interrupted:
        words.append("interrupted")
    return ", ".join(words)
