"""The rehearsal server: one port, the protocol chosen by the path."""

from __future__ import annotations

import asyncio
import errno
import http
import json
import time
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.parse import parse_qs, urlsplit

from websockets.asyncio.server import ServerConnection
from websockets.asyncio.server import serve as serve_websockets
from websockets.exceptions import ConnectionClosed
from websockets.frames import Frame, Opcode
from websockets.http11 import Request, Response

from pipit.errors import ConfigError
from pipit.offline import espeak
from pipit.offline.recogniser import Recogniser
from pipit.rehearsal import chat, fish
from pipit.rehearsal.agent import Agent, Conduct, Say
from pipit.rehearsal.assemblyai import AssemblyAI, Lost
from pipit.rehearsal.dialects import DIALECTS
from pipit.rehearsal.misbehaviour import Misbehaviour, Stage
from pipit.rehearsal.openai_realtime import OpenAIRealtime
from pipit.rehearsal.web import HEAD_BYTES, Connection, Exchange, Visit, wants_websocket
from pipit.rehearsal.wire import Session, Wire

PATHS = {
    "/v1/realtime": "openai",
    "/v1/ws": "assemblyai",
    "/realtime-beta/voice-live/realtime": "realtime-beta",  # Azure Voice Live speaks the older version
    **{f"/{name}/v1/realtime": name for name in DIALECTS if name != "openai"},
    fish.LIVE: "fish",
}
"""WebSockets."""
REQUESTS: dict[str, Stage] = {
    "/v1/asr": "hear",
    "/v1/tts": "speak",
    "/v1/audio/transcriptions": "hear",
    "/v1/chat/completions": "think",
}
"""Plain HTTP; each is a stage of a cascade."""
LARGEST_MESSAGE_BYTES = 24 * 1024 * 1024
"""Room for the 15 MiB of sound that OpenAI takes in one message, in base64."""
DEFAULT_MODEL = "gpt-realtime"
GRAMMAR = Path(__file__).with_name("skills.gram")
"""What its agent understands; the words are in the file beside it."""


def _unheard(line: str) -> None:
    """Say nothing."""


