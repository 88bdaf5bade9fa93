"""Which of espeak-ng's voices stands for which of a service's."""

from __future__ import annotations

_VARIANTS = (
    *("en-us+f3", "en-gb+m3", "en-us", "en-gb", "en-us+f2", "en-gb-x-rp", "en-us+m2", "en-gb-scotland", "en-us+f4", "en-gb+f2"),
)


def variant(name: str) -> str:
    """Return the espeak-ng voice that stands for a service's voice: always the same for a name, mostly another for another."""
    return _VARIANTS[sum(name.encode()) % len(_VARIANTS)]
