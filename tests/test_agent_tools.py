"""Tools, sessions that are replaced, and lists of services, seen from the daemon: a process that talks to a scripted service."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import gc
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from websockets.asyncio.server import ServerConnection, serve

from pipit import app, config
from pipit.errors import ConfigError
from tests.daemon import Daemon, configuration, put_into_microphone

TONE = base64.b64encode((np.sin(np.arange(12000) / 6) * 8000).astype("<i2").tobytes()).decode()
"""Half a second at 24 kHz."""


class Agent:
    """One connection of a service that speaks OpenAI's protocol."""

    def __init__(self, connection: ServerConnection) -> None:
        self.connection = connection
        self.session: dict[str, Any] = {}
        self.items: list[dict[str, Any]] = []

    async def send(self, kind: str, **fields: Any) -> None:
        await self.connection.send(json.dumps({"type": kind, **fields}))

    async def until(self, kind: str) -> dict[str, Any]:
        while True:
            data: dict[str, Any] = json.loads(await self.connection.recv())
            if data["type"] == "session.update":
                self.session = data["session"]
                await self.send("session.updated", session={"id": "s"})
            if data["type"] == "conversation.item.create":
                self.items.append(data["item"])
            if data["type"] == kind:
                return data

    async def speak(self, reply: str, *calls: tuple[str, str, str]) -> None:
        """Say half a second, and call tools: (call id, name, arguments)."""
        await self.send("response.created", response={"id": reply})
        await self.send("response.output_audio.delta", response_id=reply, item_id="i", content_index=0, delta=TONE)
        for call, name, arguments in calls:
            item = {"type": "function_call", "call_id": call, "name": name, "arguments": arguments}
            await self.send("response.output_item.done", response_id=reply, item=item)
        await self.send("response.done", response={"id": reply, "status": "completed"})


@contextlib.asynccontextmanager
async def service(script: Callable[[Agent], Awaitable[None]]) -> AsyncIterator[str]:
    async def connected(connection: ServerConnection) -> None:
        with contextlib.suppress(Exception):
            await script(Agent(connection))

    async with serve(connected, "127.0.0.1", 0, compression=None, close_timeout=0.2) as server:
        yield f"ws://127.0.0.1:{next(iter(server.sockets)).getsockname()[1]}/v1/realtime"


async def test_the_agent_uses_tools_of_this_device_and_ends_the_conversation(tmp_path: Path) -> None:
    put_into_microphone(tmp_path, [], seconds=1)
    agents: list[Agent] = []

    async def script(agent: Agent) -> None:
        agents.append(agent)
        await agent.until("input_audio_buffer.append")
        await agent.speak(
            "r1",
            ("c1", "set_volume", '{"change": -10}'),
            ("c2", "wait", "{}"),
            ("c3", "open_door \ud83d", "{}"),
            ("c4", "say", '{"x": "half of \\ud83d"}'),
            ("c5", "set_volume", '{"level": 1e999}'),
        )
        await agent.until("response.create")
        await agent.speak("r2")
        await agent.until("input_audio_buffer.append")
        await agent.speak("r3", ("c6", "end_conversation", "{}"))
        await agent.connection.wait_closed()

    wait = {"name": "wait", "description": "Waits.", "argv": ["/bin/sleep", "1"], "enabled": True}
    x = {"type": "object", "properties": {"x": {"type": "string"}}}
    say = {"name": "say", "description": "Says.", "argv": ["/bin/echo", "{x}"], "enabled": True, "parameters": x}
    async with asyncio.timeout(60), service(script) as url:
        made = configuration(
            tmp_path, url, "realtime", tools={"command": [wait, say], "timers": False}, conversation={"idle_s": 20}
        )
        async with Daemon(made, tmp_path) as daemon:
            await daemon.until("ready")
            daemon.press()
            await daemon.until("state", state="speaking")
            await daemon.until("state", state="thinking", previous="speaking")
            speaking = await daemon.until("state", state="speaking", previous="thinking", after=len(daemon.records))
            assert speaking["message"].endswith("on ReplyAudible")
            await daemon.until("state", state="idle", timeout_s=20, after=len(daemon.records))
            assert {r["tool"] for r in daemon.of("tool")} == {"set_volume", "wait", "say", "open_door ?", "end_conversation"}
        assert daemon.noise == []
    names = [tool["name"] for tool in agents[0].session["tools"]]
    assert names == ["get_volume", "set_volume", "get_time", "end_conversation", "wait", "say"]
    outputs = {item["call_id"]: item["output"] for item in agents[0].items}
    assert outputs["c1"] == '{"level": 50}'
    assert outputs["c2"] == '{"output": ""}'
    assert outputs["c3"] == 'Error: {"error": "this device has no tool open_door ?"}'
    assert outputs["c4"] == '{"output": "half of ?"}'
    assert outputs["c5"].startswith("Error: ")
    assert sorted(outputs) == ["c1", "c2", "c3", "c4", "c5"]
    assert list(outputs)[-1] == "c2", "each as it came"


async def test_the_journal_says_that_the_next_service_took_over_and_the_conversation_survives_a_drop(tmp_path: Path) -> None:
    put_into_microphone(tmp_path, [], seconds=1)
    agents: list[Agent] = []

    async def script(agent: Agent) -> None:
        agents.append(agent)
        await agent.until("input_audio_buffer.append")
        if len(agents) == 1:
            agent.connection.transport.abort()
            return
        await agent.speak("r1")
        await agent.connection.wait_closed()

    async with asyncio.timeout(60), service(script) as url:
        made = configuration(tmp_path, conversation={"idle_s": 2})
        made["service"] = [
            {"provider": "realtime-beta", "url": "ws://127.0.0.1:9/"},
            {"provider": "realtime", "url": url},
        ]
        async with Daemon(made, tmp_path) as daemon:
            await daemon.until("ready")
            daemon.press()
            turn = await daemon.until("turn")
            assert turn["reply_ms"] == 500
            over = await daemon.until("failover")
            refused = "127.0.0.1 refused the connection: nothing listens on port 9, see service.url"
            assert over["message"] == f"realtime-beta: {refused}; realtime takes over"
            again = daemon.of("reconnect")
            assert "the conversation goes on in a new session at realtime" in again[-1]["message"]
            assert len(daemon.of("session")) == 1
            await daemon.until("state", state="idle", previous="listening", timeout_s=20)
        assert daemon.noise == []
    assert len(agents) == 2


def test_a_configuration_with_tools_and_several_services_can_be_checked(tmp_path: Path) -> None:
    """Warnings are errors here, so what is made for a check and not used must not have been begun."""
    path = tmp_path / "p.yaml"
    path.write_text(
        "service: [{provider: realtime, url: 'ws://127.0.0.1:1/'}, {provider: yandex, url: 'ws://127.0.0.1:1/'}]\n"
        "audio: {backend: file}\nleds: {driver: off}\nbutton: {driver: off}\n"
        "tools: {mcp: [{name: home, url: 'http://h/mcp', allow: [light]}]}\n"
    )
    with pytest.raises(ConfigError) as caught:
        app.check(config.peruse(path))
    gc.collect()
    (problem,) = caught.value.problems
    assert problem == f"{path}:1: service[1].model: Yandex AI Studio needs one: gpt://FOLDER/speech-realtime-260528"
