"""What the owner may ask of the running daemon, through the control socket."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from pipit import __version__
from pipit.audio import Device
from pipit.conductor import STATUS, Conductor
from pipit.core.events import Held, Pressed
from pipit.core.machine import State
from pipit.errors import PipitError
from pipit.hearing import Hearing
from pipit.system.control import Command


def commands(
    conductor: Conductor,
    device: Device,
    hearing: Hearing,
    duplex: Callable[[], str],
    reload: Callable[[], Awaitable[Mapping[str, Any]]],
) -> Mapping[str, Command]:
    """Return the commands by name, as `system.control.serve` takes them.

    Args:
        conductor: runs the machine.
        device: whose loudspeaker's volume it is.
        hearing: counts what is heard.
        duplex: says in a sentence whether the person may talk over Pipit.
        reload: reads the configuration again and says what became of it.
    """

    async def status(_: Any) -> Mapping[str, Any]:
        state, counters = conductor.machine.state, device.counters
        return {
            "state": state.value,
            "doing": STATUS[state],
            "volume": round(device.mixer.volume),
            "echo": duplex(),
            "conversations": conductor.conversations,
            "microphone_dbfs": round(hearing.level_dbfs, 1),
            "lost_ms": round(1000 * hearing.lost_samples / device.input_rate_hz),
            "overruns": counters.overruns,
            "underruns": counters.underruns,
            "version": __version__,
        }

    async def volume(value: Any) -> Mapping[str, Any]:
        if value is not None:
            if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 100:
                raise PipitError(f"volume {value!r}: expected a number from 0 to 100")
            device.mixer.set_volume(value)
        return {"volume": round(device.mixer.volume)}

    async def mute(value: Any) -> Mapping[str, Any]:
        if (conductor.machine.state is State.MUTED) is not bool(value):
            conductor.feed(Held())
        return {"muted": conductor.machine.state is State.MUTED}

    async def interrupt(_: Any) -> Mapping[str, Any]:
        state = conductor.machine.state
        if state not in (State.SPEAKING, State.THINKING):
            raise PipitError(f"there is no reply to interrupt: Pipit is {STATUS[state]}")
        conductor.feed(Pressed())
        return {"state": conductor.machine.state.value}

    async def read_again(_: Any) -> Mapping[str, Any]:
        return await reload()

    return {"status": status, "volume": volume, "mute": mute, "interrupt": interrupt, "reload": read_again}
