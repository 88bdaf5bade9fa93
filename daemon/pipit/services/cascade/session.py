"""A session whose three stages are chained here, with the turn-taking that a hosted agent would do for us.

Sound goes through the ear, which says where the person's turns begin, pause and end. At the first short pause an `Attempt` is made
at answering; it counts if nothing more is said, and is dropped without a trace otherwise. The model's words are cut into sentences,
each of which is spoken while the next is being written. An interruption closes whatever is at work, and the dialogue keeps the
words that were heard.

What takes time is one task at most, `_work`: the answer to the latest utterance, tools included. What begins it, ends it and asks
for it are plain calls on the loop.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Coroutine
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipit.core.pcm import HEARING_RATE_HZ
from pipit.core.pronunciation import Pronunciation
from pipit.core.tool import Declaration
from pipit.offline.ear import Ear, Found, Paused, Resumed, Started, Stopped, TurnDetection, Utterance
from pipit.services import (
    NEW,
    Capabilities,
    Ended,
    Event,
    Failed,
    Opening,
    Ready,
    ToolCall,
    UserStarted,
    UserStopped,
    UserText,
)
from pipit.services.cascade import Call, Instruction, Sample, StageError, Text, User
from pipit.services.cascade.attempt import Attempt, Part
from pipit.services.cascade.dialogue import Dialogue
from pipit.services.cascade.guarded import NAMES, Name, Stages
from pipit.services.cascade.reply import Reply
from pipit.services.cascade.script import LETTERS_PER_S, Script
from pipit.services.cascade.settings import Settings
from pipit.services.wire import Malformed
from pipit.services.wire import arguments as parsed
from pipit.tasks import Tasks

NOT_UNDERSTOOD = "Sorry, I did not understand that."
"""Said where somebody spoke and the recogniser knows that it could not make anything of it."""

NO_OBJECT = '{"error": "the arguments are no JSON object"}'

LONGEST_GUESS_S = 10.0
"""A longer utterance is not transcribed at its pauses: people who talk that long pause often."""

GUESSES = 3
"""So often in a turn an attempt is made before it is known to be over."""

_CLOSE_S = 0.4
"""What is at work may take so long to let go; a session is over within a second."""

_NONE: NDArray[np.int16] = np.empty(0, np.int16)


class CascadeSession:
    """See `pipit.services.Session`.

    Args:
        stages: shared by all sessions.
        settings: of the service.
        opening: what the session begins with.
    """

    def __init__(self, stages: Stages, settings: Settings, opening: Opening = NEW) -> None:
        self.input_rate_hz = HEARING_RATE_HZ
        self.output_rate_hz = stages.speak.rate_hz
        self.capabilities = Capabilities(truncate=True, speech_interrupts=True, ping=False)
        self._stages = stages
        self._settings = settings
        self._opening = opening
        turn = settings.turn
        pause_ms = turn.pause_ms if turn.preemptive and turn.pause_ms < turn.silence_ms else None
        self._ear = Ear(HEARING_RATE_HZ, TurnDetection(turn.threshold, turn.silence_ms, turn.padding_ms, pause_ms))
        self._pronunciation = Pronunciation(settings.pronunciation)
        self._dialogue = Dialogue(opening.history)
        self._letters_per_s = LETTERS_PER_S
        self._preface = stages.think.stands_in if opening.instead_of else ""
        """What is said first, until it was heard."""
        self._queue: asyncio.Queue[Event] = asyncio.Queue()
        self._begun = self._open = self._over = False
        self._closing: asyncio.Task[None] | None = None
        self._tasks = Tasks(self._died)
        self._preparing: list[asyncio.Task[None]] = []
        self._work: asyncio.Task[None] | None = None
        self._attempt: Attempt | None = None
        """The one at work, or one that was made at a pause."""
        self._guesses = 0
        self._carried = _NONE
        """What the person said before, where the turn went on before that had been transcribed."""
        self._utterances = 0
        self._reply: Reply | None = None
        """The one that is being made."""
        self._replies = 0
        self._answers: dict[str, asyncio.Future[None]] = {}
        """Tools whose results the work waits for."""
        self._orders: list[str] = []
        """Instructions that wait until the work is done."""
        self._bug: BaseException | None = None

    # -- what the conversation hears -----------------------------------------------------------------------------------------------

    async def events(self) -> AsyncIterator[Event]:
        """See `Session.events`. May be iterated once."""
        if self._begun:
            raise RuntimeError("a session's events can be iterated once")
        self._begun = True
        last: Event | None = None
        try:
            last = await self._prepare()
            if last is None:
                yield Ready()
                self._greet()
            while last is None:
                event = await self._queue.get()
                if self._bug is not None:
                    raise self._bug
                if isinstance(event, Ended) or (isinstance(event, Failed) and event.kind != "benign"):
                    last = event
                else:
                    yield event
        finally:
            await self.close()
        yield last

    async def _prepare(self) -> Event | None:
        """Open all stages; return why there can be no session."""
        if not self._over:
            tasks = self._preparing = [asyncio.create_task(self._stages.open(name)) for name in NAMES]
            try:
                await asyncio.gather(*tasks)
            except StageError as error:
                return Failed(error.kind if error.kind != "benign" else "retryable", error.reason)
            except asyncio.CancelledError:
                if not self._over:
                    raise
            finally:
                for task in tasks:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)
        if self._over:
            return Ended("closed here")
        self._open = True
        return None

    def _greet(self) -> None:
        if self._opening.greet and (greeting := self._settings.greeting):
            self._begin(lambda: self._say(greeting))

    def _emit(self, event: Event) -> None:
        self._queue.put_nowait(event)

    def _died(self, error: BaseException) -> None:
        """Have `events` raise what a task died of: it was a mistake of ours."""
        self._bug = error
        self._emit(Ended())

    # -- what the conversation says ------------------------------------------------------------------------------------------------

    async def audio(self, pcm: bytes) -> None:
        """See `Session.audio`."""
        if self._open:
            for found in self._ear.feed(np.frombuffer(pcm, "<i2")):
                self._take(found)

    async def end_turn(self) -> None:
        """See `Codec.end_turn`."""
        if self._open and self._ear.talking:
            self._turn_over(self._ear.take())
        elif self._open and self._work is None:
            self._begin(self._nothing)

    async def interrupt(self, reply: str | None, heard_ms: int, *, by_service: bool) -> None:
        """See `Codec.interrupt`."""
        if reply is not None:
            self._dialogue.heard(reply, heard_ms * self.output_rate_hz // 1000)
        if not by_service:
            self._orders.clear()
            self._stop("cancelled")

    async def tool_result(self, call: str, result: str, *, is_error: bool) -> None:
        """See `Codec.tool_result`."""
        self._dialogue.result(call, result)
        answer = self._answers.get(call)
        if answer is not None and not answer.done():
            answer.set_result(None)

    async def generate(self, instructions: str) -> None:
        """See `Codec.generate`."""
        if self._open:
            self._orders.append(instructions)
            self._obey()

    async def close(self) -> None:
        """See `Session.close`. May be called at any time, any number of times."""
        if self._closing is None:
            self._over, self._open = True, False
            self._emit(Ended("closed here"))  # wakes `events`
            self._closing = asyncio.create_task(self._close())
        await asyncio.shield(self._closing)

    async def _close(self) -> None:
        tasks = [*self._tasks, *self._preparing]
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks, timeout=_CLOSE_S)
        await self._stages.release()

    # -- whose turn it is ----------------------------------------------------------------------------------------------------------

    def _take(self, found: Found) -> None:
        match found:
            case Started():
                self._emit(UserStarted())
                self._stop("interrupted")
                self._guesses = 0
                self._warm("hear", "think")
            case Paused(so_far=utterance):
                self._guess(utterance)
            case Resumed():
                self._forget()
            case Utterance():
                self._turn_over(found)
            case Stopped():
                pass  # the utterance follows

    def _guess(self, utterance: Utterance) -> None:
        """Begin to answer, should the turn be over."""
        short = len(utterance.samples) < LONGEST_GUESS_S * HEARING_RATE_HZ
        if self._attempt is None and self._guesses < GUESSES and short and not utterance.blip:
            self._guesses += 1
            self._attempt = self._try(utterance)
            self._warm("speak")

    def _forget(self) -> None:
        """The turn goes on, or ends otherwise: what was begun at the pause has not happened."""
        if self._attempt is not None:
            self._attempt.drop()
            self._attempt = None

    def _turn_over(self, utterance: Utterance) -> None:
        """The person has finished."""
        self._emit(UserStopped())
        if utterance.blip and not len(self._carried):
            self._forget()
            self._begin(self._nothing)
            return
        self._warm("speak")
        if self._attempt is not None and (self._attempt.failed or self._attempt.version != self._dialogue.version):
            self._forget()  # it may work now, or the model was told something else
        attempt = self._attempt = self._attempt or self._try(utterance)
        self._begin(lambda: self._answer(attempt))

    def _try(self, utterance: Utterance) -> Attempt:
        samples = np.concatenate((self._carried, utterance.samples))
        items = self._dialogue.items()

        def ask(text: str) -> AsyncGenerator[Part, None]:
            return self._stages.answer([*items, User(text)], self._tools(0))

        return Attempt(samples, self._stages.transcribe, ask, self._dialogue.version, self._tasks.spawn)

    def _stop(self, status: str) -> None:
        """End the answer that is being made, if there is one; `status` is what becomes of its reply."""
        work, self._work = self._work, None
        if work is not None:
            work.cancel()
        goes_on = status == "interrupted" and work is not None and self._attempt is not None and not self._attempt.understood
        self._carried = self._attempt.samples if goes_on and self._attempt is not None else _NONE
        self._forget()
        self._answers.clear()
        if self._reply is not None:
            self._letters_per_s = self._reply.script.letters_per_s
            self._reply.end(status)
            self._reply = None

    def _warm(self, *names: Name) -> None:
        """Have stages open what they will need; whether they could shows when it is needed."""
        for name in names:
            self._tasks.spawn(self._try_to_open(name))

    async def _try_to_open(self, name: Name) -> None:
        with contextlib.suppress(StageError):
            await self._stages.open(name)

    # -- the work ------------------------------------------------------------------------------------------------------------------

    def _begin(self, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Put a piece of work in the place of what is at work."""
        if self._work is not None:
            self._work.cancel()
        self._work = self._tasks.spawn(self._run(work))

    async def _run(self, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
        try:
            await work()
        except StageError as error:
            await self._fail(error)
        if self._work is asyncio.current_task():
            self._work = None
            self._obey()

    async def _fail(self, error: StageError) -> None:
        self._emit(Failed(error.kind, error.reason))
        if self._reply is not None:
            self._reply.end("failed", error.reason)
            self._reply = None
        elif error.kind == "benign":
            await self._nothing()

    def _obey(self) -> None:
        if self._orders and self._work is None and not self._ear.talking:
            order = self._orders.pop(0)
            self._begin(lambda: self._follow(order))

    async def _answer(self, attempt: Attempt) -> None:
        """Answer an utterance."""
        try:
            text = await attempt.text()
            self._carried = _NONE
            if text is None:
                await self._say(NOT_UNDERSTOOD)
            elif not text:
                await self._nothing()
            else:
                self._utterances += 1
                self._emit(UserText(text, final=True, item=f"utterance-{self._utterances}"))
                self._dialogue.user(text)
                await self._rounds(attempt.parts(), Sample(attempt.samples, text))
        finally:
            attempt.drop()
            if self._attempt is attempt:
                self._attempt = None

    async def _follow(self, instructions: str) -> None:
        items = [*self._dialogue.items(), Instruction(instructions)]
        await self._rounds(self._stages.answer(items, self._tools(0)), None)

    async def _nothing(self) -> None:
        """Make a reply without words, so that nobody waits for one."""
        reply = self._new_reply(may_call=False)
        reply.begin()
        reply.end("completed")
        self._reply = None

    async def _say(self, text: str) -> None:
        """Say something that no model has thought of."""
        await self._speak(_once(text), None, may_call=False)

    async def _rounds(self, parts: AsyncGenerator[Part, None], like: Sample | None) -> None:
        """Speak the model's answer, run the tools that it calls, and ask it again until it calls none."""
        rounds = self._settings.think.tool_rounds
        for number in range(rounds + 1):
            said = await self._speak(parts, like, may_call=number < rounds)
            if not self._answers:
                if not said:  # a picture, say, or a call that it may not make
                    await self._nothing()
                return
            await asyncio.gather(*self._answers.values())
            self._answers.clear()
            parts = self._stages.answer(self._dialogue.items(), self._tools(number + 1))

    def _tools(self, number: int) -> tuple[Declaration, ...]:
        """Return what the model may call in a round."""
        return self._opening.tools if number < self._settings.think.tool_rounds else ()

    async def _speak(self, parts: AsyncGenerator[Part, None], like: Sample | None, *, may_call: bool) -> bool:
        """Speak what the model answers; return whether that was anything."""
        preface = "" if self._dialogue.was_heard(self._preface) else self._preface
        reply = self._new_reply(may_call=may_call)
        await reply.speak(self._stages, parts, like, self._pronunciation, preface)
        self._letters_per_s = reply.script.letters_per_s
        self._reply = None
        return reply.begun

    def _new_reply(self, *, may_call: bool) -> Reply:
        self._replies += 1
        name, script = f"reply-{self._replies}", Script(self.output_rate_hz, self._letters_per_s)
        self._dialogue.reply(name, script)

        def called(call: Call) -> None:
            if may_call:
                self._call(name, call)

        reply = self._reply = Reply(name, script, self._emit, called)
        return reply

    def _call(self, reply: str, call: Call) -> None:
        """Have a tool run; the work waits for its result before the model is asked again."""
        self._dialogue.call(reply, call)
        answer = self._answers[call.id] = asyncio.get_running_loop().create_future()
        try:
            arguments = parsed({"arguments": call.arguments}, "arguments")
        except Malformed:
            self._dialogue.result(call.id, NO_OBJECT)
            answer.set_result(None)
        else:
            self._emit(ToolCall(call.id, call.name, arguments, reply))


async def _once(text: str) -> AsyncGenerator[Part, None]:
    yield Text(text)
