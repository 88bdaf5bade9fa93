"""Every way in which a socket can fail, in words that its owner understands, and whether trying again can help.

`closing` says what a service means by a close code. Neither repeats a URL or a header: both may hold the key.
"""

from __future__ import annotations

import json
import socket
import ssl
from collections.abc import Sequence

from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidStatus, WebSocketException
from websockets.http11 import Response

from pipit.services import Event, Failed
from pipit.services.closing import Closed
from pipit.services.wire import sentence

_CLOCK_FAULTS = (9, 10)
"""X509_V_ERR_CERT_NOT_YET_VALID and X509_V_ERR_CERT_HAS_EXPIRED. A Raspberry Pi has no clock of its own: until the time is
synchronised, valid certificates look like this."""

_RETRYABLE_STATUS = (408, 425, 429)
"""HTTP answers below 500 that are about now, not about us: time-out, too early, too many requests (RFC 9110, 6585, 8470)."""


def explain(error: BaseException, host: str, port: int, secrets: Sequence[str], closed: Closed) -> Event:
    """Say what an exception on the way to a service means to the owner.

    Args:
        error: what `resolve`, `race` or websockets raised.
        host: whom we wanted to reach, for the message.
        port: where.
        secrets: the key and its like, which are cut out of the service's words.
        closed: the codec's reading of close codes.
    """
    match error:
        case ConnectionClosed():
            return _closed(error, host, closed)
        case InvalidStatus():
            return _status(error.response, host, secrets)
        case InvalidHandshake():
            return Failed("config", f"{host} does not speak WebSocket at this address: check service.url")
        case WebSocketException():
            return Failed("config", f"{host} cannot be used as a WebSocket address ({type(error).__name__}): check service.url")
        case socket.gaierror():
            return Failed("retryable", f"the name {host} cannot be looked up: is the network up, is the name right?")
        case ssl.SSLCertVerificationError() if error.verify_code in _CLOCK_FAULTS:
            return Failed("retryable", f"{host}: {error.verify_message}: is this device's clock right?")
        case ssl.SSLCertVerificationError():
            return Failed("config", f"{host} cannot be trusted: {error.verify_message}: check service.url")
        case ssl.SSLEOFError() | ssl.SSLZeroReturnError():
            return Failed("retryable", f"{host} broke off while the encryption was being set up")
        case ssl.SSLError():
            return Failed("config", f"{host} does not speak TLS ({error.reason}): is service.url a ws:// address?")
        case ConnectionRefusedError():
            return Failed("retryable", f"{host} refused the connection: nothing listens on port {port}, see service.url")
        case OSError():
            return Failed("retryable", f"{host} cannot be reached ({error.strerror or type(error).__name__}): is the network up?")
        case _:
            raise AssertionError(f"not a network failure: {type(error).__name__}") from error


def _closed(error: ConnectionClosed, host: str, closed: Closed) -> Event:
    ours = error.sent if not error.rcvd_then_sent else None
    if ours is not None and ours.code == 1009:
        return Failed("fatal", f"{host} sent a message larger than Pipit accepts (16 MiB)")
    if ours is not None and ours.code == 1011:
        return Failed("retryable", f"{host} did not answer a ping: the connection is dead")
    if ours is not None and ours.code != 1000:
        return Failed("retryable", f"{host} sent something that is no WebSocket message ({ours.reason or ours.code})")
    if error.rcvd is not None:
        return closed(error.rcvd.code, error.rcvd.reason)
    lost = error.__cause__
    why = f" ({lost.strerror})" if isinstance(lost, OSError) and lost.strerror else ""
    return Failed("retryable", f"the connection to {host} was lost{why}")


def _status(response: Response, host: str, secrets: Sequence[str]) -> Failed:
    status = response.status_code
    words = _message(bytes(response.body or b""), secrets)
    said = f" ({words})" if words else ""
    match status:
        case 401 | 403:
            return Failed("config", f"{host} refused the key: HTTP {status}{said}; check service.api_key")
        case 404:
            return Failed("config", f"{host} knows no such address or model: HTTP 404{said}; check service.url and service.model")
        case 429:
            return Failed("retryable", f"{host} has had too many requests, or the account's limit is reached: HTTP 429{said}")
        case _ if status >= 500 or status in _RETRYABLE_STATUS:
            return Failed("retryable", f"{host} is in trouble: HTTP {status}{said}")
        case _ if status < 400:
            return Failed("config", f"{host} answered HTTP {status} where a WebSocket was expected{said}; check service.url")
        case _:
            return Failed("config", f"{host} refused the request: HTTP {status}{said}; check service.url and service.model")


def _message(body: bytes, secrets: Sequence[str]) -> str:
    """Return the explanation in the body of a refusal, if it is JSON in one of the usual shapes."""
    try:
        data = json.loads(body)
    except (ValueError, RecursionError):
        return ""
    error = data.get("error", data) if isinstance(data, dict) else data
    words = error.get("message") if isinstance(error, dict) else error
    return sentence(words, secrets) if isinstance(words, str) else ""
