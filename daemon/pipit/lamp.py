"""The lamp: shows the state on the board, and sleeps where nothing moves."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from pipit.core.lights import Light, light, next_change
from pipit.core.machine import State
from pipit.leds import Board
from pipit.system import Record

_REST_S = 10.0
"""How long a board that failed is left alone. Long enough to cost nothing, short enough to see a plug put back."""


class Lamp:
    """Keeps the board's light equal to what `core.lights` says of the state.

    A new state shows at once; what moves within a state is moved by `run`. A board that fails is recorded once, left alone for ten
    seconds and tried again, for ever: a speaker with a broken light is still a speaker.

    Args:
        board: what shines.
        level: loudness of the voice that is heard or spoken now, 0 to 1.
        clock: seconds, the same as in `enter`.
        record: takes the board's failures.
    """

    def __init__(self, board: Board, level: Callable[[], float], clock: Callable[[], float], record: Record) -> None:
        self._board = board
        self._level = level
        self._clock = clock
        self._record = record
        self._state = State.STARTING
        self._since = clock()
        self._shown: tuple[Light, State] | None = None
        self._failed_at: float | None = None
        self._entered = asyncio.Event()

    def enter(self, state: State, now: float) -> None:
        """Show a state from now on."""
        self._state = state
        self._since = now
        self.refresh(now)
        self._entered.set()

    async def run(self) -> None:
        """Move the light, for ever."""
        while True:
            self._entered.clear()
            wait_s = self.refresh(self._clock())
            try:
                async with asyncio.timeout(wait_s):
                    await self._entered.wait()
            except TimeoutError:
                pass

    def refresh(self, now: float) -> float | None:
        """Show the light of this moment; return in how many seconds to look again, or None if only a new state changes it."""
        if self._failed_at is not None and now < self._failed_at + _REST_S:
            return self._failed_at + _REST_S - now
        seconds = now - self._since
        wanted = (light(self._state, seconds, self._level()), self._state)
        if wanted != self._shown and not self._show(*wanted, now):
            return _REST_S
        return next_change(self._state, seconds)

    def _show(self, wanted: Light, state: State, now: float) -> bool:
        try:
            self._board.show(wanted, state)
        except Exception as error:  # a board is foreign code on foreign hardware: whatever it raises, the speaker goes on
            self._shown = None
            if self._failed_at is None:
                text = f"the lights failed and are left alone, tried again every {_REST_S:.0f} s: {type(error).__name__}: {error}"
                self._record("lights_lost", text, level="error")
            self._failed_at = now
            return False
        if self._failed_at is not None:
            self._failed_at = None
            self._record("lights_back", "the lights work again")
        self._shown = (wanted, state)
        return True
