"""The one network shell: a pure codec in, a session out.

Everything that is about the network is here, and nothing that is about a service. Until `events` is iterated nothing happens: no
name is looked up, no socket is made, no thread started. Afterwards the iterator owns the socket.

Deadlines: `connect_s` until the service is ready, `read_s` of silence while a reply is due, `write_s` for each message, a ping
every `ping_s` unless the service ignores pings, and one second for the goodbye. All of them end in one event with a reason, never
in an exception.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import json
import logging
import ssl
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from enum import Enum
from urllib.parse import parse_qsl, quote, urlsplit

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus, WebSocketException

from pipit import __version__
from pipit.dial import race, resolve
from pipit.fetch import Answer, FetchError, fetch, trusted
from pipit.services import (
    Codec,
    Ended,
    Event,
    Failed,
    Message,
    Ready,
    ReplyDone,
    ReplyStarted,
    Request,
    UserStarted,
    UserStopped,
    failures,
)
from pipit.services.wire import sentence

MESSAGE_BYTES = 16 * 2**20
"""Largest message accepted. OpenAI's limit in the other direction is 15 MiB; real ones are below 100 kB."""

SECRET_LENGTH = 8
"""What is shorter is no secret, and to cut it out would spoil other words."""

TOKEN_BYTES = 65536
"""Longest answer with a temporary token."""

QUEUED_FRAMES = 8
"""Frames that are read ahead; then the service has to wait. Few, because a hostile frame may have MESSAGE_BYTES."""

_SILENT = logging.Logger("pipit.services.library", logging.CRITICAL + 1)
"""The WebSocket library logs request headers at debug level, and the key is in one of them."""


@dataclass(frozen=True)
class Deadlines:
    """How long to wait for what, in seconds."""

    connect_s: float = 10
    read_s: float = 30
    write_s: float = 10
    ping_s: float = 20
    """Between pings, and for the answer to one."""
    close_s: float = 0.9
    """For goodbye and close together: a session is over within a second."""


class _Stage(Enum):
    NEW = "has not begun"
    TOKEN = "no temporary token yet"
    RESOLVING = "the name is being looked up"
    CONNECTING = "no answer to the connection request"
    UPGRADING = "no answer to the WebSocket request"
    PREPARING = "the service took the connection but not the session"
    OPEN = "the session is ready"
    OVER = "closed"


