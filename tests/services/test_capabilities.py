"""The table of services and what they can do here: each cell is a test, named test_cell[SERVICE-CAPABILITY].

`python -m tests.services.test_capabilities` prints the table.
"""

from __future__ import annotations

import asyncio
import base64
import json
import sys
from collections.abc import Callable
from typing import Any

import pytest

from pipit.core.options import Secret
from pipit.core.tool import Declaration
from pipit.errors import ConfigError
from pipit.services import (
    NAMES,
    NEW,
    Codec,
    Event,
    Line,
    Opening,
    Ready,
    ReplyAudio,
    ReplyDone,
    ReplyText,
    ToolCall,
    UserText,
    assemblyai,
    openai_realtime,
)
from pipit.services.assemblyai import AssemblyAI
from pipit.services.assemblyai import Settings as AssemblyAISettings
from pipit.services.durable import Durable, DurableSession
from pipit.services.link import Link, Provider
from pipit.services.openai_presets import PRESETS
from pipit.services.openai_realtime import OpenAIRealtime, Settings
from pipit.services.websocket import WebSocketSession

COLUMNS = (
    *("sound in/out, kHz", "end of turn", "interruption", "truncation", "tools", "what you said", "what it said", "greeting"),
    *("exact speech", "resume", "renewal"),
)
_OPENAI = ("24/24", "service or Pipit", "voice, button", "yes", "yes", "yes", "yes", "asked for", "no", "no", "after 58 min")


def _like_openai(**cells: str) -> tuple[str, ...]:
    names = [column.replace(" ", "_").replace(",", "").replace("/", "_") for column in COLUMNS]
    return tuple(cells.get(name, cell) for name, cell in zip(names, _OPENAI, strict=True))


CELLS: dict[str, tuple[str, ...]] = {
    "openai": _OPENAI,
    "azure": _like_openai(renewal="after 28 min"),
    "yandex": _like_openai(sound_in_out_kHz="24/44.1", end_of_turn="service", what_you_said="if it tells", renewal="after 4 min"),
    "xai": _like_openai(exact_speech="greeting", greeting="word for word", what_you_said="if it tells"),
    "inworld": _like_openai(what_you_said="if it tells", renewal="when dropped"),
    "qwen": _like_openai(sound_in_out_kHz="16/24", truncation="no", what_you_said="if it tells", renewal="after 118 min"),
    "localai": _like_openai(truncation="no", what_you_said="if it tells", renewal="when dropped"),
    "speaches": _like_openai(end_of_turn="service", truncation="no", what_you_said="if it tells", renewal="when dropped"),
    "realtime": _like_openai(what_you_said="if it tells", renewal="when dropped"),
    "realtime-beta": _like_openai(what_you_said="if it tells", renewal="when dropped"),
    "assemblyai": (
        *("24/24 or 8/8", "service", "voice; button: here only", "no", "yes", "yes", "yes", "word for word", "greeting"),
        *("30 s, if accepted", "as it tells, or after 58 min"),
    ),
    "fish": ("16/24", "Pipit", "voice, button", "yes", "yes", "yes", "yes", "word for word", "greeting", "no", "not needed"),
    "local": ("16/22.05", "Pipit", "voice, button", "yes", "yes", "yes", "yes", "word for word", "greeting", "no", "not needed"),
}
"""Service -> one cell for each column.

"if it tells": Pipit does not ask for it, and shows it where the service writes it down by itself, as Yandex, xAI and Qwen document.
"when dropped": a lost session is replaced; nobody has said how long one lasts. "as it tells": a session says, when it begins, how
long it will last.
"""

CODECS = [name for name, module in NAMES.items() if not module.startswith("cascade.")]
"""What is chained on this device has no protocol: its cells are tests in tests/services/cascade/test_capabilities.py."""

LAMP = Declaration("lamp", "Switches the lamp.")
SOUND = bytes(range(1, 97)) * 50


def codec(name: str, opening: Opening = Opening(tools=(LAMP,)), **options: Any) -> Codec:  # noqa: B008 (frozen)
    if name == "assemblyai":
        return AssemblyAI(AssemblyAISettings(api_key=Secret("k" * 10), **options), opening)
    return OpenAIRealtime(Settings(api_key=Secret("k" * 10), model="m", url="ws://localhost/", **options), PRESETS[name], opening)


def feed(made: Codec, **message: Any) -> list[Any]:
    return list(made.receive(json.dumps(message)))


