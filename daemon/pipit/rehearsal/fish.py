"""Fish Audio, the service's side: https://docs.fish.audio. Speech to text over HTTP, text to speech over HTTP and live.

What its documentation leaves open (the code for a request that is not msgpack, what an unknown voice is told) is decided here in
one way or another; clients must not rely on it.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
import struct
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Iterator, Mapping
from contextlib import aclosing
from typing import Any

import msgpack

from pipit.rehearsal.agent import Agent, Conduct, Left, Say, chunk_bytes, sound
from pipit.rehearsal.misbehaviour import MID_REPLY_S, Misbehaviour
from pipit.rehearsal.recordings import multipart, recording
from pipit.rehearsal.shapes import Refused, Shape, array, either, flag, number, one_of, record, text
from pipit.rehearsal.web import Visit
from pipit.rehearsal.wire import Wire

LIVE = "/v1/tts/live"
DEFAULT_MODEL = "s2.1-pro"
MODELS = ("s1", "s2-pro", "s2.1-pro", "s2.1-pro-free")

SHORTEST_S = 1.0
LONGEST_BYTES = 20 * 1000 * 1000
_RATES_HZ: Mapping[str, tuple[int, ...]] = {
    "pcm": (8000, 16000, 24000, 32000, 44100),
    "wav": (8000, 16000, 24000, 32000, 44100),
    "mp3": (32000, 44100),
    "opus": (48000,),
}
_DEFAULT_RATE_HZ = 44100
_CHUNK_S = 0.1
_UNPACED_S = 0.5
"""So much of a reply is sent at once."""


class Denied(Exception):
    """The service refuses a request.

    Args:
        status: HTTP status.
        message: its words.
        problems: for 422, what is wrong with which field.
    """

    def __init__(self, status: int, message: str, problems: list[dict[str, str]] | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.problems = problems

    @property
    def body(self) -> dict[str, Any] | list[dict[str, str]]:
        """The answer."""
        return self.problems if self.problems is not None else {"message": self.message, "status": self.status}


# -- what a request may hold -------------------------------------------------------------------------------------------------------


def _bytes(value: Any, path: str) -> None:
    if not isinstance(value, bytes):
        raise Refused("type", path, f"Invalid type for '{path}': expected bytes.")


def _null(shape: Shape) -> Shape:
    return either(one_of(None), shape)


def _loose(fields: Mapping[str, Shape], required: tuple[str, ...] = ()) -> Shape:
    """Accept objects with these fields, and whatever others."""

    def check(value: Any, path: str) -> None:
        known = {name: entry for name, entry in value.items() if name in fields} if isinstance(value, dict) else value
        record(fields, required)(known, path)

    return check


_SAMPLES = array(record({"audio": _bytes, "text": text}, required=("audio", "text")))
_PROSODY = _loose({"speed": number(0.5, 2), "volume": number(-20, 20), "normalize_loudness": flag})
_TTS = _loose(
    {
        "text": text,
        "reference_id": _null(either(array(text), text)),
        "references": _null(_SAMPLES),
        "format": one_of(*_RATES_HZ),
        "sample_rate": _null(number(8000, 48000, whole=True)),
        "mp3_bitrate": one_of(64, 128, 192),
        "latency": one_of("low", "normal", "balanced"),
        "chunk_length": number(100, 300, whole=True),
        "min_chunk_length": number(0, 100, whole=True),
        "normalize": flag,
        "prosody": _null(_PROSODY),
        "temperature": number(0, 1),
        "top_p": number(0, 1),
        "repetition_penalty": number(0, 10),
        "max_new_tokens": number(0, 100_000, whole=True),
        "condition_on_previous_chunks": flag,
        "early_stop_threshold": number(0, 1),
    },
    required=("text",),
)
_ASR = _loose({"audio": _bytes, "language": _null(text), "ignore_timestamps": _null(flag)}, required=("audio",))
_VOICE = re.compile(r"[0-9a-f]{32}")


def tts_request(data: Any) -> dict[str, Any]:
    """Check what is to be spoken, and fill in the defaults.

    Raises:
        Denied: the service would not do it.
    """
    _require(_TTS, data)
    asked = {"format": "mp3", "latency": "normal", "chunk_length": 300, "reference_id": None, **data}
    asked["prosody"] = {"speed": 1.0, "volume": 0.0, **(data.get("prosody") or {})}
    asked["references"] = data.get("references") or []
    asked["sample_rate"] = data.get("sample_rate") or (48000 if asked["format"] == "opus" else _DEFAULT_RATE_HZ)
    allowed = _RATES_HZ[asked["format"]]
    if asked["sample_rate"] not in allowed:
        raise Denied(400, f"Unsupported sample rate {asked['sample_rate']} for {asked['format']}: use one of {allowed}")
    voices = asked["reference_id"] if isinstance(asked["reference_id"], list) else [asked["reference_id"]]
    if any(voice and not _VOICE.fullmatch(voice) for voice in voices):
        raise Denied(400, "Reference not found")
    if asked["format"] not in ("pcm", "wav"):
        raise Denied(400, f"the rehearsal makes no {asked['format']}: ask for pcm or wav")
    return asked


def asr_request(kind: str, body: bytes) -> dict[str, Any]:
    """Read what is to be transcribed: msgpack or a form.

    Raises:
        Denied: it is neither, or something is wrong with it.
    """
    asked: Any
    if kind.partition(";")[0].strip().lower() == "application/msgpack":
        asked = _unpacked(body)
    elif (parts := multipart(kind, body)) is not None:
        asked = {name: part if name == "audio" else part.decode("utf-8", "replace") for name, part in parts.items()}
        if "ignore_timestamps" in asked:
            asked["ignore_timestamps"] = asked["ignore_timestamps"].lower() in ("true", "1")
    else:
        raise Denied(415, "Unsupported Media Type: send multipart/form-data or application/msgpack")
    _require(_ASR, asked)
    if len(asked["audio"]) > LONGEST_BYTES:
        raise Denied(413, "Audio file is too large: at most 20MB")
    return dict(asked)


def _require(shape: Shape, data: Any) -> None:
    try:
        shape(data, "")
    except Refused as refused:
        problem = {"in": "body", "loc": refused.path, "type": refused.problem, "msg": refused.message, "ctx": ""}
        raise Denied(422, refused.message, [problem]) from None


def _unpacked(data: bytes | str) -> Any:
    try:
        return msgpack.unpackb(data.encode() if isinstance(data, str) else data)
    except (ValueError, msgpack.exceptions.UnpackException, RecursionError):
        raise Denied(400, "Invalid msgpack") from None


# -- the service -------------------------------------------------------------------------------------------------------------------


class Fish:
    """What all connections share: the agent, and how many use it at a time."""

    def __init__(self, agent: Agent, conduct: Conduct) -> None:
        self._agent = agent
        self._conduct = conduct
        self._busy = 0

    async def asr(self, visit: Visit) -> None:
        """Answer POST /v1/asr."""
        exchange = visit.exchange
        async with self._answered(visit):
            self._limit()
            asked = asr_request(exchange.headers.get("content-type", ""), exchange.body)
            exchange.asked = asked
            try:
                sent = recording(asked["audio"], "audio")
            except Refused as refused:
                raise Denied(400, refused.message) from None
            if sent.seconds < SHORTEST_S:
                raise Denied(400, f"Audio is too short: {sent.seconds:.2f} s, at least {SHORTEST_S:g} s")
            exchange.text, _ = await asyncio.gather(self._agent.transcribe(sent.samples), asyncio.sleep(self._conduct.hear_s))
            answer: dict[str, Any] = {"text": exchange.text, "duration": round(sent.seconds, 3), "segments": []}
            if asked.get("ignore_timestamps") is False and exchange.text:
                answer["segments"] = [{"text": exchange.text, "start": 0.0, "end": answer["duration"]}]
            await visit.answer(200, {**answer, "language_code": "en", "language": "English"})

    async def tts(self, visit: Visit) -> None:
        """Answer POST /v1/tts."""
        exchange = visit.exchange
        async with self._answered(visit):
            self._limit()
            kind = exchange.headers.get("content-type", "").partition(";")[0].strip().lower()
            asked = tts_request(_unpacked(exchange.body) if kind == "application/msgpack" else _json(kind, exchange.body))
            exchange.asked = asked
            exchange.text = asked["text"]
            if not asked["text"].strip():
                raise Denied(400, "Text is empty")
            pieces = self._paced(self._sound(asked["text"], asked, visit.faults), asked["sample_rate"], visit.faults)
            sent_s = 0.0
            async with aclosing(pieces):
                await visit.begin(200, f"audio/{asked['format']}")
                if asked["format"] == "wav":
                    await visit.send(_wav_head(asked["sample_rate"]))
                async for piece in pieces:
                    await visit.send(piece)
                    before, sent_s = sent_s, sent_s + len(piece) / 2 / asked["sample_rate"]
                    if before < MID_REPLY_S <= sent_s and await visit.mid_reply():
                        return  # it cannot say so, once the sound has begun
            await visit.end()

    async def live(self, wire: Wire, messages: AsyncIterable[str | bytes], say: Say) -> None:
        """Serve a live connection until its speech is finished."""
        with self._at_work():
            await _Live(self, wire, say).run(messages)

    def too_many(self) -> bool:
        """Whether one more at a time is refused."""
        return self._busy >= self._conduct.concurrency

    @contextlib.asynccontextmanager
    async def _answered(self, visit: Visit) -> AsyncIterator[None]:
        """Turn what is refused into the answer."""
        with self._at_work():
            try:
                yield
            except Denied as denied:
                await visit.answer(denied.status, denied.body)

    def _limit(self) -> None:
        if self._busy > self._conduct.concurrency:
            raise Denied(429, "Too many requests: your plan's concurrency limit is reached")

    @contextlib.contextmanager
    def _at_work(self) -> Iterator[None]:
        self._busy += 1
        try:
            yield
        finally:
            self._busy -= 1

    async def speak(self, words: str, asked: Mapping[str, Any], faults: Misbehaviour) -> AsyncGenerator[bytes, None]:
        """Yield some text as sound in the format asked for, the first after the time that the service takes."""
        async with aclosing(self._sound(words, asked, faults)) as pieces:
            async for piece in pieces:
                yield piece

    async def _sound(self, words: str, asked: Mapping[str, Any], faults: Misbehaviour) -> AsyncGenerator[bytes, None]:
        loop = asyncio.get_running_loop()
        due = loop.time() + self._conduct.speak_s
        rate_hz = asked["sample_rate"]
        volume = 100 * 10 ** (asked["prosody"]["volume"] / 20)
        sizes = chunk_bytes(_CHUNK_S, rate_hz, odd=faults.odd_bytes)
        pieces = sound(words, sizes, rate_hz, _voice_name(asked), asked["prosody"]["speed"], min(volume, 100.0))
        async with aclosing(pieces):
            async for piece in pieces:
                await asyncio.sleep(due - loop.time())
                yield piece

    async def _paced(self, pieces: AsyncGenerator[bytes, None], rate_hz: int, faults: Misbehaviour) -> AsyncGenerator[bytes, None]:
        pace = Pace(self._conduct, rate_hz, faults)
        async with aclosing(pieces):
            async for piece in pieces:
                await pace.wait(len(piece))
                yield piece

    def pace(self, rate_hz: int, faults: Misbehaviour) -> Pace:
        """Return how fast one reply is sent."""
        return Pace(self._conduct, rate_hz, faults)


class Pace:
    """Sends sound not much faster than the conduct says."""

    def __init__(self, conduct: Conduct, rate_hz: int, faults: Misbehaviour) -> None:
        self._speed = 0.0 if faults.flood else conduct.burst
        self._rate_hz = rate_hz
        self._began: float | None = None
        self._sent_s = 0.0

    async def wait(self, size: int) -> None:
        """Wait until a piece of so many bytes may be sent."""
        loop = asyncio.get_running_loop()
        if self._began is None:
            self._began = loop.time()
        if self._speed:
            await asyncio.sleep(self._began + (self._sent_s - _UNPACED_S) / self._speed - loop.time())
        self._sent_s += size / 2 / self._rate_hz


class _Live:
    """One live connection: text is collected until there is enough of it or it is flushed, and spoken in its order."""

    def __init__(self, fish: Fish, wire: Wire, say: Say) -> None:
        self._fish = fish
        self._wire = wire
        self._say = say
        self._asked: dict[str, Any] | None = None
        self._text = ""
        self._chunks: asyncio.Queue[str | None] = asyncio.Queue()

    async def run(self, messages: AsyncIterable[str | bytes]) -> None:
        self._wire.on_error = self._fail
        if not await self._wire.ready():
            return
        try:
            async with asyncio.TaskGroup() as tasks:
                speaking = tasks.create_task(self._speak())
                await self._read(messages)
                if not speaking.done():
                    raise Left
        except* Left:
            pass

    async def _read(self, messages: AsyncIterable[str | bytes]) -> None:
        """Take messages until the connection is closed, by whomever."""
        async for message in messages:
            try:
                self._take(message)
            except Denied as denied:
                self._say(f"refuses: {denied.message}")
                await self._fail()

    def _take(self, message: str | bytes) -> None:
        data = _unpacked(message)
        if not isinstance(data, dict) or not isinstance(data.get("event"), str):
            raise Denied(400, "a message without an event")
        self._wire.record(data)
        match data["event"]:
            case "start" if self._asked is None:
                _require(record({"event": text, "request": _loose({})}, required=("request",)), data)
                self._asked = tts_request({"text": "", **data["request"]})
                self._text = self._asked["text"]
            case "text" | "flush" | "stop" if self._asked is None:
                raise Denied(400, f"{data['event']} before start")
            case "text":
                _require(_loose({"text": text}, required=("text",)), data)
                self._text += data["text"]
                assert self._asked is not None
                if len(self._text) >= self._asked["chunk_length"]:
                    self._flush()
            case "flush":
                self._flush()
            case "stop":
                self._flush()
                self._chunks.put_nowait(None)
            case event:
                raise Denied(400, f"unexpected event {event}")

    def _flush(self) -> None:
        if self._text.strip():
            self._chunks.put_nowait(self._text)
        self._text = ""

    async def _speak(self) -> None:
        pace: Pace | None = None
        self._wire.reply_begins()
        while (words := await self._chunks.get()) is not None:
            assert self._asked is not None
            rate_hz = self._asked["sample_rate"]
            self._say(f"says {words!r}")
            self._wire.session.said.append(words)
            if pace is None:
                pace = self._fish.pace(rate_hz, self._wire.faults)
                if self._asked["format"] == "wav":
                    await self._wire.send({"event": "audio", "audio": _wav_head(rate_hz)})
            async with aclosing(self._fish.speak(words, self._asked, self._wire.faults)) as pieces:
                async for piece in pieces:
                    await pace.wait(len(piece))
                    await self._wire.send_sound({"event": "audio", "audio": piece}, len(piece) / 2 / rate_hz)
        await self._wire.send({"event": "finish", "reason": "stop"})
        if not self._wire.stalled:
            await self._wire.close(1000)

    async def _fail(self) -> None:
        await self._wire.send({"event": "finish", "reason": "error"})
        await self._wire.close(1000)


def packed(event: Any) -> bytes:
    """Return an event as it goes over the wire."""
    data: bytes = msgpack.packb(event)
    return data


def refusal(status: int) -> dict[str, Any]:
    """Return the body of an answer that refuses everything."""
    words = {401: "Invalid Token", 402: "Insufficient credit", 403: "Forbidden", 429: "Too many requests", 503: "Service is busy"}
    return {"message": words.get(status, "misbehaving"), "status": status}


def _json(kind: str, body: bytes) -> Any:
    if kind != "application/json":
        raise Denied(415, "Unsupported Media Type: send application/json or application/msgpack")
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        raise Denied(400, "Invalid JSON") from None


def _voice_name(asked: Mapping[str, Any]) -> str:
    """Return what distinguishes the voice: a sample of it, or its id."""
    if asked["references"]:
        return "cloned " + str(asked["references"][0]["text"])
    reference = asked["reference_id"]
    return (reference[0] if isinstance(reference, list) else reference) or "default"


def _wav_head(rate_hz: int) -> bytes:
    """Return the head of a WAV file whose length is not known yet."""
    unknown = 0xFFFFFFFF
    return struct.pack(
        "<4sI4s4sIHHIIHH4sI", b"RIFF", unknown, b"WAVE", b"fmt ", 16, 1, 1, rate_hz, 2 * rate_hz, 2, 16, b"data", unknown
    )