class WebSocketSession:
    """A `Session` over one WebSocket. What is sent before `Ready` or after the end is dropped.

    Args:
        codec: a new one.
        deadlines: in seconds.
        tls: other than the system's certificates.
    """

    def __init__(self, codec: Codec, deadlines: Deadlines = Deadlines(), tls: ssl.SSLContext | None = None) -> None:
        self.input_rate_hz = codec.input_rate_hz
        self.output_rate_hz = codec.output_rate_hz
        self.capabilities = codec.capabilities
        self._codec = codec
        self._deadlines = deadlines
        self._tls = tls
        self._stage = _Stage.NEW
        self._socket: ClientConnection | None = None
        self._patience: asyncio.Timeout | None = None
        self._due: float | None = None
        self._verdict: Failed | None = None
        self._closing: asyncio.Task[None] | None = None
        self._talking = False
        """The person talks: nothing is due."""
        self._token = ""
        self._writing = asyncio.Lock()

    async def events(self) -> AsyncIterator[Event]:
        """See `Session.events`. May be iterated once."""
        if self._stage is _Stage.OVER:
            yield Ended("closed before it began")
            return
        if self._stage is not _Stage.NEW:
            raise RuntimeError("a session's events can be iterated once")
        last: Event | None = None
        try:
            socket = await self._open()
            while last is None:
                for event in await self._next(socket):
                    if isinstance(event, Ended) or (isinstance(event, Failed) and event.kind != "benign"):
                        last = event
                        break
                    yield self._discreet(event)
        except (OSError, WebSocketException) as error:  # TimeoutError is an OSError
            last = self._why(error)
        finally:
            self._patience = None
            await self.close()
            if self._socket is not None:
                self._socket.transport.abort()  # where `close` came between the upgrade and us
        yield self._discreet(last)

    async def audio(self, pcm: bytes) -> None:
        """See `Session.audio`."""
        if self._stage is _Stage.OPEN:
            await self._write(self._codec.audio(pcm))

    async def end_turn(self) -> None:
        """See `Codec.end_turn`."""
        if self._stage is _Stage.OPEN:
            self._talking = False
            self._expect(reply=True)
            await self._write(self._codec.end_turn())

    async def interrupt(self, reply: str | None, heard_ms: int, *, by_service: bool) -> None:
        """See `Codec.interrupt`."""
        if self._stage is _Stage.OPEN:
            if not by_service:  # where the service did it, the person has spoken since, and may have finished by now
                self._expect(reply=False)
            await self._write(self._codec.interrupt(reply, heard_ms, by_service=by_service))

    async def tool_result(self, call: str, result: str, *, is_error: bool) -> None:
        """See `Codec.tool_result`."""
        if self._stage is _Stage.OPEN and (messages := self._codec.tool_result(call, result, is_error=is_error)):
            self._expect(reply=not self._talking)
            await self._write(messages)

    async def generate(self, instructions: str) -> None:
        """See `Codec.generate`."""
        if self._stage is _Stage.OPEN:
            self._expect(reply=not self._talking)
            await self._write(self._codec.generate(instructions))

    async def close(self) -> None:
        """See `Session.close`. May be called at any time, any number of times."""
        if self._closing is None:
            ready, self._stage = self._stage in (_Stage.PREPARING, _Stage.OPEN), _Stage.OVER
            if self._patience is not None and self._socket is None:
                self._patience.reschedule(asyncio.get_running_loop().time())  # `events` is still connecting
            self._closing = asyncio.create_task(self._shut(self._socket, polite=ready))
        await asyncio.shield(self._closing)

    # -- connecting ---------------------------------------------------------------------------------------------------------------

    async def _open(self) -> ClientConnection:
        loop = asyncio.get_running_loop()
        self._due = loop.time() + self._deadlines.connect_s
        async with asyncio.timeout_at(self._due) as self._patience:
            self._socket = await self._connect()
            self._advance(_Stage.PREPARING)
            await self._write(self._codec.hello())
        self._patience = None
        return self._socket

    async def _connect(self) -> ClientConnection:
        request = await self._with_token(self._codec.request())
        parts = urlsplit(request.url)
        secure = parts.scheme == "wss"
        self._advance(_Stage.RESOLVING)
        addresses = await resolve(parts.hostname or "", self._port)
        self._advance(_Stage.CONNECTING)
        plain = await race(addresses, self._deadlines.write_s)
        self._advance(_Stage.UPGRADING)
        ping_s = self._deadlines.ping_s if self.capabilities.ping else None
        try:
            return await connect(
                request.url,
                sock=plain,  # so the library also leaves proxies alone that the environment names
                ssl=(self._tls or trusted()) if secure else None,
                additional_headers=request.headers,
                user_agent_header=f"pipit/{__version__}",
                compression=None,  # ten times the work for sound that does not get smaller
                open_timeout=None,  # `connect_s` covers it
                ping_interval=ping_s,
                ping_timeout=ping_s,
                close_timeout=self._deadlines.close_s / 2,
                max_size=MESSAGE_BYTES,
                max_queue=QUEUED_FRAMES,
                logger=_SILENT,
            )
        except ValueError as error:
            # Redirects are not followed with a socket of ours, nor should they: the key is for the address in the configuration.
            if isinstance(error.__cause__, InvalidStatus):
                raise error.__cause__ from None
            raise

    async def _with_token(self, request: Request) -> Request:
        """Fetch the temporary token, where there is to be one. Any failure is this session's verdict."""
        if request.token is None:
            return request
        self._advance(_Stage.TOKEN)
        try:
            answer = await fetch(
                request.token.url,
                headers=request.token.headers,
                timeout_s=self._deadlines.connect_s,
                limit_bytes=TOKEN_BYTES,
                tls=self._tls,
            )
        except FetchError as error:
            self._verdict = Failed("retryable", f"no temporary token: {error}")
            raise OSError from error
        token = _token(answer)
        if token is None:
            host = urlsplit(request.token.url).hostname
            kind = "retryable" if answer.status >= 500 or answer.status == 429 else "config"
            self._verdict = Failed(
                kind, f"{host} gave no temporary token (HTTP {answer.status}): check service.token_url and the key"
            )
            raise OSError
        self._token = token
        return dataclasses.replace(request, url=request.url.replace("{token}", quote(token, safe="")), token=None)

    def _advance(self, stage: _Stage) -> None:
        if self._stage is not _Stage.OVER:
            self._stage = stage

    # -- reading ------------------------------------------------------------------------------------------------------------------

    async def _next(self, socket: ClientConnection) -> Sequence[Event]:
        if self._due is not None and self._stage is _Stage.OPEN:
            self._expect(reply=True)  # silence is counted from here: what came before was a message, or our own delay
        async with asyncio.timeout_at(self._due) as self._patience:
            message = await socket.recv()
        self._patience = None
        events = self._codec.receive(message)
        for event in events:
            self._note(event)
        if messages := self._codec.to_send():
            if self._stage is _Stage.OPEN:  # before, `connect_s` goes on
                self._expect(reply=not self._talking)
            await self._write(messages)
        return events

    def _note(self, event: Event) -> None:
        match event:
            case Ready():
                self._advance(_Stage.OPEN)
                self._expect(reply=False)
            case UserStarted():
                self._talking = True
                self._expect(reply=False)
            case UserStopped():
                self._talking = False
                self._expect(reply=True)
            case ReplyStarted():
                self._expect(reply=True)
            case ReplyDone():
                self._expect(reply=False)

    def _expect(self, *, reply: bool) -> None:
        """Start the read deadline, or stop it."""
        self._due = asyncio.get_running_loop().time() + self._deadlines.read_s if reply else None
        if self._patience is not None:
            self._patience.reschedule(self._due)

    # -- writing and closing ------------------------------------------------------------------------------------------------------

    async def _write(self, messages: Sequence[Message]) -> None:
        """Send messages in the order of calls. A failure is reported by `events`, which sees the same broken socket."""
        socket = self._socket
        if not messages or socket is None:
            return
        try:
            async with asyncio.timeout(self._deadlines.write_s), self._writing:
                for message in messages:
                    await socket.send(message)
        except TimeoutError:
            self._verdict = Failed("retryable", f"{self._host} took nothing of what Pipit sent for {self._deadlines.write_s:g} s")
            socket.transport.abort()
        except ConnectionClosed:
            pass

    async def _shut(self, socket: ClientConnection | None, *, polite: bool) -> None:
        if socket is None:
            return
        try:
            async with asyncio.timeout(self._deadlines.close_s):
                if polite and (goodbye := self._codec.goodbye()):
                    for message in goodbye:
                        await socket.send(message)
                    self.capabilities = dataclasses.replace(self.capabilities, resume_s=0.0)  # what was ended stays so
                    with contextlib.suppress(TimeoutError):  # let the service close first: it ends what it bills
                        async with asyncio.timeout(self._deadlines.close_s / 2):
                            await socket.wait_closed()
                await socket.close()
        except (OSError, WebSocketException):
            pass  # it was a courtesy
        finally:
            socket.transport.abort()
            await socket.wait_closed()

    # -- reasons ------------------------------------------------------------------------------------------------------------------

    @property
    def _host(self) -> str:
        return urlsplit(self._codec.request().url).hostname or "the service"

    @property
    def _port(self) -> int:
        parts = urlsplit(self._codec.request().url)
        return parts.port or (443 if parts.scheme == "wss" else 80)

    @property
    def _minted(self) -> tuple[str, ...]:
        """What the codec does not know of and must not be repeated either."""
        return (self._token, quote(self._token, safe="")) if len(self._token) >= SECRET_LENGTH else ()

    def _discreet(self, event: Event) -> Event:
        if isinstance(event, Failed | Ended) and any(secret in event.reason for secret in self._minted):
            return dataclasses.replace(event, reason=sentence(event.reason, self._minted))
        return event

    def _why(self, error: OSError | WebSocketException) -> Event:
        """Say why the session is over."""
        if self._verdict is not None:
            return self._verdict
        if self._stage is _Stage.OVER:
            return Ended("closed here")
        if isinstance(error, TimeoutError) and error.errno is None:
            return self._too_late()
        secrets = *_secrets(self._codec.request()), *self._minted
        return failures.explain(error, self._host, self._port, secrets, self._codec.closed)

    def _too_late(self) -> Failed:
        if self._stage is _Stage.OPEN:
            return Failed("retryable", f"{self._host} was silent for {self._deadlines.read_s:g} s while a reply was due")
        return Failed("retryable", f"{self._host} was not ready within {self._deadlines.connect_s:g} s: {self._stage.value}")


def _token(answer: Answer) -> str | None:
    """Return the token in an answer, if it holds one."""
    try:
        data = json.loads(answer.body)
    except (ValueError, RecursionError):
        return None
    token = data.get("token") if isinstance(data, dict) and answer.status == 200 else None
    return token if isinstance(token, str) and token else None


def _secrets(request: Request) -> tuple[str, ...]:
    """Return what of a request must not be repeated, should the service do so."""
    in_headers = (word for value in request.headers.values() for word in value.split())
    in_url = (value for name, value in parse_qsl(urlsplit(request.url).query) if name != "model")
    return tuple(word for word in (*in_headers, *in_url) if len(word) >= SECRET_LENGTH)
