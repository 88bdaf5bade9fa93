"""Are the arguments of a call what the tool's schema says? Models mostly keep to it, and sometimes do not.

The part of JSON Schema (draft 2020-12) that agents' tools are described with: type, enum, const, minimum, maximum, properties,
required, items, minLength, maxLength. Other words are not checked here; they still tell the agent what is wanted.

Nothing here trusts what it is given: arguments come from a model, and schemas from the owner or from a server.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

DEEPEST = 32
"""So deep may JSON be nested, arguments and schemas alike; Python's own limit is some hundred."""

_TYPES: Mapping[str, tuple[type, ...]] = {
    "object": (Mapping,),
    "array": (list,),
    "string": (str,),
    "number": (int, float),
    "integer": (int,),
    "boolean": (bool,),
    "null": (type(None),),
}


def plain(value: Any) -> Any:
    """Return a copy that can be sent to everybody: JSON in UTF-8, with a question mark for each half of a surrogate pair.

    Raises:
        ValueError: it is not JSON, holds a number that is infinite or has thousands of digits, or is nested too deeply.
    """
    level = [value]
    for _ in range(DEEPEST):
        level = [inner for outer in level for inner in _members(outer)]
    if level:
        raise ValueError(f"is nested deeper than {DEEPEST} times")
    try:
        written = json.dumps(value, ensure_ascii=False, allow_nan=False)
    except TypeError as error:
        raise ValueError(f"is not JSON ({error})") from None
    return json.loads(written.encode("utf-8", "replace"))


def _members(value: Any) -> list[Any]:
    if isinstance(value, Mapping):
        return list(value.values())
    return list(value) if isinstance(value, (list, tuple)) else []


# -- values ------------------------------------------------------------------------------------------------------------------------


def problems(schema: Mapping[str, Any], value: Any, path: str = "") -> Iterator[str]:
    """Yield what is wrong with a value, in words for the agent. The schema is one without flaws, the value is plain."""
    name = path or "the arguments"
    kinds = schema.get("type")
    allowed = [kinds] if isinstance(kinds, str) else kinds if isinstance(kinds, list) else []
    if allowed and not any(_is(kind, value) for kind in allowed):
        yield f"{name} must be {' or '.join(map(str, allowed))}"
        return
    if "enum" in schema and value not in schema["enum"]:
        yield f"{name} must be one of {', '.join(map(str, schema['enum']))}"
    if "const" in schema and value != schema["const"]:
        yield f"{name} must be {schema['const']}"
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        if value < schema.get("minimum", value):
            yield f"{name} must be at least {schema['minimum']}"
        if value > schema.get("maximum", value):
            yield f"{name} must be at most {schema['maximum']}"
    if isinstance(value, str) and not schema.get("minLength", 0) <= len(value) <= schema.get("maxLength", len(value)):
        yield f"{name} is too short or too long"
    if isinstance(value, Mapping):
        yield from _inside(schema, value, path)
    if isinstance(value, list) and isinstance(schema.get("items"), Mapping):
        for index, item in enumerate(value):
            yield from problems(schema["items"], item, f"{name}[{index}]")


def _inside(schema: Mapping[str, Any], value: Mapping[str, Any], path: str) -> Iterator[str]:
    known = schema.get("properties", {})
    for missing in [key for key in schema.get("required", ()) if key not in value]:
        yield f"{path}.{missing} is missing" if path else f"{missing} is missing"
    if schema.get("additionalProperties") is False:
        for extra in [key for key in value if key not in known]:
            yield f"{extra} is not known here"
    for key, inner in known.items():
        if key in value and isinstance(inner, Mapping):
            yield from problems(inner, value[key], f"{path}.{key}" if path else key)


def _is(kind: object, value: Any) -> bool:
    if isinstance(value, bool):
        return kind == "boolean"
    if kind == "integer" and isinstance(value, float):
        return value.is_integer()
    return isinstance(value, _TYPES[str(kind)])


# -- schemas -----------------------------------------------------------------------------------------------------------------------


def flaws(schema: Mapping[str, Any]) -> Iterator[str]:
    """Yield what is wrong with the schema of a tool's arguments, which is that of an object."""
    try:
        plain(schema)
    except ValueError as error:
        yield f"it {error}"
        return
    if schema.get("type") != "object":
        yield "it must be the schema of an object: {type: object, properties: {...}}"
    yield from _flaws(schema, "")


def _flaws(schema: Mapping[str, Any], path: str) -> Iterator[str]:
    where = f"{path}." if path else ""
    for word, (fits, wanted) in _WORDS.items():
        if word in schema and not fits(schema[word]):
            yield f"{where}{word} must be {wanted}"
    inside = schema.get("properties")
    for key, inner in inside.items() if isinstance(inside, Mapping) else ():
        if isinstance(inner, Mapping):
            yield from _flaws(inner, f"{where}properties.{key}")
        elif not isinstance(inner, bool):
            yield f"{where}properties.{key} must be a schema"
    if isinstance(items := schema.get("items"), Mapping):
        yield from _flaws(items, f"{where}items")


def contradictions(schema: Mapping[str, Any], path: str = "") -> Iterator[str]:
    """Yield what JSON Schema allows and no owner can mean, in a schema without flaws: values that no call can have."""
    where = f"{path}." if path else ""
    properties = schema.get("properties", {})
    for name in [name for name in schema.get("required", ()) if name not in properties]:
        yield f"{where}required: {name!r} is not in {where}properties; describe it there, or leave it out"
    for value in schema.get("enum", ()):
        if wrong := next(problems({"type": schema.get("type", list(_TYPES))}, value, "it"), None):
            yield f"{where}enum: {json.dumps(value)} can never be given, for {wrong}{_quoted(schema, value)}"
    for key, inner in properties.items():
        if isinstance(inner, Mapping):
            yield from contradictions(inner, f"{where}properties.{key}")
    if isinstance(items := schema.get("items"), Mapping):
        yield from contradictions(items, f"{where}items")


def _quoted(schema: Mapping[str, Any], value: Any) -> str:
    scalar = value is None or isinstance(value, (bool, int, float))
    return f'; write "{json.dumps(value)}" with quotes' if scalar and "string" in schema["type"] else ""


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _is_length(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _are_texts(value: Any) -> bool:
    return isinstance(value, (list, tuple)) and all(isinstance(item, str) for item in value)


def _are_types(value: Any) -> bool:
    named = [value] if isinstance(value, str) else value
    return _are_texts(named) and all(name in _TYPES for name in named)


_WORDS = {
    "type": (_are_types, f"of {', '.join(_TYPES)}, or a list of these"),
    "enum": (lambda value: isinstance(value, (list, tuple)), "a list"),
    "minimum": (_is_number, "a number"),
    "maximum": (_is_number, "a number"),
    "minLength": (_is_length, "a whole number"),
    "maxLength": (_is_length, "a whole number"),
    "properties": (lambda value: isinstance(value, Mapping), "a mapping of names to schemas"),
    "required": (_are_texts, "a list of names"),
}
"""Word -> whether its value can be used, and what that has to be."""
