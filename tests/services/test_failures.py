from __future__ import annotations

import errno
import socket
import ssl
from typing import Any

import pytest
from websockets.datastructures import Headers
from websockets.exceptions import (
    ConnectionClosedError,
    ConnectionClosedOK,
    InvalidMessage,
    InvalidStatus,
    InvalidUpgrade,
    InvalidURI,
)
from websockets.frames import Close
from websockets.http11 import Response

from pipit.services import Ended, Event, Failed
from pipit.services.closing import closed
from pipit.services.failures import explain

SECRET = "sk-test-0123456789"


def by_code(code: int, reason: str) -> Event:
    return closed(code, reason, "Svc", (SECRET,))


def caused(error: Exception, cause: Exception) -> Exception:
    error.__cause__ = cause
    return error


def verification(code: int, message: str) -> ssl.SSLCertVerificationError:
    error = ssl.SSLCertVerificationError(1, "certificate verify failed")
    error.verify_code, error.verify_message = code, message
    return error


def tls(reason: str) -> ssl.SSLError:
    error = ssl.SSLError(1, reason)
    error.reason = reason
    return error


def status(code: int, body: bytes) -> InvalidStatus:
    return InvalidStatus(Response(code, "x", Headers(), body))


@pytest.mark.parametrize(
    ("error", "kind", "words"),
    [
        (socket.gaierror(-2, "Name or service not known"), "retryable", "the name h cannot be looked up"),
        (
            ConnectionRefusedError(errno.ECONNREFUSED, "Connection refused"),
            "retryable",
            "h refused the connection: nothing listens on port 443",
        ),
        (OSError(errno.ENETUNREACH, "Network is unreachable"), "retryable", "h cannot be reached (Network is unreachable)"),
        (TimeoutError(errno.ETIMEDOUT, "Connection timed out"), "retryable", "h cannot be reached (Connection timed out)"),
        (ConnectionResetError(), "retryable", "h cannot be reached (ConnectionResetError)"),
        (verification(10, "certificate has expired"), "retryable", "h: certificate has expired: is this device's clock right?"),
        (verification(9, "certificate is not yet valid"), "retryable", "h: certificate is not yet valid: is this device's clock"),
        (verification(18, "self-signed certificate"), "config", "h cannot be trusted: self-signed certificate"),
        (ssl.SSLEOFError(8, "EOF"), "retryable", "h broke off while the encryption was being set up"),
        (tls("WRONG_VERSION_NUMBER"), "config", "h does not speak TLS (WRONG_VERSION_NUMBER)"),
        (InvalidMessage("did not receive a valid HTTP response"), "config", "h does not speak WebSocket"),
        (InvalidUpgrade("Upgrade", "x"), "config", "h does not speak WebSocket"),
        (InvalidURI(f"ws://h/?api_key={SECRET}", "bad"), "config", "h cannot be used as a WebSocket address (InvalidURI)"),
        (status(401, b'{"error": {"message": "no"}}'), "config", "h refused the key: HTTP 401 (no)"),
        (status(500, b"<html>"), "retryable", "h is in trouble: HTTP 500"),
        (status(400, b'{"message": "bad"}'), "config", "h refused the request: HTTP 400 (bad)"),
        (status(400, b'"words"'), "config", "h refused the request: HTTP 400 (words)"),
        (status(400, b"[" * 100_000), "config", "h refused the request: HTTP 400;"),
        (status(400, b'{"error": 5}'), "config", "h refused the request: HTTP 400;"),
        (status(408, b""), "retryable", "h is in trouble: HTTP 408"),
        (ConnectionClosedError(None, None), "retryable", "the connection to h was lost"),
        (
            caused(ConnectionClosedError(None, None), OSError(errno.ETIMEDOUT, "Connection timed out")),
            "retryable",
            "the connection to h was lost (Connection timed out)",
        ),
        (ConnectionClosedError(None, Close(1009, "")), "fatal", "h sent a message larger than Pipit accepts"),
        (ConnectionClosedError(None, Close(1011, "keepalive ping timeout")), "retryable", "h did not answer a ping"),
        (ConnectionClosedError(None, Close(1007, "invalid UTF-8")), "retryable", "h sent something that is no WebSocket message"),
        (ConnectionClosedError(Close(1002, ""), Close(1002, "x"), False), "retryable", "h sent something that is no WebSocket"),
        (ConnectionClosedError(Close(1008, "policy"), Close(1008, "policy"), True), "config", "Svc refused the session (policy)"),
        (ConnectionClosedError(Close(1011, "oops"), None), "retryable", "Svc closed the connection: code 1011 (oops)"),
    ],
    ids=lambda v: type(v).__name__ if isinstance(v, Exception) else "",
)
def test_every_failure_has_words(error: Exception, kind: str, words: str) -> None:
    event = explain(error, "h", 443, (SECRET,), by_code)
    assert isinstance(event, Failed)
    assert event.kind == kind
    assert event.reason.startswith(words)
    assert SECRET not in event.reason


def test_a_good_end() -> None:
    assert explain(ConnectionClosedOK(Close(1000, "bye"), Close(1000, "bye"), True), "h", 443, (), by_code) == Ended("bye")


def test_a_fault_of_ours_is_not_explained_away() -> None:
    with pytest.raises(AssertionError, match="not a network failure: KeyError"):
        explain(KeyError("x"), "h", 443, (), by_code)


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        (1000, Ended),
        (1005, Ended),
        (1001, "retryable"),
        (1002, "fatal"),
        (1003, "fatal"),
        (1006, "retryable"),
        (1007, "fatal"),
        (1008, "config"),
        (1009, "fatal"),
        (1011, "retryable"),
        (1012, "retryable"),
        (1013, "retryable"),
        (3000, "config"),
        (3003, "config"),
        (4999, "retryable"),
    ],
)
def test_close_codes(code: int, expected: Any) -> None:
    event = by_code(code, f"key {SECRET}\n")
    assert (event.kind if isinstance(event, Failed) else Ended) == expected
    assert "key …" in event.reason  # type: ignore[attr-defined]
