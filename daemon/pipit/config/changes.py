"""What differs between two configurations."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any

from pipit.config.sections import SECTIONS, Config, Selection


def changes(before: Config, after: Config) -> tuple[str, ...]:
    """Return the paths of the options that differ, in the order of the file: ("audio.output.volume", "wake.words")."""
    old, new = dict(_options(before)), dict(_options(after))
    return tuple(path for path in {**old, **new} if path not in old or path not in new or old[path] != new[path])


def _options(config: Config) -> Iterator[tuple[str, Any]]:
    for name, section in SECTIONS.items():
        value = getattr(config, name)
        if not isinstance(section, Selection):
            yield from _fields(name, value)
            continue
        yield f"{name}.{section.key}", value.name
        yield from _fields(name, value.settings)
        if value.alternatives:
            yield name, value.alternatives


def _fields(path: str, value: Any) -> Iterator[tuple[str, Any]]:
    """Yield each option below `path`; a list is one option."""
    if not dataclasses.is_dataclass(value):
        yield path, value
        return
    for field in dataclasses.fields(value):
        yield from _fields(f"{path}.{field.name}", getattr(value, field.name))
