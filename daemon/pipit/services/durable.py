"""A session that outlives sockets: the one that the conversation talks to.

It holds one session of a provider at a time, and puts another in its place
- before the provider ends it: between turns, with the text of the conversation carried over;
- when it was dropped: taken up again where the provider can, else opened anew, with the text, and with the sound of a turn that was
  not answered yet;
- when the provider cannot be reached or refuses: the next provider of the list takes the same turn.

Theory of operation. Each provider's session is a `Link`, with a task that reads its events into one queue. `events` takes them
from there, one at a time, and is the only place where links change, so nothing races. What waits for a time is in `_due`. What the
next session would have to know is in `Turns`, whether a provider is tried once more in `Persistence`, and when the conversation has
lasted long enough in `Budget`: all three decide and touch nothing.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence

from pipit.core.backoff import Backoff
from pipit.core.tool import Declaration
from pipit.services import (
    Ended,
    Event,
    Expiring,
    Failed,
    Notice,
    Opening,
    Ready,
    Session,
    UserStarted,
)
from pipit.services.budget import UNLIMITED, Budget, Caps
from pipit.services.link import Link, Provider
from pipit.services.persistence import Persistence
from pipit.services.turns import Turns
from pipit.tasks import Tasks

GIVE_UP_S = 25.0
"""Longest time without a session in the middle of a conversation; the person has been told nothing meanwhile."""

RESTS_S = 60.0
"""A provider that could not be reached is tried last for so long: otherwise each call would wait for it again."""

MARGIN = 0.2
MARGIN_S = 120.0
"""A session is renewed before the last fifth of its life, or the last two minutes of a long one."""

SHORT_NOTICE_S = 30.0
"""A session that the provider says to end soon is renewed at least so long before."""

WARNING = "Tell the person in one short sentence that this conversation will end in {left}, because {why}."


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
        caps: Caps = UNLIMITED,
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
        self._queue: asyncio.Queue[tuple[Link | None, Event]] = asyncio.Queue(8)
        self._link: Link | None = None
        self._renewal: Link | None = None
        self._links = 0
        self._started = False
        self._over = False
        self._closing: asyncio.Task[None] | None = None
        self._tools: tuple[Declaration, ...] = ()
        self._without: frozenset[str] = frozenset()
        self._told: set[Provider] = set()
        """Those of whom the person has been told that they answer in place of the usual one."""
        self._turns = Turns(self.input_rate_hz, self.output_rate_hz)
        self._budget = Budget(durable.caps)
        self._persistence = Persistence(random.random)
        self._renewal_backoff = Backoff(random.random, first_s=1.5, limit_s=20.0)
        self._lost_at: float | None = None
        self._retry: tuple[float, Provider, str] | None = None
        """When to try again, whom, and what to resume."""
        self._renew_at: float | None = None
        self._tasks = Tasks(self._died)
        self._bug: BaseException | None = None

    # -- what the conversation hears -----------------------------------------------------------------------------------------------

    async def events(self) -> AsyncIterator[Event]:
        """See `Session.events`."""
        if self._budget.is_used_up:
            yield Failed("config", "today's minutes are used up: see conversation.minutes_a_day")
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
        warn = self._budget.warn_at if between and not self._turns.was_cut_short else None
        times = [time for time in (retry, renew, warn, self._turns.blip_at, self._budget.end_at) if time is not None]
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
        budget, turns = self._budget, self._turns
        if budget.warn_at is not None and now >= budget.warn_at and self._between_turns and not turns.was_cut_short:
            left, why = budget.warn(now)
            yield Notice("budget", f"the conversation ends in {left}: {why}", warning=False)
            self._tasks.spawn(self.generate(WARNING.format(left=left, why=why)))
        if turns.blip_at is not None and now >= turns.blip_at:
            turns.answered()
        if budget.ends(now, between_turns=self._between_turns):
            yield Ended("today's minutes are used up (conversation.minutes_a_day)")

    # -- links ---------------------------------------------------------------------------------------------------------------------

    def _opening(self, resume: str) -> Opening:
        said = () if resume else self._turns.said()
        return Opening(self._tools, said, greet=not self._started, resume=resume, without=self._without)

    def _connect(self, provider: Provider, opening: Opening) -> Link:
        """Open a session; its events come through the queue."""
        usual = self._durable.providers[0]
        instead_of = usual.name if provider is not usual and provider not in self._told else ""
        opening = dataclasses.replace(opening, without=self._without, instead_of=instead_of)
        link = Link(provider.open(opening), provider, opening, self._links)
        self._links += 1
        link.task = self._tasks.spawn(self._read(link))
        return link

    async def _read(self, link: Link) -> None:
        async with contextlib.aclosing(link.session.events()) as events:  # type: ignore[type-var]
            async for event in events:
                await self._queue.put((link, event))

    def _died(self, error: BaseException) -> None:
        """Have `events` raise what a task died of: it was a mistake of ours, since networks never raise here."""
        self._bug = error
        self._wake()

    def _drop(self, link: Link) -> None:
        """Let go of a session, in the background."""
        link.ready = link.attached = False
        if link.catching_up is not None:
            link.catching_up.cancel()
        self._tasks.spawn(self._shut(link))

    async def _shut(self, link: Link) -> None:
        await link.session.close()
        tasks = [task for task in (link.task, link.catching_up) if task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    # -- events of the present link ------------------------------------------------------------------------------------------------

    def _take(self, link: Link, event: Event) -> Iterator[Event]:
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
                event = link.renamed(event)
                if self._turns.is_unwanted(event):
                    return
                self._turns.note(event, self._now())
                if isinstance(event, UserStarted) and self._renewal is not None:  # it would not know of this turn
                    self._drop(self._renewal)
                    self._renewal, self._renew_at = None, self._now()
                yield link.converted(event)

    def _ready(self, link: Link, event: Ready) -> Iterator[Event]:
        now = self._now()
        self._welcome(link, event, now)
        if not self._started:
            self._started = True
            self.input_rate_hz = link.session.input_rate_hz
            self.output_rate_hz = link.session.output_rate_hz
            self._turns = Turns(self.input_rate_hz, self.output_rate_hz)
            self._budget.begin(now)
            link.attached = True
            yield Ready(event.session)
            return
        how = "was taken up again" if link.opening.resume else "goes on in a new session"
        gone_ms = round((now - (self._lost_at or now)) * 1000)
        yield Notice("reconnect", f"the conversation {how} at {link.provider.name} after {gone_ms} ms", warning=False)
        self._attach(link)

    def _welcome(self, link: Link, event: Ready, now: float) -> None:
        link.ready, link.ready_at, link.resume = True, now, event.resume
        self.capabilities = link.session.capabilities
        self._untried = [provider for provider in self._durable.providers if provider is not link.provider]
        self._told.add(link.provider)
        life_s = link.session.capabilities.max_session_s
        self._renew_at = None if life_s is None else now + life_s - min(MARGIN * life_s, MARGIN_S)
        if link.expires_at is not None:
            self._renew_at = _renewal_time(now, link.expires_at - now)
        if self._started:
            link.convert(self.input_rate_hz, self.output_rate_hz)

    def _attach(self, link: Link) -> None:
        """Have a session hear the person, and what another was to hear, and ask it for what was wanted meanwhile."""
        self._lost_at = None
        sound, position = self._turns.sound, self._turns.find(resumed=bool(link.opening.resume))
        begin = sound.end if position is None else max(position, sound.begin)
        link.catching_up = self._tasks.spawn(self._catch_up(link, begin))

    async def _catch_up(self, link: Link, position: int) -> None:
        pace, sent_s, began = link.session.capabilities.pace, 0.0, self._now()
        for pcm in self._turns.sound.since(position):
            await link.audio(pcm)
            sent_s += len(pcm) / 2 / self.input_rate_hz
            if pace and (early := sent_s / pace - (self._now() - began)) > 0:
                await asyncio.sleep(early)
        link.attached = True
        if self._turns.is_over and not link.session.capabilities.server_turns:
            await link.session.end_turn()
        await self._ask(link)
        self._wake()

    @property
    def _between_turns(self) -> bool:
        """Whether nobody speaks or is about to, and there is a session."""
        return self._link is not None and self._link.attached and not self._turns.waiting

    # -- when the link is lost -----------------------------------------------------------------------------------------------------

    def _lost(self, link: Link, event: Failed | Ended) -> Iterator[Event]:
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
        if isinstance(event, Ended) and self._started and not self._turns.waiting:
            yield event
            return
        reason = event.reason or "the service ended the session"
        yield from self._turns.cut(reason)
        if self._lost_at is None and self._started:
            self._lost_at = now
            self._turns.lose(server_turns=link.session.capabilities.server_turns)
        if self._renewal is not None:
            self._link, self._renewal = self._renewal, None
            if self._link.ready:
                yield from self._promote(self._link, f"{link.provider.name} dropped the old session: {reason}")
            return
        yield from self._again(link, event, reason, now, lasted_s)

    def _again(self, link: Link, event: Failed | Ended, reason: str, now: float, lasted_s: float) -> Iterator[Event]:
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

    # -- renewal -------------------------------------------------------------------------------------------------------------------

    def _take_renewal(self, link: Link, event: Event) -> Iterator[Event]:
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

    def _promote(self, link: Link, why: str) -> Iterator[Event]:
        self._welcome(link, Ready(resume=link.resume), self._now())
        self._renewal_backoff.reset()
        yield Notice("renewal", f"the conversation goes on in a new session at {link.provider.name}: {why}", warning=False)
        self._attach(link)

    # -- what the conversation says ------------------------------------------------------------------------------------------------

    async def audio(self, pcm: bytes) -> None:
        """See `Session.audio`. Without a session the sound is kept for the next."""
        link = self._link
        self._turns.sound.append(pcm)
        if link is not None and link.attached:
            await link.audio(pcm)

    async def end_turn(self) -> None:
        """See `Codec.end_turn`."""
        self._turns.end_turn()
        if (link := self._link) is not None and link.attached:
            await link.session.end_turn()

    async def interrupt(self, reply: str | None, heard_ms: int, *, by_service: bool) -> None:
        """See `Codec.interrupt`."""
        self._turns.interrupt(reply, heard_ms, by_service=by_service)
        self._wake()
        link = self._link
        if link is None or not link.ready:
            return
        own = None if reply is None else link.own(reply)
        if reply is None or own is not None:
            await link.session.interrupt(own, heard_ms, by_service=by_service)

    async def tool_result(self, call: str, result: str, *, is_error: bool) -> None:
        """See `Codec.tool_result`. A session that did not ask is told in words."""
        if not self._turns.result(call, result):
            return
        link = self._link
        own = None if link is None else link.own(call)
        if link is not None and link.ready and own is not None:
            await link.session.tool_result(own, result, is_error=is_error)
        elif (words := self._turns.take_result()) is not None:
            await self.generate(words)

    async def generate(self, instructions: str) -> None:
        """See `Codec.generate`."""
        self._turns.want(instructions)
        if (link := self._link) is not None and link.attached:
            await self._ask(link)

    async def _ask(self, link: Link) -> None:
        for wish in self._turns.ask():
            await link.session.generate(wish.instructions)

    async def close(self) -> None:
        """See `Session.close`. May be called at any time, any number of times."""
        if self._closing is None:
            self._over = True
            self._budget.close(self._now())
            self._closing = asyncio.create_task(self._close())
        await asyncio.shield(self._closing)

    async def _close(self) -> None:
        links = [link for link in (self._link, self._renewal) if link is not None]
        self._link = self._renewal = None
        self._wake()
        await asyncio.gather(*(self._shut(link) for link in links), *self._tasks, return_exceptions=True)


def _renewal_time(now: float, in_s: float) -> float:
    return now + max(0.0, in_s - max(MARGIN * in_s, SHORT_NOTICE_S))
