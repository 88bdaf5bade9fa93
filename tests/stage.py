"""The conductor, the machine and the whole sound path in this process, with sessions that say what a test tells them to."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Mapping
from types import TracebackType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipit import services
from pipit.audio import file
from pipit.conductor import Conductor
from pipit.core import events
from pipit.core.gestures import Gestures
from pipit.core.machine import Limits, Machine, State
from pipit.cues import Cues
from pipit.echo import Through
from pipit.hearing import Hearing
from pipit.lamp import Lamp
from pipit.leds.off import Dark
from pipit.services import Capabilities
from pipit.system.notify import Notifier
from pipit.tools import Outcome, Runner
from pipit.wake import Wake

RATE_HZ = 16000
CAN, LIMITS = Capabilities(), Limits()


class NoWords:
    """A wake word engine without words."""

    words = ()

    def detect(self, block: NDArray[np.int16], *, interrupting: bool = False) -> Wake | None:
        return None

    def near_miss(self) -> Wake | None:
        return None

    def scores(self) -> Mapping[str, float]:
        return {}

    def reset(self) -> None:
        pass

    def close(self) -> None:
        pass


class NoTools:
    async def run(self, name: str, arguments: Mapping[str, Any]) -> Outcome:
        return Outcome("{}")


class Script:
    """A session that reports what it is told to, and keeps what it is given.

    Args:
        capabilities: what it can do.
        close_s: how long its goodbye takes.
    """

    input_rate_hz = RATE_HZ
    output_rate_hz = RATE_HZ

    def __init__(self, capabilities: Capabilities = CAN, close_s: float = 0.0) -> None:
        self.capabilities = capabilities
        self.sent: list[NDArray[np.int16]] = []
        """The messages upwards."""
        self.calls: list[tuple[Any, ...]] = []
        """What else it was asked for."""
        self.takes_sound = asyncio.Event()
        self.takes_sound.set()
        self._events: asyncio.Queue[services.Event] = asyncio.Queue()
        self._close_s = close_s
        self._closing: asyncio.Task[None] | None = None

    def reports(self, *reports: services.Event) -> None:
        for event in reports:
            self._events.put_nowait(event)

    async def events(self) -> AsyncIterator[services.Event]:
        try:
            while True:
                event = await self._events.get()
                yield event
                if isinstance(event, services.Ended) or (isinstance(event, services.Failed) and event.kind != "benign"):
                    return
        finally:
            await self.close()

    async def audio(self, pcm: bytes) -> None:
        await self.takes_sound.wait()
        self.sent.append(np.frombuffer(pcm, np.int16))

    async def end_turn(self) -> None:
        self.calls.append(("end_turn",))

    async def interrupt(self, reply: str | None, heard_ms: int, *, by_service: bool) -> None:
        self.calls.append(("interrupt", reply))

    async def tool_result(self, call: str, result: str, *, is_error: bool) -> None:
        self.calls.append(("tool_result", call))

    async def generate(self, instructions: str) -> None:
        self.calls.append(("generate", instructions))

    async def close(self) -> None:
        if self._closing is None:
            self._closing = asyncio.create_task(asyncio.sleep(self._close_s))
            self._events.put_nowait(services.Ended("closed here"))
        await asyncio.shield(self._closing)


class Stage:
    """Everything from the microphone to the loudspeaker, around the given sessions, in real time. Use with `async with`.

    Args:
        sessions: one for each conversation, or a function that opens one.
        microphone: what is heard, at 16 kHz, again and again; silence if there is none.
        device: in the place of a file device.
    """

    def __init__(
        self,
        *sessions: Script | Callable[[], Script],
        microphone: NDArray[np.int16] | None = None,
        device: file.FileDevice | None = None,
        limits: Limits = LIMITS,
        tools: Runner | None = None,
    ) -> None:
        self.records: list[tuple[str, str, dict[str, Any]]] = []
        self.died: list[BaseException] = []
        self.at = asyncio.Event()  # something happened
        self.device = device or tape(microphone)
        self.machine = Machine(limits, now=time.monotonic())
        self.hearing = Hearing(self.device, NoWords(), Through(full_duplex=False), self._post, self._failed)
        queue = iter(sessions)

        def opened() -> Script:
            made = next(queue)
            return made if isinstance(made, Script) else made()

        self.conductor = Conductor(
            self.machine,
            Gestures(),
            self.device,
            self.hearing,
            Lamp(Dark(), lambda: 0.0, time.monotonic, self.record),
            Cues(self.device.mixer, {}),
            opened,
            tools or NoTools(),
            Notifier(lambda text: None, None),
            self.record,
            self._failed,
            full_duplex=lambda: False,
            clock=time.monotonic,
        )
        self._supervisor: asyncio.Task[None] | None = None
        self._limit = asyncio.timeout(30)

    def _post(self, event: events.Event) -> None:
        self.conductor.post(event)

    def _failed(self, error: BaseException) -> None:
        self.died.append(error)

    def record(self, event: str, message: str, *, level: str = "info", **fields: Any) -> None:
        self.records.append((event, message, fields))

    def of(self, event: str) -> list[dict[str, Any]]:
        return [{"message": message, **fields} for name, message, fields in self.records if name == event]

    async def __aenter__(self) -> Stage:
        await self._limit.__aenter__()
        self.hearing.start()
        self._supervisor = asyncio.create_task(self.conductor.supervise())
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None) -> None:
        assert self._supervisor is not None
        self._supervisor.cancel()
        self.hearing.stop()
        self.device.close()
        await self._limit.__aexit__(kind, error, where)

    async def until(self, condition: State | Callable[[], object]) -> None:
        """Wait for a state, or for anything; after 30 s the test has failed."""
        while (self.machine.state is not condition) if isinstance(condition, State) else not condition():  # noqa: ASYNC110
            await asyncio.sleep(0.005)

    async def called(self, session: Script) -> None:
        """Press the button and let the session be ready."""
        self.conductor.feed(events.Pressed())
        session.reports(services.Ready("a session"))
        await self.until(State.LISTENING)


def tape(microphone: NDArray[np.int16] | None = None) -> file.FileDevice:
    settings = file.Settings(input=file.Input(at_end="silence" if microphone is None else "loop"), output=file.Output(rate=RATE_HZ))
    return file.FileDevice(settings, np.empty(0, np.int16) if microphone is None else microphone, RATE_HZ)


def asked() -> tuple[services.Event, ...]:
    """Somebody has said something."""
    return services.UserStarted(), services.UserStopped()


def reply(name: str, seconds: float) -> tuple[services.Event, ...]:
    """A whole reply, all at once."""
    tone = (np.sin(np.arange(round(seconds * RATE_HZ)) / 10) * 8000).astype(np.int16)
    return services.ReplyStarted(name), services.ReplyAudio(name, tone.tobytes()), services.ReplyDone(name)
