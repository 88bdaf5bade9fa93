"""A session that outlives sockets: the one that the conversation talks to.

It holds one session of a provider at a time, and puts another in its place
- before the provider ends it: between turns, with the text of the conversation carried over;
- when it was dropped: taken up again where the provider can, else opened anew, with the text, and with the sound of a turn that was
  not answered yet;
- when the provider cannot be reached or refuses: the next provider of the list takes the same turn.

Theory of operation. Each provider's session is a `_Link`, with a task that reads its events into one queue. `events` takes them
from there, one at a time, and is the only place where links change, so nothing races. What waits for a time is in `_due`. Ids of
replies and calls get the link's number in front from the second link on, because providers count from one in each session.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import random
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np

from pipit.core.allowance import Allowance
from pipit.core.backoff import Backoff
from pipit.core.pcm import Joiner, Resampler
from pipit.core.tool import Declaration
from pipit.services import (
    Ended,
    Event,
    Expiring,
    Failed,
    Notice,
    Opener,
    Opening,
    Ready,
    ReplyAudio,
    ReplyDone,
    ReplyStarted,
    ReplyText,
    Session,
    ToolCall,
    ToolCancelled,
    UserStarted,
    UserStopped,
    UserText,
)
from pipit.services.memory import SOUND_S, History, Sound
from pipit.services.persistence import Persistence
from pipit.tasks import Tasks

LOOK_BACK_S = 1.0
"""A service says that somebody speaks after it has heard some of it; a turn that is heard again begins so much earlier."""

FIRST_TURN_S = 10.0
"""What is heard this soon belongs to the first turn: the sound of a call comes in a burst, of which services hear the end late."""

GIVE_UP_S = 25.0
"""Longest time without a session in the middle of a conversation; the person has been told nothing meanwhile."""

BLIP_S = 15.0
"""A turn that nobody has answered for so long was none."""

RESTS_S = 60.0
"""A provider that could not be reached is tried last for so long: otherwise each call would wait for it again."""

MARGIN = 0.2
MARGIN_S = 120.0
"""A session is renewed before the last fifth of its life, or the last two minutes of a long one."""

SHORT_NOTICE_S = 30.0
"""A session that the provider says to end soon is renewed at least so long before."""

WARNING_S = 60.0
"""A cap is announced so long before it bites, or in the middle of what is left."""

LEAST_S = 10.0
"""Of less than that nothing is said: it would be over before the sentence is."""

GRACE_S = 30.0
"""So long after the day's minutes are used up may a reply go on."""

GO_ON = "The connection was lost while you were saying this: {said!r} Go on from there, without mentioning the interruption."
RESULT = "The tool {name} that you called has answered: {result} Tell the person what that means."
WARNING = "Tell the person in one short sentence that this conversation will end in {left}, because {why}."
TOO_LONG = "its longest time is almost over"
USED_UP = "today's minutes are almost used up"


@dataclass(frozen=True)
class Provider:
    """One entry of the list `service`."""

    name: str
    open: Opener


@dataclass(frozen=True)
class Caps:
    """What limits conversations."""

    conversation_s: float | None = None
    """Longest conversation; only announced here: the machine ends it."""
    allowance: Allowance | None = None
    """Minutes a day."""
    today: Callable[[], str] = lambda: ""
    """Returns the day, for the allowance."""
    spent: Callable[[], None] = lambda: None
    """Called when the allowance has changed."""


class Durable:
    """A factory of such sessions; remembers from one conversation to the next which providers do not answer.

    Args:
        providers: in the order of preference, at least one.
        tools: what the agent may do; asked when a conversation begins.
        caps: what limits conversations.
    """

    def __init__(
        self,
        providers: Sequence[Provider],
        tools: Callable[[], Awaitable[tuple[Declaration, ...]]] | None = None,
        caps: Caps = Caps(),
    ) -> None:
        self.providers = providers
        self.caps = caps
        self._tools = tools
        self._rests: dict[str, float] = {}

    def __call__(self) -> Session:
        """Return a session that has not been opened yet."""
        return DurableSession(self)

    async def tools(self) -> tuple[Declaration, ...]:
        """Return what the agent may do."""
        return () if self._tools is None else await self._tools()

    def order(self, now: float) -> list[Provider]:
        """Return the providers in the order in which to try them."""
        return sorted(self.providers, key=lambda provider: self._rests.get(provider.name, 0.0) > now)

    def rest(self, provider: Provider, until: float) -> None:
        """Have a provider tried last until then."""
        self._rests[provider.name] = until


