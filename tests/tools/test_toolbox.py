"""Tools as the conversation runs them: by name, with the arguments that a model made up."""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import json
import re
import sys
from collections.abc import AsyncIterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from pipit.audio.mixer import Mixer
from pipit.core.options import Secret
from pipit.core.tool import Declaration
from pipit.tools import Controls, Tool
from pipit.tools.builtin import MOST_TIMERS, Timers
from pipit.tools.settings import Command, Http, McpServer, Settings
from pipit.tools.toolbox import AT_ONCE, Toolbox, make

NOW = datetime(2026, 11, 21, 19, 2, tzinfo=UTC)
OBJECT = {"type": "object", "properties": {"x": {}}}


class Speaker:
    """A mixer, and what rang."""

    def __init__(self) -> None:
        self.mixer = Mixer(48000, volume=50)
        self.rung: list[str] = []
        self.complaints: list[str] = []

    def toolbox(self, **settings: Any) -> Toolbox:
        controls = Controls(lambda: self.mixer.volume, self.mixer.set_volume, self.rung.append, lambda: NOW)
        return make(Settings(**settings), controls, self.complaints.append)


@pytest.fixture
def speaker() -> Speaker:
    return Speaker()


async def call(box: Toolbox, name: str, **arguments: Any) -> Any:
    """Run a tool; return its result, or what it complained of as ("error", words)."""
    async with asyncio.timeout(20):
        outcome = await box.run(name, arguments)
    result = json.loads(outcome.result)
    return ("error", result["error"]) if outcome.is_error else result


# -- built-in ----------------------------------------------------------------------------------------------------------------------


async def test_what_is_on_is_declared(speaker: Speaker) -> None:
    names = [declaration.name for declaration in await speaker.toolbox().declarations()]
    assert names == [
        *("get_volume", "set_volume", "set_timer", "list_timers", "cancel_timer", "get_time", "end_conversation"),
    ]
    assert await speaker.toolbox(volume=False, timers=False, clock=False, stop=False).declarations() == ()


async def test_volume(speaker: Speaker) -> None:
    box = speaker.toolbox()
    assert await call(box, "get_volume") == {"level": 50}
    assert await call(box, "set_volume", level=30) == {"level": 30}
    assert await call(box, "set_volume", change=-10.5) == {"level": 20}
    assert await call(box, "set_volume", change=100) == {"level": 100}
    assert speaker.mixer.volume == 100
    assert await call(box, "set_volume", change=-100) == {"level": 0}
    assert await call(box, "set_volume") == ("error", "give either level or change")
    assert await call(box, "set_volume", level=1, change=1) == ("error", "give either level or change")
    assert await call(box, "set_volume", level=500) == ("error", "level must be at most 100")
    assert speaker.mixer.volume == 0


async def test_time_and_date(speaker: Speaker) -> None:
    expected = {"time": "19:02", "date": "2026-11-21", "weekday": "Saturday", "zone": "UTC"}
    assert await call(speaker.toolbox(), "get_time") == expected


async def test_the_end_of_the_conversation(speaker: Speaker) -> None:
    outcome = await speaker.toolbox().run("end_conversation", {})
    assert outcome.ends_conversation
    assert not (await speaker.toolbox().run("get_time", {})).ends_conversation


async def test_an_unknown_tool(speaker: Speaker) -> None:
    assert await call(speaker.toolbox(), "open_door") == ("error", "this device has no tool open_door")


async def test_a_timer_rings_until_pipit_is_called(speaker: Speaker) -> None:
    box = speaker.toolbox()
    async with asyncio.timeout(20):
        number = (await call(box, "set_timer", seconds=1, label="eggs"))["timer"]
        assert await call(box, "list_timers") == {"timers": [{"timer": number, "label": "eggs", "seconds_left": 1}]}
        await until(lambda: speaker.rung == ["eggs", "eggs"])
        assert await call(box, "list_timers") == {"timers": []}
        await box.declarations()
        await asyncio.sleep(0)
        await box.close()
    assert speaker.rung == ["eggs", "eggs"]


