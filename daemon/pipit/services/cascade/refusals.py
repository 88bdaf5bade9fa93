"""What it means that an HTTP server of a stage says no, and whether an address may be talked to at all."""

from __future__ import annotations

import json
from collections.abc import Sequence
from urllib.parse import urlsplit

from pipit.core.options import Secret
from pipit.services.cascade import StageError
from pipit.services.settings import is_loopback
from pipit.services.wire import sentence

_NOW = (408, 425, 429)
"""Answers below 500 that are about now, not about us: time-out, too early, too many requests (RFC 9110, 6585, 8470)."""

_EXHAUSTED = ("insufficient_quota", "billing_hard_limit_reached")
"""Codes that come with 429 where no waiting helps."""


def refusal(status: int, body: bytes, host: str, secrets: Sequence[str], section: str) -> StageError:
    """Say what an answer other than 200 means.

    Args:
        status: of the HTTP answer.
        body: its beginning; an explanation in one of the usual shapes is repeated.
        host: who answered.
        secrets: what is cut out of the server's words.
        section: where in the configuration to look: "service.think".
    """
    words, code = _explanation(body, secrets)
    said = f" ({words})" if words else ""
    match status:
        case 401 | 403:
            return StageError("config", f"{host} refused the key: HTTP {status}{said}; check {section}.api_key")
        case 402:
            return StageError("config", f"{host} wants to be paid: HTTP 402{said}")
        case 404:
            return StageError("config", f"{host} knows no such address or model: HTTP 404{said}; check {section}.url and model")
        case 429 if code in _EXHAUSTED:
            return StageError("config", f"the account's limit at {host} is reached: HTTP 429{said}")
        case 429:
            return StageError("retryable", f"{host} has had too many requests: HTTP 429{said}")
        case _ if status >= 500 or status in _NOW:
            return StageError("retryable", f"{host} is in trouble: HTTP {status}{said}")
        case _:
            return StageError("config", f"{host} refused the request: HTTP {status}{said}; check {section}")


def problems(url: str, path: str, schemes: Sequence[str], *, insecure: bool) -> list[str]:
    """Return what is wrong with an address, beginning with the option's path.

    Args:
        url: the address.
        path: the option: "service.think.url".
        schemes: which may be used; those that are not encrypted only for this host, unless `insecure`.
        insecure: as in the settings.
    """
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port  # the port raises where it is no number
    except ValueError:
        host = None
    if not host:
        return [f"{path}: this is no address; it must look like {schemes[0]}://HOST/PATH"]  # may hold a key, so it is not repeated
    if parts.scheme not in schemes:
        return [f"{path}: begins with {parts.scheme}://, must be {' or '.join(f'{scheme}://' for scheme in schemes)}"]
    if parts.scheme not in ("https", "wss") and not insecure and not is_loopback(url):
        return [f"{path}: {parts.scheme}:// is not encrypted on the way to {host}; if that is at home, say service.insecure: true"]
    return []


def key_problems(key: Secret | None, path: str) -> list[str]:
    """Return what is wrong with a key, if there is one."""
    if key is None:
        return []
    value = key.reveal()
    if value and value.isascii() and value.isprintable() and " " not in value:
        return []
    where = f" ({key.source})" if key.source else ""
    return [f"{path}: the key is empty, or holds a blank, a line break or a character that no key has{where}"]


def _explanation(body: bytes, secrets: Sequence[str]) -> tuple[str, str]:
    """Return the words and the code in the body of a refusal."""
    try:
        data = json.loads(body)
    except (ValueError, RecursionError):
        return "", ""
    error = data.get("error", data) if isinstance(data, dict) else data
    if isinstance(error, list):  # one entry for each field that is wrong
        error = error[0] if error else None
    words = (error.get("message") or error.get("msg") or error.get("detail")) if isinstance(error, dict) else error
    code = error.get("code") if isinstance(error, dict) else None
    return sentence(words, secrets) if isinstance(words, str) else "", code if isinstance(code, str) else ""
