"""Whatever a model, or a server on the local network, comes up with is a result that can be sent, and never an exception."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from pipit.audio.mixer import Mixer
from pipit.core.options import Secret
from pipit.tools import Controls
from pipit.tools.settings import Command, Http, Settings
from pipit.tools.toolbox import Toolbox, make
from tests.tools.anything import ANYTHING, TEXTS

ARGUMENTS = {"type": "object", "properties": {"x": {}, "y": {"type": "string"}, "n": {"type": "number"}}}
NAMES = (
    *("get_volume", "set_volume", "set_timer", "list_timers", "cancel_timer", "get_time", "end_conversation"),
    *("fetch", "post", "say", "no such tool", "\ud83d"),
)
KEYS = st.sampled_from(["x", "y", "n", "level", "change", "seconds", "label", "timer"]) | TEXTS


def toolbox(url: str, complaints: list[str]) -> Toolbox:
    mixer = Mixer(48000, volume=50)
    controls = Controls(lambda: mixer.volume, mixer.set_volume, lambda _: None, lambda: datetime(2026, 11, 21, tzinfo=UTC))
    given: Any = {"description": "d", "enabled": True, "parameters": ARGUMENTS}
    secret = Secret("s3cret")
    return make(
        Settings(
            http=(
                Http(
                    name="fetch",
                    url=f"{url}/a/{{x}}/{{y}}?n={{n}}",
                    headers={"X-Y": "{y}", "Key": "{secret}"},
                    secret=secret,
                    **given,
                ),
                Http(name="post", url=url, method="POST", body={"x": "{x}", "say {y}": ["{n} {y}"]}, **given),
            ),
            command=(Command(name="say", argv=("/bin/echo", "{x}", "is {y}", "{n}"), **given),),
        ),
        controls,
        complaints.append,
    )


async def answered(body: bytes, calls: list[tuple[str, dict[str, Any]]]) -> list[str]:
    """Run tools, with a server that answers this; return what was complained of."""

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(body)
        await writer.drain()
        writer.close()

    complaints: list[str] = []
    server = await asyncio.start_server(connected, "127.0.0.1", 0)
    async with asyncio.timeout(60), server:
        box = toolbox(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", complaints)
        for name, arguments in calls:
            outcome = await box.run(name, arguments)
            json.loads(outcome.result.encode())
        await box.close()
    return complaints


@settings(max_examples=120, deadline=None)
@given(st.lists(st.tuples(st.sampled_from(NAMES), st.dictionaries(KEYS, ANYTHING, max_size=4)), max_size=4))
def test_every_call_has_a_result(calls: list[tuple[str, dict[str, Any]]]) -> None:
    assert asyncio.run(answered(b"HTTP/1.1 200 OK\r\n\r\nyes", calls)) == []


def dumped(value: Any) -> bytes:
    try:
        return json.dumps(value).encode()
    except (ValueError, RecursionError):  # what Python does not write, a server may
        return b"9" * 5000


HEADS = st.sampled_from(
    [
        b"HTTP/1.1 200 OK\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: " + b"9" * 5000 + b"\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Length: " + b"9" * 5000 + b"\r\n\r\n3\r\nyes\r\n0\r\n\r\n",
        b"HTTP/1.1 503 No\r\n\r\n",
        b"HTTP/9 what\r\n\r\n",
        b"",
    ]
)


@settings(max_examples=120, deadline=None)
@given(HEADS, st.binary(max_size=20) | ANYTHING.map(dumped))
def test_every_answer_is_a_result(head: bytes, body: bytes) -> None:
    assert asyncio.run(answered(head + body, [("fetch", {"x": 1, "y": "a", "n": 2})])) == []
