"""Transcripts with random damage: a codec never raises, and what it says stays consistent."""

from __future__ import annotations

import copy
import json
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipit import services
from pipit.services import Codec, Event
from tests.services import replay

JUNK: list[Any] = [
    None,
    True,
    0,
    -1,
    2**70,
    1e308,
    "",
    "x" * 5000,
    "\ud800",
    "AAA=",
    "AAA",
    "resp_1",
    "r1",
    "completed",
    "interrupted",
    "failed",
    "insufficient_quota",
    [],
    [[]],
    [None],
    {},
    {"id": "resp_1"},
    {"a": {"b": {}}},
]
PATHS = {folder: [p for p in replay.FILES if p.parent.name == folder] for folder in ("openai", "assemblyai")}
MESSAGES = {folder: [m for path in paths for m in replay.received(path)] for folder, paths in PATHS.items()}
CALLS: list[dict[str, Any]] = [
    {"audio": {"pcm": "AQACAAMA"}},
    {"end_turn": {}},
    {"generate": {"instructions": "x"}},
    {"interrupt": {"reply": None, "heard_ms": 0, "by_service": False}},
    {"interrupt": {"reply": "resp_1", "heard_ms": 1, "by_service": True}},
    {"interrupt": {"reply": "r1", "heard_ms": 10**9, "by_service": False}},
    {"tool_result": {"call": "call_1", "result": "x", "is_error": True}},
    {"tool_result": {"call": "call_7", "result": "x", "is_error": False}},
    {"goodbye": {}},
]


class Checker:
    """The promises of `Codec.receive` about the order and the content of events."""

    def __init__(self) -> None:
        self.ready = 0
        self.started: set[str] = set()
        self.done: set[str] = set()

    def check(self, events: Sequence[Event]) -> None:
        for event in events:
            json.dumps(replay.shown(event)).encode("ascii")
            str(replay.shown(event)).encode("utf-8")  # no half surrogate pairs
            match event:
                case services.Ready():
                    self.ready += 1
                    assert self.ready == 1
                case services.ReplyStarted(reply=reply):
                    assert reply not in self.started
                    self.started.add(reply)
                case services.ReplyAudio(reply=reply, pcm=pcm):
                    assert reply in self.started - self.done
                    assert isinstance(pcm, bytes)
                    assert pcm
                case services.ReplyText(reply=reply, text=text):
                    assert reply in self.started - self.done
                    assert text
                case services.ReplyDone(reply=reply, status=status):
                    assert reply in self.started - self.done
                    assert status in ("completed", "interrupted", "cancelled", "failed")
                    self.done.add(reply)
                case services.Failed(kind=kind, reason=reason):
                    assert kind in ("benign", "retryable", "config", "fatal")
                    assert reason.isprintable()


@st.composite
def damaged(draw: st.DrawFn, whole: Any) -> str | bytes:
    """Return a message with one or two values replaced or left out, cut short, with a wrong byte, or something else altogether."""
    message = copy.deepcopy(whole)
    for _ in range(draw(st.integers(1, 2))):
        where: Any = message
        while isinstance(where, dict | list) and where:
            key = draw(st.sampled_from(sorted(where) if isinstance(where, dict) else list(range(len(where)))))
            if not isinstance(where[key], dict | list) or draw(st.booleans()):
                if draw(st.booleans()):
                    where[key] = copy.deepcopy(draw(st.sampled_from(JUNK)))
                else:
                    del where[key]
                break
            where = where[key]
    text = json.dumps(message)
    match draw(st.integers(0, 9)):
        case 0:
            return text[: draw(st.integers(0, len(text)))]
        case 1:
            raw = bytearray(text.encode())
            raw[draw(st.integers(0, len(raw) - 1))] ^= draw(st.integers(1, 255))
            return bytes(raw)
        case 2:
            return draw(st.one_of(st.text(max_size=50), st.binary(max_size=50)))
        case _:
            return text


@st.composite
def steps(draw: st.DrawFn, folder: str) -> list[Any]:
    """Return a transcript in its order, with messages damaged, missing, repeated or strange, and with calls of ours in between."""
    found: list[Any] = []
    for message in replay.received(draw(st.sampled_from(PATHS[folder])))[:20]:
        text = json.dumps(message)
        match draw(st.integers(0, 9)):
            case 0:
                found.append(draw(damaged(message)))
            case 1:
                found.append(draw(damaged(draw(st.sampled_from(MESSAGES[folder])))))
            case 2:
                found += [text, json.dumps(draw(st.sampled_from(MESSAGES[folder])))]
            case 3:
                found += [text, text]
            case 4 | 5:
                found += [text, draw(st.sampled_from(CALLS))]
            case 6:
                pass
            case _:
                found.append(text)
    return found


def run(codec: Codec, given_steps: list[Any]) -> None:
    checker = Checker()
    for step in given_steps:
        if isinstance(step, dict):
            sent = replay.call(codec, step)
        else:
            before = codec.malformed + codec.unknown
            checker.check(codec.receive(step))
            assert codec.malformed + codec.unknown - before in (0, 1)
            sent = list(codec.to_send())
        assert codec.to_send() == []
        for message in sent:
            assert isinstance(json.loads(message)["type"], str)


@pytest.mark.parametrize("folder", PATHS)
@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_damaged_messages_never_raise(folder: str, data: st.DataObject) -> None:
    run(replay.codec_for(PATHS[folder][0]), data.draw(steps(folder)))


@pytest.mark.parametrize("folder", PATHS)
@settings(max_examples=100, deadline=None)
@given(code=st.integers(0, 70000), reason=st.text(max_size=200))
def test_any_close_code_has_a_meaning(folder: str, code: int, reason: str) -> None:
    event = replay.codec_for(PATHS[folder][0]).closed(code, reason)
    assert isinstance(event, services.Ended | services.Failed)
    assert event.reason.isprintable()
