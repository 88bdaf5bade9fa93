"""A conversation outlives what the rehearsal does to its sessions: it goes on in the next, or with the next provider."""

from __future__ import annotations

from typing import Any

import pytest

from pipit.rehearsal import Rehearsal
from pipit.services import NEW, Ended, Event, Notice, Opener, Opening, ReplyAudio, ReplyDone, Session
from pipit.services.durable import Durable
from pipit.services.link import Provider
from pipit.services.websocket import WebSocketSession
from tests import speech
from tests.rehearsal.talk import IMPATIENT, PATIENT, Talk, codec_for, misbehaving

pytestmark = pytest.mark.skipif(speech.missing_tools() is not None, reason=str(speech.missing_tools()))


def opener(server: Rehearsal, provider: str, patience: Any = PATIENT) -> Opener:
    def open_session(opening: Opening = NEW, /) -> Session:
        return WebSocketSession(codec_for(server, provider, opening), patience)

    return open_session


def lasting(talk: Talk, *providers: Provider) -> Talk:
    """Have a conversation held by the session that outlives others."""
    talk.session = Durable(providers)()
    talk.silence_s = 0.04  # in real time, or a new session would never catch up with what the person says
    return talk


@pytest.mark.parametrize(
    ("provider", "fault"),
    [
        ("openai", {"error_mid_reply": True}),
        ("openai", {"drop_mid_turn": True}),
        ("openai", {"expire_s": 0.05, "flood": False}),  # before the first has answered: that takes 0.35 s
        ("assemblyai", {"error_mid_reply": True, "error_code": "at_capacity"}),
        ("assemblyai", {"close_mid_reply": 1012}),
        ("assemblyai", {"close_mid_turn": 1001}),
    ],
    ids=str,
)
async def test_a_turn_is_answered_by_the_next_session(provider: str, fault: dict[str, Any]) -> None:
    async with misbehaving(sessions=1, **fault) as server:
        talk = lasting(Talk(server, provider), Provider(provider, opener(server, provider)))
        answered: list[Event] = []

        async def until_answered(event: Event) -> None:
            if isinstance(event, ReplyAudio) and len(server.sessions) >= 2 and not answered:
                answered.append(event)
                await talk.session.close()

        await talk.hold("what time is it", replies=9, then=until_answered)
    assert len(answered) == 1
    assert isinstance(talk.last, Ended)


@pytest.mark.parametrize("provider", ["openai", "assemblyai"])
async def test_a_reply_that_failed_is_no_lost_session(provider: str) -> None:
    async with misbehaving(failed_reply=True) as server:
        talk = lasting(Talk(server, provider), Provider(provider, opener(server, provider)))
        await talk.hold("what time is it")
        assert len(server.sessions) == 1
    assert [event.status for event in talk.of(ReplyDone)] == ["failed"]
    assert not talk.of(Notice)


@pytest.mark.parametrize(
    ("provider", "fault"), [("assemblyai", {"error_at_ready": True}), ("openai", {"omit": "session.updated"})], ids=str
)
async def test_the_next_provider_answers_where_the_first_does_not_become_ready(provider: str, fault: dict[str, Any]) -> None:
    async with misbehaving(**fault) as busy, misbehaving() as idle:
        first, second = Provider("first", opener(busy, provider, IMPATIENT)), Provider("second", opener(idle, "openai"))
        talk = lasting(Talk(busy, provider), first, second)
        await talk.hold("what time is it")
    assert "failover" in [event.topic for event in talk.of(Notice)]
    assert talk.of(ReplyDone)[-1].status == "completed"
    assert idle.sessions[0].said


async def test_the_next_provider_answers_where_the_first_has_no_quota_left() -> None:
    async with misbehaving(failed_reply=True, error_code="insufficient_quota") as poor, misbehaving() as rich:
        talk = Talk(poor, "openai")
        lasting(talk, Provider("first", opener(poor, "openai")), Provider("second", opener(rich, "assemblyai")))
        await talk.hold("what time is it", replies=2)
    assert talk.of(Notice)[0].topic == "failover"
    assert [event.status for event in talk.of(ReplyDone)] == ["failed", "completed"]
    assert rich.sessions[0].heard == ["what time is it"]