async def test_timers_can_be_cancelled_and_are_not_endless(speaker: Speaker) -> None:
    box = speaker.toolbox()
    numbers = [(await call(box, "set_timer", seconds=3600))["timer"] for _ in range(MOST_TIMERS)]
    assert (await call(box, "set_timer", seconds=5))[0] == "error"
    assert await call(box, "cancel_timer", timer=numbers[0]) == {"cancelled": True}
    assert (await call(box, "cancel_timer", timer=numbers[0]))[0] == "error"
    assert len((await call(box, "list_timers"))["timers"]) == MOST_TIMERS - 1
    await box.close()
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def until(condition: Any) -> None:
    while not condition():  # noqa: ASYNC110 (what rings is heard by nobody here)
        await asyncio.sleep(0.01)


# -- http --------------------------------------------------------------------------------------------------------------------------


@contextlib.asynccontextmanager
async def server(answer: bytes) -> AsyncIterator[tuple[str, list[bytes]]]:
    """Answer every request; yield the URL and what came."""
    asked: list[bytes] = []

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        length = next((int(line.split(b":")[1]) for line in head.split(b"\r\n") if line.startswith(b"Content-Length")), 0)
        asked.append(head + await reader.readexactly(length))
        writer.write(answer)
        await writer.drain()
        writer.close()

    listening = await asyncio.start_server(connected, "127.0.0.1", 0)
    async with asyncio.timeout(10), listening:
        yield f"http://127.0.0.1:{listening.sockets[0].getsockname()[1]}", asked


def lamp(url: str, **options: Any) -> dict[str, Any]:
    parameters = {"type": "object", "properties": {"room": {"type": "string"}, "level": {"type": "integer"}}}
    given = {"name": "lamp", "description": "d", "enabled": True, "parameters": parameters, "url": url, **options}
    return {"http": (Http(**given),)}


async def test_a_request_is_made_of_its_template(speaker: Speaker) -> None:
    async with server(b'HTTP/1.1 200 OK\r\n\r\n{"on": true}') as (url, asked):
        box = speaker.toolbox(
            **lamp(
                url + "/api/{room}?level={level}",
                method="POST",
                headers={"Authorization": "Bearer {secret}"},
                body={"set": {"level": "{level}", "text": "in {room}"}, "always": [1, "{room}"]},
                secret=Secret("s3cret"),
            )
        )
        assert await call(box, "lamp", room="living room/../x", level=7) == {"status": 200, "body": {"on": True}}
    head, _, body = asked[0].partition(b"\r\n\r\n")
    assert head.startswith(b"POST /api/living%20room%2F..%2Fx?level=7 HTTP/1.1\r\n")
    assert b"\r\nAuthorization: Bearer s3cret\r\n" in head
    assert json.loads(body) == {
        "set": {"level": 7, "text": "in living room/../x"},
        "always": [1, "living room/../x"],
    }


async def test_arguments_are_the_body_where_none_is_written(speaker: Speaker) -> None:
    async with server(b"HTTP/1.1 204 No Content\r\n\r\n") as (url, asked):
        assert await call(speaker.toolbox(**lamp(url, method="PUT")), "lamp", level=1) == {"status": 204, "body": ""}
    assert asked[0].endswith(b'\r\n\r\n{"level": 1}')


async def test_failures_of_a_request_are_told_without_the_secret(speaker: Speaker) -> None:
    async with server(b"HTTP/1.1 500 Oops\r\n\r\ntoken s3cret is bad") as (url, _):
        box = speaker.toolbox(**lamp(url, secret=Secret("s3cret"), headers={"X": "{secret}"}))
        assert await call(box, "lamp") == ("error", "127.0.0.1 answered HTTP 500: token … is bad")
    assert (await call(box, "lamp"))[1].startswith("127.0.0.1 cannot be reached")
    assert await call(speaker.toolbox(**lamp(url + "/{room}")), "lamp") == ("error", "room is missing")


