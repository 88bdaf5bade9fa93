"""Checks JSON values against declared shapes; what is wrong is said in terms that each protocol makes its own errors of. Pure."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Any, Literal

Problem = Literal["unknown", "missing", "type", "value"]


class Refused(Exception):
    """A value does not have the shape it should have.

    Args:
        problem: "unknown" field, "missing" field, wrong "type", or right type but not an allowed "value".
        path: where, such as "session.audio.output.voice".
        message: what is wrong and what is allowed.
        code: the protocol's own error code, where the kind of problem does not decide it.
    """

    def __init__(self, problem: Problem, path: str, message: str, code: str = "") -> None:
        super().__init__(message)
        self.code = code
        self.problem: Problem = problem
        self.path = path
        self.message = message


Shape = Callable[[Any, str], None]
"""Takes a value and its path; raises `Refused`."""


def anything(value: Any, path: str) -> None:
    """Accept every value."""


def text(value: Any, path: str) -> None:
    """Accept a string."""
    _require(isinstance(value, str), "a string", value, path)


def flag(value: Any, path: str) -> None:
    """Accept true and false."""
    _require(isinstance(value, bool), "a boolean", value, path)


def number(lowest: float, highest: float, *, whole: bool = False) -> Shape:
    """Accept numbers within bounds, both inclusive."""

    def check(value: Any, path: str) -> None:
        kinds = int if whole else (int, float)
        _require(isinstance(value, kinds) and not isinstance(value, bool), "an integer" if whole else "a number", value, path)
        if not lowest <= value <= highest:
            raise Refused("value", path, f"Invalid value: {value}. Expected a value from {lowest:g} to {highest:g}.")

    return check


def one_of(*values: Any) -> Shape:
    """Accept the listed values."""

    def check(value: Any, path: str) -> None:
        if not any(value == allowed and type(value) is type(allowed) for allowed in values):
            listed = ", ".join(repr(allowed) for allowed in values)
            raise Refused("value", path, f"Invalid value: {value!r}. Supported values are: {listed}.")

    return check


def nullable(shape: Shape) -> Shape:
    """Accept null, and what `shape` accepts."""

    def check(value: Any, path: str) -> None:
        if value is not None:
            shape(value, path)

    return check


def either(*shapes: Shape) -> Shape:
    """Accept what any of the shapes accepts; complain in the words of the last."""

    def check(value: Any, path: str) -> None:
        for shape in shapes[:-1]:
            try:
                return shape(value, path)
            except Refused:
                continue
        return shapes[-1](value, path)

    return check


def array(shape: Shape, longest: int = 100_000) -> Shape:
    """Accept lists of what `shape` accepts."""

    def check(value: Any, path: str) -> None:
        _require(isinstance(value, list), "an array", value, path)
        if len(value) > longest:
            raise Refused("value", path, f"Invalid value: {len(value)} entries. Expected at most {longest}.")
        for index, entry in enumerate(value):
            shape(entry, f"{path}[{index}]")

    return check


def record(fields: Mapping[str, Shape], required: Collection[str] = ()) -> Shape:
    """Accept objects with these fields and no others."""

    def check(value: Any, path: str) -> None:
        _require(isinstance(value, dict), "an object", value, path)
        for name in value:
            if name not in fields:
                where = f"{path}.{name}".strip(".")
                raise Refused("unknown", where, f"Unknown parameter: '{where}'.")
        for name in required:
            if name not in value:
                where = f"{path}.{name}".strip(".")
                raise Refused("missing", where, f"Missing required parameter: '{where}'.")
        for name, entry in value.items():
            fields[name](entry, f"{path}.{name}".strip("."))

    return check


def by(key: str, variants: Mapping[str, Shape]) -> Shape:
    """Accept objects whose field `key` names one of the variants, and which are such."""

    def check(value: Any, path: str) -> None:
        _require(isinstance(value, dict), "an object", value, path)
        where = f"{path}.{key}".strip(".")
        if key not in value:
            raise Refused("missing", where, f"Missing required parameter: '{where}'.")
        one_of(*variants)(value[key], where)
        variants[value[key]](value, path)

    return check


def _require(right: bool, kind: str, value: Any, path: str) -> None:
    if not right:
        found = {dict: "an object", list: "an array", str: "a string", bool: "a boolean", type(None): "null"}
        raise Refused(
            "type", path, f"Invalid type for '{path}': expected {kind}, but got {found.get(type(value), 'a number')} instead."
        )