@dataclass(eq=False)
class _Link:
    """A provider's session, and how it is joined to the conversation."""

    session: Session
    provider: Provider
    opening: Opening
    prefix: str
    task: asyncio.Task[None] | None = None
    ready: bool = False
    attached: bool = False
    """It has heard all sound so far, and hears what comes next at once."""
    ready_at: float = 0.0
    resume: str = ""
    expires_at: float | None = None
    up: Resampler | None = None
    down: Resampler | None = None
    joiner: Joiner = field(default_factory=Joiner)
    catching_up: asyncio.Task[None] | None = None


@dataclass
class _Live:
    """A reply that the provider is still making."""

    received: int = 0
    """Bytes of its sound."""


@dataclass(frozen=True)
class _Wish:
    """What a session is to be asked for."""

    instructions: str
    reply: str = ""
    """The broken reply that it goes on with."""


class DurableSession:
    """See `pipit.services.Session`. Rates hold from `Ready` on, whatever provider comes later; capabilities are the present one's.

    Args:
        durable: the factory.
    """

    def __init__(self, durable: Durable) -> None:
        self._durable = durable
        self._untried = list(durable.providers)
        first = durable.providers[0].open()
        self.input_rate_hz = first.input_rate_hz
        self.output_rate_hz = first.output_rate_hz
        self.capabilities = first.capabilities
        self._queue: asyncio.Queue[tuple[_Link | None, Event]] = asyncio.Queue(8)
        self._link: _Link | None = None
        self._renewal: _Link | None = None
        self._links = 0
        self._started = False
        self._over = False
        self._closing: asyncio.Task[None] | None = None
        self._tools: tuple[Declaration, ...] = ()
        self._without: frozenset[str] = frozenset()
        self._told: list[Provider] = []
        """Those of whom the person has been told that they answer in place of the usual one."""
        self._history = History()
        self._sound = Sound(int(SOUND_S * self.input_rate_hz * 2))
        self._turn_from: int | None = None
        """Where in `_sound` a turn begins that has not been answered."""
        self._turn_lines: int | None = None
        """How much had been said before that turn."""
        self._quiet_from = 0
        """Where in `_sound` the latest reply ended, or whatever else shows that a session has done with what came before."""
        self._turn_ended = False
        """Pipit itself has ended the present turn."""
        self._stopped_at: float | None = None
        """When the person ended the turn that has not been answered."""
        self._result: str | None = None
        """What the latest tool answered, until the agent speaks about it."""
        self._live: dict[str, _Live] = {}
        self._heard: dict[str, int] = {}
        """Bytes of sound of replies that the provider has sent to the end and that may yet be interrupted."""
        self._unwanted: deque[str] = deque(maxlen=32)
        """Replies that were interrupted: of what is in the queue nothing more is handed on."""
        self._calls: dict[str, str] = {}
        """Tools that are being run: call -> name."""
        self._wanted: list[_Wish] = []
        """What to ask the next session for."""
        self._persistence = Persistence(random.random)
        self._renewal_backoff = Backoff(random.random, first_s=1.5, limit_s=20.0)
        self._lost_at: float | None = None
        self._lost_from: int | None = None
        """Where in `_sound` that was."""
        self._missed_from: int | None = None
        """Where in `_sound` begins what the lost session had heard and had not reacted to yet."""
        self._retry: tuple[float, Provider, str] | None = None
        """When to try again, whom, and what to resume."""
        self._renew_at: float | None = None
        self._warn_at: float | None = None
        self._cap_at = 0.0
        """When the first cap bites."""
        self._end_at: float | None = None
        self._last_moment = 0.0
        self._warned = False
        self._opened_at: float | None = None
        self._tasks = Tasks(self._died)
        self._bug: BaseException | None = None

    # -- what the conversation hears -----------------------------------------------------------------------------------------------

    async def events(self) -> AsyncIterator[Event]:
        """See `Session.events`."""
        refusal = self._refusal()
        if refusal is not None:
            yield refusal
            return
        try:
            self._tools = await self._durable.tools()
            self._untried = self._durable.order(self._now())
            if not self._over:
                self._link = self._connect(self._untried.pop(0), Opening(self._tools))
            while True:
                for event in await self._next():
                    yield event
                    if isinstance(event, Ended) or (isinstance(event, Failed) and event.kind != "benign"):
                        return
        finally:
            await self.close()

    async def _next(self) -> list[Event]:
        """Wait for the next thing to happen; return what it means to the conversation."""
        if self._over:
            return [Ended("closed here")]
        try:
            async with asyncio.timeout_at(self._due()):
                link, event = await self._queue.get()
        except TimeoutError:
            return list(self._on_time())
        if self._over:
            return [Ended("closed here")]
        if self._bug is not None:
            raise self._bug
        if link is self._link and link is not None:
            found = list(self._take(link, event))
        elif link is self._renewal and link is not None:
            found = list(self._take_renewal(link, event))
        else:
            found = []  # of a session that was given up, or `_wake`
        return [*found, *self._swap()]

    def _wake(self) -> None:
        """Have `_next` look again at what is due: something has changed that is no event."""
        if self._queue.empty():
            self._queue.put_nowait((None, Ended()))

    def _now(self) -> float:
        return asyncio.get_running_loop().time()

    def _due(self) -> float | None:
        retry = self._retry[0] if self._retry else None
        between = self._between_turns
        renew = self._renew_at if between and self._renewal is None else None
        warn = self._warn_at if between and not self._warned else None
        blip = None if self._stopped_at is None else self._stopped_at + BLIP_S
        times = [time for time in (retry, renew, warn, blip, self._end_at) if time is not None]
        return min(times) if times else None

    def _on_time(self) -> Iterator[Event]:
        now = self._now()
        if self._retry is not None and now >= self._retry[0]:
            _, provider, resume = self._retry
            self._retry = None
            self._link = self._connect(provider, self._opening(resume))
        if self._renew_at is not None and now >= self._renew_at and self._between_turns and self._renewal is None and self._link:
            self._renew_at = None
            self._renewal = self._connect(self._link.provider, self._opening(""))
        if self._warn_at is not None and now >= self._warn_at and self._between_turns and not self._warned:
            self._warned = True
            why = USED_UP if self._cap_at == self._end_at else TOO_LONG
            left = _in_words(self._cap_at - now)
            yield Notice("budget", f"the conversation ends in {left}: {why}", warning=False)
            self._ask(WARNING.format(left=left, why=why))
        if self._stopped_at is not None and now >= self._stopped_at + BLIP_S:
            self._answered()
        if self._end_at is not None and now >= self._end_at:
            self._end_at = min(now + 0.5, self._last_moment)
            if self._between_turns or now >= self._last_moment:
                yield Ended("today's minutes are used up (conversation.minutes_a_day)")

    # -- caps ----------------------------------------------------------------------------------------------------------------------

    def _refusal(self) -> Failed | None:
        caps = self._durable.caps
        if caps.allowance is None or caps.allowance.left_s(caps.today()) > 0:
            return None
        return Failed("config", "today's minutes are used up: see conversation.minutes_a_day")

    def _begin_caps(self, now: float) -> None:
        caps = self._durable.caps
        self._opened_at = now
        ends = [] if caps.conversation_s is None else [now + caps.conversation_s]
        if caps.allowance is not None:
            self._end_at = now + caps.allowance.left_s(caps.today())
            self._last_moment = self._end_at + GRACE_S
            ends.append(self._end_at)
        if ends and (left_s := min(ends) - now) > LEAST_S:
            self._cap_at = min(ends)
            self._warn_at = self._cap_at - min(WARNING_S, left_s / 2)

    def _count(self) -> None:
        caps = self._durable.caps
        if caps.allowance is not None and self._opened_at is not None:
            caps.allowance.spend(caps.today(), self._now() - self._opened_at)
            self._opened_at = None
            caps.spent()

    # -- links ---------------------------------------------------------------------------------------------------------------------

    def _opening(self, resume: str) -> Opening:
        said = () if resume else self._history.said(self._turn_lines)
        return Opening(self._tools, said, greet=not self._started, resume=resume, without=self._without)

    def _connect(self, provider: Provider, opening: Opening) -> _Link:
        """Open a session; its events come through the queue."""
        usual = self._durable.providers[0]
        instead_of = usual.name if provider is not usual and provider not in self._told else ""
        if instead_of:
            self._told.append(provider)
        opening = dataclasses.replace(opening, without=self._without, instead_of=instead_of)
        prefix = f"{self._links}:" if self._links else ""
        self._links += 1
        link = _Link(provider.open(opening), provider, opening, prefix)
        link.task = self._tasks.spawn(self._read(link))
        return link

    async def _read(self, link: _Link) -> None:
        async with contextlib.aclosing(link.session.events()) as events:  # type: ignore[type-var]
            async for event in events:
                await self._queue.put((link, event))

    def _died(self, error: BaseException) -> None:
        """Have `events` raise what a task died of: it was a mistake of ours, since networks never raise here."""
        self._bug = error
        self._wake()

    def _drop(self, link: _Link) -> None:
        """Let go of a session, in the background."""
        link.ready = link.attached = False
        if link.catching_up is not None:
            link.catching_up.cancel()
        self._tasks.spawn(self._shut(link))

    async def _shut(self, link: _Link) -> None:
        await link.session.close()
        tasks = [task for task in (link.task, link.catching_up) if task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    # -- events of the present link ------------------------------------------------------------------------------------------------

    def _take(self, link: _Link, event: Event) -> Iterator[Event]:
        match event:
            case Ready():
                yield from self._ready(link, event)
            case Failed(kind="benign"):
                yield event
            case Failed() | Ended():
                yield from self._lost(link, event)
            case Expiring(in_s=in_s):
                self._renew_at = _renewal_time(self._now(), in_s)
            case _:
                event = _renamed(event, link.prefix)
                if isinstance(event, ReplyAudio | ReplyText) and event.reply in self._unwanted:
                    return
                self._note(event)
                yield self._at_our_rate(link, event)

    def _ready(self, link: _Link, event: Ready) -> Iterator[Event]:
        now = self._now()
        self._welcome(link, event, now)
        if not self._started:
            self._started = True
            self.input_rate_hz = link.session.input_rate_hz
            self.output_rate_hz = link.session.output_rate_hz
            self._sound = Sound(int(SOUND_S * self.input_rate_hz * 2))
            self._begin_caps(now)
            link.attached = True
            yield Ready(event.session)
            return
        how = "was taken up again" if link.opening.resume else "goes on in a new session"
        gone_ms = round((now - (self._lost_at or now)) * 1000)
        yield Notice("reconnect", f"the conversation {how} at {link.provider.name} after {gone_ms} ms", warning=False)
        self._attach(link, self._found(link))

    def _welcome(self, link: _Link, event: Ready, now: float) -> None:
        link.ready, link.ready_at, link.resume = True, now, event.resume
        self.capabilities = link.session.capabilities
        self._untried = [provider for provider in self._durable.providers if provider is not link.provider]
        life_s = link.session.capabilities.max_session_s
        self._renew_at = None if life_s is None else now + life_s - min(MARGIN * life_s, MARGIN_S)
        if link.expires_at is not None:
            self._renew_at = _renewal_time(now, link.expires_at - now)
        if self._started:
            rate_hz = link.session.input_rate_hz
            link.up = Resampler(self.input_rate_hz, rate_hz) if rate_hz != self.input_rate_hz else None
            rate_hz = link.session.output_rate_hz
            link.down = Resampler(rate_hz, self.output_rate_hz) if rate_hz != self.output_rate_hz else None

    def _attach(self, link: _Link, position: int | None) -> None:
        """Have a session hear the person, from a position or from now on, and ask it for what was wanted meanwhile."""
        begin = self._sound.end if position is None else max(position, self._sound.begin)
        link.catching_up = self._tasks.spawn(self._catch_up(link, begin))

    async def _catch_up(self, link: _Link, position: int) -> None:
        pace, sent_s, began = link.session.capabilities.pace, 0.0, self._now()
        for pcm in self._sound.since(position):
            await self._send(link, pcm)
            sent_s += len(pcm) / 2 / self.input_rate_hz
            if pace and (early := sent_s / pace - (self._now() - began)) > 0:
                await asyncio.sleep(early)
        link.attached = True
        over = self._turn_ended or self._stopped_at is not None  # as Pipit decided, or the session that was lost
        if over and not link.session.capabilities.server_turns:
            await link.session.end_turn()
        wanted, self._wanted = self._wanted, []
        for wish in wanted:
            await link.session.generate(wish.instructions)
        self._wake()

    def _at_our_rate(self, link: _Link, event: Event) -> Event:
        if link.down is None or not isinstance(event, ReplyAudio):
            return event
        return ReplyAudio(event.reply, link.down.process(link.joiner.feed(event.pcm)).tobytes())

    @property
    def _between_turns(self) -> bool:
        """Whether nobody speaks or is about to, and there is a session."""
        return self._link is not None and self._link.attached and not self._waiting

    @property
    def _waiting(self) -> bool:
        """Whether the person waits for something, or talks."""
        return bool(self._turn_from is not None or self._result is not None or self._live or self._calls)

    def _note(self, event: Event) -> None:
        """Remember what another session would have to know."""
        match event:
            case UserStarted():
                self._begin_turn(0 if self._young else self._sound.end - int(LOOK_BACK_S * self.input_rate_hz) * 2)
                if self._renewal is not None:  # it would not know of this turn
                    self._drop(self._renewal)
                    self._renewal, self._renew_at = None, self._now()
            case UserStopped():
                if self._turn_from is not None:
                    self._stopped_at = self._now()
            case UserText(text=text, final=True):
                self._history.user(text)
            case ReplyStarted(reply=name):
                self._live.setdefault(name, _Live())
            case ReplyAudio(reply=name, pcm=pcm):
                self._live.setdefault(name, _Live()).received += len(pcm)
                self._answered()
            case ReplyText(reply=name, text=text):
                self._history.words(name, text)
            case ReplyDone(reply=name, status=status):
                received = self._live.pop(name, _Live()).received
                self._heard = {name: received}
                self._quiet_from = self._sound.end
                if status != "interrupted":
                    self._history.done(name)
            case ToolCall(call=call, name=name):
                self._calls[call] = name
                self._answered()
            case ToolCancelled(call=call):
                self._calls.pop(call, None)

    @property
    def _young(self) -> bool:
        """Whether all of the sound so far may belong to the first turn."""
        return self._quiet_from == 0 and self._sound.end <= FIRST_TURN_S * self.input_rate_hz * 2

    def _unanswered_from(self, link: _Link) -> int:
        """Return where what a session has heard begins, of what it has made nothing yet."""
        if not link.session.capabilities.server_turns:
            return self._quiet_from  # it would have said nothing before the end of the turn
        return 0 if self._young else self._sound.end

    def _begin_turn(self, position: int) -> None:
        if self._turn_from is None:
            self._turn_from, self._turn_lines = max(0, position), len(self._history)
            self._turn_ended = False
        self._stopped_at = self._result = None

    def _answered(self) -> None:
        self._turn_from = self._turn_lines = self._stopped_at = self._result = None
        self._turn_ended = False
        self._quiet_from = self._sound.end

    # -- when the link is lost -----------------------------------------------------------------------------------------------------

    def _lost(self, link: _Link, event: Failed | Ended) -> Iterator[Event]:
        """Decide what comes after a session that has ended."""
        now = self._now()
        lasted_s = now - link.ready_at if link.ready else 0.0
        self._drop(link)
        self._link = None
        if isinstance(event, Failed) and event.without and event.without not in self._without:
            self._without |= {event.without}
            yield Notice("setting", f"{event.reason}; the conversation goes on without it")
            self._link = self._connect(link.provider, dataclasses.replace(link.opening, without=self._without))
            return
        if isinstance(event, Ended) and self._started and not self._waiting:
            yield event
            return
        reason = event.reason or "the service ended the session"
        yield from self._cut(reason)
        if self._lost_at is None and self._started:
            self._lost_at, self._lost_from = now, self._sound.end
            self._missed_from = self._unanswered_from(link)
        if self._renewal is not None:
            self._link, self._renewal = self._renewal, None
            if self._link.ready:
                yield from self._promote(self._link, f"{link.provider.name} dropped the old session: {reason}")
            return
        yield from self._again(link, event, reason, now, lasted_s)

    def _again(self, link: _Link, event: Failed | Ended, reason: str, now: float, lasted_s: float) -> Iterator[Event]:
        kind = event.kind if isinstance(event, Failed) else "retryable"
        since_s = 0.0 if self._lost_at is None else now - self._lost_at
        if link.opening.resume and not link.ready_at and kind != "retryable":  # refused: not a failure of the provider
            yield Notice("reconnect", f"{link.provider.name} did not take the session up again: {reason}")
            self._retry = (now, link.provider, "")
            return
        self._persistence.lost(now, lasted_s)
        same = self._started and kind == "retryable" and self._persistence.again(now, alone=not self._untried)
        if not same and kind == "retryable":
            self._durable.rest(link.provider, now + RESTS_S)
        if since_s > GIVE_UP_S or self._persistence.hopeless or (not same and not self._untried):
            yield event if isinstance(event, Failed) else Failed("retryable", reason)
            return
        if same:
            delay_s = self._persistence.delay_s()
            yield Notice("reconnect", f"{reason}; trying again in {delay_s:.1f} s")
            in_time = link.session.capabilities.resume_s > since_s + delay_s
            self._retry = (now + delay_s, link.provider, link.resume or link.opening.resume if in_time else "")
            return
        following = self._untried.pop(0)
        self._persistence.change()
        self._without = frozenset()  # another provider may well take what this one refused
        yield Notice("failover", f"{link.provider.name}: {reason}; {following.name} takes over")
        self._retry = (now, following, "")

    def _cut(self, reason: str) -> Iterator[Event]:
        """End what a lost session had begun."""
        for name, live in self._live.items():
            said = self._history.done(name)
            if live.received and said and name not in self._unwanted:
                self._wanted.append(_Wish(GO_ON.format(said=said), name))
            yield ReplyDone(name, "failed", reason)
        self._live.clear()
        if self._result is not None:
            self._wanted.append(_Wish(self._result))
            self._result = None

    # -- renewal -------------------------------------------------------------------------------------------------------------------

    def _take_renewal(self, link: _Link, event: Event) -> Iterator[Event]:
        match event:
            case Ready():
                link.ready, link.resume, link.ready_at = True, event.resume, self._now()
            case Failed(kind=kind, reason=reason) if kind != "benign":
                self._drop(link)
                self._renewal, self._renew_at = None, self._now() + self._renewal_backoff.next_s()
                yield Notice("renewal", f"no new session yet: {reason}")
            case Expiring(in_s=in_s):
                link.expires_at = self._now() + in_s
            case Ended():
                self._drop(link)
                self._renewal, self._renew_at = None, self._now() + self._renewal_backoff.next_s()

    def _swap(self) -> Iterator[Event]:
        """Put the new session in the place of the old one, if it is ready and nobody speaks."""
        link = self._renewal
        if link is None or not link.ready or not self._between_turns or self._link is None:
            return
        old, self._link, self._renewal = self._link, link, None
        self._drop(old)
        yield from self._promote(link, "before the provider's limit")

    def _promote(self, link: _Link, why: str) -> Iterator[Event]:
        self._welcome(link, Ready(resume=link.resume), self._now())
        self._renewal_backoff.reset()
        yield Notice("renewal", f"the conversation goes on in a new session at {link.provider.name}: {why}", warning=False)
        self._attach(link, self._found(link))

    def _found(self, link: _Link) -> int | None:
        """Return from where in `_sound` a session must hear what another was to hear; None: from now on."""
        lost, missed = self._lost_from, self._missed_from
        self._lost_at = self._lost_from = self._missed_from = None
        if link.opening.resume:  # it has heard the rest
            return lost
        return missed if self._turn_from is None else self._turn_from

    # -- what the conversation says ------------------------------------------------------------------------------------------------

    async def audio(self, pcm: bytes) -> None:
        """See `Session.audio`. Without a session the sound is kept for the next."""
        link = self._link
        self._sound.append(pcm)
        if link is not None and link.attached:
            await self._send(link, pcm)

    async def _send(self, link: _Link, pcm: bytes) -> None:
        if link.up is not None:
            pcm = link.up.process(np.frombuffer(pcm, "<i2")).tobytes()
        await link.session.audio(pcm)

    async def end_turn(self) -> None:
        """See `Codec.end_turn`."""
        self._begin_turn(self._quiet_from)
        self._turn_ended = True
        if (link := self._link) is not None and link.attached:
            await link.session.end_turn()

    async def interrupt(self, reply: str | None, heard_ms: int, *, by_service: bool) -> None:
        """See `Codec.interrupt`."""
        if reply is None:
            self._answered()  # nobody waits for the answer any more
            self._wanted.clear()
            self._wake()
        else:
            self._wanted = [wish for wish in self._wanted if wish.reply != reply]
            self._unwanted.append(reply)
            self._shorten(reply, heard_ms)
        link = self._link
        if link is None or not link.ready:
            return
        if reply is None:
            await link.session.interrupt(None, heard_ms, by_service=by_service)
        elif (name := _own(reply, link.prefix)) is not None:
            await link.session.interrupt(name, heard_ms, by_service=by_service)

    def _shorten(self, reply: str, heard_ms: int) -> None:
        """Remember of an interrupted reply only what was heard."""
        live = self._live.get(reply)
        received = live.received if live is not None else self._heard.get(reply, 0)
        length_ms = received / 2 / self.output_rate_hz * 1000
        self._history.done(reply, min(1.0, heard_ms / length_ms) if length_ms else 0.0)

    async def tool_result(self, call: str, result: str, *, is_error: bool) -> None:
        """See `Codec.tool_result`. A session that did not ask is told in words."""
        name = self._calls.pop(call, None)
        link = self._link
        if name is None:
            return
        own = None if link is None else _own(call, link.prefix)
        self._result = RESULT.format(name=name, result=result)
        if link is not None and link.ready and own is not None:
            await link.session.tool_result(own, result, is_error=is_error)
        else:
            words, self._result = self._result, None
            await self.generate(words)

    async def generate(self, instructions: str) -> None:
        """See `Codec.generate`."""
        if (link := self._link) is not None and link.attached:
            await link.session.generate(instructions)
        else:
            self._wanted.append(_Wish(instructions))

    def _ask(self, instructions: str) -> None:
        self._tasks.spawn(self.generate(instructions))

    async def close(self) -> None:
        """See `Session.close`. May be called at any time, any number of times."""
        if self._closing is None:
            self._over = True
            self._count()
            self._closing = asyncio.create_task(self._close())
        await asyncio.shield(self._closing)

    async def _close(self) -> None:
        links = [link for link in (self._link, self._renewal) if link is not None]
        self._link = self._renewal = None
        self._wake()
        await asyncio.gather(*(self._shut(link) for link in links), *self._tasks, return_exceptions=True)


def _in_words(left_s: float) -> str:
    return "about a minute" if left_s > 0.75 * WARNING_S else f"about {max(5, 5 * round(left_s / 5))} seconds"


def _renewal_time(now: float, in_s: float) -> float:
    return now + max(0.0, in_s - max(MARGIN * in_s, SHORT_NOTICE_S))


def _own(name: str, prefix: str) -> str | None:
    """Return an id as its provider knows it; None where it is of another session."""
    if prefix:
        return name.removeprefix(prefix) if name.startswith(prefix) else None
    return None if name.partition(":")[0].isdigit() and ":" in name else name


def _renamed(event: Event, prefix: str) -> Event:
    """Put the link's number in front of ids."""
    if not prefix:
        return event
    match event:
        case ReplyStarted() | ReplyAudio() | ReplyText() | ReplyDone():
            return dataclasses.replace(event, reply=prefix + event.reply)
        case ToolCall():
            return dataclasses.replace(event, call=prefix + event.call, reply=prefix + event.reply if event.reply else "")
        case ToolCancelled():
            return ToolCancelled(prefix + event.call)
        case UserText():
            return dataclasses.replace(event, item=prefix + event.item)
    return event
