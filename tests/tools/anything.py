"""What models and servers may come up with, for tests of properties."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st


def _nested(depth: int) -> Any:
    found: Any = "x"
    for number in range(depth):
        found = [found] if number % 2 else {"x": found}
    return found


TEXTS = st.one_of(
    st.text(st.characters(codec=None), max_size=8),  # half surrogate pairs among them
    st.sampled_from(["", ".", "..", "-rf", "../..", "a/b", "a\0b", "a\r\nX: y", "{x}", "{secret}", "\ud83d", "😀"]),
    st.just(70000).map(lambda length: "x" * length),
)

ANYTHING = st.recursive(
    st.one_of(
        st.none(),
        st.booleans(),
        st.integers(),
        st.sampled_from([401, 4200, 5000]).map(lambda digits: 10**digits),
        st.floats(),
        TEXTS,
        st.integers(30, 1200).map(_nested),
    ),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=6,
)
"""JSON as Python reads it, so NaN and Infinity too."""

_WORDS = st.sampled_from(
    [
        "type",
        "enum",
        "const",
        "minimum",
        "maximum",
        "properties",
        "required",
        "items",
        "minLength",
        "maxLength",
        "additionalProperties",
    ]
)
_KINDS = st.sampled_from(["object", "array", "string", "number", "integer", "boolean", "null", "date"])

SCHEMAS = st.recursive(
    st.dictionaries(_WORDS, ANYTHING, max_size=3),
    lambda inner: st.fixed_dictionaries(
        {"type": _KINDS},
        optional={
            "properties": st.dictionaries(st.sampled_from("xyz"), inner | st.booleans(), max_size=3),
            "items": inner,
            "required": st.lists(st.sampled_from("xyz"), max_size=2),
            "enum": st.lists(ANYTHING, max_size=2),
            "minimum": st.integers() | st.floats() | st.text(max_size=1),
            "maxLength": st.integers(0, 5) | st.booleans(),
        },
    ),
    max_leaves=4,
).map(lambda schema: {**schema, "type": "object"} if len(schema) % 2 else schema)
"""Schemas of arguments, about half of them broken."""
