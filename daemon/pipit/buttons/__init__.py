"""Buttons: the contract of a driver."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from pipit.core.events import Edge


class Button(Protocol):
    """Reports edges. `post` is called from whatever thread notices them and MUST be thread-safe (call_soon_threadsafe)."""

    def start(self, post: Callable[[Edge], None]) -> None:
        """Begin to report.

        Raises:
            HardwareError: the pin cannot be used; says who holds it where that is known.
        """

    def close(self) -> None:
        """Stop reporting and let go of the pin. May be called twice."""