def opened(name: str, opening: Opening = Opening(tools=(LAMP,)), **options: Any) -> tuple[Codec, dict[str, Any], list[Any], Ready]:  # noqa: B008
    """Return a codec that is ready, the session that it asked for, what it sent once ready, and `Ready`."""
    made = codec(name, opening, **options)
    sent = list(made.hello())
    feed(made, type="session.created", session={"id": "s"})
    sent += made.to_send()
    if name == "assemblyai":
        (ready, *_) = feed(made, type="session.ready", session_id="s")
    else:
        (ready,) = feed(made, type="session.updated", session={"id": "s"})
    return made, json.loads(sent[0])["session"], [json.loads(message) for message in made.to_send()], ready


def reply(made: Codec, name: str) -> list[Any]:
    """Let the service say something; return the events."""
    data = base64.b64encode(SOUND).decode()
    if name == "assemblyai":
        events = feed(made, type="reply.audio", reply_id="r", data=data)
        return events + feed(made, type="transcript.agent.delta", reply_id="r", delta="Hi")
    beta = PRESETS[name].dialect == "beta"
    place = {"response_id": "r", "item_id": "i"}
    events = feed(made, type="response.audio.delta" if beta else "response.output_audio.delta", **place, delta=data)
    kind = "response.audio_transcript.delta" if beta else "response.output_audio_transcript.delta"
    return events + feed(made, type="response.output_text.delta" if name == "yandex" else kind, **place, delta="Hi")


def kinds(messages: Any) -> list[str]:
    return [json.loads(message)["type"] for message in messages]


# -- one function for each column: what the codec really does, in the words of the table -----------------------------------------


def sound(name: str) -> str:
    made, *_ = opened(name)
    (message,) = made.audio(SOUND)
    assert base64.b64decode(json.loads(message)["audio"]) == SOUND
    assert [event.pcm for event in reply(made, name) if isinstance(event, ReplyAudio)] == [SOUND]
    others = [opened(name, encoding=encoding)[0] for encoding in ("audio/pcmu", "audio/pcma")] if name == "assemblyai" else []
    for other in others:
        (message,) = other.audio(SOUND)
        assert len(base64.b64decode(json.loads(message)["audio"])) == len(SOUND) // 2
    return " or ".join(dict.fromkeys(f"{c.input_rate_hz / 1000:g}/{c.output_rate_hz / 1000:g}" for c in (made, *others)))


def end_of_turn(name: str) -> str:
    assert opened(name)[0].capabilities.server_turns
    if "service.turn_detection.type" in _problems(name, {"type": "none"}):
        return "service"  # it has no known way to leave it to the client
    made, *_ = opened(name, turn_detection={"type": "none"})
    assert not made.capabilities.server_turns
    assert "input_audio_buffer.commit" in kinds(made.end_turn())
    return "service or Pipit"


def _problems(name: str, turn_detection: dict[str, Any]) -> str:
    """Return what is wrong with a configuration."""
    given: dict[str, Any] = {"api_key": Secret("k" * 10), "url": "ws://localhost/", "turn_detection": turn_detection}
    try:
        if name == "assemblyai":
            assemblyai.build(AssemblyAISettings(**given))
        else:
            openai_realtime.build(Settings(model="m", **given), name)
    except ConfigError as error:
        return str(error)
    return ""


def interruption(name: str) -> str:
    made, *_ = opened(name)
    reply(made, name)
    pressed = kinds(made.interrupt("r", 50, by_service=False))
    made, *_ = opened(name)
    reply(made, name)
    if name == "assemblyai":
        spoken = feed(made, type="reply.done", reply_id="r", status="interrupted")
    else:
        spoken = feed(made, type="input_audio_buffer.speech_started", item_id="u")
    assert ReplyDone("r", "interrupted") in spoken
    return "voice, button" if "response.cancel" in pressed else "voice; button: here only"


def truncation(name: str) -> str:
    made, *_ = opened(name)
    reply(made, name)
    asked = kinds(made.interrupt("r", 50, by_service=True))
    assert ("conversation.item.truncate" in asked) == made.capabilities.truncate
    return "yes" if made.capabilities.truncate else "no"


