"""What the stages that make HTTP requests have in common: the connection that is opened before it is needed, and an upload."""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from urllib.parse import urlsplit

from pipit.fetch import Ahead, FetchError, fetch
from pipit.services.cascade import StageError
from pipit.services.cascade.refusals import refusal

ANSWER_BYTES = 1 << 20
"""Longest answer to an upload that is read; those to a minute of speech have a few kilobytes."""


class OverHttp:
    """A stage (see `pipit.services.cascade.Stage`) whose next request finds its connection open. Whoever inherits sets both."""

    _ahead: Ahead
    _connect_s: float

    async def open(self) -> None:
        """See `Stage.open`."""
        try:
            await self._ahead.open(self._connect_s)
        except FetchError as error:
            raise StageError("retryable", str(error)) from error

    async def release(self) -> None:
        """See `Stage.release`."""
        await self._ahead.release()


class Upload(OverHttp):
    """A stage that hears a whole utterance in one request.

    Args:
        url: where it goes.
        key: what must appear in no message; empty for a server at home.
        connect_s: longest time until a connection is open.
        read_s: longest time until the answer is there.
        tls: other than the system's certificates.
    """

    def __init__(self, url: str, key: str, connect_s: float, read_s: float, tls: ssl.SSLContext | None) -> None:
        self._url = url
        self._host = urlsplit(url).hostname or ""
        self._key = key
        self._connect_s = connect_s
        self._read_s = read_s
        self._tls = tls
        self._ahead = Ahead(url, tls)

    async def _post(self, kind: str, body: bytes, headers: Mapping[str, str]) -> bytes:
        """Send what is written in this content type; return the answer.

        Raises:
            StageError: there is none, or it is a refusal.
        """
        try:
            answer = await fetch(
                self._url,
                method="POST",
                headers={"Content-Type": kind, **headers},
                body=body,
                timeout_s=self._read_s,
                limit_bytes=ANSWER_BYTES,
                tls=self._tls,
                ahead=self._ahead,
            )
        except FetchError as error:
            raise StageError("retryable", str(error)) from error
        if answer.status != 200:
            raise refusal(answer.status, answer.body, self._host, (self._key,) if self._key else (), "service.hear")
        return answer.body
