"""Are the arguments of a call what the tool's schema says? Models mostly keep to it, and sometimes do not.

The part of JSON Schema (draft 2020-12) that agents' tools are described with: type, enum, const, minimum, maximum, properties,
required, items, minLength, maxLength. Other words are not checked here; they still tell the agent what is wanted.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

_TYPES: Mapping[str, tuple[type, ...]] = {
    "object": (Mapping,),
    "array": (list,),
    "string": (str,),
    "number": (int, float),
    "integer": (int,),
    "boolean": (bool,),
    "null": (type(None),),
}


def problems(schema: Mapping[str, Any], value: Any, path: str = "") -> Iterator[str]:
    """Yield what is wrong with a value, in words for the agent."""
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
    return isinstance(value, _TYPES.get(str(kind), (object,)))