class _Connection(ServerConnection):
    """A client's connection: a WebSocket, unless the first request is for something else."""

    number = 0
    """1 for the first."""
    faults = Misbehaviour()
    hand_over: Callable[[_Connection, asyncio.Transport, bytes], None]
    """Takes a connection that is no WebSocket, and what has been read from it."""
    closes: Callable[[_Connection], None]
    """Is told of a connection that was closed."""
    undecided: asyncio.Transport | None = None
    """The connection while nobody knows what it is for."""
    unwanted = False
    """The rehearsal was over before the connection was made."""
    _head = b""

    def ignore_pings(self) -> None:
        """Leave pings without an answer from now on."""
        send = self.protocol.send_frame

        def send_unless_pong(frame: Frame) -> None:
            if frame.opcode is not Opcode.PONG:
                send(frame)

        self.protocol.send_frame = send_unless_pong  # type: ignore[method-assign]  # the library offers no other way

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Wait for the request before anything is made of the connection."""
        assert isinstance(transport, asyncio.Transport)
        self.undecided = transport
        if self.unwanted:
            transport.abort()

    def data_received(self, data: bytes) -> None:
        """Find out what it is."""
        if self.undecided is None:
            super().data_received(data)
            return
        self._head += data
        if b"\r\n\r\n" not in self._head and len(self._head) < HEAD_BYTES:
            return
        transport, self.undecided = self.undecided, None
        if wants_websocket(self._head):
            super().connection_made(transport)
            super().data_received(self._head)
        else:
            self.hand_over(self, transport, self._head)

    def eof_received(self) -> None:
        """The client sends no more."""
        if self.undecided is None:
            super().eof_received()

    def connection_lost(self, exc: Exception | None) -> None:
        """It is closed."""
        if self.undecided is None:
            super().connection_lost(exc)
        self.undecided = None
        self.closes(self)


class Rehearsal:
    """A loop-back server of voice agents and of what cascades are made of: offline.

    It speaks OpenAI Realtime and its dialects, AssemblyAI Voice Agent, Fish Audio (speech to text, text to speech over HTTP and
    live), and OpenAI's chat/completions and audio/transcriptions.

    async with Rehearsal() as server:
        connect(server.url("openai"))

    Args:
        host: address to listen at.
        port: 0 for any free one.
        misbehave: faults to show; None for none.
        conduct: how it behaves otherwise.
        now: the local time, which the agent tells.
        say: takes lines about what happens.
        record: keep what is received and sent in `sessions`; False for a server that runs long.

    Raises:
        ConfigError: on entering, if espeak-ng or pocketsphinx is missing.
        ExceptionGroup: on leaving, if serving a session failed by a mistake of the server.
    """

    def __init__(
        self,
        host: str = "127.0.0.1",
        port: int = 0,
        misbehave: Misbehaviour | None = None,
        conduct: Conduct | None = None,
        *,
        now: Callable[[], datetime] = datetime.now,
        say: Say = _unheard,
        record: bool = True,
    ) -> None:
        self.host = host
        self.port = port
        self.sessions: list[Session] = []
        """One for each WebSocket that was opened, in order; without `record` those that are open."""
        self.connections = 0
        """TCP connections accepted so far."""
        self._misbehave = misbehave or Misbehaviour()
        self._conduct = conduct or Conduct()
        self._now = now
        self._say = say
        self._record = record
        self.exchanges: list[Exchange] = []
        """One for each HTTP request, in order; without `record` those that are being answered."""
        self._mistakes: list[Exception] = []
        self._undecided: set[_Connection] = set()
        self._visitors: dict[asyncio.Task[None], Connection] = {}
        self._lost: dict[str, Lost] = {}

    def url(self, provider: str) -> str:
        """Return the address for "assemblyai", "fish" (live), "openai" or another name in `DIALECTS`."""
        paths = {protocol: path for path, protocol in PATHS.items()}
        return self.http.replace("http", "ws", 1) + paths[provider]

    @property
    def http(self) -> str:
        """The address of the plain HTTP endpoints, without their paths."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"http://{host}:{self.port}"

    async def __aenter__(self) -> Self:
        espeak.check()
        async with AsyncExitStack() as stack:
            worker = stack.enter_context(ThreadPoolExecutor(1, "rehearsal-ear"))
            recogniser = await asyncio.get_running_loop().run_in_executor(worker, Recogniser, GRAMMAR)
            self._say(f"the recogniser was loaded in {recogniser.load_s * 1000:.0f} ms")
            self._agent = Agent(recogniser, worker, self._now)
            self._fish = fish.Fish(self._agent, self._conduct)
            self._chat = chat.Chat(self._agent, self._conduct)
            self._closing = asyncio.Event()
            server = await stack.enter_async_context(
                serve_websockets(
                    self._serve,
                    self.host,
                    self.port,
                    process_request=self._admit,
                    create_connection=self._connect,  # type: ignore[arg-type]  # declared to be a class, called as a function
                    max_size=LARGEST_MESSAGE_BYTES,
                    compression=None,
                    open_timeout=None,  # a stalled upgrade is a fault that it must be able to show
                )
            )
            stack.push_async_callback(self._send_away)
            stack.callback(self._closing.set)
            self.port = server.sockets[0].getsockname()[1]
            self._stack = stack.pop_all()
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        await self._stack.aclose()
        if self._mistakes and error is None:
            raise ExceptionGroup("the rehearsal server made mistakes", self._mistakes)

    def _connect(self, *args: Any, **options: Any) -> ServerConnection:
        """Take a TCP connection."""
        connection = _Connection(*args, **options)
        connection.hand_over = self._hand_over
        connection.closes = self._undecided.discard
        self._undecided.add(connection)
        self.connections += 1
        connection.number = self.connections
        first, limit = self._misbehave.spared + 1, self._misbehave.sessions
        if first <= self.connections and (limit is None or self.connections < first + limit):
            connection.faults = self._misbehave
        return connection

    async def _admit(self, connection: ServerConnection, request: Request) -> Response | None:
        """Decide on an upgrade: None lets it happen."""
        assert isinstance(connection, _Connection)
        protocol = PATHS.get(urlsplit(request.path).path)
        faults = connection.faults = connection.faults.of("speak" if protocol == "fish" else None)
        if not await self._let_in(faults):
            return connection.respond(http.HTTPStatus.SERVICE_UNAVAILABLE, "the rehearsal is over\n")
        if protocol == "fish":
            status = self._fish_refuses(request, faults)
            return connection.respond(http.HTTPStatus(status), json.dumps(fish.refusal(status))) if status else None
        if faults.refuse_upgrade is not None:
            return connection.respond(http.HTTPStatus(faults.refuse_upgrade), "misbehaving\n")
        if protocol is None:
            return connection.respond(http.HTTPStatus.NOT_FOUND, f"the rehearsal serves {' and '.join(PATHS)}\n")
        if protocol in DIALECTS and (wrong := DIALECTS[protocol]().asks_for(parse_qs(urlsplit(request.path).query))):
            return connection.respond(http.HTTPStatus.BAD_REQUEST, f"{wrong}\n")
        if protocol in DIALECTS and not self._authorised(request, faults):
            error = {"message": "Incorrect API key provided.", "type": "invalid_request_error", "code": "invalid_api_key"}
            return connection.respond(http.HTTPStatus.UNAUTHORIZED, json.dumps({"error": error}))
        return None

    def _fish_refuses(self, request: Request, faults: Misbehaviour) -> int | None:
        """Return the HTTP status with which a live connection is refused, if it is."""
        if faults.refuse_upgrade is not None:
            return faults.refuse_upgrade
        if not self._knows(request.headers.get("Authorization", ""), faults):
            return 401
        return 429 if self._fish.too_many() else None

    async def _let_in(self, faults: Misbehaviour) -> bool:
        """Wait as long as the faults say; False: the rehearsal is over."""
        if faults.connect_delay_s:
            await self._unless_closing(faults.connect_delay_s)
        if faults.stall_after_accept:
            await self._closing.wait()
        return not self._closing.is_set()

    # -- plain HTTP ---------------------------------------------------------------------------------------------------------------

    def _hand_over(self, connection: _Connection, transport: asyncio.Transport, first: bytes) -> None:
        """Take over a connection that is no WebSocket."""
        self._undecided.discard(connection)

        def faults(path: str) -> Misbehaviour:
            return connection.faults.of(REQUESTS.get(path))

        visitor = Connection(transport, first, connection.number, faults, self._answer)
        task = asyncio.get_running_loop().create_task(visitor.run())
        self._visitors[task] = visitor
        task.add_done_callback(self._has_left)

    def _has_left(self, task: asyncio.Task[None]) -> None:
        del self._visitors[task]
        if not task.cancelled() and isinstance(mistake := task.exception(), Exception):
            self._mistakes.append(mistake)

    async def _send_away(self) -> None:
        """Close what has not asked for anything yet, and what asked by plain HTTP."""
        for connection in tuple(self._undecided):
            connection.unwanted = True
            if connection.undecided is not None:
                connection.undecided.abort()
        tasks = list(self._visitors)
        for visitor in self._visitors.values():
            visitor.abort()  # not cancelled: who is being answered notices that he has gone, and is cleaned up after
        if tasks:
            await asyncio.wait(tasks)

    async def _answer(self, visit: Visit) -> None:
        exchange, faults = visit.exchange, visit.faults
        exchange.protocol = exchange.path.rpartition("/")[2]
        self.exchanges.append(exchange)
        try:
            if await self._let_in(faults):
                await self._answer_to(visit, exchange.path)
                self._say(f"http {exchange.connection}: {exchange.protocol} {exchange.status} {exchange.text!r}")
        finally:
            if not self._record:
                self.exchanges.remove(exchange)

    async def _answer_to(self, visit: Visit, path: str) -> None:
        refusal = fish.refusal if path in ("/v1/asr", "/v1/tts") else chat.refusal
        if path not in REQUESTS:
            await visit.answer(404, {"message": f"the rehearsal serves {', '.join((*PATHS, *REQUESTS))}", "status": 404})
        elif visit.exchange.method != "POST":
            await visit.answer(405, refusal(405))
        elif visit.faults.refuse_upgrade is not None:
            await visit.answer(visit.faults.refuse_upgrade, refusal(visit.faults.refuse_upgrade))
        elif not self._knows(visit.exchange.headers.get("authorization", ""), visit.faults):
            await visit.answer(401, refusal(401))
        elif path == "/v1/asr":
            await self._fish.asr(visit)
        elif path == "/v1/tts":
            await self._fish.tts(visit)
        elif path == "/v1/chat/completions":
            await self._chat.completions(visit)
        else:
            await self._chat.transcriptions(visit)

    def _knows(self, authorization: str, faults: Misbehaviour) -> bool:
        """Say whether a key is presented as it should be, and is the right one."""
        wanted = self._conduct.api_key
        return not faults.refuse_key and (wanted is None or authorization == f"Bearer {wanted}")

    # -- WebSockets ---------------------------------------------------------------------------------------------------------------

    async def _unless_closing(self, seconds: float) -> None:
        try:
            async with asyncio.timeout(seconds):
                await self._closing.wait()
        except TimeoutError:
            pass

    def _authorised(self, request: Request, faults: Misbehaviour) -> bool:
        if faults.refuse_key:
            return False
        wanted = self._conduct.api_key
        if wanted is None:
            return True
        query = parse_qs(urlsplit(request.path).query)
        protocol = PATHS[urlsplit(request.path).path]
        if protocol in DIALECTS:
            headers = {name.lower(): value for name, value in request.headers.raw_items()}
            return DIALECTS[protocol]().admits(headers, query, wanted)
        header = request.headers.get("Authorization", "")
        return header == f"Bearer {wanted}" or wanted in (header, query.get("token", [""])[0])

    async def _serve(self, connection: ServerConnection) -> None:
        request = connection.request
        assert isinstance(connection, _Connection)
        assert request is not None
        address = urlsplit(request.path)
        session = Session(PATHS[address.path], connection.number, asyncio.get_running_loop().time(), self._record)
        self.sessions.append(session)

        def say(line: str) -> None:
            self._say(f"{session.protocol} {connection.number}: {line}")

        say("opened")
        if connection.faults.ignore_pings or not getattr(DIALECTS.get(session.protocol), "answers_pings", True):
            connection.ignore_pings()
        encode = fish.packed if session.protocol == "fish" else json.dumps
        wire = Wire(connection, session, connection.faults, encode)
        try:
            if session.protocol == "fish":
                await self._fish.live(wire, _messages(connection), say)
            elif session.protocol in DIALECTS:
                await self._serve_openai(connection, wire, request, say)
            else:
                service = AssemblyAI(wire, self._agent, self._conduct, self._lost, time.time, say)
                await service.run(_messages(connection), authorised=self._authorised(request, connection.faults))
        except Exception as mistake:
            self._mistakes.append(mistake)
            raise
        finally:
            await connection.close()
            await wire.finish()
            session.closed = (connection.close_code or 1006, connection.close_reason or "")
            say(f"closed with {session.closed[0]} {session.closed[1]}".rstrip())
            if not self._record:
                self.sessions.remove(session)

    async def _serve_openai(self, connection: _Connection, wire: Wire, request: Request, say: Say) -> None:
        dialect = DIALECTS[wire.session.protocol]()
        if "OpenAI-Beta" in request.headers and wire.session.protocol == "openai":
            message = "The beta shape of the Realtime API is no longer served: leave out the header OpenAI-Beta."
            error = {"type": "invalid_request_error", "code": "beta_api_shape_disabled", "message": message}
            await wire.send({"type": "error", "event_id": "event_000001", "error": error})
            await wire.close(4000, "invalid_request_error.beta_api_shape_disabled")
            return
        model = parse_qs(urlsplit(request.path).query).get("model", [DEFAULT_MODEL])[0]
        await OpenAIRealtime(wire, self._agent, self._conduct, model, time.time(), say, dialect).run(_messages(connection))


