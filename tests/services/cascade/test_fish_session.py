"""Whole turns with Fish Audio's stages in the session, and what becomes of them when one fails."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import io
import wave
from collections.abc import AsyncIterator
from typing import Any

import numpy as np
import pytest

from pipit.offline.espeak import synthesise
from pipit.rehearsal import Conduct, Misbehaviour, Rehearsal, skills
from pipit.rehearsal.voice import variant
from pipit.rehearsal.web import Exchange
from pipit.services import Failed, Notice, Ready, ReplyAudio, ReplyDone, ReplyStarted, UserStopped
from pipit.services.cascade.provider import build
from pipit.services.cascade.settings import Settings, TurnSettings
from pipit.services.durable import Durable
from pipit.services.link import Provider
from tests import speech
from tests.services.cascade.spoken_words import RATE_HZ, word_ends
from tests.services.cascade.talk import Talk, at, talking

pytestmark = pytest.mark.skipif(speech.missing_tools() is not None, reason=str(speech.missing_tools()))

QUICK = Conduct(think_s=0.0)
TRANSPORTS = ("live", "http")


@contextlib.asynccontextmanager
async def serving(conduct: Conduct = QUICK, **faults: Any) -> AsyncIterator[Rehearsal]:
    async with asyncio.timeout(60), Rehearsal(misbehave=Misbehaviour(**faults), conduct=conduct) as server:
        yield server
    assert len(asyncio.all_tasks()) == 1


def fish(server: Rehearsal, speak: dict[str, Any] | None = None, **options: Any) -> Settings:
    settings = at(server, hear="fish", speak="fish", **options)
    return dataclasses.replace(settings, speak=dataclasses.replace(settings.speak, **(speak or {})))


@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_a_question_is_heard_and_answered(transport: str) -> None:
    async with serving() as server, talking(build(fish(server, {"transport": transport}), "fish")()) as talk:
        await talk.until(Ready)
        assert talk.session.output_rate_hz == 24000
        await talk.hears("thank you")
        done = await talk.until(ReplyDone)
        assert (talk.heard, talk.said(done.reply), done.status) == (["thank you"], "You are welcome.", "completed")
        assert 0.5 < len(talk.pcm(done.reply)) / 48000 < 3


async def test_the_socket_of_a_reply_was_open_before_it_was_needed() -> None:
    async with serving(Conduct(think_s=0.3)) as server, talking(build(fish(server))()) as talk:
        await talk.until(Ready)
        await talk.hears("thank you")
        await talk.until(ReplyDone)
        [question] = asked(server)
        used = next(session for session in server.sessions if session.messages)
        assert used.opened_at < question.arrived_at + 0.3  # while the model was still thinking at the latest
        assert used.arrivals[0] > question.arrived_at


@pytest.mark.parametrize("preemptive", [False, True])
async def test_the_next_replys_socket_is_opened_while_the_model_thinks(preemptive: bool) -> None:
    turn = TurnSettings(silence_ms=2000, pause_ms=300, preemptive=preemptive)
    async with serving(Conduct(think_s=1.0)) as server, talking(build(fish(server, turn=turn))()) as talk:
        await talk.until(Ready)
        await talk.hears("thank you", pause_ms=2400)
        await talk.until(ReplyDone)
        assert len(server.sessions) == 1
        await talk.hears("thank you", pause_ms=600 if preemptive else 2400)
        while len(server.sessions) < 2:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        assert len(talk.of(ReplyDone)) == 1
        assert not any(exchange.finished for exchange in asked(server)[1:])
        assert len(talk.of(UserStopped)) == (1 if preemptive else 2)


def asked(server: Rehearsal) -> list[Exchange]:
    """Return the questions to the language model."""
    return [exchange for exchange in server.exchanges if exchange.protocol == "completions"]


@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_the_reply_is_in_the_callers_voice_where_the_owner_wants_it(transport: str) -> None:
    async with serving() as server, talking(build(fish(server, {"transport": transport, "clone": True}))()) as talk:
        await talk.until(Ready)
        await talk.hears("thank you", voice="en-us+f3")
        await talk.until(ReplyDone)
        heard = next(exchange for exchange in server.exchanges if exchange.protocol == "asr")
        if transport == "live":
            request = next(session for session in server.sessions if session.messages).messages[0]["request"]
        else:
            request = next(exchange for exchange in server.exchanges if exchange.protocol == "tts").asked
        [reference] = request["references"]
        assert reference["text"] == "thank you"
        assert samples(reference["audio"]) in samples(heard.asked["audio"])  # what was transcribed, without the padding


def samples(wav: bytes) -> bytes:
    with wave.open(io.BytesIO(wav)) as file:
        return file.readframes(file.getnframes())


@pytest.mark.parametrize("transport", TRANSPORTS)
@pytest.mark.parametrize("heard_ms", [1500, 12000])
async def test_the_words_that_were_heard_are_kept_though_the_reply_was_still_being_made(transport: str, heard_ms: int) -> None:
    conduct = Conduct(think_s=0.0, burst=20)
    async with serving(conduct) as server, talking(build(fish(server, {"transport": transport}))()) as talk:
        await talk.until(Ready)
        await talk.hears("tell me a story")
        started = await talk.until(ReplyStarted)
        while len(talk.pcm(started.reply)) < 48 * heard_ms:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        await talk.session.interrupt(started.reply, heard_ms, by_service=False)
        done = await talk.until(ReplyDone)
        assert done.status == "cancelled", "it was still being made"
        await talk.hears("thank you")
        await talk.until(ReplyDone, 2)
        [kept] = [message["content"].split() for message in asked(server)[-1].asked["messages"] if message["role"] == "assistant"]
    ends, begun = list[int](), 0
    voice = variant("default")
    for sentence in skills.STORIES[0]:
        ends += [begun + end for end in word_ends(sentence, voice)]
        begun += len(synthesise(sentence, RATE_HZ, voice))
    assert kept == " ".join(skills.STORIES[0]).split()[: len(kept)]
    assert abs(len(kept) - sum(end <= heard_ms * RATE_HZ / 1000 for end in ends)) <= 1


@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_an_interruption_closes_the_connection_and_the_next_is_open(transport: str) -> None:
    async with serving(Conduct(think_s=0.0, burst=1)) as server, talking(build(fish(server, {"transport": transport}))()) as talk:
        await talk.until(Ready)
        await talk.hears("tell me a story")
        sound = await talk.until(ReplyAudio)
        await talk.session.interrupt(sound.reply, 200, by_service=False)
        done = await talk.until(ReplyDone)
        assert done.status in ("cancelled", "interrupted")
        count = len(talk.of(ReplyAudio))
        await talk.hears("thank you")
        last = await talk.until(ReplyDone, 2)
        assert talk.said(last.reply) == "You are welcome."
        assert all(event.reply != sound.reply for event in talk.of(ReplyAudio)[count:])
    if transport == "live":
        assert [bool(session.of("finish")) for session in server.sessions if session.messages] == [False, True]
    else:
        spoken = [exchange for exchange in server.exchanges if exchange.protocol == "tts"]
        assert [exchange.finished for exchange in spoken][-1]
        assert not all(exchange.finished for exchange in spoken)


# -- what goes wrong ---------------------------------------------------------------------------------------------------------------

FAULTS: list[tuple[str, str, dict[str, Any], str]] = [
    ("hear", "live", {"refuse_key": True}, "config"),
    ("hear", "live", {"refuse_upgrade": 402}, "config"),
    ("hear", "live", {"refuse_upgrade": 429}, "retryable"),
    ("hear", "live", {"refuse_upgrade": 503}, "retryable"),
    ("hear", "live", {"stall_after_accept": True}, "retryable"),
    ("hear", "live", {"stall_mid_reply": True}, "retryable"),
    ("hear", "live", {"drop_mid_reply": True}, "retryable"),
    ("hear", "live", {"cut_mid_reply": True}, "retryable"),
    ("hear", "live", {"connect_delay_s": 4.0}, "retryable"),
    ("hear", "live", {"malformed_json": True}, "retryable"),
    ("speak", "live", {"refuse_key": True}, "config"),
    ("speak", "live", {"refuse_upgrade": 402}, "config"),
    ("speak", "live", {"refuse_upgrade": 503}, "retryable"),
    ("speak", "live", {"stall_after_accept": True}, "retryable"),
    ("speak", "live", {"stall_at_ready": True}, "retryable"),
    ("speak", "live", {"stall_mid_reply": True}, "retryable"),
    ("speak", "live", {"drop_mid_reply": True}, "retryable"),
    ("speak", "live", {"cut_mid_reply": True}, "retryable"),
    ("speak", "live", {"error_mid_reply": True}, "retryable"),
    ("speak", "live", {"close_mid_reply": 1011}, "retryable"),
    ("speak", "live", {"close_mid_reply": 1008}, "config"),
    ("speak", "http", {"refuse_key": True}, "config"),
    ("speak", "http", {"refuse_upgrade": 429}, "retryable"),
    ("speak", "http", {"stall_at_ready": True}, "retryable"),
    ("speak", "http", {"stall_mid_reply": True}, "retryable"),
    ("speak", "http", {"drop_mid_reply": True}, "retryable"),
    ("speak", "http", {"cut_mid_reply": True}, "retryable"),
]
TITLES = {"hear": "speech to text", "speak": "text to speech"}


@pytest.mark.parametrize(("stage", "transport", "fault", "kind"), FAULTS)
async def test_each_fault_ends_in_one_event(stage: str, transport: str, fault: dict[str, Any], kind: str) -> None:
    async with serving(stage=stage, **fault) as server:
        settings = fish(server, {"transport": transport}, connect_s=1.0, read_s=1.5)
        async with talking(build(settings)()) as talk:
            await talk.sound(speech.say("tell me a story"))
            asking = asyncio.create_task(ask(talk))
            failed = await talk.until(Failed, when=lambda event: event.kind != "benign")
            asking.cancel()
            assert (failed.kind, failed.reason.partition(":")[0]) == (kind, TITLES[stage])
            await talk.reading
            assert talk.events[-1] == failed


async def ask(talk: Talk) -> None:
    await talk.until(Ready)
    await talk.hears("tell me a story")


@pytest.mark.parametrize("fault", ["rubbish_text", "rubbish_binary", "malformed_json", "unknown_events", "odd_bytes", "flood"])
async def test_strange_speech_is_borne(fault: str) -> None:
    async with serving(stage="speak", **{fault: True}) as server, talking(build(fish(server))()) as talk:
        await talk.until(Ready)
        await talk.hears("thank you")
        done = await talk.until(ReplyDone)
        assert done.status == "completed"
        pcm = np.frombuffer(talk.pcm(done.reply), "<i2")
        assert 0.5 < len(pcm) / 24000 < 3


async def test_a_turn_that_was_not_heard_is_heard_by_a_new_session() -> None:
    async with serving(stage="hear", sessions=4, refuse_upgrade=503) as server, lasting(server) as talk:
        asking = speech.say("tell me a story")
        for start in range(0, len(asking) + 16000, 640):  # not all at once: what is heard again begins where the person began
            await talk.sound(asking[start : start + 640] if start < len(asking) else np.zeros(640, np.int16))
            await asyncio.sleep(0.004)
        assert TITLES["hear"] in (await talk.until(Notice)).text
        await talk.until(ReplyAudio, 20)
        assert talk.heard == ["tell me a story"]


async def test_after_a_reply_that_broke_off_the_conversation_goes_on() -> None:
    async with serving(stage="speak", sessions=4, close_mid_reply=1011) as server, lasting(server) as talk:
        await talk.hears("tell me a story")
        assert TITLES["speak"] in (await talk.until(Notice)).text
        await talk.until(Notice, 2)
        await talk.hears("thank you")
        done = await talk.until(ReplyDone, when=lambda event: event.status == "completed")
        assert talk.said(done.reply) == "My pleasure."  # the rehearsal's second answer: it was told of the first


@contextlib.asynccontextmanager
async def lasting(server: Rehearsal) -> AsyncIterator[Talk]:
    """Talk to a session that outlives its sockets."""

    async def declared() -> tuple[()]:
        return ()

    async with talking(Durable([Provider("fish", build(fish(server), "fish"))], declared)()) as talk:
        await talk.until(Ready)
        yield talk
