"""How a settings class declares an option: its default, its meaning, its unit and its bounds.

A settings class is a frozen dataclass whose fields are made by `option`. The configuration reader, the JSON Schema, the commented
`config/pipit.yaml` and the documentation are all derived from these declarations, so an option is described in one place.

Field annotations may be: bool, int, float, str, Secret, unions of those such as `X | None` or `int | str`, tuple[X, ...] of those
or of another settings class, another settings class, or Mapping[str, Any] for what is passed through untouched.

What the declarations cannot say, `__post_init__` may check: it raises ConfigError with problems such as "url: what is wrong", each
beginning with the name of the option that it is about. File, line and section are put in front of them.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any, NamedTuple


class Option(NamedTuple):
    """What is known of one option besides its name and type."""

    doc: str
    """One or two sentences for the owner; becomes the comment in the YAML file."""
    unit: str = ""
    """Unit of the number, as printed: "s", "ms", "Hz", "dB", "%"."""
    minimum: float | None = None
    maximum: float | None = None
    """Inclusive bounds of a number."""
    choices: tuple[Any, ...] = ()
    """The allowed values; empty means any. They speak of their own type only: `int | str` with ("auto",) is any number, or auto."""
    example: Any = None
    """A value worth showing in the YAML comment when the default says little."""
    paths: tuple[str, ...] = ()
    """Endings by which a text is the path of a file, "" any text. A relative one is relative to the configuration."""


def option(
    default: Any = dataclasses.MISSING,
    doc: str = "",
    *,
    factory: Callable[[], Any] | None = None,
    unit: str = "",
    minimum: float | None = None,
    maximum: float | None = None,
    choices: tuple[Any, ...] = (),
    example: Any = None,
    paths: tuple[str, ...] = (),
) -> Any:
    """Declare a settings field; without a default (or factory) the option is required."""
    metadata = {"option": Option(doc, unit, minimum, maximum, choices, example, paths)}
    if factory is not None:
        return dataclasses.field(default_factory=factory, metadata=metadata)
    return dataclasses.field(default=default, metadata=metadata)


def describe(field: dataclasses.Field[Any]) -> Option:
    """Return what `option` recorded for a dataclass field."""
    declared: Option = field.metadata["option"]
    return declared


class Secret:
    """A value that must not appear in logs, in printed configuration or in a traceback.

    `reveal()` is called in the one place that sends it.
    """

    __slots__ = ("_value", "source")

    def __init__(self, value: str, source: str = "") -> None:
        self._value = value
        self.source = source
        """Where it came from, for messages: "credential openai", "environment variable X", "file P"."""

    def reveal(self) -> str:
        """Return the secret itself."""
        return self._value

    def __repr__(self) -> str:
        return "Secret(…)"

    __str__ = __repr__

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and other._value == self._value

    def __hash__(self) -> int:
        return hash(self._value)
