"""Events -> machine -> commands: the one place where what was decided is done.

Everything here runs on the event loop. Events may arrive while a command is being carried out; they wait their turn, so each
command sees the state that asked for it.
"""

from __future__ import annotations

import asyncio
import random
from collections import deque
from collections.abc import Callable, Coroutine
from typing import Any

from pipit.audio import Device
from pipit.conversation import Conversation
from pipit.core import events
from pipit.core.backoff import Backoff
from pipit.core.gestures import Gestures
from pipit.core.machine import Machine, Row, State
from pipit.core.pcm import HEARING_RATE_HZ
from pipit.cues import Cues
from pipit.errors import HardwareError
from pipit.hearing import Hearing
from pipit.lamp import Lamp
from pipit.services import Session
from pipit.system import Record
from pipit.system.notify import Notifier
from pipit.tasks import Tasks
from pipit.tools import Runner

_SUPERVISE_S = 0.25
"""How often the streams are looked at: a dead one is noticed within twice this and the device's own limit of 0.5 s."""

STATUS = {
    State.STARTING: "waiting for the microphone",
    State.IDLE: "waiting for the wake word",
    State.CONNECTING: "connecting to the service",
    State.LISTENING: "listening",
    State.HEARING: "hearing the person talk",
    State.THINKING: "waiting for the answer",
    State.SPEAKING: "speaking",
    State.MUTED: "muted: the microphone is off",
    State.FAULT: "the service failed; the wake word tries again",
    State.STOPPED: "stopping",
}
"""What `systemctl status` says."""


