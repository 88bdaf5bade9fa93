"""Replays a transcript through a codec. See tests/transcripts/README.md."""

from __future__ import annotations

import base64
import dataclasses
import json
from collections import deque
from pathlib import Path
from typing import Any

from pipit.core.options import Secret
from pipit.services import Codec, Event, Message
from pipit.services.assemblyai import AssemblyAI
from pipit.services.assemblyai import Settings as AssemblyAISettings
from pipit.services.openai_realtime import OpenAIRealtime
from pipit.services.openai_realtime import Settings as OpenAISettings

FOLDER = Path(__file__).parent.parent / "transcripts"
FILES = sorted(FOLDER.glob("*/*.jsonl"))
KEY = "sk-test-0123456789"


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def codec_for(path: Path) -> Codec:
    """Return a new codec with the transcript's settings."""
    options = lines(path)[0]["settings"] | {"api_key": Secret(KEY)}
    options["keyterms"] = tuple(options.get("keyterms", ()))
    if path.parent.name == "assemblyai":
        return AssemblyAI(AssemblyAISettings(**options))
    return OpenAIRealtime(OpenAISettings(**options))


def received(path: Path) -> list[dict[str, Any]]:
    """Return what the service sends in a transcript."""
    return [line["message"] for line in lines(path)[1:] if line["dir"] == "in"]


def replay(codec: Codec, path: Path) -> list[Message]:
    """Compare every message and every event; return what was sent."""
    sent: list[Message] = []
    outbox: deque[Message] = deque()
    for number, line in enumerate(lines(path)[1:], 2):
        place = f"{path.name}:{number}"
        if line["dir"] == "in":
            assert not outbox, f"{place}: unexpected {outbox}"
            events = codec.receive(json.dumps(line["message"]))
            outbox.extend(codec.to_send())
            assert [shown(event) for event in events] == line.get("events", []), place
            continue
        if "because" in line:
            assert not outbox, f"{place}: unexpected {outbox}"
            outbox.extend(call(codec, line["because"]))
        if line["message"] is None:
            assert not outbox, f"{place}: unexpected {outbox}"
        else:
            assert outbox, f"{place}: nothing was sent"
            sent.append(outbox.popleft())
            message = json.loads(sent[-1])
            if "event_id" not in line["message"]:
                message.pop("event_id", None)
            assert message == line["message"], place
    assert not outbox, f"{path.name}: unexpected {outbox}"
    assert codec.unknown == codec.malformed == 0
    return sent


def call(codec: Codec, because: dict[str, Any]) -> list[Message]:
    """Call a codec's method by name."""
    ((method, given),) = because.items()
    if method == "audio":
        given = {"pcm": base64.b64decode(given["pcm"])}
    return list(getattr(codec, method)(**given))


def shown(event: Event) -> dict[str, Any]:
    """Return an event as it stands in a transcript."""
    values = {field.name: getattr(event, field.name) for field in dataclasses.fields(event)}  # type: ignore[arg-type]
    for optional in ("resume", "without"):
        if values.get(optional) == "":
            del values[optional]
    return {type(event).__name__: {k: base64.b64encode(v).decode() if isinstance(v, bytes) else v for k, v in values.items()}}
