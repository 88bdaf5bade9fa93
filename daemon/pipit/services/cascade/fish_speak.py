"""Speaks with Fish Audio: a reply over one WebSocket that is opened ahead, or each sentence in an HTTP request.

There is no message that stops a reply: its WebSocket is closed, and the next one opened.
"""

from __future__ import annotations

import asyncio
import logging
import re
import ssl
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import aclosing
from typing import Any
from urllib.parse import urlsplit

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus, WebSocketException

from pipit.dial import race, resolve
from pipit.errors import ConfigError
from pipit.fetch import Ahead, FetchError, stream, trusted
from pipit.services import Failed, closing, failures
from pipit.services.cascade import Sample, Sound, Speak, StageError, fish
from pipit.services.cascade.over_http import OverHttp
from pipit.services.cascade.refusals import refusal
from pipit.services.cascade.settings import Settings, SpeakSettings
from pipit.services.cascade.upload import wav
from pipit.services.websocket import MESSAGE_BYTES, QUEUED_FRAMES

RATE_HZ = 24000
"""Asked for: one of the service's rates, and that of most other services."""

MODELS = ("s1", "s2-pro", "s2.1-pro", "s2.1-pro-free")
MODEL = "s2.1-pro"
"""What the service takes where none is named."""

FRESH_S = 60.0
"""A WebSocket that was opened ahead is used for so long. After how long the service closes a silent one is not documented; clients
that keep some keep them for minutes, with pings."""

PING_S = 20.0
EXPLANATION_BYTES = 65536

_SILENT = logging.Logger("pipit.services.library", logging.CRITICAL + 1)
"""The WebSocket library logs request headers at debug level, and the key is in one of them."""

_BRACKETS = re.compile(r"\[([^\[\]]*)\]")
_PARENTHESES = re.compile(r"\s*\(([^()]*)\)(?=(\s*\w)?)")


def build(settings: Settings) -> Speak:
    """Return the stage.

    Raises:
        ConfigError: msgpack is not installed, the address cannot be used, the key is missing, or the model is unknown.
    """
    speak = settings.speak
    api_key = speak.api_key or settings.api_key
    fish.check(speak.url or fish.URL, api_key, "service.speak", insecure=settings.insecure)
    if speak.model is not None and speak.model not in MODELS:
        # The service would take its dearest model instead, without a word.
        raise ConfigError(f"service.speak.model: {speak.model!r} is unknown to Fish Audio; one of {', '.join(MODELS)}")
    key = api_key.reveal() if api_key else ""
    transport = FishLive if speak.transport == "live" else FishHttp
    return transport(speak, settings.voice, key, settings.connect_s, settings.read_s, settings.write_s)