async def _messages(connection: ServerConnection) -> AsyncIterator[str | bytes]:
    """Yield the client's messages until the connection is closed, in whatever way."""
    try:
        async for message in connection:
            yield message
    except ConnectionClosed:
        return


async def serve(host: str, port: int, misbehave: Misbehaviour | None, *, say: Say) -> None:
    """Run a server until it is cancelled.

    Args:
        host: address to listen at.
        port: 0 for any free one.
        misbehave: faults to show; None for none.
        say: takes the lines that a person reads.

    Raises:
        ConfigError: something that it needs is missing, or it cannot listen there.
    """
    if not 0 <= port <= 65535:
        raise ConfigError(f"--port {port}: there is no such port; choose one from 1 to 65535, or 0 for any free one")
    try:
        async with Rehearsal(host, port, misbehave, say=say, record=False) as server:
            for protocol in dict.fromkeys(PATHS.values()):
                query = DIALECTS[protocol]().query if protocol in DIALECTS else ""
                say(f"{protocol}: {server.url(protocol)}{query}")
            for path in REQUESTS:
                say(f"{server.http}{path}")
            say(f"misbehaviour: {misbehave or 'none'}")
            await asyncio.Event().wait()
    except OSError as error:
        other = "--port" if error.errno in (errno.EADDRINUSE, errno.EACCES) else "--host"
        raise ConfigError(
            f"the rehearsal server cannot listen at {host}:{port}: {error.strerror}; choose another {other}"
        ) from error
