"""Which light belongs to which state: a pure function of (state, seconds in it, level)."""

from __future__ import annotations

from typing import NamedTuple


class Light(NamedTuple):
    """How bright each of the three meanings is, 0 to 1. A board maps them to pins, colours or a ring."""

    listening: float = 0.0
    thinking: float = 0.0
    speaking: float = 0.0


OFF = Light()