class _Fish:
    """What both transports have in common. See `Speak`.

    Args:
        speak: the stage's settings.
        voice: id of a voice; None: the service's default.
        key: of the account; empty for a server at home.
        connect_s: longest time until a connection is open.
        read_s: longest silence while something is due.
        write_s: longest time that the network may refuse what is sent.
        tls: other than the system's certificates.
    """

    rate_hz = RATE_HZ

    def __init__(
        self,
        speak: SpeakSettings,
        voice: str | None,
        key: str,
        connect_s: float,
        read_s: float,
        write_s: float,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self._speak = speak
        self._voice = voice
        self._connect_s = connect_s
        self._read_s = read_s
        self._write_s = write_s
        self._tls = tls
        self._msgpack = fish.packer()
        self._base = (speak.url or fish.URL).rstrip("/")
        self._host = urlsplit(self._base).hostname or ""
        self._model = speak.model or MODEL
        self._secrets = (key,) if key else ()
        self._headers = fish.headers(key, model=self._model)

    def _request(self, text: str, like: Sample | None) -> dict[str, Any]:
        """Return how something is to be spoken."""
        asked: dict[str, Any] = {"text": text, "format": "pcm", "sample_rate": RATE_HZ, "latency": self._speak.latency}
        if self._speak.speed != 1.0:
            asked["prosody"] = {"speed": self._speak.speed}
        if self._speak.clone and like is not None and like.text and len(like.samples):
            asked["references"] = [{"audio": wav(like.samples), "text": like.text}]
        elif self._voice is not None:
            asked["reference_id"] = self._voice
        return asked

    def _refusal(self, status: int, body: bytes) -> StageError:
        return refusal(status, body, self._host, self._secrets, "service.speak")


class FishHttp(OverHttp, _Fish):
    """One HTTP request for each sentence."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._ahead = Ahead(self._base, self._tls)

    async def speak(self, text: AsyncIterator[str], like: Sample | None = None) -> AsyncGenerator[Sound, None]:
        """See `Speak.speak`."""
        spoken = 0
        async for sentence in text:
            spoken += len(sentence)
            if sentence.strip():
                async with aclosing(self._sentence(unperformed(sentence, self._model), like)) as pieces:
                    async for pcm in pieces:
                        yield Sound(pcm)
            yield Sound(b"", spoken)

    async def _sentence(self, sentence: str, like: Sample | None) -> AsyncGenerator[bytes, None]:
        whole = _Whole()
        try:
            async with stream(
                f"{self._base}/v1/tts",
                method="POST",
                headers={"Content-Type": "application/msgpack", **self._headers},
                body=self._msgpack.packb(self._request(sentence, like)),
                timeout_s=self._read_s,
                tls=self._tls,
                ahead=self._ahead,
            ) as answer:
                if answer.status != 200:
                    raise self._refusal(answer.status, await answer.read(EXPLANATION_BYTES))
                kind = answer.headers.get("content-type", "audio/pcm")
                if not kind.startswith(("audio/", "application/octet-stream")):
                    raise StageError("retryable", f"{self._host} answered no sound but {kind}")
                async with aclosing(answer.pieces()) as pieces:
                    async for piece in pieces:
                        if pcm := whole.feed(piece):
                            yield pcm
        except FetchError as error:
            raise StageError("retryable", str(error)) from error


class FishLive(_Fish):
    """One WebSocket for each reply."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        parts = urlsplit(self._base)
        self._url = parts._replace(scheme="wss" if parts.scheme == "https" else "ws", path=f"{parts.path}/v1/tts/live").geturl()
        self._ready: ClientConnection | None = None
        self._opened_at = 0.0
        self._opening = asyncio.Lock()

    async def open(self) -> None:
        """See `Stage.open`."""
        async with self._opening:
            if self._usable():
                return
            await self.release()
            self._ready = await self._connect()
            self._opened_at = asyncio.get_running_loop().time()

    async def release(self) -> None:
        """See `Stage.release`."""
        socket, self._ready = self._ready, None
        if socket is not None:
            await _drop(socket)

    async def speak(self, text: AsyncIterator[str], like: Sample | None = None) -> AsyncGenerator[Sound, None]:
        """See `Speak.speak`."""
        spoken, first = 0, ""
        async for first in text:
            spoken += len(first)
            if first.strip():
                break
        else:
            return
        whole, ended = _Whole(), ""
        reply = _Reply(self._msgpack, {"event": "start", "request": self._request("", like)}, self._host, self._write_s)
        reply.put(unperformed(first, self._model))
        async with aclosing(self._messages(reply, text)) as messages:
            async for message in messages:
                match self._read(message):
                    case bytes() as sound:
                        if pcm := whole.feed(sound):
                            yield Sound(pcm)
                    case str() as ended:
                        break
        if ended == "error":
            hint = "if that goes on, check service.voice and service.speak.model"
            raise StageError("retryable", f"{self._host} broke off without saying why; {hint}")
        yield Sound(b"", spoken + reply.more)

    async def _messages(self, reply: _Reply, text: AsyncIterator[str]) -> AsyncGenerator[str | bytes, None]:
        """Send a reply, and yield what the service sends until the connection is closed. Closing this closes the connection."""
        async with self._opening:  # one that is being opened is nearer than one that has yet to be
            ahead = self._take()
        socket = ahead or await self._connect()
        sending: asyncio.Task[None] | None = None
        try:
            await reply.send_to(socket)
            sending = asyncio.create_task(self._send_rest(reply, text))
            while True:
                try:
                    message = await self._next(socket, reply, sending)
                except ConnectionClosed as error:
                    if sending.done() and not sending.cancelled() and (raised := sending.exception()) is not None:
                        raise raised from None  # it was we who closed it
                    if ahead is None:
                        raise self._explained(error) from error
                    # It had been opened ahead, and died before it was used: what was sent is sent again.
                    await _drop(socket)
                    ahead, socket = None, await self._connect()
                    await reply.send_to(socket)
                    continue
                ahead = None
                yield message
        finally:
            if sending is not None:
                sending.cancel()
                await asyncio.wait((sending,))
            await _drop(socket)

    async def _send_rest(self, reply: _Reply, text: AsyncIterator[str]) -> None:
        try:
            async for sentence in text:
                reply.more += len(sentence)
                if sentence.strip():
                    reply.put(unperformed(sentence, self._model))
                    await reply.send()
            reply.stop()
            await reply.send()
        except BaseException:
            reply.abort()  # wakes up who waits for an answer
            raise

    async def _next(self, socket: ClientConnection, reply: _Reply, sending: asyncio.Task[None]) -> str | bytes:
        """Return the next message. One is due when text was sent since the last, and at the end."""
        while True:
            try:
                async with asyncio.timeout(self._read_s):
                    message = await socket.recv()
            except TimeoutError:
                if reply.quiet_s < self._read_s or not (reply.is_owed or sending.done()):
                    continue
                raise StageError("retryable", f"{self._host} was silent for {self._read_s:g} s") from None
            reply.is_owed = False
            return message

    def _read(self, message: str | bytes) -> bytes | str | None:
        """Return sound, how the reply ended, or None: nothing of interest, or rubbish."""
        try:
            data = self._msgpack.unpackb(message) if isinstance(message, bytes) else None
        except (ValueError, self._msgpack.exceptions.UnpackException, RecursionError):
            return None
        if not isinstance(data, Mapping):
            return None
        sound, reason = data.get("audio"), data.get("reason")
        if data.get("event") == "audio" and isinstance(sound, bytes):
            return sound
        return reason if data.get("event") == "finish" and reason in ("stop", "error") else None

    def _usable(self) -> bool:
        socket = self._ready
        age_s = asyncio.get_running_loop().time() - self._opened_at
        return socket is not None and socket.state.name == "OPEN" and age_s < FRESH_S

    def _take(self) -> ClientConnection | None:
        """Return the WebSocket that was opened ahead, if there is one that can be used."""
        if not self._usable():
            return None
        socket, self._ready = self._ready, None
        return socket

    async def _connect(self) -> ClientConnection:
        parts = urlsplit(self._url)
        secure = parts.scheme == "wss"
        try:
            async with asyncio.timeout(self._connect_s):
                addresses = await resolve(parts.hostname or "", parts.port or (443 if secure else 80))
                plain = await race(addresses, self._write_s)
                return await connect(
                    self._url,
                    sock=plain,  # so the library also leaves proxies alone that the environment names
                    ssl=(self._tls or trusted()) if secure else None,
                    additional_headers={name: value for name, value in self._headers.items() if name != "User-Agent"},
                    user_agent_header=self._headers["User-Agent"],
                    compression=None,
                    open_timeout=None,
                    ping_interval=PING_S,
                    ping_timeout=PING_S,
                    close_timeout=0.5,
                    max_size=MESSAGE_BYTES,
                    max_queue=QUEUED_FRAMES,
                    logger=_SILENT,
                )
        except TimeoutError as error:
            if error.errno is not None:
                raise self._explained(error) from error
            raise StageError("retryable", f"{self._host} was not ready within {self._connect_s:g} s") from None
        except (OSError, WebSocketException) as error:
            raise self._explained(error) from error
        except ValueError as error:  # the library follows no redirect with a socket of ours
            if isinstance(error.__cause__, InvalidStatus):
                raise self._explained(error.__cause__) from error
            raise

    def _explained(self, error: Exception) -> StageError:
        if isinstance(error, InvalidStatus):
            return self._refusal(error.response.status_code, bytes(error.response.body or b""))

        def closed(code: int, reason: str) -> Failed:
            said = closing.closed(code, reason, self._host, self._secrets)
            return said if isinstance(said, Failed) else Failed("retryable", f"{self._host} closed the connection before the end")

        parts = urlsplit(self._url)
        port = parts.port or (443 if parts.scheme == "wss" else 80)
        found = failures.explain(error, self._host, port, self._secrets, closed)
        assert isinstance(found, Failed)
        return StageError(found.kind, found.reason)


class _Reply:
    """What is sent for one reply.

    Args:
        msgpack: the module.
        start: the first message.
        host: to whom it is sent, for messages.
        write_s: longest time that the network may refuse it.
    """

    def __init__(self, msgpack: Any, start: Mapping[str, Any], host: str, write_s: float) -> None:
        self._host = host
        self._pack = msgpack.packb
        self._write_s = write_s
        self._messages: list[bytes] = [self._pack(start)]
        self._sent = 0
        self._socket: ClientConnection | None = None
        self._writing = asyncio.Lock()
        self._put_at = 0.0
        self.more = 0
        """Characters of text after the first sentence."""
        self.is_owed = False
        """Text was sent since the service last said something."""

    @property
    def quiet_s(self) -> float:
        """How long ago the last text was added."""
        return asyncio.get_running_loop().time() - self._put_at

    def put(self, sentence: str) -> None:
        """Add a sentence, which is to be spoken at once."""
        self._messages += self._pack({"event": "text", "text": sentence}), self._pack({"event": "flush"})
        self._put_at = asyncio.get_running_loop().time()
        self.is_owed = True

    def stop(self) -> None:
        """Say that no more text follows."""
        self._messages.append(self._pack({"event": "stop"}))
        self._put_at = asyncio.get_running_loop().time()

    async def send_to(self, socket: ClientConnection) -> None:
        """Send all of it to a new connection."""
        async with self._writing:
            self._socket, self._sent = socket, 0
        await self.send()

    async def send(self) -> None:
        """Send what has not been sent. A dead connection is noticed by who reads from it."""
        async with self._writing:
            try:
                async with asyncio.timeout(self._write_s):
                    while self._socket is not None and self._sent < len(self._messages):
                        await self._socket.send(self._messages[self._sent])
                        self._sent += 1
            except ConnectionClosed:
                pass
            except TimeoutError:
                raise StageError("retryable", f"{self._host} took nothing of what was sent for {self._write_s:g} s") from None

    def abort(self) -> None:
        """Break off the connection."""
        if self._socket is not None:
            self._socket.transport.abort()


class _Whole:
    """Joins pieces of sound that are cut in the middle of a sample; half a sample at the end of a stream is dropped."""

    def __init__(self) -> None:
        self._half = b""

    def feed(self, piece: bytes) -> bytes:
        """Take the next bytes; return the whole samples so far."""
        joined = self._half + piece
        end = len(joined) // 2 * 2
        self._half = joined[end:]
        return joined[:end]


def unperformed(text: str, model: str) -> str:
    """Return text that is read and not acted.

    In brackets the models of the S2 family expect how something is said, and S1 in parentheses: "[laughs]", "(whispering)". A
    language model means something else by them.
    """
    if model == "s1":
        return _PARENTHESES.sub(lambda found: f", {found[1]}," if found[2] else f", {found[1]}", text)
    return _BRACKETS.sub(r"(\1)", text)


async def _drop(socket: ClientConnection) -> None:
    """Close a connection at once: there is nothing to be said."""
    socket.transport.abort()
    await socket.wait_closed()
