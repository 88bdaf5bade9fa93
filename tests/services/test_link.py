"""A provider's session as a part of a conversation: ids and rates."""

from __future__ import annotations

import numpy as np

from pipit.services import NEW, ReplyAudio, ReplyStarted, ToolCall, ToolCancelled, UserText
from pipit.services.link import Link, Provider
from pipit.services.openai_presets import REALTIME
from pipit.services.openai_realtime import OpenAIRealtime, Settings
from pipit.services.websocket import WebSocketSession


def link(number: int = 0) -> Link:
    codec = OpenAIRealtime(Settings(url="ws://127.0.0.1:9/"), REALTIME)
    return Link(WebSocketSession(codec), Provider("one", lambda _=NEW: WebSocketSession(codec)), NEW, number)


def test_each_session_but_the_first_puts_its_number_in_front_of_ids() -> None:
    first, third = link(), link(2)
    events = [ReplyStarted("r"), ToolCall("c", "lamp", {}, reply="r"), ToolCall("c", "lamp", {}), ToolCancelled("c")]
    events.append(UserText("Hello.", final=True, item="i"))
    assert [first.renamed(event) for event in events] == events
    assert [third.renamed(event) for event in events] == [
        ReplyStarted("2:r"),
        ToolCall("2:c", "lamp", {}, reply="2:r"),
        ToolCall("2:c", "lamp", {}),
        ToolCancelled("2:c"),
        UserText("Hello.", final=True, item="2:i"),
    ]


def test_only_its_own_ids_are_known_to_a_provider() -> None:
    assert (link().own("r"), link().own("2:r")) == ("r", None)
    assert (link(2).own("r"), link(2).own("1:r"), link(2).own("2:r")) == (None, None, "r")


def test_half_a_sample_at_the_end_of_a_reply_does_not_shift_the_next() -> None:
    session = link()
    session.convert(24000, 48000)
    tone = (8000 * np.sin(2 * np.pi * 440 / 24000 * np.arange(2400))).astype("<i2").tobytes()
    session.converted(ReplyAudio("r1", tone[:-1]))
    heard = session.converted(ReplyAudio("r2", tone))
    assert isinstance(heard, ReplyAudio)
    steps = np.abs(np.diff(np.frombuffer(heard.pcm, "<i2")[200:].astype(int)))
    assert steps.max() < 1000, "a tone, and no noise"


def test_sound_of_the_same_rate_is_passed_on_as_it_is() -> None:
    session = link()
    session.convert(24000, 24000)
    assert session.converted(ReplyAudio("r", b"abc")) == ReplyAudio("r", b"abc")