async def test_what_is_off_is_neither_declared_nor_run(speaker: Speaker) -> None:
    box = speaker.toolbox(**lamp("http://127.0.0.1:1/", enabled=False))
    assert "lamp" not in [declaration.name for declaration in await box.declarations()]
    assert await call(box, "lamp") == ("error", "this device has no tool lamp")


# -- command -----------------------------------------------------------------------------------------------------------------------


def program(*argv: str, **options: Any) -> dict[str, Any]:
    given = {"name": "run", "description": "d", "enabled": True, "parameters": OBJECT, "argv": argv, **options}
    return {"command": (Command(**given),)}


async def test_a_program_gets_its_arguments_as_they_are(speaker: Speaker) -> None:
    box = speaker.toolbox(**program("/usr/bin/printf", "%s|%s", "{x}", "fixed {x}"))
    assert await call(box, "run", x="$(id); `id` 'q' *") == {"output": "$(id); `id` 'q' *|fixed $(id); `id` 'q' *"}
    assert await call(box, "run", x=-5) == {"output": "-5|fixed -5"}
    assert await call(box, "run", x="-rf") == ("error", "an argument may not begin with -")
    assert await call(box, "run") == ("error", "x is missing")
    assert await call(box, "run", x="a\0b") == ("error", "an argument may not hold a null character")


