"""What a close code means where a protocol has no words of its own for it."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from pipit.services import Ended, Event, Failed
from pipit.services.wire import sentence

Closed = Callable[[int, str], Event]
"""`Codec.closed`."""


def closed(code: int, reason: str, title: str, secrets: Sequence[str]) -> Ended | Failed:
    """Say what a close code means where a protocol has no words of its own for it.

    Args:
        code: RFC 6455 section 7.4.1, or the registry of WebSocket close codes (3000 unauthorized, 3003 forbidden).
        reason: the service's words.
        title: name of the service.
        secrets: the key and its like, which are cut out of `reason`.
    """
    words = sentence(reason, secrets)
    said = f" ({words})" if words else ""
    match code:
        case 1000 | 1005:
            return Ended(words)
        case 1008 | 3000 | 3003:
            return Failed("config", f"{title} refused the session{said}: check service.api_key, then the rest of that section")
        case 1002 | 1003 | 1007 | 1009 | 1010:
            return Failed("fatal", f"{title} does not understand what Pipit sends: code {code}{said}")
        case 1001 | 1012 | 1013:
            return Failed("retryable", f"{title} is going away, restarting or overloaded: code {code}{said}")
        case _:
            return Failed("retryable", f"{title} closed the connection: code {code}{said}")
