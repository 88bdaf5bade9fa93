"""Speaking with Fish Audio, against the rehearsal: live and over HTTP."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence
from contextlib import aclosing
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipit.core.options import Secret
from pipit.core.pcm import dbfs
from pipit.errors import ConfigError
from pipit.rehearsal import Conduct, Misbehaviour, Rehearsal
from pipit.services.cascade import Sample, Sound, Speak, StageError, fish_speak
from pipit.services.cascade.fish_speak import RATE_HZ, build, unperformed
from pipit.services.cascade.settings import Settings, SpeakSettings
from tests import speech

pytestmark = pytest.mark.skipif(speech.missing_tools() is not None, reason=str(speech.missing_tools()))

KEY = "fish-test-0123456789"
VOICE = "0123456789abcdef" * 2
TRANSPORTS = ("live", "http")
both = pytest.mark.parametrize("transport", TRANSPORTS)
TEXT = ("One two three four five six. ", "Seven eight nine ten.")


def settings(url: str, speak: dict[str, Any] | None = None, **common: Any) -> Settings:
    return Settings(**{"api_key": Secret(KEY), "speak": SpeakSettings(url=url, **(speak or {})), **common})


@contextlib.asynccontextmanager
async def speaking(
    transport: str,
    speak: dict[str, Any] | None = None,
    conduct: Conduct | None = None,
    common: dict[str, Any] | None = None,
    **faults: Any,
) -> AsyncIterator[tuple[Rehearsal, Speak]]:
    conduct = conduct or Conduct(api_key=KEY, burst=50)
    async with asyncio.timeout(30), Rehearsal(misbehave=Misbehaviour(**faults), conduct=conduct) as server:
        stage = build(
            settings(server.http, {"transport": transport, **(speak or {})}, **{"connect_s": 2, "read_s": 5, **(common or {})})
        )
        yield server, stage
        await stage.release()
    assert len(asyncio.all_tasks()) == 1


async def written(pieces: Sequence[str], pause_s: float = 0.0) -> AsyncIterator[str]:
    for piece in pieces:
        yield piece
        await asyncio.sleep(pause_s)


async def spoken(stage: Speak, pieces: Sequence[str] = TEXT, like: Sample | None = None) -> list[Sound]:
    async with aclosing(stage.speak(written(pieces), like)) as sounds:
        return [sound async for sound in sounds]


def samples_of(sounds: Sequence[Sound]) -> np.ndarray:
    return np.frombuffer(b"".join(sound.pcm for sound in sounds), "<i2")


# -- what it says ------------------------------------------------------------------------------------------------------------------


@both
async def test_text_becomes_sound(transport: str) -> None:
    async with speaking(transport) as (_, stage):
        assert stage.rate_hz == RATE_HZ == 24000
        sounds = await spoken(stage)
        samples = samples_of(sounds)
        assert 2 < len(samples) / RATE_HZ < 8
        assert dbfs(samples) > -40
        assert sounds[-1] == Sound(b"", len("".join(TEXT)))
        ends = [sound.spoken for sound in sounds if sound.spoken is not None]
        assert ends == ([len(TEXT[0]), len("".join(TEXT))] if transport == "http" else [len("".join(TEXT))])


@both
async def test_how_it_is_spoken_is_asked_for(transport: str) -> None:
    speak = {"latency": "normal", "speed": 1.5, "model": "s2-pro"}
    async with speaking(transport, speak, common={"voice": VOICE}) as (server, stage):
        await spoken(stage)
        asked = server.sessions[0].messages[0]["request"] if transport == "live" else server.exchanges[0].asked
        assert {name: asked[name] for name in ("format", "sample_rate", "latency", "reference_id")} == {
            "format": "pcm",
            "sample_rate": 24000,
            "latency": "normal",
            "reference_id": VOICE,
        }
        assert asked["prosody"]["speed"] == 1.5
        if transport == "http":
            assert server.exchanges[0].headers["model"] == "s2-pro"


async def test_live_sends_each_sentence_at_once() -> None:
    async with speaking("live") as (server, stage):
        await spoken(stage)
        [session] = server.sessions
        assert [message["event"] for message in session.messages] == ["start", "text", "flush", "text", "flush", "stop"]
        assert session.said == list(TEXT)


async def test_the_first_sentence_sounds_before_the_second_is_written() -> None:
    heard = asyncio.Event()

    async def slowly() -> AsyncIterator[str]:
        yield TEXT[0]
        await heard.wait()
        yield TEXT[1]

    for transport in TRANSPORTS:
        async with speaking(transport) as (_, stage), aclosing(stage.speak(slowly())) as sounds:
            heard.clear()
            total = 0
            async for sound in sounds:
                total += len(sound.pcm)
                heard.set()
            assert total / 2 / RATE_HZ > 2


@both
@pytest.mark.parametrize("pieces", [(), ("",), (" ", "\n")])
async def test_no_text_makes_no_sound_and_no_request(transport: str, pieces: Sequence[str]) -> None:
    async with speaking(transport) as (server, stage):
        assert len(samples_of(await spoken(stage, pieces))) == 0
        assert (server.sessions, server.exchanges) == ([], [])


@both
async def test_odd_bytes_are_carried_over(transport: str) -> None:
    whole = []
    for odd in (False, True):
        async with speaking(transport, flood=True, odd_bytes=odd) as (_, stage):
            sounds = await spoken(stage)
            assert all(len(sound.pcm) % 2 == 0 for sound in sounds)
            whole.append(samples_of(sounds))
    assert np.array_equal(*whole)


@both
async def test_the_callers_voice_is_cloned_only_where_the_owner_wants_it(transport: str) -> None:
    caller = Sample(speech.say("what time is it", voice="en-us"), "what time is it")
    made = {}
    for clone in (False, True):
        async with speaking(transport, {"clone": clone}, common={"voice": VOICE}) as (server, stage):
            made[clone] = samples_of(await spoken(stage, TEXT, caller))
            asked = server.sessions[0].messages[0]["request"] if transport == "live" else server.exchanges[0].asked
            if clone:
                [reference] = asked["references"]
                assert reference["text"] == "what time is it"
                assert reference["audio"].endswith(caller.samples.astype("<i2").tobytes())
                assert not asked.get("reference_id")
            else:
                assert not asked.get("references")
    assert not np.array_equal(made[False], made[True])


@both
async def test_without_a_sample_the_usual_voice_speaks(transport: str) -> None:
    async with speaking(transport, {"clone": True}, common={"voice": VOICE}) as (server, stage):
        await spoken(stage)
        asked = server.sessions[0].messages[0]["request"] if transport == "live" else server.exchanges[0].asked
        assert asked["reference_id"] == VOICE


# -- connections -------------------------------------------------------------------------------------------------------------------


@both
async def test_what_was_opened_ahead_is_used(transport: str) -> None:
    async with speaking(transport) as (server, stage):
        await stage.open()
        await stage.open()
        await spoken(stage, TEXT[:1])
        assert server.connections == 1
        await stage.open()
        await spoken(stage, TEXT[:1])
        assert server.connections == 2


async def test_one_that_is_being_opened_is_waited_for() -> None:
    async with speaking("live", connect_delay_s=0.3) as (server, stage):
        opening = asyncio.create_task(stage.open())
        await asyncio.sleep(0)
        await spoken(stage, TEXT[:1])
        await opening
        assert server.connections == 1


async def test_one_whose_opening_was_given_up_is_not_waited_for() -> None:
    async with speaking("live", sessions=1, stall_after_accept=True) as (server, stage):
        opening = asyncio.create_task(stage.open())
        await asyncio.sleep(0.1)
        opening.cancel()
        assert len(samples_of(await spoken(stage))) > RATE_HZ
        assert server.connections == 2


@both
async def test_what_was_opened_ahead_is_let_go(transport: str) -> None:
    async with speaking(transport) as (server, stage):
        await stage.open()
        await stage.release()
        await stage.release()
        await spoken(stage, TEXT[:1])
        assert server.connections == 2


async def test_a_connection_that_died_in_the_meantime_is_replaced() -> None:
    async with speaking("live", sessions=1, close_at_ready=1001) as (server, stage):
        await stage.open()
        assert len(samples_of(await spoken(stage))) > RATE_HZ
        assert server.connections == 2


async def test_a_connection_that_dies_of_being_used_is_replaced_and_all_is_said_once() -> None:
    """A router has forgotten it: nobody knows before something is sent."""
    async with speaking("live") as (server, stage), forgetful(server.port) as port:
        whole = samples_of(await spoken(stage))
        there = build(settings(f"http://127.0.0.1:{port}", {"transport": "live"}, connect_s=2, read_s=5))
        await there.open()
        assert np.array_equal(samples_of(await spoken(there)), whole)
        assert [session.said for session in server.sessions] == [list(TEXT), [], list(TEXT)]
        await there.release()


@contextlib.asynccontextmanager
async def forgetful(port: int) -> AsyncIterator[int]:
    """Pass connections on to a port; yield the port to connect to. The first is reset as soon as the client uses its WebSocket."""
    first = True

    async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, back: asyncio.StreamWriter, doomed: bool) -> None:
        requests = 0
        while data := await reader.read(65536):
            requests += 1
            if doomed and requests > 1:
                back.transport.abort()
                break
            writer.write(data)
        writer.close()

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal first
        doomed, first = first, False
        theirs, ours = await asyncio.open_connection("127.0.0.1", port)
        with contextlib.suppress(OSError):
            await asyncio.gather(pump(reader, ours, writer, doomed), pump(theirs, writer, ours, False))

    listening = await asyncio.start_server(connected, "127.0.0.1", 0)
    async with listening:
        yield listening.sockets[0].getsockname()[1]


async def test_one_that_was_opened_long_ago_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    async with speaking("live") as (server, stage):
        await stage.open()
        monkeypatch.setattr(fish_speak, "FRESH_S", -1.0)
        assert len(samples_of(await spoken(stage))) > RATE_HZ
        assert [session.said for session in server.sessions] == [[], list(TEXT)]


@both
async def test_closing_it_interrupts(transport: str) -> None:
    conduct = Conduct(burst=1)
    async with speaking(transport, conduct=conduct) as (server, stage):
        async with aclosing(stage.speak(written(TEXT * 8))) as sounds:
            async for _ in sounds:
                break
        await stage.open()  # the next is ready at once
        async with aclosing(stage.speak(written(TEXT[:1]))) as sounds:
            async for _ in sounds:
                break
    if transport == "live":
        assert [session.of("finish") for session in server.sessions] == [[], []]
        assert all(session.closed is not None for session in server.sessions)
    else:
        assert not any(exchange.finished for exchange in server.exchanges)


@both
async def test_what_the_text_raises_is_passed_on(transport: str) -> None:
    async def broken() -> AsyncIterator[str]:
        yield TEXT[0]
        raise LookupError("the model has gone")

    async def listen(stage: Speak) -> None:
        async with aclosing(stage.speak(broken())) as sounds:
            async for _ in sounds:
                pass

    async with speaking(transport) as (_, stage):
        with pytest.raises(LookupError, match="the model has gone"):
            await listen(stage)


# -- what can go wrong -------------------------------------------------------------------------------------------------------------

REFUSALS = [
    ({"refuse_key": True}, "config", r"refused the key: HTTP 401 \(Invalid Token\); check service.speak.api_key"),
    ({"refuse_upgrade": 402}, "config", r"wants to be paid: HTTP 402 \(Insufficient credit\)"),
    ({"refuse_upgrade": 403}, "config", "refused the key: HTTP 403"),
    ({"refuse_upgrade": 404}, "config", "knows no such address or model: HTTP 404"),
    ({"refuse_upgrade": 422}, "config", "refused the request: HTTP 422"),
    ({"refuse_upgrade": 429}, "retryable", "too many requests"),
    ({"refuse_upgrade": 503}, "retryable", "is in trouble: HTTP 503"),
]


async def fails(stage: Speak, words: str, kind: str) -> None:
    with pytest.raises(StageError, match=words) as error:
        await spoken(stage)
    assert error.value.kind == kind
    assert KEY not in str(error.value)


@both
@pytest.mark.parametrize(("faults", "kind", "words"), REFUSALS)
async def test_each_refusal_is_told(transport: str, faults: dict[str, Any], kind: str, words: str) -> None:
    async with speaking(transport, **faults) as (_, stage):
        await fails(stage, words, kind)


@pytest.mark.parametrize(("faults", "kind", "words"), REFUSALS)
async def test_live_is_refused_when_it_is_opened(faults: dict[str, Any], kind: str, words: str) -> None:
    async with speaking("live", **faults) as (_, stage):
        with pytest.raises(StageError, match=words) as error:
            await stage.open()
        assert error.value.kind == kind


@pytest.mark.parametrize(
    ("transport", "faults", "kind", "words"),
    [
        ("live", {"drop_mid_reply": True}, "retryable", "the connection to 127.0.0.1 was lost"),
        ("live", {"cut_mid_reply": True}, "retryable", "the connection to 127.0.0.1 was lost"),
        ("live", {"error_mid_reply": True}, "retryable", "broke off without saying why.*check service.voice"),
        ("live", {"close_mid_reply": 1000}, "retryable", "closed the connection before the end"),
        ("live", {"close_mid_reply": 1011}, "retryable", "closed the connection: code 1011"),
        ("live", {"close_mid_reply": 1008}, "config", "refused the session"),
        ("live", {"close_mid_reply": 1013}, "retryable", "overloaded"),
        ("live", {"close_at_ready": 1011}, "retryable", "code 1011"),
        ("live", {"huge_message_mb": 20}, "fatal", "larger than Pipit accepts"),
        ("http", {"drop_mid_reply": True}, "retryable", "cannot be reached|did not answer in HTTP"),
        ("http", {"cut_mid_reply": True}, "retryable", "did not answer in HTTP"),
    ],
)
async def test_each_break_is_told(transport: str, faults: dict[str, Any], kind: str, words: str) -> None:
    async with speaking(transport, **faults) as (_, stage):
        await fails(stage, words, kind)


@both
@pytest.mark.parametrize("fault", ["stall_after_accept", "stall_at_ready", "stall_mid_reply"])
async def test_each_silence_is_told(transport: str, fault: str) -> None:
    async with speaking(transport, common={"connect_s": 0.5, "read_s": 0.5}, **{fault: True}) as (_, stage):
        await fails(stage, "within 0.5 s|silent for 0.5 s", "retryable")


@both
async def test_a_slow_service_is_waited_for(transport: str) -> None:
    async with speaking(transport, conduct=Conduct(speak_s=0.6), connect_delay_s=0.4) as (_, stage):
        assert len(samples_of(await spoken(stage))) > RATE_HZ


async def test_a_slow_model_is_no_silence_of_the_service() -> None:
    for transport in TRANSPORTS:
        async with speaking(transport, common={"read_s": 0.3}) as (_, stage), aclosing(stage.speak(written(TEXT, 1.0))) as sounds:
            assert [sound.spoken async for sound in sounds][-1] == len("".join(TEXT))


@pytest.mark.parametrize("fault", ["rubbish_text", "rubbish_binary", "malformed_json", "unknown_events"])
async def test_rubbish_is_ignored(fault: str) -> None:
    async with speaking("live", flood=True, **{fault: True}) as (_, stage):
        strewn = samples_of(await spoken(stage))
    async with speaking("live", flood=True) as (_, stage):
        assert np.array_equal(strewn, samples_of(await spoken(stage)))


@both
async def test_nobody_listens(transport: str) -> None:
    async with asyncio.timeout(10):
        stage = build(settings("http://127.0.0.1:1", {"transport": transport}))
        with pytest.raises(StageError, match=r"127.0.0.1") as error:
            await stage.open()
        assert error.value.kind == "retryable"
        await fails(stage, "127.0.0.1", "retryable")


async def test_a_web_page_is_no_sound() -> None:
    async def page(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 4\r\n\r\n<p/>")
        await writer.drain()
        writer.close()

    async with asyncio.timeout(10), await asyncio.start_server(page, "127.0.0.1", 0) as server:
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        await fails(build(settings(url, {"transport": "http"})), "answered no sound but text/html", "retryable")
        await fails(build(settings(url)), "service.speak|WebSocket", "config")


# -- before there is a network -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "problem"),
    [
        ({"api_key": None, "speak": SpeakSettings()}, "service.api_key: Fish Audio needs a key"),
        ({"speak": SpeakSettings(url="http://fish.example")}, "service.speak.url: http:// is not encrypted"),
        ({"speak": SpeakSettings(model="s9")}, "service.speak.model: 's9' is unknown to Fish Audio; one of s1, s2-pro"),
    ],
)
def test_what_cannot_work_is_refused(given: dict[str, Any], problem: str) -> None:
    with pytest.raises(ConfigError) as error:
        build(Settings(**{"api_key": Secret(KEY), **given}))
    assert error.value.problems[0].startswith(problem)


@pytest.mark.parametrize(
    ("model", "text", "read"),
    [
        ("s2.1-pro", "Well [laughs] yes (really).", "Well (laughs) yes (really)."),
        ("s1", "He (the cat) sleeps (now).", "He, the cat, sleeps, now."),
        ("s1", "See [1].", "See [1]."),
        ("s2-pro", "<|phoneme_start|>K AE1 T<|phoneme_end|>", "<|phoneme_start|>K AE1 T<|phoneme_end|>"),
    ],
)
def test_brackets_are_read_and_not_acted(model: str, text: str, read: str) -> None:
    assert unperformed(text, model) == read


@given(st.text("ab ([])", max_size=30))
def test_no_pair_of_brackets_is_left_for_the_model_to_act(text: str) -> None:
    assert "(a)" not in unperformed(text, "s1")
    assert "[a]" not in unperformed(text, "s2-pro")