def tools(name: str) -> str:
    made, session, *_ = opened(name)
    (tool,) = session["tools"]
    assert (tool.get("function") or tool)["name"] == "lamp"
    if name == "assemblyai":
        assert ToolCall("c", "lamp", {}) in feed(made, type="tool.call", call_id="c", name="lamp", arguments={})
        assert kinds(made.tool_result("c", "{}", is_error=False)) == ["tool.result"]
        return "yes"
    item = {"type": "function_call", "call_id": "c", "name": "lamp", "arguments": "{}"}
    assert ToolCall("c", "lamp", {}, "r") in feed(made, type="response.output_item.done", response_id="r", item=item)
    assert made.tool_result("c", "{}", is_error=False) == []
    feed(made, type="response.done", response={"id": "r", "status": "completed"})
    assert kinds(made.to_send()) == ["conversation.item.create", "response.create"]
    return "yes"


def what_you_said(name: str) -> str:
    made, session, *_ = opened(name)
    if name == "assemblyai":
        assert feed(made, type="transcript.user", item_id="u", text="Hi") == [UserText("Hi", True, "u")]
        return "yes"
    kind = "conversation.item.input_audio_transcription.completed"
    assert feed(made, type=kind, item_id="u", transcript="Hi") == [UserText("Hi", True, "u")]
    asked = session.get("audio", {}).get("input", {}).get("transcription")
    return "yes" if asked else "if it tells"


def what_it_said(name: str) -> str:
    made, *_ = opened(name)
    return "yes" if ReplyText("r", "Hi") in reply(made, name) else "no"


def greeting(name: str) -> str:
    _, session, sent, _ = opened(name, greeting="Kitchen here.")
    if name == "assemblyai":
        assert session["greeting"] == "Kitchen here."
        return "word for word"
    (message,) = sent
    assert "Kitchen here." in json.dumps(message)
    quiet = opened(name, Opening(history=(Line(False, "Hi"),), greet=False), greeting="Kitchen here.")
    assert quiet[2] == []
    return "asked for" if message["type"] == "response.create" else "word for word"


def exact_speech(name: str) -> str:
    return "greeting" if greeting(name) == "word for word" else "no"


def resume(name: str) -> str:
    made, _, _, ready = opened(name)
    if made.capabilities.resume_s == 0:
        assert ready.resume == ""
        return "no"
    again = codec(name, Opening(resume=ready.resume))
    assert kinds(again.hello()) == ["session.resume"]
    return f"{made.capabilities.resume_s:g} s, if accepted"


def renewal(name: str) -> str:
    made, *_ = opened(name)
    again = codec(name, Opening(history=(Line(False, "Is it raining?"),), greet=False))
    carried = [*again.hello()]
    feed(again, type="session.created", session={"id": "s"})
    assert "Is it raining?" in "".join(map(str, [*carried, *again.to_send()]))
    ready: list[Event] = [Ready("s")]
    planned = _planned_s(made, ready)
    if planned is None:
        return "when dropped"
    assert made.capabilities.max_session_s is not None
    assert planned < made.capabilities.max_session_s
    cell = f"after {planned / 60:.0f} min"
    if name != "assemblyai":
        return cell
    ready = feed(codec(name), type="session.ready", session_id="s", timestamp=1000.0, expires_at=2800.0)
    told = _planned_s(made, ready)
    assert told is not None
    assert 0 < told < 1800
    return f"as it tells, or {cell}"


def _planned_s(made: Codec, events: list[Event]) -> float | None:
    """Return after what time a conversation that begins so goes on in a new session."""

    async def planned() -> float | None:
        session = WebSocketSession(made)
        provider = Provider("p", lambda _=NEW: session)
        conversation = DurableSession(Durable([provider]))
        link = conversation._link = Link(session, provider, NEW)
        began = asyncio.get_running_loop().time()
        for event in events:
            list(conversation._take(link, event))
        return None if conversation._renew_at is None else conversation._renew_at - began

    return asyncio.run(planned())


MEASURED: dict[str, Callable[[str], str]] = dict(
    zip(
        COLUMNS,
        (
            *(sound, end_of_turn, interruption, truncation, tools, what_you_said, what_it_said, greeting),
            *(exact_speech, resume, renewal),
        ),
        strict=True,
    )
)


@pytest.mark.parametrize("capability", COLUMNS)
@pytest.mark.parametrize("service", CODECS)
def test_cell(service: str, capability: str) -> None:
    assert MEASURED[capability](service) == CELLS[service][COLUMNS.index(capability)]


def table() -> str:
    """Return the table in Markdown."""
    rows = [f"| service | {' | '.join(COLUMNS)} |", "|---" * (len(COLUMNS) + 1) + "|"]
    return "\n".join([*rows, *(f"| `{name}` | {' | '.join(CELLS[name])} |" for name in CELLS)])


if __name__ == "__main__":
    sys.stdout.write(table() + "\n")