class Conductor:
    """Runs the machine and carries out its commands."""

    def __init__(
        self,
        machine: Machine,
        gestures: Gestures,
        device: Device,
        hearing: Hearing,
        lamp: Lamp,
        cues: Cues,
        open_session: Callable[[], Session],
        tools: Runner,
        notify: Notifier,
        record: Record,
        failed: Callable[[BaseException], None],
        *,
        full_duplex: Callable[[], bool],
        clock: Callable[[], float],
        changed: Callable[[State, events.Event], None] = lambda state, event: None,
    ) -> None:
        self.stopped = asyncio.Event()
        """Set when everything has been said and closed."""
        self.ready = asyncio.Event()
        """Set when Pipit listens for the first time."""
        self.machine = machine
        self.conversations = 0
        """How many were begun since the start."""
        self._gestures = gestures
        self._gesture_timer: asyncio.TimerHandle | None = None
        self._pressed_for: Row | None = None  # what a press meant as the button went down
        self._device = device
        self._hearing = hearing
        self._lamp = lamp
        self._cues = cues
        self._open_session = open_session
        self._tools = tools
        self._notify = notify
        self._record = record
        self._failed = failed
        self._full_duplex = full_duplex
        self._clock = clock
        self._tell = changed
        self._loop = asyncio.get_running_loop()
        self._waiting: deque[events.Event] = deque()
        self._busy = False
        self._timer: asyncio.TimerHandle | None = None
        self._conversation: Conversation | None = None
        self._tasks = Tasks(failed)
        self._opened = False
        self._complaint = ""  # why the device could not be opened, as last recorded

    # -- events -----------------------------------------------------------------------------------------------------------------

    def post(self, event: events.Event) -> None:
        """Take an event from any thread."""
        self._loop.call_soon_threadsafe(self.feed, event)

    def feed(self, event: events.Event) -> None:
        """Take an event on the loop."""
        self._waiting.append(event)
        if self._busy:
            return
        self._busy = True
        try:
            while self._waiting:
                self._handle(self._waiting.popleft())
        except BaseException as error:  # the loop would only print it, and Pipit stay as it is for ever
            self._failed(error)
        finally:
            self._busy = False

    def post_edge(self, edge: events.Edge) -> None:
        """Take an edge of the button from any thread."""
        self._loop.call_soon_threadsafe(self._edge, edge)

    def _edge(self, edge: events.Edge | None) -> None:
        """Take an edge, or the passing of time."""
        if edge is not None and edge.pressed:
            self._pressed_for = self.machine.would(events.Pressed())
        if edge is not None:
            meant = self._gestures.feed(edge, self.machine.meaning.at_once)
        else:
            meant = self._gestures.timeout(self._clock())
        for event in meant:
            # A press that ends a turn must not cut the answer, because the service ended the turn while the button was down.
            if isinstance(event, events.Held) or self.machine.would(event) == self._pressed_for:
                self.feed(event)
        if self._gesture_timer is not None:
            self._gesture_timer.cancel()
            self._gesture_timer = None
        if self._gestures.deadline is not None:
            delay_s = max(0.0, self._gestures.deadline - self._clock())
            self._gesture_timer = self._loop.call_later(delay_s, self._edge, None)

    def _handle(self, event: events.Event) -> None:
        now = self._clock()
        if isinstance(event, events.VoiceHeard | events.VoiceEnded | events.VoiceOver | events.VoiceOverEnded):
            meant = self._conversation.voice(event) if self._conversation else None
            if meant is None:
                return
            event = meant
        before = self.machine.state
        commands = self.machine.feed(event, now)
        if self.machine.state is not before:
            self._changed(before, event, now)
        for command in commands:
            self._execute(command, event)
        self._apply_gates()
        self._set_timer(now)

    def _changed(self, before: State, event: events.Event, now: float) -> None:
        state = self.machine.state
        self._lamp.enter(state, now)
        self._tell(state, event)
        if isinstance(event, events.WakeHeard):
            at_s = round(event.position / HEARING_RATE_HZ, 2)  # of sound since the start: finds it in a recording
            text = f"heard {event.word!r} (score {event.score:.2f})"
            self._record("wake", text, word=event.word, score=round(event.score, 3), at_s=at_s)
        if isinstance(event, events.SessionFailed):
            self._record("fault", event.reason, level="error", retryable=event.retryable)
        if isinstance(event, events.CaptureLost):
            self._record("device_lost", event.reason, level="error")
        if state is State.FAULT and isinstance(event, events.TimePassed):
            self._record("fault", f"the service did not answer in time while {before.value}", level="error", retryable=True)
        self._record("state", f"{before.name} -> {state.name} on {type(event).__name__}", state=state.value, previous=before.value)
        if state is not State.STOPPED:
            self._notify.status(STATUS[state])
        if isinstance(event, events.CaptureRunning):
            self._complaint = ""
        if state is State.IDLE and not self.ready.is_set():
            self.ready.set()
            self._notify.ready(STATUS[state])
            self._record("ready", "ready: nothing leaves this device before the wake word or the button")

    def _apply_gates(self) -> None:
        meaning = self.machine.meaning
        self._hearing.wake_counts = meaning.wake
        self._hearing.interrupting = self.machine.state is State.SPEAKING
        if self._conversation is not None:
            self._conversation.allow(meaning.uplink)

    def _set_timer(self, now: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self.machine.deadline is not None:
            self._timer = self._loop.call_later(max(0.0, self.machine.deadline - now), self.feed, events.TimePassed())

    # -- commands ---------------------------------------------------------------------------------------------------------------

    def _execute(self, command: events.Command, event: events.Event) -> None:
        wake = event if isinstance(event, events.WakeHeard) else None
        match command:
            case events.OpenSession():
                self._open(wake)
            case events.CloseSession():
                self._close()
            case events.EndTurn():
                if self._conversation is not None:
                    self._conversation.end_turn()
            case events.Interrupt():
                if self._conversation is not None:
                    self._conversation.interrupt(wake)
            case events.PlayCue(name=name):
                self._cues.play(name)
            case events.StopCapture():
                self._device.stop_capture()
            case events.StartCapture():
                self._start_capture()
            case events.Exit():
                self.spawn(self._exit())

    def _open(self, wake: events.WakeHeard | None) -> None:
        self.conversations += 1
        self._conversation = Conversation(
            self._open_session(),
            self._tools,
            self._device,
            self._hearing,
            self.feed,
            self._record,
            self._failed,
            full_duplex=self._full_duplex,
            number=self.conversations,
            wake=wake,
            clock=self._clock,
        )
        self.spawn(self._conversation.run())

    def _close(self) -> None:
        if self._conversation is not None:
            self.spawn(self._conversation.close())
            self._conversation = None

    def _start_capture(self) -> None:
        try:
            self._device.start_capture()
        except HardwareError as error:
            self._record("device_lost", str(error), level="error")
            self._device.close()
            self._opened = False  # the supervisor opens it again
            return
        self._hearing.restart()

    async def _exit(self) -> None:
        self._notify.stopping()
        others = set(self._tasks) - {asyncio.current_task()}
        if others:
            await asyncio.wait(others, timeout=1.2)
        self.stopped.set()

    def spawn(self, work: Coroutine[Any, Any, None]) -> None:
        """Run something on the loop; what it dies of, Pipit dies of."""
        self._tasks.spawn(work)

    # -- the device -------------------------------------------------------------------------------------------------------------

    async def supervise(self) -> None:
        """Open the device, notice when it dies, and open it again, for ever."""
        delays = Backoff(random.random, first_s=1.0, limit_s=10.0)
        ran = False  # there was sound since the device was opened
        while True:
            state = self.machine.state
            if state is State.MUTED or state is State.STOPPED:
                await asyncio.sleep(_SUPERVISE_S)
                continue
            if not self._opened:
                self._opened = self._try_open()
                if not self._opened:
                    await asyncio.sleep(delays.next_s())
                    continue
                ran = False
            ran = ran or state is not State.STARTING
            reason = self._device.failure(self._clock())
            if reason is None:
                await asyncio.sleep(_SUPERVISE_S)
                continue
            self._opened = False
            self._device.close()
            if ran:
                delays.reset()
                self.feed(events.CaptureLost(reason))
            else:
                self._complain(reason)
                await asyncio.sleep(delays.next_s())

    def _try_open(self) -> bool:
        try:
            self._device.open()
        except HardwareError as error:
            self._complain(str(error))
            return False
        self._hearing.restart()  # not before it is open: what is left of the old stream must not pass for a new one
        return True

    def _complain(self, text: str) -> None:
        """Say why there is no sound, once: the same reason every ten seconds would fill the journal."""
        if text != self._complaint:
            self._complaint = text
            self._record("device_missing", text, level="error")
            self._notify.status(text)
