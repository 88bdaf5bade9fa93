"""What a settings class allows, taken from its annotations: the one form that the reader, the template and the schema go by."""

from __future__ import annotations

import collections.abc
import dataclasses
import types
import typing
from typing import Any, NamedTuple

from pipit.core.options import Option, Secret, describe

SCALARS = (bool, int, float, str)


class Kind(NamedTuple):
    """What values an annotation allows; several of these may apply at once."""

    scalars: frozenset[type] = frozenset()
    nullable: bool = False
    secret: bool = False
    item: Kind | None = None
    """A list of these."""
    section: type[Any] | None = None
    """A settings class inside another."""
    mapping: bool = False
    """Anything with names, passed through untouched."""


class Entry(NamedTuple):
    """One option of a settings class."""

    name: str
    kind: Kind
    option: Option
    required: bool
    default: Any = None


def entries(cls: type[Any]) -> tuple[Entry, ...]:
    """List the options of a settings class in the order of their declaration.

    Raises:
        TypeError: an annotation is not one of those that `core.options` allows.
    """
    hints = typing.get_type_hints(cls)
    return tuple(_entry(field, kind_of(hints[field.name])) for field in dataclasses.fields(cls))


def kind_of(annotation: Any) -> Kind:
    """Say what an annotation allows.

    Raises:
        TypeError: it is not one of those that `core.options` allows.
    """
    union = typing.get_origin(annotation) in (typing.Union, types.UnionType)
    kind = Kind()
    for member in typing.get_args(annotation) if union else (annotation,):
        kind = _with(kind, member)
    return kind


def _entry(field: dataclasses.Field[Any], kind: Kind) -> Entry:
    if field.default_factory is not dataclasses.MISSING:
        return Entry(field.name, kind, describe(field), False, field.default_factory())
    if field.default is not dataclasses.MISSING:
        return Entry(field.name, kind, describe(field), False, field.default)
    return Entry(field.name, kind, describe(field), True)


def _with(kind: Kind, member: Any) -> Kind:
    origin = typing.get_origin(member)
    if member is types.NoneType:
        return kind._replace(nullable=True)
    if member in SCALARS:
        return kind._replace(scalars=kind.scalars | {member})
    if member is Secret:
        return kind._replace(secret=True)
    if origin is collections.abc.Mapping:
        return kind._replace(mapping=True)
    if origin is tuple and typing.get_args(member)[1:] == (...,):
        return kind._replace(item=kind_of(typing.get_args(member)[0]))
    if dataclasses.is_dataclass(member) and isinstance(member, type):
        return kind._replace(section=member)
    raise TypeError(f"{member} is not an annotation that an option may have (see pipit.core.options)")
