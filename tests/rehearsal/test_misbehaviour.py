"""Every fault is seen on the wire as it is described; and how faults are named on the command line."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import dataclasses
import json
from typing import Any

import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, ConnectionClosedError, InvalidStatus

from pipit import cli
from pipit.errors import ConfigError
from pipit.rehearsal import Conduct, Misbehaviour, Rehearsal
from tests import speech
from tests.rehearsal.client import Client

pytestmark = pytest.mark.skipif(speech.missing_tools() is not None, reason=str(speech.missing_tools()))

PROTOCOLS = ("openai", "assemblyai")
TEXT = "One two three four five six seven eight nine ten. " * 3
QUICK = Conduct(think_s=0.0, lead_silence_s=0.0)
SOUND = {"openai": "response.output_audio.delta", "assemblyai": "reply.audio"}
DONE = {"openai": "response.done", "assemblyai": "reply.done"}


def misbehaving(**faults: Any) -> Rehearsal:
    return Rehearsal(misbehave=Misbehaviour(**faults), conduct=QUICK)


async def ask(client: Client, protocol: str) -> None:
    """Become ready and have a long reply made."""
    if protocol == "openai":
        await client.send("response.create", response={"instructions": f"Say: {TEXT}"})
    else:
        await client.send("session.update", session={"greeting": TEXT})


async def finish(client: Client, protocol: str) -> None:
    """Wait until a reply is over; there may be rubbish that looks like it."""
    while "event_id" not in (done := await client.until(DONE[protocol])) and "timestamp" not in done:
        pass


def sound_s(client: Client, protocol: str) -> float:
    field = "delta" if protocol == "openai" else "data"
    return sum(len(base64.b64decode(event[field])) for event in client.of(SOUND[protocol])) / 2 / 24000


async def nothing_comes(client: Client, seconds: float = 0.3) -> bool:
    """Whether the server is silent for a while and the connection still open."""
    try:
        async with asyncio.timeout(seconds):
            await client.next()
    except TimeoutError:
        return True
    return False


# -- at the door -------------------------------------------------------------------------------------------------------------------


async def test_refuse_upgrade() -> None:
    async with asyncio.timeout(20), misbehaving(refuse_upgrade=503) as server:
        with pytest.raises(InvalidStatus) as refused:
            await connect(server.url("openai"))
        assert refused.value.response.status_code == 503
        assert (server.connections, server.sessions) == (1, [])


async def test_an_unknown_path_is_not_found() -> None:
    async with asyncio.timeout(20), Rehearsal() as server:
        with pytest.raises(InvalidStatus) as refused:
            await connect(server.url("openai").replace("realtime", "telephone"))
        assert refused.value.response.status_code == 404


async def test_refuse_key() -> None:
    async with asyncio.timeout(20), misbehaving(refuse_key=True) as server:
        with pytest.raises(InvalidStatus) as refused:
            await connect(server.url("openai"))
        assert refused.value.response.status_code == 401
        async with Client(server, "assemblyai") as client:
            assert (await client.until("session.error"))["code"] == "unauthorized"
            assert (await client.until_closed())[0] == 1008


async def test_connect_delay() -> None:
    loop = asyncio.get_running_loop()
    async with asyncio.timeout(20), misbehaving(connect_delay_s=0.3) as server:
        began = loop.time()
        async with Client(server, "openai") as client:
            assert loop.time() - began >= 0.3
            await client.until("session.created")


async def test_stall_after_accept_and_leaving_while_it_lasts() -> None:
    async with asyncio.timeout(20), misbehaving(stall_after_accept=True) as server:
        with pytest.raises(TimeoutError):
            await connect(server.url("openai"), open_timeout=0.3)
        waiting = asyncio.create_task(connect(server.url("openai")).__aenter__())
        while server.connections < 2:  # noqa: ASYNC110 - the server has no event for it
            await asyncio.sleep(0.01)
    with pytest.raises(InvalidStatus) as refused:
        await waiting
    assert refused.value.response.status_code == 503


@pytest.mark.parametrize("protocol", PROTOCOLS)
async def test_stall_at_ready(protocol: str) -> None:
    async with asyncio.timeout(20), misbehaving(stall_at_ready=True) as server, Client(server, protocol) as client:
        await ask(client, protocol)
        assert await nothing_comes(client)
        assert client.events == []


@pytest.mark.parametrize("protocol", PROTOCOLS)
async def test_close_at_ready(protocol: str) -> None:
    async with asyncio.timeout(20), misbehaving(close_at_ready=1013) as server:
        async with Client(server, protocol) as client:
            with contextlib.suppress(ConnectionClosed):  # it may be quicker
                await ask(client, protocol)
            assert await client.until_closed() == (1013, "misbehaving")
        assert client.events == []
    assert server.sessions[0].closed == (1013, "misbehaving")


@pytest.mark.parametrize("protocol", PROTOCOLS)
async def test_only_the_first_sessions_suffer(protocol: str) -> None:
    async with asyncio.timeout(20), misbehaving(sessions=1, close_at_ready=1011) as server:
        async with Client(server, protocol) as client:
            with contextlib.suppress(ConnectionClosed):
                await ask(client, protocol)
            assert (await client.until_closed())[0] == 1011
        async with Client(server, protocol) as client:
            await ask(client, protocol)
            await client.until(SOUND[protocol])


# -- in the middle of a reply ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("protocol", PROTOCOLS)
async def test_stall_mid_reply(protocol: str) -> None:
    async with asyncio.timeout(20), misbehaving(stall_mid_reply=True) as server, Client(server, protocol) as client:
        await ask(client, protocol)
        while sound_s(client, protocol) < 0.5:
            await client.until(SOUND[protocol])
        assert await nothing_comes(client)
        assert client.of(DONE[protocol]) == []


@pytest.mark.parametrize("protocol", PROTOCOLS)
async def test_drop_mid_reply(protocol: str) -> None:
    async with asyncio.timeout(20), misbehaving(drop_mid_reply=True) as server, Client(server, protocol) as client:
        await ask(client, protocol)
        with pytest.raises(ConnectionClosedError) as closed:
            await client.until(DONE[protocol])
        assert closed.value.rcvd is None
        assert isinstance(closed.value.__cause__, ConnectionResetError), "a reset, not an orderly end of the stream"
    assert server.sessions[0].closed == (1006, "")


@pytest.mark.parametrize("protocol", PROTOCOLS)
async def test_close_mid_reply(protocol: str) -> None:
    async with asyncio.timeout(20), misbehaving(close_mid_reply=1011) as server, Client(server, protocol) as client:
        await ask(client, protocol)
        assert await client.until_closed() == (1011, "misbehaving")
        assert 0.5 <= sound_s(client, protocol) < 0.7


@pytest.mark.parametrize("protocol", PROTOCOLS)
async def test_late_chunks(protocol: str) -> None:
    async with asyncio.timeout(20), misbehaving(late_chunks=3) as server, Client(server, protocol) as client:
        await ask(client, protocol)
        first = await client.until(SOUND[protocol])
        if protocol == "openai":
            await client.send("response.cancel")
        else:
            await client.send("reply.create", instructions="Say: two.")
        await client.until(DONE[protocol])
        name = "response_id" if protocol == "openai" else "reply_id"
        late = [await client.until(SOUND[protocol]) for _ in range(3)]
        assert {event[name] for event in late} == {first[name]}


# -- all the time ------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("fault", ["rubbish_text", "rubbish_binary", "malformed_json"])
async def test_rubbish_is_strewn_in(protocol: str, fault: str) -> None:
    async with asyncio.timeout(20), misbehaving(flood=True, **{fault: True}) as server, Client(server, protocol) as client:
        await ask(client, protocol)
        await finish(client, protocol)
        real = [event for event in client.events if "event_id" in event or "timestamp" in event]
        junk = client.strange + [event for event in client.events if "event_id" not in event and "timestamp" not in event]
        assert len(junk) >= len(real) // 7
        if fault == "rubbish_binary":
            assert all(isinstance(message, bytes) for message in client.strange)
        if fault == "malformed_json":
            assert {json.dumps(json.loads(message)) for message in client.strange} >= {"null", "[]", "42", "{}"}


@pytest.mark.parametrize("protocol", PROTOCOLS)
async def test_unknown_events(protocol: str) -> None:
    async with asyncio.timeout(20), misbehaving(flood=True, unknown_events=True) as server, Client(server, protocol) as client:
        await ask(client, protocol)
        await client.until(DONE[protocol])
        assert client.of("weather.changed")


@pytest.mark.parametrize("protocol", PROTOCOLS)
async def test_duplicate_events(protocol: str) -> None:
    async with asyncio.timeout(20), misbehaving(flood=True, duplicate_events=True) as server, Client(server, protocol) as client:
        await ask(client, protocol)
        await client.until(DONE[protocol])
        await client.until(DONE[protocol])
        assert client.events[::2] == client.events[1::2]


@pytest.mark.parametrize("protocol", PROTOCOLS)
async def test_flood(protocol: str) -> None:
    loop = asyncio.get_running_loop()
    async with asyncio.timeout(20), misbehaving(flood=True) as server, Client(server, protocol) as client:
        await ask(client, protocol)
        await client.until(SOUND[protocol])
        began = loop.time()
        await client.until(DONE[protocol])
        assert sound_s(client, protocol) > 5
        assert loop.time() - began < sound_s(client, protocol) / 2, "about as fast as it is synthesised"


@pytest.mark.parametrize("protocol", PROTOCOLS)
async def test_odd_bytes(protocol: str) -> None:
    field = "delta" if protocol == "openai" else "data"
    async with asyncio.timeout(20):
        whole = []
        for odd in (False, True):
            async with misbehaving(flood=True, odd_bytes=odd) as server, Client(server, protocol) as client:
                await ask(client, protocol)
                await client.until(DONE[protocol])
                pieces = [base64.b64decode(event[field]) for event in client.of(SOUND[protocol])]
                whole.append(b"".join(pieces))
        assert all(len(piece) % 2 for piece in pieces[:-1])
        assert whole[0] == whole[1]


@pytest.mark.parametrize("protocol", PROTOCOLS)
async def test_a_huge_message(protocol: str) -> None:
    async with asyncio.timeout(20), misbehaving(huge_message_mb=5) as server, Client(server, protocol) as client:
        await ask(client, protocol)
        await client.until(SOUND[protocol])
        assert [len(message) for message in client.strange] == [5_000_000]


async def test_who_takes_no_huge_message_closes_and_the_server_lives_on() -> None:
    async with asyncio.timeout(20), misbehaving(sessions=1, huge_message_mb=100) as server:
        async with Client(server, "openai", max_size=1_000_000) as client:
            with pytest.raises(ConnectionClosedError) as closed:
                await client.next()
            assert closed.value.sent is not None
            assert closed.value.sent.code == 1009
        async with Client(server, "openai") as client:
            await client.until("session.created")


# -- names -------------------------------------------------------------------------------------------------------------------------


def test_faults_are_named_on_the_command_line() -> None:
    parsed = Misbehaviour.parse(["stall-mid-reply", "refuse_upgrade=503", "connect-delay-s=1.5"])
    assert parsed == Misbehaviour(stall_mid_reply=True, refuse_upgrade=503, connect_delay_s=1.5)
    assert str(parsed) == "refuse-upgrade=503, connect-delay-s=1.5, stall-mid-reply"
    assert Misbehaviour.parse([]) == Misbehaviour()
    assert str(Misbehaviour()) == "none"


@pytest.mark.parametrize(
    ("word", "complaint"),
    [
        ("explode", "misbehaviour 'explode' is unknown: choose from sessions, refuse-key"),
        ("flood=yes", "misbehaviour flood: takes no value, not 'yes'"),
        ("refuse-upgrade", "misbehaviour refuse-upgrade: needs a value"),
        ("refuse-upgrade=often", "misbehaviour refuse-upgrade: 'often' is not a number"),
        ("connect-delay-s=-1", "misbehaviour connect-delay-s: -1 is out of range"),
        ("refuse-upgrade=7", "misbehaviour refuse-upgrade: 7 is no HTTP status"),
        ("refuse-upgrade=101", "misbehaviour refuse-upgrade: 101 is no HTTP status"),
        ("close-at-ready=1006", "misbehaviour close-at-ready: 1006 is no WebSocket close code"),
        ("close-mid-reply=5000", "misbehaviour close-mid-reply: 5000 is no WebSocket close code"),
        ("close-mid-turn=5000", "misbehaviour close-mid-turn: 5000 is no WebSocket close code"),
        ("omit", "misbehaviour omit: needs a value: NAME=WORD"),
        ("omit=Reply done", "misbehaviour omit: 'Reply done' is no name, such as session.updated"),
        ("error-code=503", "misbehaviour error-code: '503' is no name, such as at_capacity"),
        ("stage=eat", "misbehaviour stage: 'eat' is none of hear, think, speak"),
        ("stage", "misbehaviour stage: None is none of hear, think, speak"),
        ("connect-delay-s=inf", "misbehaviour connect-delay-s: inf is out of range"),
    ],
)
def test_a_wrong_name_or_value_is_an_error(word: str, complaint: str) -> None:
    with pytest.raises(ConfigError) as error:
        Misbehaviour.parse([word])
    assert error.value.problems[0].startswith(complaint)


def test_all_mistakes_are_told_at_once() -> None:
    with pytest.raises(ConfigError) as error:
        Misbehaviour.parse(["explode", "flood", "refuse-upgrade=x"])
    assert len(error.value.problems) == 2


@pytest.mark.parametrize("field", [field.name for field in dataclasses.fields(Misbehaviour)])
def test_every_fault_can_be_named(field: str) -> None:
    kind = str(Misbehaviour.__dataclass_fields__[field].type)
    codes = {"refuse_upgrade": 503, "close_at_ready": 1011, "close_mid_turn": 1012, "close_mid_reply": 4000}
    words = {"stage": "hear", "omit": "session.updated,reply.done", "error_code": "at_capacity"}
    value = {**codes, **words}.get(field, 1)
    assert getattr(Misbehaviour.parse([field if kind == "bool" else f"{field}={value}"]), field) == value


def test_the_faults_are_listed_with_what_they_do(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["rehearse", "--faults"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[::2] == [written for written, _ in Misbehaviour.faults()]
    assert len(lines) == 2 * len(dataclasses.fields(Misbehaviour))
    assert "stage=hear|think|speak" in lines
    assert "omit=NAME" in lines
    assert "expire-s=SECONDS" in lines
    assert "late-chunks=NUMBER" in lines
    assert (
        lines[lines.index("flood") + 1]
        == "    A whole reply is sent as fast as it can be made, whatever the protocol says of pace."
    )
