"""The fault runs of tests/bench/bench_faults.py, a few of them; and that they notice what they are there for."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Mapping
from typing import Any

import pytest

from pipit.core.machine import Limits
from pipit.services import ReplyAudio
from pipit.services.assemblyai import AssemblyAI
from pipit.services.durable import DurableSession
from pipit.services.openai_presets import PRESETS
from pipit.services.openai_realtime import OpenAIRealtime
from pipit.services.turns import Turns
from pipit.services.websocket import Deadlines, WebSocketSession
from pipit.services.wire import sound
from tests.bench.bench_faults import judge, left_behind, plans, resources, runs, service, shortened
from tests.bench.faulty import FAULTS, Faulty, Plan

SHELLS = (DurableSession, WebSocketSession)


@pytest.fixture(autouse=True)
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have conversations end sooner, with time limits for a machine that has other things to do."""
    monkeypatch.setattr("tests.bench.bench_faults.TURNS", 3)
    monkeypatch.setattr("tests.bench.bench_faults.DEADLINES", Deadlines(connect_s=4, read_s=3, write_s=3, ping_s=3, close_s=0.9))
    limits = Limits(connect_s=20, idle_s=10, utterance_s=10, answer_s=20, reply_s=20, fault_s=0.2, conversation_s=60)
    monkeypatch.setattr("tests.bench.bench_faults.LIMITS", limits)
    monkeypatch.setattr("tests.bench.bench_faults.LATEST_S", 90.0)
    monkeypatch.setattr("tests.bench.faulty.RESULT_S", 15.0)


class Uneventful(random.Random):
    """Has the agent call no tools and nobody cut in, so that each event of the service has its known place."""

    def random(self) -> float:
        return 0.99


async def judged(name: str, planned: list[Plan], rng: random.Random | None = None) -> list[str]:
    """Hold these conversations; return what was wrong."""
    server = Faulty(PRESETS.get(name), rng or random.Random(5))
    async with server.serving():
        results = await runs(server, name, planned)
    return [f"{name}: {line}" for plan, outcome in results for line in judge(plan, outcome)]


async def test_conversations_with_a_fault_each_leave_nothing_behind_and_go_on_where_they_can() -> None:
    before, names = resources(), ("openai", "yandex", "assemblyai")
    # Events in the wrong order may leave a conversation waiting for one that has come already.
    planned = [[plan for plan in plans(len(FAULTS), seed=3, always=0) if plan.fault != "out of order"] for _ in names]
    with shortened():
        found = await asyncio.gather(*(judged(name, those) for name, those in zip(names, planned, strict=True)))
    left = await left_behind(before, SHELLS, patience_s=20)
    assert [*found, left] == [[], [], [], []]


def deaf_to_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """The codec hands on sound of replies that are over."""

    def openai(codec: Any, data: Mapping[str, Any]) -> list[Any]:
        name, pcm = codec._which(data), sound(data, "delta")
        return [*codec._begin(name)[1], ReplyAudio(name, pcm)]

    def assemblyai(codec: Any, data: Mapping[str, Any]) -> list[Any]:
        name, pcm = str(data["reply_id"]), sound(data, "data")
        return [*codec._begin(name)[1], ReplyAudio(name, pcm)]

    monkeypatch.setitem(OpenAIRealtime._READERS, "response.output_audio.delta", openai)
    monkeypatch.setitem(AssemblyAI._READERS, "reply.audio", assemblyai)


def no_goodbye(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(AssemblyAI, "goodbye", lambda _: ())


def never_answered(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each turn of a lost session is heard again although it was answered."""
    monkeypatch.setattr(Turns, "answered", lambda _: None)


def forgotten_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    """What was said when a session was lost is not heard by the next."""
    monkeypatch.setattr(Turns, "_begin", lambda *_: None)


def results_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """What tools have answered is sent again with each message."""
    usual = AssemblyAI.tool_result
    monkeypatch.setattr(AssemblyAI, "tool_result", lambda self, *given, **more: [*usual(self, *given, **more)] * 2)


def never_renewed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(DurableSession, "_between_turns", False)


def kept_sessions(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each session is remembered for ever."""
    kept, usual = [], WebSocketSession.__init__

    def made(self: WebSocketSession, *given: Any, **more: Any) -> None:
        usual(self, *given, **more)
        kept.append(self)

    monkeypatch.setattr(WebSocketSession, "__init__", made)


@pytest.mark.parametrize(
    ("name", "broken", "fault", "life_s", "noticed"),
    [
        ("openai", deaf_to_the_end, "late sound", None, "sound of a reply that was over"),
        ("assemblyai", deaf_to_the_end, "late sound", None, "sound of a reply that was over"),
        ("assemblyai", no_goodbye, "none", None, "left without session.end"),
        ("openai", never_answered, "dropped", None, "heard again"),
        ("openai", forgotten_turns, "dropped", None, "a turn that began at"),
        ("assemblyai", results_at_once, "none", None, "2 results of one call"),
        ("openai", never_renewed, "none", 0.3, "was not replaced in time"),
        ("openai", kept_sessions, "none", None, "left behind: "),
    ],
)
async def test_a_broken_client_is_noticed(
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    broken: Callable[[pytest.MonkeyPatch], None],
    fault: str,
    life_s: float | None,
    noticed: str,
) -> None:
    broken(monkeypatch)
    rng, places = random.Random(5), (3, 4, 5, 20, 22, 24)
    if broken is forgotten_turns:  # between the beginning of a second turn, the first is always heard whole, and its answer
        rng, places = Uneventful(), (16, 17, 18, 19) * 2
        monkeypatch.setattr("tests.bench.faulty.SPEECH", 20)  # longer than anybody looks back
    if broken is never_renewed:  # until it has gone on for too long
        monkeypatch.setattr("tests.bench.bench_faults.TURNS", 6)
    planned = [Plan(fault, at, False, life_s=life_s) for at in places]
    before = resources()
    with shortened():
        wrong = await judged(name, planned, rng)
    wrong += await left_behind(before, SHELLS, patience_s=0.3 if broken is kept_sessions else 20)
    assert any(noticed in line for line in wrong), wrong


async def test_memory_that_is_kept_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    kept, usual = [], WebSocketSession.__init__

    def made(self: WebSocketSession, *given: Any, **more: Any) -> None:
        usual(self, *given, **more)
        kept.append(b"x" * (2 << 20))

    monkeypatch.setattr(WebSocketSession, "__init__", made)
    monkeypatch.setattr("tests.bench.bench_faults.FAULTS", ("none",))
    _, _, wrong = await service("openai", 10, warm_up=5, always=0)
    assert any("MB of memory" in line for line in wrong), wrong
