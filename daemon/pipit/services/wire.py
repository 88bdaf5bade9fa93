"""What every JSON protocol needs: reading fields of an untrusted message, and sound as base64.

A reader takes what it wants with these functions before it changes any state. Whatever is missing or of the wrong type raises
`Malformed`, which the codec's `receive` counts; nothing else can be raised by a message, however it was broken.
"""

from __future__ import annotations

import binascii
import json
from collections.abc import Iterable, Mapping
from typing import Any

REASON_LENGTH = 300
"""Longest text of a service that is repeated in a message to the owner, in characters."""


class Malformed(Exception):
    """A message is not what its protocol promises."""


def parse(message: str | bytes) -> dict[str, Any]:
    """Return the JSON object in a frame; text and binary frames are treated alike."""
    try:
        data = json.loads(message)
    except (ValueError, RecursionError):  # not JSON, not UTF-8, a number of 5000 digits; or nested thousands deep
        raise Malformed from None
    return mapping_of(data)


def mapping_of(value: object) -> dict[str, Any]:
    """Return `value` if it is a JSON object."""
    if not isinstance(value, dict):
        raise Malformed
    return value


def mapping(data: Mapping[str, Any], key: str, *, optional: bool = False) -> dict[str, Any]:
    """Return the object under `key`; an optional one that is absent or null is empty."""
    value = data.get(key)
    return {} if optional and value is None else mapping_of(value)


def objects(data: Mapping[str, Any], key: str) -> list[dict[str, Any]]:
    """Return the objects in the list under `key`; empty when it is absent or null."""
    value = data.get(key)
    if value is None:
        return []
    if not isinstance(value, list):
        raise Malformed
    return [item for item in value if isinstance(item, dict)]


def text(data: Mapping[str, Any], key: str, default: str | None = None) -> str:
    """Return the text under `key`; with a `default` it may be absent or null. Half surrogate pairs become question marks."""
    value = data.get(key)
    if value is None and default is not None:
        return default
    if not isinstance(value, str):
        raise Malformed
    return value if value.isascii() else value.encode("utf-8", "replace").decode("utf-8")


def whole(data: Mapping[str, Any], key: str, default: int) -> int:
    """Return the whole number under `key`; it may be absent or null."""
    value = data.get(key)
    if value is None:
        return default
    if not isinstance(value, int) or isinstance(value, bool):
        raise Malformed
    return value


def sound(data: Mapping[str, Any], key: str) -> bytes:
    """Return the base64 under `key`, decoded."""
    value = data.get(key)
    if not isinstance(value, str):
        raise Malformed
    try:
        return binascii.a2b_base64(value, strict_mode=True)
    except ValueError:  # binascii.Error is one; so is a character outside ASCII
        raise Malformed from None


def arguments(data: Mapping[str, Any], key: str) -> dict[str, Any]:
    """Return a tool's arguments, which are an object or the JSON text of one. No text at all is no arguments.

    A tool is handed JSON and nothing else: NaN and infinities, which Python reads as numbers, are malformed, and half surrogate
    pairs, which nothing can encode, become question marks.
    """
    value = data.get(key)
    if isinstance(value, str):
        value = parse(value) if value.strip() else {}
    found = {} if value is None else mapping_of(value)
    try:
        written = json.dumps(found, ensure_ascii=False, allow_nan=False)
    except (ValueError, RecursionError):
        raise Malformed from None
    clean = written.encode("utf-8", "replace").decode()
    return found if clean == written else mapping_of(json.loads(clean))


def encode(pcm: bytes) -> str:
    """Return sound as base64."""
    return binascii.b2a_base64(pcm, newline=False).decode("ascii")


def dumps(data: Mapping[str, Any]) -> str:
    """Return a message as compact JSON."""
    return json.dumps(data, ensure_ascii=False, separators=(",", ":"))


def sentence(words: str, secrets: Iterable[str] = ()) -> str:
    """Return a service's own words fit for a journal: one line, printable, short, and without the secrets."""
    for secret in secrets:
        words = words.replace(secret, "…")
    line = " ".join("".join(c if c.isprintable() else " " for c in words).split())
    return line if len(line) <= REASON_LENGTH else line[: REASON_LENGTH - 1] + "…"


def merge(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """Lay one object over another: objects are merged field by field, everything else (lists too) is replaced."""
    merged = dict(base)
    for key, value in over.items():
        below = merged.get(key)
        merged[key] = merge(below, value) if isinstance(below, Mapping) and isinstance(value, Mapping) else value
    return merged