async def test_a_program_sees_nothing_of_the_daemons_environment(speaker: Speaker, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_KEY", "sk-1")
    assert "sk-1" not in (await call(speaker.toolbox(**program("/usr/bin/env")), "run"))["output"]


async def test_a_program_that_fails(speaker: Speaker) -> None:
    assert await call(speaker.toolbox(**program("/bin/false")), "run") == ("error", "run failed with status 1: ")
    absent = await call(speaker.toolbox(**program("/no/such")), "run")
    assert absent == ("error", "/no/such cannot be run: No such file or directory")


@pytest.mark.wall_clock
async def test_a_program_that_takes_too_long_is_ended_with_its_children(speaker: Speaker, tmp_path: Path) -> None:
    script = tmp_path / "slow"
    script.write_text(f"#!/bin/sh\nsleep 60 &\necho $! > {tmp_path}/child\nwait\n")
    script.chmod(0o755)
    words = await call(speaker.toolbox(**program(str(script), timeout_s=1.5)), "run")
    assert words == ("error", "run took longer than 1.5 s and was ended")
    await gone(int((tmp_path / "child").read_text()))


async def test_a_program_that_says_too_much_is_ended(speaker: Speaker) -> None:
    words = await call(speaker.toolbox(**program("/usr/bin/yes", limit_bytes=1000)), "run")
    assert words[0] == "error"
    assert words[1].startswith("run said more than 1000 bytes and was ended; it began: y\ny")


@pytest.mark.wall_clock
async def test_cancelling_a_call_ends_the_program(speaker: Speaker, tmp_path: Path) -> None:
    script = tmp_path / "slow"
    script.write_text(f"#!/bin/sh\necho $$ > {tmp_path}/me\nexec sleep 60\n")
    script.chmod(0o755)
    task = asyncio.create_task(speaker.toolbox(**program(str(script), timeout_s=50)).run("run", {}))
    async with asyncio.timeout(10):
        await until(lambda: (tmp_path / "me").exists() and (tmp_path / "me").read_text())
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    await gone(int((tmp_path / "me").read_text()))


async def test_cancelling_a_call_at_any_moment_of_its_start_ends_it(speaker: Speaker) -> None:
    box = speaker.toolbox(**program("/bin/sleep", "50", timeout_s=60))
    async with asyncio.timeout(20):
        for moments in range(12):
            task = asyncio.create_task(box.run("run", {}))
            for _ in range(moments):
                await asyncio.sleep(0)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def gone(pid: int) -> None:
    """Wait until a process has ended; a zombie has."""

    def lives() -> bool:
        with contextlib.suppress(OSError):
            return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
        return False

    async with asyncio.timeout(5):
        await until(lambda: not lives())


# -- results -----------------------------------------------------------------------------------------------------------------------


async def test_a_result_that_would_fill_the_agents_memory_is_cut(speaker: Speaker) -> None:
    async with server(b"HTTP/1.1 200 OK\r\n\r\n" + b"x" * 30000) as (url, _):
        result = await call(speaker.toolbox(**lamp(url, limit_bytes=40000)), "lamp")
    assert result["too_long"] is True
    assert len(result["beginning"]) == 8192


# -- MCP ---------------------------------------------------------------------------------------------------------------------------


@contextlib.asynccontextmanager
async def mcp_server(key: str = "") -> AsyncIterator[str]:
    """Run a server made with the vendor's own package."""
    pytest.importorskip("mcp", reason="the mcp package is the judge")
    uvicorn = pytest.importorskip("uvicorn")
    from mcp.server import MCPServer

    made = MCPServer("house")

    @made.tool()
    def light(room: str, on: bool) -> str:
        """Switch a light."""
        if room == "attic":
            raise ValueError("there is no light in the attic")
        return f"{room} is {'on' if on else 'off'}"

    @made.tool()
    async def slow() -> str:
        """Take long."""
        await asyncio.sleep(60)
        return ""

    app = made.streamable_http_app()

    async def guarded(scope: Mapping[str, Any], receive: Any, send: Any) -> None:
        given = dict(scope.get("headers", ())).get(b"x-key", b"").decode()
        if scope["type"] == "http" and given != key:
            await send({"type": "http.response.start", "status": 401, "headers": []})
            await send({"type": "http.response.body", "body": b""})
            return
        await app(scope, receive, send)

    running = uvicorn.Server(uvicorn.Config(guarded, "127.0.0.1", 0, log_level="critical", timeout_graceful_shutdown=1))
    task = asyncio.create_task(running.serve())
    try:
        async with asyncio.timeout(20):
            await until(lambda: running.started)
            port = running.servers[0].sockets[0].getsockname()[1]
            yield f"http://127.0.0.1:{port}/mcp"
    finally:
        running.should_exit = True
        await task


async def test_tools_of_an_mcp_server(speaker: Speaker) -> None:
    async with mcp_server("k1") as url:
        house = McpServer(name="house", url=url, allow=("light",), headers={"X-Key": "{secret}"}, secret=Secret("k1"))
        box = speaker.toolbox(mcp=(house,), volume=False, timers=False, clock=False, stop=False)
        (declared,) = await box.declarations()
        assert (declared.name, declared.description) == ("light", "Switch a light.")
        assert set(declared.parameters["properties"]) == {"room", "on"}
        assert (await box.run("light", {"room": "hall", "on": True})).result == "hall is on"
        assert (await box.run("light", {"room": "hall"})).is_error
        refused = await call(box, "light", room="attic", on=True)
        assert refused == ("error", "Error executing tool light")
        assert await call(box, "slow") == ("error", "this device has no tool slow")
        await box.close()
    assert speaker.complaints == []


async def test_an_mcp_server_that_is_slow_wrong_or_absent(speaker: Speaker) -> None:
    async with mcp_server() as url:
        slow = McpServer(name="house", url=url, allow=("slow",), timeout_s=1.0)
        box = speaker.toolbox(mcp=(slow,))
        await box.declarations()
        assert await call(box, "slow") == ("error", "house did not answer within 1 s")
        absent = speaker.toolbox(mcp=(McpServer(name="house", url=url, allow=("open_door", "light")),))
        names = [declaration.name for declaration in await absent.declarations()]
        assert ("light" in names, "open_door" in names) == (True, False)
        assert speaker.complaints == ["some tools of house cannot be used: it has no tool open_door; it has light, slow"]
        await absent.close()
        await box.close()
    nobody = speaker.toolbox(mcp=(McpServer(name="shed", url="http://127.0.0.1:9/mcp", allow=("x",)),))
    await nobody.declarations()
    async with asyncio.timeout(20):
        await until(lambda: len(speaker.complaints) == 2)
    assert speaker.complaints[1].startswith("the tools of shed cannot be used: shed cannot be used: ")
    await nobody.close()


class House:
    """An MCP server without the package, that can misbehave.

    Args:
        pages: the list of tools: (name, schema) of each, in pages.
        result: what a call says.
        stream: send the result as events.
        silent: accept connections and say nothing.
    """

    def __init__(
        self, *pages: list[tuple[str, Any]], result: str = "done", stream: bool = False, packed: bool = False, silent: bool = False
    ) -> None:
        self.pages = pages
        self.result = result
        self.stream = stream
        self.packed = packed
        self.silent = silent
        self.calls: list[dict[str, Any]] = []
        self.connections = 0
        self.writers: set[asyncio.StreamWriter] = set()

    @contextlib.asynccontextmanager
    async def serving(self) -> AsyncIterator[str]:
        listening = await asyncio.start_server(self._connected, "127.0.0.1", 0)
        async with asyncio.timeout(30), listening:
            yield f"http://127.0.0.1:{listening.sockets[0].getsockname()[1]}/mcp"
            for writer in self.writers:
                writer.transport.abort()
            await until(lambda: not self.writers)

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self.writers.add(writer)
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                found = re.search(rb"content-length: (\d+)", head.lower())
                body = await reader.readexactly(int(found[1]) if found else 0)
                if self.silent or not body:  # a GET asks for what the server has to say by itself
                    await reader.read()
                    break
                self._answer(writer, json.loads(body))
                await writer.drain()
        writer.close()
        self.writers.remove(writer)

    def _answer(self, writer: asyncio.StreamWriter, asked: dict[str, Any]) -> None:
        if "id" not in asked:
            writer.write(b"HTTP/1.1 202 Accepted\r\nContent-Length: 0\r\n\r\n")
            return
        match asked["method"]:
            case "initialize":
                version = asked["params"]["protocolVersion"]
                info = {"name": "house", "version": "1"}
                result: dict[str, Any] = {"protocolVersion": version, "capabilities": {"tools": {}}, "serverInfo": info}
            case "tools/list":
                number = int(asked.get("params", {}).get("cursor") or 0)
                result = {
                    "tools": [{"name": name, "description": "d", "inputSchema": schema} for name, schema in self.pages[number]]
                }
                if number + 1 < len(self.pages):
                    result["nextCursor"] = str(number + 1)
            case "tools/call":
                self.calls.append(asked["params"])
                result = {"content": [{"type": "text", "text": self.result}], "isError": False}
            case _:
                self._write(writer, {"id": asked["id"], "error": {"code": -32601, "message": "no"}})
                return
        self._write(writer, {"id": asked["id"], "result": result}, call=asked["method"] == "tools/call")

    def _write(self, writer: asyncio.StreamWriter, message: dict[str, Any], *, call: bool = False) -> None:
        body = json.dumps({"jsonrpc": "2.0", **message}).encode()
        if self.stream and call:
            head = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n"
            writer.write(head + b": nothing yet\n\n" * 200000 + b"event: message\ndata: " + body + b"\n\n")
            return
        more = b"Content-Encoding: gzip\r\n" if self.packed and call else b""
        body = gzip.compress(body) if more else body
        writer.write(
            b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n%bContent-Length: %d\r\n\r\n" % (more, len(body)) + body
        )


ANY_OBJECT = {"type": "object"}


def at_home(url: str, *allow: str, **options: Any) -> dict[str, Any]:
    pytest.importorskip("mcp")
    return {"mcp": (McpServer(name="house", url=url, allow=allow, **options),), "volume": False, "timers": False, "stop": False}


async def test_names_of_mcp_tools_are_made_such_that_every_service_takes_them(speaker: Speaker) -> None:
    """OpenAI refuses a whole session for a name with a dot."""
    odd = ("light.turn_on", "light/turn_on", "größe", "get.time", "get_time", "x" * 70)
    house = House([(name, ANY_OBJECT) for name in odd])
    async with house.serving() as url:
        box = speaker.toolbox(**at_home(url, *odd))
        names = [declared.name for declared in await box.declarations()]
        assert sorted(names) == sorted(["get_time", "light_turn_on", "gr__e", "x" * 64])
        assert (await box.run("light_turn_on", {"a": 1})).result == "done"
        assert (await box.run("x" * 64, {})).result == "done"
        assert [call["name"] for call in house.calls] == ["light.turn_on", "x" * 70]
        assert (await call(box, "get_time"))["time"] == "19:02", "the server's tool of this name is not offered"
        await box.close()
    assert [line.rpartition(": ")[2] for line in speaker.complaints] == [
        "another tool is called 'light_turn_on' already",
        "another tool is called 'get_time' already",
        "another tool is called 'get_time' already",
    ]


async def test_mcp_tools_that_cannot_be_declared_are_left_out_and_the_others_are_offered(speaker: Speaker) -> None:
    broken = {"type": "object", "properties": {"x": {"type": "integer", "minimum": "0"}}}
    house = House([("bad", broken), ("good", ANY_OBJECT)], [("later", ANY_OBJECT)])
    async with house.serving() as url:
        box = speaker.toolbox(**at_home(url, "bad", "good", "later"), clock=False)
        declared = await box.declarations()
        assert [tool.name for tool in declared] == ["good", "later"]
        await box.close()
    assert speaker.complaints == [
        "some tools of house cannot be used: the schema of bad cannot be used: properties.x.minimum must be a number"
    ]


@pytest.mark.parametrize("how", ["whole", "stream", "packed"])
async def test_an_mcp_server_that_sends_without_end_is_cut_off(speaker: Speaker, how: str) -> None:
    house = House([("x", ANY_OBJECT)], result="a" * (3 << 20), stream=how == "stream", packed=how == "packed")
    async with house.serving() as url:
        box = speaker.toolbox(**at_home(url, "x"))
        await box.declarations()
        kind, words = await call(box, "x")
        await box.close()
    assert kind == "error"
    if how != "packed":  # a packed answer is not unpacked, so it is nothing that could be read
        assert words == "house cannot be used: it sends more than 1048576 bytes"


async def test_the_package_for_mcp_is_not_loaded_in_a_conversation() -> None:
    """Loading takes a second or more, in which nothing else happens."""
    pytest.importorskip("mcp")
    program = (
        "import sys; from pipit.tools import toolbox, mcp, settings; assert 'mcp' not in sys.modules;"
        "mcp.Server(settings.McpServer(name='a', url='http://127.0.0.1:9/', allow=('x',)));"
        "assert 'mcp.client.streamable_http' in sys.modules"
    )
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", program)
    async with asyncio.timeout(60):
        assert await process.wait() == 0


async def test_only_the_first_conversation_waits_for_an_mcp_server_that_says_nothing(
    speaker: Speaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    house = House([], silent=True)
    async with house.serving() as url:
        box = speaker.toolbox(**at_home(url, "x"))
        await box.declarations()
        monkeypatch.setattr("pipit.tools.toolbox.ASKING_S", 3600.0)  # a second wait would end in the time-out
        await box.declarations()
        assert house.connections == 1
        await box.close()


# -- what may come -----------------------------------------------------------------------------------------------------------------


async def test_an_agent_that_calls_without_end_is_refused(speaker: Speaker) -> None:
    box = speaker.toolbox(**program("/bin/sleep", "0.2"))
    async with asyncio.timeout(30):
        outcomes = await asyncio.gather(*(box.run("run", {}) for _ in range(30)))
    assert [outcome.is_error for outcome in outcomes] == [False] * 20 + [True] * 10
    assert "call this one again later" in outcomes[-1].result
    assert not (await box.run("run", {})).is_error


async def test_so_many_programs_run_at_once(speaker: Speaker, tmp_path: Path) -> None:
    script = tmp_path / "count"
    script.write_text(f"#!/bin/sh\nmkdir {tmp_path}/now.$$; ls {tmp_path} | grep -c now; sleep 0.1; rmdir {tmp_path}/now.$$\n")
    script.chmod(0o755)
    box = speaker.toolbox(**program(str(script), timeout_s=20))
    results = await asyncio.gather(*(call(box, "run") for _ in range(12)))
    assert max(int(result["output"]) for result in results) <= AT_ONCE


async def test_a_cancelled_call_makes_room(speaker: Speaker) -> None:
    box = speaker.toolbox(**program("/bin/sleep", "50", timeout_s=60))
    calls = [asyncio.create_task(box.run("run", {})) for _ in range(20)]
    async with asyncio.timeout(20):
        await asyncio.sleep(0)  # they begin
        assert (await box.run("run", {})).is_error
        for task in calls:
            task.cancel()
        await asyncio.gather(*calls, return_exceptions=True)
        assert await call(box, "get_volume") == {"level": 50}


@pytest.mark.parametrize("step", [".", ".."])
async def test_an_argument_cannot_leave_the_folder_of_its_template(speaker: Speaker, step: str) -> None:
    async with server(b"HTTP/1.1 204 No Content\r\n\r\n") as (url, asked):
        refused = await call(speaker.toolbox(**lamp(url + "/api/{room}/on")), "lamp", room=step)
        assert refused == ("error", "an argument may not be . or ..")
        refused = await call(speaker.toolbox(**lamp(url + "/a/../{room}")), "lamp", room=step)
        assert refused == ("error", "an argument may not be . or ..")
        assert (await call(speaker.toolbox(**lamp(url + "/./api?in={room}")), "lamp", room=step))["status"] == 204
        assert (await call(speaker.toolbox(**lamp(url + "/api/{room}/on")), "lamp", room=step + "x"))["status"] == 204
    assert [line.split()[1] for line in asked] == [f"/./api?in={step}".encode(), f"/api/{step}x/on".encode()]


@pytest.mark.parametrize(
    ("body", "told"),
    [
        (b'{"name": "\\ud83d"}', {"name": "?"}),
        (b'[1e999, "x"]', '[1e999, "x"]'),
        (b"[NaN]", "[NaN]"),
        (b"[" * 40 + b"]" * 40, "[" * 40 + "]" * 40),
        (b"[" * 9000, "[" * 9000),
        (b"9" * 5000, "9" * 5000),
        (b"\xff\xfe", "\ufffd\ufffd"),
    ],
)
async def test_an_answer_that_is_odd_json_can_be_told(speaker: Speaker, body: bytes, told: object) -> None:
    async with server(b"HTTP/1.1 200 OK\r\n\r\n" + body) as (url, _):
        outcome = await speaker.toolbox(**lamp(url)).run("lamp", {})
    assert json.loads(outcome.result.encode().decode())["body"] == told


async def test_a_tool_that_breaks_down_is_an_error_for_the_agent_and_a_line_in_the_journal(speaker: Speaker) -> None:
    async def broken(_: Mapping[str, Any]) -> str:
        raise ZeroDivisionError("who divided?")

    controls = Controls(lambda: 0.0, lambda _: None, lambda _: None, lambda: NOW)
    box = Toolbox([Tool(Declaration("odd", "d"), broken)], [], Timers(controls), speaker.complaints.append)
    assert await call(box, "odd") == ("error", "odd broke down; the journal of this device says where")
    assert speaker.complaints[0].startswith(f"the tool odd broke down: ZeroDivisionError: who divided? ({__file__}:")
