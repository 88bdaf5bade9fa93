"""A conversation that outlives sockets: against servers that speak the protocol and fail on purpose."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import dataclasses
import json
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
from websockets.asyncio.server import ServerConnection, serve

from pipit.core.allowance import Allowance
from pipit.core.tool import Declaration
from pipit.services import (
    NEW,
    Ended,
    Event,
    Failed,
    Notice,
    Opening,
    Ready,
    ReplyAudio,
    ReplyDone,
    ReplyStarted,
    Session,
    ToolCall,
    UserStarted,
    budget,
    persistence,
)
from pipit.services import assemblyai as assemblyai_module
from pipit.services.assemblyai import AssemblyAI
from pipit.services.assemblyai import Settings as AssemblyAISettings
from pipit.services.budget import Caps
from pipit.services.durable import Durable
from pipit.services.link import Provider
from pipit.services.openai_presets import REALTIME, Preset
from pipit.services.openai_realtime import OpenAIRealtime, Settings
from pipit.services.websocket import Deadlines, WebSocketSession

DEADLINES = Deadlines(connect_s=2, read_s=5, write_s=2, close_s=0.4)
GENEROUS_S = 15
MS = bytes(48)
NONE = Caps()
LAMP = Declaration("lamp", "Switches the lamp.")
Handler = Callable[["Line"], Awaitable[None]]


class Line:
    """One connection, at the server."""

    def __init__(self, connection: ServerConnection) -> None:
        self.connection = connection
        self.got: list[dict[str, Any]] = []
        self.sound = b""

    async def send(self, kind: str, **fields: Any) -> None:
        await self.connection.send(json.dumps({"type": kind, **fields}))

    async def until(self, kind: str, count: int = 1) -> dict[str, Any]:
        """Read until the client has sent so many messages of a type; return the last."""
        while True:
            data = json.loads(await self.connection.recv())
            self.got.append(data)
            if "audio" in data:
                self.sound += base64.b64decode(data["audio"])
            if data["type"] == kind:
                count -= 1
                if not count:
                    return dict(data)

    async def accept(self, name: str = "s") -> None:
        await self.until("session.update")
        await self.send("session.updated", session={"id": name})

    async def reply(self, name: str, words: str = "Yes.", ms: int = 100, *, done: bool = True) -> None:
        await self.send("response.created", response={"id": name})
        place = {"response_id": name, "item_id": f"i_{name}"}
        await self.send("response.output_audio_transcript.delta", **place, delta=words)
        await self.send("response.output_audio.delta", **place, delta=base64.b64encode(MS * ms).decode())
        if done:
            await self.send("response.done", response={"id": name, "status": "completed"})

    async def turn(self, words: str = "Is it raining?", answer: str = "Not yet.", name: str = "r1") -> None:
        """Hear some sound, and answer it."""
        await self.until("input_audio_buffer.append")
        await self.send("input_audio_buffer.speech_started", item_id="u")
        await self.send("input_audio_buffer.speech_stopped", item_id="u")
        await self.send("conversation.item.input_audio_transcription.completed", item_id="u", transcript=words)
        await self.reply(name, answer)

    def history(self) -> list[tuple[str, str]]:
        items = [message["item"] for message in self.got if message["type"] == "conversation.item.create"]
        return [(item["role"], item["content"][0]["text"]) for item in items if item["type"] == "message"]

    async def stay(self) -> None:
        with contextlib.suppress(Exception):
            await self.until("nothing")


@contextlib.asynccontextmanager
async def server(*handlers: Handler) -> AsyncIterator[tuple[str, list[Line]]]:
    """Serve the first connection with the first handler and so on; more are refused."""
    waiting, lines = list(handlers), list[Line]()

    async def connected(connection: ServerConnection) -> None:
        if not waiting:
            return
        line = Line(connection)
        lines.append(line)
        with contextlib.suppress(Exception):
            await waiting.pop(0)(line)

    async with serve(connected, "127.0.0.1", 0, compression=None, close_timeout=0.2) as listening:
        yield f"ws://127.0.0.1:{next(iter(listening.sockets)).getsockname()[1]}/", lines


async def answers(line: Line) -> None:
    """Be a service that answers one turn and stays."""
    await line.accept()
    await line.turn()
    await line.stay()


def provider(url: str, name: str = "one", preset: Preset = REALTIME, **options: Any) -> Provider:
    settings = Settings(url=url, **options)
    return Provider(name, lambda opening=NEW: WebSocketSession(OpenAIRealtime(settings, preset, opening), DEADLINES))


class Talk:
    """Speaks to a session and collects what it says."""

    def __init__(self, *providers: Provider, caps: Caps = NONE, tools: tuple[Declaration, ...] = ()) -> None:
        async def declared() -> tuple[Declaration, ...]:
            return tools

        self.session: Session = Durable(providers, declared, caps)()
        self.events: list[Event] = []
        self._changed = asyncio.Event()

    async def __aenter__(self) -> Talk:
        self._reading = asyncio.create_task(self._read())
        self._talking = asyncio.create_task(self._speak())
        return self

    async def __aexit__(self, *_: object) -> None:
        async with asyncio.timeout(2):
            await self.session.close()
            self._talking.cancel()
            await self._reading

    async def _read(self) -> None:
        async for event in self.session.events():
            self.events.append(event)
            self._changed.set()

    async def _speak(self) -> None:
        """Send 10 ms of sound all the time, each with its number in it."""
        number = 0
        await self.until(Ready)
        while True:
            number += 1
            await self.session.audio(number.to_bytes(2, "little") * (self.session.input_rate_hz // 100))
            await asyncio.sleep(0.01)

    def of(self, kind: type[Event]) -> list[Any]:
        return [event for event in self.events if type(event) is kind]

    async def until(self, kind: type[Event], count: int = 1, **fields: Any) -> Any:
        async with asyncio.timeout(GENEROUS_S):
            while True:
                found = [e for e in self.of(kind) if all(getattr(e, name) == value for name, value in fields.items())]
                if len(found) >= count:
                    return found[count - 1]
                self._changed.clear()
                await self._changed.wait()


async def settled() -> None:
    """Wait until only the test's own task is left."""
    async with asyncio.timeout(3):
        while len(asyncio.all_tasks()) > 1:  # noqa: ASYNC110 (whatever is left signals nothing)
            await asyncio.sleep(0.01)


# -- one good session ----------------------------------------------------------------------------------------------------------


async def test_a_conversation_goes_through_unchanged() -> None:
    async def handler(line: Line) -> None:
        await line.accept()
        await line.turn()
        await line.stay()

    async with server(handler) as (url, lines), Talk(provider(url), tools=(LAMP,)) as talk:
        await talk.until(ReplyDone)
        kinds = [type(event).__name__ for event in talk.events]
        assert kinds == ["Ready", "UserStarted", "UserStopped", "UserText", "ReplyStarted", "ReplyText", "ReplyAudio", "ReplyDone"]
        assert lines[0].got[0]["session"]["tools"][0]["name"] == "lamp"
    assert talk.events[-1] == Ended("closed here")
    await settled()


async def test_closing_before_anything_happened() -> None:
    session = Durable([provider("ws://127.0.0.1:9/")])()
    await session.close()
    assert [event async for event in session.events()] == [Ended("closed here")]
    await settled()


# -- dropped sockets -----------------------------------------------------------------------------------------------------------


async def test_a_dropped_socket_is_replaced_and_the_conversation_goes_on() -> None:
    async def dropped(line: Line) -> None:
        await line.accept("s1")
        await line.turn()
        line.connection.transport.abort()

    async def second(line: Line) -> None:
        await line.accept("s2")
        await line.turn("And tomorrow?", "Sun.")
        await line.stay()

    async with server(dropped, second) as (url, lines), Talk(provider(url, greeting="Hello.")) as talk:
        await talk.until(ReplyDone, 2)
        assert lines[1].history() == [("user", "Is it raining?"), ("assistant", "Not yet.")]
        assert not [message for message in lines[1].got if message["type"] == "response.create"], "nobody is greeted twice"
    assert len(talk.of(Ready)) == 1
    assert [notice.topic for notice in talk.of(Notice)] == ["reconnect", "reconnect"]
    assert talk.of(ReplyStarted) == [ReplyStarted("r1"), ReplyStarted("1:r1")], "the same id in another session is another reply"
    await settled()


async def test_a_turn_that_was_not_answered_is_heard_again_by_the_next_session() -> None:
    async def dropped(line: Line) -> None:
        await line.accept()
        await line.until("input_audio_buffer.append", 20)
        await line.send("input_audio_buffer.speech_started", item_id="u")
        await line.until("input_audio_buffer.append", 20)
        await line.send("input_audio_buffer.speech_stopped", item_id="u")
        await line.send("conversation.item.input_audio_transcription.completed", item_id="u", transcript="Is it")
        line.connection.transport.abort()

    async def second(line: Line) -> None:
        await line.accept()
        await line.until("input_audio_buffer.append", 60)
        await line.reply("r1")
        await line.stay()

    async with server(dropped, second) as (url, lines), Talk(provider(url)) as talk:
        await talk.until(ReplyDone)
        heard = [int.from_bytes(lines[1].sound[at : at + 2], "little") for at in range(0, len(lines[1].sound), 480)]
        assert heard == [*range(1, len(heard) + 1)], "every piece once, in order, from the beginning of the turn"
        assert lines[1].history() == [], "it is heard again, so it is not told as well"
    await settled()


async def test_what_is_said_while_there_is_no_session_is_heard_by_the_next() -> None:
    async def dropped(line: Line) -> None:
        await line.accept()
        await line.until("input_audio_buffer.append", 20)
        line.connection.transport.abort()

    async def slow(line: Line) -> None:
        await line.until("session.update")
        await asyncio.sleep(0.5)
        await line.send("session.updated", session={"id": "s2"})
        await line.until("input_audio_buffer.append", 80)
        await line.send("input_audio_buffer.speech_started", item_id="u")
        await line.stay()

    async with server(dropped, slow) as (url, lines), Talk(provider(url)) as talk:
        await talk.until(UserStarted)
        before = int.from_bytes(lines[0].sound[-2:], "little")
        heard = [int.from_bytes(lines[1].sound[at : at + 2], "little") for at in range(0, len(lines[1].sound), 480)]
        assert heard == [*range(heard[0], heard[0] + len(heard))]
        assert heard[0] - before < 10, "half a second without a session is 50 pieces"
    await settled()


@pytest.mark.parametrize("turns", [{}, {"type": "none"}], ids=["service", "Pipit"])
async def test_a_reply_that_broke_off_is_gone_on_with(turns: dict[str, Any]) -> None:
    async def dropped(line: Line) -> None:
        await line.accept()
        await line.until("input_audio_buffer.append", 30)
        await line.reply("r1", "Once upon a time", done=False)
        line.connection.transport.abort()

    async def second(line: Line) -> None:
        await line.accept()
        await line.until("response.create")
        await line.reply("r1", "there was a bird.")
        await line.stay()

    async with server(dropped, second) as (url, lines), Talk(provider(url, turn_detection=turns)) as talk:
        done = await talk.until(ReplyDone, reply="1:r1")
        assert done.status == "completed"
        assert talk.of(ReplyDone)[0].status == "failed"
        asked = next(message for message in lines[1].got if message["type"] == "response.create")
        assert "'Once upon a time'" in asked["response"]["instructions"]
        await until(lambda: lines[1].sound)
        assert int.from_bytes(lines[1].sound[:2], "little") >= 30, "what was being answered is not heard again"
    await settled()


async def test_a_reply_that_the_person_has_stopped_is_not_gone_on_with() -> None:
    stopped = asyncio.Event()

    async def dropped(line: Line) -> None:
        await line.accept()
        await line.until("input_audio_buffer.append")
        await line.reply("r1", "Once upon a time", 1000, done=False)
        await line.until("response.cancel")
        line.connection.transport.abort()

    async def second(line: Line) -> None:
        await line.accept()
        await line.until("input_audio_buffer.append", 10)
        await line.turn("Stop.", "All right.", "r2")
        stopped.set()
        await line.stay()

    async with server(dropped, second) as (url, lines), Talk(provider(url)) as talk:
        await talk.until(ReplyAudio)
        await talk.session.interrupt("r1", 500, by_service=False)
        await stopped.wait()
        assert not [message for message in lines[1].got if message["type"] == "response.create"]
    await settled()


async def test_a_reply_that_broke_off_and_is_stopped_while_there_is_no_session_is_not_gone_on_with() -> None:
    stopped, heard = asyncio.Event(), asyncio.Event()

    async def dropped(line: Line) -> None:
        await line.accept()
        await line.until("input_audio_buffer.append")
        await line.reply("r1", "Once upon a time", 1000, done=False)
        line.connection.transport.abort()

    async def second(line: Line) -> None:
        await line.until("session.update")
        await stopped.wait()
        await line.send("session.updated", session={"id": "2"})
        await line.until("input_audio_buffer.append", 20)
        heard.set()
        await line.stay()

    async with server(dropped, second) as (url, lines), Talk(provider(url)) as talk:
        await talk.until(ReplyDone)
        await talk.session.generate("Say that the tea is ready.")
        await talk.session.interrupt("r1", 500, by_service=False)
        stopped.set()
        await heard.wait()
        asked = [message["response"]["instructions"] for message in lines[1].got if message["type"] == "response.create"]
        assert len(asked) == 1, "what has nothing to do with it is still said"
        assert asked[0].endswith("Say that the tea is ready.")
    await settled()


async def test_any_number_of_drops_is_survived_when_each_session_was_steady(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(persistence, "STEADY_S", 0.05)

    async def steady(line: Line) -> None:
        await line.accept()
        await line.turn()
        await line.until("input_audio_buffer.append", 10)
        line.connection.transport.abort()

    async def last(line: Line) -> None:
        await line.accept()
        await line.turn()
        await line.stay()

    drops = persistence.TRIES + 1
    async with server(*[steady] * drops, last) as (url, _), Talk(provider(url)) as talk:
        await talk.until(ReplyDone, drops + 1)
        assert talk.of(Failed) == []
        assert "trying again in 0.0 s" in talk.of(Notice)[-2].text, "a steady session is replaced at once"
    await settled()


async def test_what_was_said_before_an_early_drop_is_not_heard_again_after_a_later_one() -> None:
    renewing = asyncio.Event()

    async def first(line: Line) -> None:
        await line.accept("a")
        await line.turn("First?", "One.")
        await line.until("input_audio_buffer.append", 20)
        line.connection.transport.abort()

    async def second(line: Line) -> None:
        await line.accept("b")
        await line.turn("Second?", "Two.")
        reading = asyncio.create_task(line.stay())
        await renewing.wait()
        line.connection.transport.abort()
        await reading

    async def third(line: Line) -> None:
        await line.until("session.update")
        renewing.set()
        await asyncio.sleep(0.3)  # so long is there no session
        await line.send("session.updated", session={"id": "c"})
        await line.until("input_audio_buffer.append", 60)
        await line.send("input_audio_buffer.speech_started", item_id="u")
        await line.stay()

    async with server(first, second, third) as (url, lines), Talk(provider(url, preset=BRIEF)) as talk:
        await talk.until(UserStarted, 3)
        before = int.from_bytes(lines[1].sound[-2:], "little")
        heard = int.from_bytes(lines[2].sound[:2], "little")
        assert 0 <= heard - before < 10, "from where the second was lost"
    await settled()


async def test_the_sound_of_a_call_is_heard_by_the_next_session_although_the_first_said_nothing_yet() -> None:
    async def dropped(line: Line) -> None:
        await line.accept()
        await line.until("input_audio_buffer.append", 20)
        line.connection.transport.abort()

    async with server(dropped, answers) as (url, lines), Talk(provider(url)) as talk:
        await talk.until(ReplyDone)
        assert int.from_bytes(lines[1].sound[:2], "little") == 1, "from the beginning"
    await settled()


async def test_a_long_first_turn_is_heard_again_from_its_beginning() -> None:
    async def dropped(line: Line) -> None:
        await line.accept()
        await line.until("input_audio_buffer.append", 150)
        await line.send("input_audio_buffer.speech_started", item_id="u")
        await line.until("input_audio_buffer.append")
        line.connection.transport.abort()

    async with server(dropped, answers) as (url, lines), Talk(provider(url)) as talk:
        await talk.until(ReplyDone)
        assert int.from_bytes(lines[1].sound[:2], "little") == 1, "the service was late to say that somebody spoke"
    await settled()


async def test_a_turn_that_pipit_has_not_ended_yet_is_heard_again_by_a_session_that_leaves_that_to_pipit() -> None:
    async def dropped(line: Line) -> None:
        await line.accept()
        await line.until("input_audio_buffer.append")
        await line.reply("r1")
        await line.until("input_audio_buffer.append", 60)
        line.connection.transport.abort()

    async def second(line: Line) -> None:
        await line.accept()
        await line.until("input_audio_buffer.append", 70)
        await line.reply("r2")
        await line.stay()

    async with server(dropped, second) as (url, lines), Talk(provider(url, turn_detection={"type": "none"})) as talk:
        await talk.until(ReplyDone, 2)
        before = int.from_bytes(lines[0].sound[-2:], "little")
        heard = int.from_bytes(lines[1].sound[:2], "little")
        assert before - heard > 50, "all that came after the last reply"
    await settled()


async def test_late_sound_of_a_lost_session_is_never_heard() -> None:
    async def dropped(line: Line) -> None:
        await line.accept()
        await line.reply("r1", done=False)
        await line.until("input_audio_buffer.append")
        line.connection.transport.abort()

    async def second(line: Line) -> None:
        await line.accept()
        await line.stay()

    async with server(dropped, second) as (url, _), Talk(provider(url)) as talk:
        await talk.until(Notice, 2)
        after = talk.events[talk.events.index(talk.of(ReplyDone)[0]) :]
        assert not [event for event in after if isinstance(event, ReplyAudio)]
    await settled()


async def test_the_result_of_a_tool_reaches_the_session_that_comes_after_the_one_that_asked() -> None:
    async def dropped(line: Line) -> None:
        await line.accept()
        await line.send("response.created", response={"id": "r1"})
        item = {"type": "function_call", "call_id": "c1", "name": "lamp", "arguments": "{}"}
        await line.send("response.output_item.done", response_id="r1", item=item)
        await line.until("input_audio_buffer.append")
        line.connection.transport.abort()

    async def second(line: Line) -> None:
        await line.accept()
        await line.until("response.create")
        await line.reply("r1", "The lamp is on.")
        await line.stay()

    async with server(dropped, second) as (url, lines), Talk(provider(url), tools=(LAMP,)) as talk:
        call: ToolCall = await talk.until(ToolCall)
        await talk.until(Notice, 2)
        await talk.session.tool_result(call.call, '{"on": true}', is_error=False)
        await talk.until(ReplyDone, reply="1:r1")
        asked = next(message for message in lines[1].got if message["type"] == "response.create")
        assert 'The tool lamp that you called has answered: {"on": true}' in asked["response"]["instructions"]
    await settled()


async def test_a_provider_that_is_gone_for_good_ends_the_conversation(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(persistence, "ALONE_S", 0.5)

    async def dropped(line: Line) -> None:
        await line.accept()
        await line.until("input_audio_buffer.append")
        await line.send("input_audio_buffer.speech_started", item_id="u")
        line.connection.transport.abort()

    async with server(dropped) as (url, _):
        talk = Talk(provider(url))
        async with talk:
            failed = await talk.until(Failed)
        assert failed.kind == "retryable"
    await settled()


async def test_the_only_provider_is_waited_for_when_the_network_is_gone_for_a_moment() -> None:
    async def dropped(line: Line) -> None:
        await line.accept()
        await line.until("input_audio_buffer.append")
        line.connection.transport.abort()

    class Away(WebSocketSession):
        """The network is gone."""

        async def events(self) -> AsyncIterator[Event]:
            yield Failed("retryable", "the network is gone")

    def opened(opening: Opening = NEW) -> Session:
        tries.append(opening)
        gone = 2 < len(tries) <= 2 + persistence.TRIES
        return (Away if gone else WebSocketSession)(OpenAIRealtime(Settings(url=url), REALTIME, opening), DEADLINES)

    tries: list[Opening] = []
    async with server(dropped, answers) as (url, _), Talk(Provider("one", opened)) as talk:
        await talk.until(ReplyDone)
        assert len(tries) == 3 + persistence.TRIES  # the first only tells the rates
        assert talk.of(Failed) == []
    await settled()


async def test_a_provider_that_takes_every_session_and_drops_it_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(persistence, "ALONE_S", 0.5)

    async def dropped(line: Line) -> None:
        await line.accept()
        await line.until("input_audio_buffer.append")
        line.connection.transport.abort()

    async with server(*[dropped] * 30) as (url, lines), Talk(provider(url)) as talk:
        assert (await talk.until(Failed)).kind == "retryable"
        assert len(lines) <= persistence.LOSSES + 1
    await settled()


async def test_a_service_that_ends_in_good_order_while_nobody_speaks_has_ended() -> None:
    async def polite(line: Line) -> None:
        await line.accept()
        await line.until("input_audio_buffer.append")
        await line.connection.close(1000, "that is all")

    async with server(polite) as (url, lines), Talk(provider(url)) as talk:
        assert await talk.until(Ended) == Ended("that is all")
        assert len(lines) == 1
    await settled()


# -- failing over --------------------------------------------------------------------------------------------------------------


async def refuses(line: Line) -> None:
    await line.until("session.update")
    await line.send("error", error={"type": "invalid_request_error", "code": "insufficient_quota", "message": "No money."})


async def test_the_next_provider_takes_the_turn_when_the_first_cannot_be_reached() -> None:
    async def second(line: Line) -> None:
        await line.accept("s2")
        await line.turn()
        await line.stay()

    async with server(second) as (url, _):
        other = dataclasses.replace(REALTIME, input_rate_hz=16000, output_rate_hz=44100)
        talk = Talk(provider("ws://127.0.0.1:9/", "one"), provider(url, "two", other))
        async with talk:
            await talk.until(ReplyDone)
        assert (talk.session.input_rate_hz, talk.session.output_rate_hz) == (16000, 44100)
        (notice,) = talk.of(Notice)
        assert notice.topic == "failover"
        assert notice.text == "one: 127.0.0.1 refused the connection: nothing listens on port 9, see service.url; two takes over"
        assert talk.of(Ready) == [Ready("s2")]
    await settled()


async def test_the_next_provider_takes_the_turn_when_the_first_refuses() -> None:
    async def second(line: Line) -> None:
        await line.accept("s2")
        await line.stay()

    async with server(refuses, second) as (url, _), Talk(provider(url, "one"), provider(url, "two")) as talk:
        assert await talk.until(Ready) == Ready("s2")
        assert talk.of(Notice)[0].text == "one: the server: No money.; two takes over"
    await settled()


async def test_when_all_refuse_the_last_reason_is_told() -> None:
    async with server(refuses, refuses) as (url, _), Talk(provider(url, "one"), provider(url, "two")) as talk:
        assert await talk.until(Failed) == Failed("fatal", "the server: No money.")
    await settled()


async def test_in_mid_conversation_another_provider_with_other_rates_goes_on() -> None:
    async def first(line: Line) -> None:
        await line.accept()
        await line.turn()
        await line.until("input_audio_buffer.append")
        await line.send("error", error={"type": "x", "code": "session_expired", "message": "Over."})
        await line.send("error", error={"type": "x", "code": "insufficient_quota", "message": "No money."})

    async def quota(line: Line) -> None:
        await line.until("session.update")
        await line.send("error", error={"type": "x", "code": "insufficient_quota", "message": "No money."})

    async def second(line: Line) -> None:
        await line.accept()
        await line.until("input_audio_buffer.append", 10)
        await line.reply("r1", ms=1000)
        await line.stay()

    other = dataclasses.replace(REALTIME, input_rate_hz=16000, output_rate_hz=48000)
    async with server(first, quota, second) as (url, lines), Talk(provider(url, "one"), provider(url, "two", other)) as talk:
        await talk.until(ReplyDone, 2)
        assert (talk.session.input_rate_hz, talk.session.output_rate_hz) == (24000, 24000)
        heard = sum(len(event.pcm) for event in talk.of(ReplyAudio) if event.reply == "2:r1")
        assert abs(heard - 24000) < 200, "half a second at 48 kHz is half a second at 24 kHz"
        sizes = {len(base64.b64decode(m["audio"])) for m in lines[2].got if "audio" in m}
        assert max(sizes) <= 330, "10 ms at 16 kHz"
    await settled()


async def test_what_the_next_provider_can_do_is_known_to_the_conversation_and_a_turn_that_was_over_is_ended_there() -> None:
    async def first(line: Line) -> None:
        await line.accept()
        await line.until("input_audio_buffer.append")
        await line.send("input_audio_buffer.speech_started", item_id="u")
        await line.send("input_audio_buffer.speech_stopped", item_id="u")
        await line.send("error", error={"type": "x", "code": "insufficient_quota", "message": "No money."})

    async def second(line: Line) -> None:
        await line.accept()
        await line.until("response.create")
        await line.reply("r1")
        await line.stay()

    async with server(first, second) as (url, lines):
        two = provider(url, "two", turn_detection={"type": "none"})
        async with Talk(provider(url, "one"), two) as talk:
            await talk.until(Ready)
            assert talk.session.capabilities.server_turns is True
            await talk.until(ReplyDone)
            assert talk.session.capabilities.server_turns is False
            kinds = [m["type"] for m in lines[1].got]
            assert kinds.index("input_audio_buffer.append") < kinds.index("input_audio_buffer.commit")
            assert int.from_bytes(lines[1].sound[:2], "little") == 1, "from the beginning"
    await settled()


async def test_a_provider_that_did_not_answer_is_tried_last_for_a_while() -> None:
    async def good(line: Line) -> None:
        await line.accept()
        await line.stay()

    async with server(good, good) as (url, _):
        factory = Durable([provider("ws://127.0.0.1:9/", "one"), provider(url, "two")])
        for expected in (["failover"], []):
            session, notices = factory(), []
            async with asyncio.timeout(GENEROUS_S):
                async for event in session.events():
                    if isinstance(event, Notice):
                        notices.append(event.topic)
                    if isinstance(event, Ready):
                        break
                await session.close()
            assert notices == expected


async def test_a_refused_voice_is_left_out() -> None:
    async def picky(line: Line) -> None:
        update = await line.until("session.update")
        assert update["session"]["audio"]["output"]["voice"] == "nobody"
        error = {"type": "x", "code": "invalid_value", "message": "No voice 'nobody'.", "param": "session.audio.output.voice"}
        await line.send("error", error=error)

    async def second(line: Line) -> None:
        await line.accept()
        await line.stay()

    async with server(picky, second) as (url, lines), Talk(provider(url, voice="nobody")) as talk:
        await talk.until(Ready)
        assert "voice" not in lines[1].got[0]["session"]["audio"]["output"]
        (notice,) = talk.of(Notice)
        assert (notice.topic, notice.warning) == ("setting", True)
        assert notice.text.startswith("the server: No voice 'nobody'.")
    await settled()


# -- renewal -------------------------------------------------------------------------------------------------------------------

BRIEF = dataclasses.replace(REALTIME, max_session_s=1.0)


async def test_a_session_is_renewed_before_the_providers_limit_between_turns() -> None:
    async def first(line: Line) -> None:
        await line.accept("s1")
        await line.turn()
        await line.stay()

    async def second(line: Line) -> None:
        await line.accept("s2")
        await line.turn("And tomorrow?", "Sun.")
        await line.stay()

    async with server(first, second, Line.stay) as (url, lines), Talk(provider(url, preset=BRIEF)) as talk:
        await talk.until(Notice, topic="renewal")
        await talk.until(ReplyDone, 2)
        assert lines[1].history() == [("user", "Is it raining?"), ("assistant", "Not yet.")]
        first_heard = [int.from_bytes(lines[0].sound[at : at + 2], "little") for at in range(0, len(lines[0].sound), 480)]
        then_heard = [int.from_bytes(lines[1].sound[at : at + 2], "little") for at in range(0, len(lines[1].sound), 480)]
        both = first_heard + then_heard
        assert both == [*range(1, len(both) + 1)], "nothing is lost between the two"
    assert len(talk.of(Ready)) == 1
    await settled()


async def test_a_session_is_not_renewed_while_the_person_talks() -> None:
    async def first(line: Line) -> None:
        await line.accept("s1")
        await line.until("input_audio_buffer.append")
        await line.send("input_audio_buffer.speech_started", item_id="u")
        await line.until("input_audio_buffer.append", 150)
        await line.reply("r1")
        await line.stay()

    async def second(line: Line) -> None:
        await line.accept("s2")
        await line.stay()

    async with server(first, second) as (url, lines), Talk(provider(url, preset=BRIEF)) as talk:
        await talk.until(ReplyDone)
        assert len(lines) == 1, "1.5 s have passed"
        await talk.until(Notice, topic="renewal")
        assert talk.events.index(talk.of(ReplyDone)[0]) < talk.events.index(talk.of(Notice)[0])
    await settled()


async def test_a_turn_that_begins_while_a_new_session_is_being_opened_puts_it_off() -> None:
    began = asyncio.Event()

    async def first(line: Line) -> None:
        await line.accept("s1")
        await began.wait()
        await line.turn()
        await line.stay()

    async def slow(line: Line) -> None:
        await line.until("session.update")
        began.set()
        await line.stay()

    async def third(line: Line) -> None:
        await line.accept("s3")
        await line.stay()

    async with server(first, slow, third) as (url, lines), Talk(provider(url, preset=BRIEF)) as talk:
        await talk.until(Notice, topic="renewal")
        assert lines[2].history() == [("user", "Is it raining?"), ("assistant", "Not yet.")]
    await settled()


async def test_a_session_is_renewed_when_the_service_says_that_it_will_end() -> None:
    async def first(line: Line) -> None:
        await line.until("session.update")
        await line.send("session.ready", session_id="s_1", timestamp=1000.0, expires_at=1020.0)
        await line.stay()

    async def second(line: Line) -> None:
        await line.until("session.update")
        await line.send("session.ready", session_id="s_2")
        await line.stay()

    async with server(first, second) as (url, lines), Talk(assemblyai(url)) as talk:
        await talk.until(Notice, topic="renewal")
        assert "greeting" not in lines[1].got[0]["session"]
        assert "greeting" in lines[0].got[0]["session"]
    await settled()


@pytest.mark.parametrize("busy", [False, True], ids=["at once", "while a reply is made"])
async def test_a_new_session_is_renewed_as_well_although_nobody_has_spoken_in_it(busy: bool) -> None:
    opening, speaking, told = asyncio.Event(), asyncio.Event(), asyncio.Event()

    async def first(line: Line) -> None:
        await line.until("session.update")
        await line.send("session.ready", session_id="s_1", timestamp=1000.0, expires_at=1030.5)
        if busy:
            await opening.wait()
            await line.send("reply.started", reply_id="r")
            speaking.set()
            await told.wait()
            await line.until("input.audio", 10)
            await line.send("reply.done", reply_id="r", status="completed")
        await line.stay()

    async def second(line: Line) -> None:
        await line.until("session.update")
        opening.set()
        if busy:
            await speaking.wait()
        await line.send("session.ready", session_id="s_2", timestamp=2000.0, expires_at=2030.5)
        told.set()
        await line.stay()

    async def third(line: Line) -> None:
        await line.until("session.update")
        await line.send("session.ready", session_id="s_3")
        await line.stay()

    async with server(first, second, third) as (url, _), Talk(assemblyai(url)) as talk:
        await talk.until(Notice, 2, topic="renewal")
    await settled()


async def test_a_session_that_does_not_say_when_it_will_end_is_renewed_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(assemblyai_module, "LIFE_S", 1.0)

    async def silent(line: Line) -> None:
        await line.until("session.update")
        await line.send("session.ready", session_id="s")
        await line.stay()

    async with server(silent, silent, silent, silent) as (url, _), Talk(assemblyai(url)) as talk:
        await talk.until(Notice, topic="renewal")
    await settled()


# -- taking a session up again -------------------------------------------------------------------------------------------------


def assemblyai(url: str) -> Provider:
    settings = AssemblyAISettings(url=url, greeting="Hello.")
    return Provider("assemblyai", lambda opening=NEW: WebSocketSession(AssemblyAI(settings, opening), DEADLINES))


async def agent_dropped(line: Line) -> None:
    await line.until("session.update")
    await line.send("session.ready", session_id="s_1")
    await line.until("input.audio")
    await line.send("transcript.user", item_id="u", text="Is it raining?")
    line.connection.transport.abort()


async def test_a_dropped_session_is_taken_up_again_where_the_service_can() -> None:
    async def second(line: Line) -> None:
        resume = await line.until("session.resume")
        assert resume == {"type": "session.resume", "session_id": "s_1"}
        await line.send("session.ready", session_id="s_1")
        await line.until("input.audio")
        await line.stay()

    async with server(agent_dropped, second) as (url, _), Talk(assemblyai(url)) as talk:
        notice = await talk.until(Notice, 2)
        assert notice.text.startswith("the conversation was taken up again at assemblyai after ")
    await settled()


async def test_it_is_taken_up_again_as_long_as_the_service_keeps_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first attempts do not reach the service; then it keeps the session no longer."""
    begun: list[str] = []

    class Away(WebSocketSession):
        """The network is gone."""

        async def events(self) -> AsyncIterator[Event]:
            yield Failed("retryable", "the network is gone")

    async def fresh(line: Line) -> None:
        await line.until("session.update")
        await line.send("session.ready", session_id="s_2")
        await line.stay()

    def opened(opening: Opening = NEW) -> Session:
        begun.append(opening.resume)
        gone = len(begun) > 2 and opening.resume
        settings = AssemblyAISettings(url=url)
        return (Away if gone else WebSocketSession)(AssemblyAI(settings, opening), DEADLINES)

    monkeypatch.setattr(assemblyai_module, "RESUME_S", 0.8)
    async with server(agent_dropped, fresh) as (url, _), Talk(Provider("assemblyai", opened)) as talk:
        notice = await talk.until(Notice, topic="reconnect", warning=False)
        assert notice.text.startswith("the conversation goes on in a new session")
    assert begun[:2] == ["", ""]
    assert begun[2:-1] == ["s_1"] * (len(begun) - 3)
    assert len(begun) >= 5, "more than one attempt within the time"
    assert begun[-1] == ""
    await settled()


async def test_where_that_is_refused_a_new_session_goes_on() -> None:
    async def refused(line: Line) -> None:
        await line.until("session.resume")
        await line.send("session.error", code="session_not_found", message="No such session.")
        await line.connection.close(1008)

    async def third(line: Line) -> None:
        await line.until("session.update")
        await line.send("session.ready", session_id="s_2")
        await line.stay()

    async with server(agent_dropped, refused, third) as (url, lines), Talk(assemblyai(url)) as talk:
        await talk.until(Notice, 3)
        session = lines[2].got[0]["session"]
        assert session["system_prompt"].endswith("User: Is it raining?")
        assert "greeting" not in session
        texts = [notice.text for notice in talk.of(Notice)]
        assert texts[1] == "assemblyai did not take the session up again: AssemblyAI: No such session."
        assert texts[2].startswith("the conversation goes on in a new session at assemblyai after ")
    await settled()


async def test_a_session_that_was_taken_up_again_and_is_dropped_is_taken_up_again() -> None:
    async def again(line: Line) -> None:
        await line.until("session.resume")
        await line.send("session.ready", session_id="s_1")
        await line.until("input.audio", 20)
        line.connection.transport.abort()

    async def third(line: Line) -> None:
        await line.until("session.resume")
        await line.send("session.ready", session_id="s_1")
        await line.stay()

    async with server(agent_dropped, again, third) as (url, _), Talk(assemblyai(url)) as talk:
        await talk.until(Notice, 4)
        texts = [notice.text for notice in talk.of(Notice)]
        assert not [text for text in texts if "did not take" in text]
        assert texts[3].startswith("the conversation was taken up again at assemblyai after ")
    await settled()


async def test_a_session_that_pipit_has_ended_is_not_taken_up_again() -> None:
    async def stalls(line: Line) -> None:
        await line.until("session.update")
        await line.send("session.ready", session_id="s_1")
        await line.send("reply.started", reply_id="r")
        await line.until("session.end")

    async def second(line: Line) -> None:
        await line.until("session.update")
        await line.send("session.ready", session_id="s_2")
        await line.stay()

    impatient = dataclasses.replace(DEADLINES, read_s=0.3)
    settings = AssemblyAISettings(greeting="Hello.")
    async with server(stalls, second) as (url, lines):
        settings = dataclasses.replace(settings, url=url)
        one = Provider("assemblyai", lambda opening=NEW: WebSocketSession(AssemblyAI(settings, opening), impatient))
        async with Talk(one) as talk:
            await talk.until(Notice, 2)
            assert [line.got[0]["type"] for line in lines] == ["session.update", "session.update"]
    await settled()


# -- caps ----------------------------------------------------------------------------------------------------------------------


async def test_used_up_minutes_open_no_session() -> None:
    allowance = Allowance(60, "today", 60)
    talk = Talk(provider("ws://127.0.0.1:9/"), caps=Caps(allowance=allowance, today=lambda: "today"))
    async with talk:
        await talk.until(Failed)
    assert talk.events == [Failed("config", "today's minutes are used up: see conversation.minutes_a_day")]


async def test_minutes_are_counted_and_the_end_of_them_ends_the_conversation() -> None:
    async def good(line: Line) -> None:
        await line.accept()
        await line.stay()

    written: list[float] = []
    allowance = Allowance(0.4)
    async with server(good) as (url, _):
        caps = Caps(allowance=allowance, today=lambda: "today", spent=lambda: written.append(allowance.used_s))
        talk = Talk(provider(url), caps=caps)
        async with talk:
            assert await talk.until(Ended) == Ended("today's minutes are used up (conversation.minutes_a_day)")
    assert written == [pytest.approx(0.4, abs=0.3)]
    assert allowance.left_s("today") == 0
    assert allowance.left_s("tomorrow") == 0.4
    await settled()


async def test_the_end_is_announced_before_it_comes(monkeypatch: pytest.MonkeyPatch) -> None:
    async def good(line: Line) -> None:
        await line.accept()
        asked = await line.until("response.create")
        assert re.search("will end in about .*, because its longest time is almost over", asked["response"]["instructions"])
        await line.reply("r1", "One minute left.")
        await line.stay()

    monkeypatch.setattr(budget, "WARNING_S", 0.3)
    monkeypatch.setattr(budget, "LEAST_S", 0.1)
    async with server(good) as (url, _), Talk(provider(url), caps=Caps(conversation_s=0.8)) as talk:
        await talk.until(ReplyDone)
        assert talk.of(Notice)[0].topic == "budget"
    await settled()


async def test_the_end_of_the_minutes_of_the_day_is_announced_even_when_few_are_left(monkeypatch: pytest.MonkeyPatch) -> None:
    async def good(line: Line) -> None:
        await line.accept()
        asked = await line.until("response.create")
        assert "will end in about 5 seconds, because today's minutes are almost used up" in asked["response"]["instructions"]
        await line.reply("r1", "That was it for today.")
        await line.stay()

    monkeypatch.setattr(budget, "LEAST_S", 0.1)
    async with server(good) as (url, _):
        caps = Caps(900, Allowance(0.8), lambda: "today")
        talk = Talk(provider(url), caps=caps)
        async with talk:
            await talk.until(Ended)
    kinds = [type(event).__name__ for event in talk.events]
    assert kinds.index("Notice") < kinds.index("ReplyStarted") < kinds.index("Ended")
    assert talk.of(Notice)[0].text == "the conversation ends in about 5 seconds: today's minutes are almost used up"
    await settled()


async def test_the_end_is_not_announced_where_that_would_be_taken_for_a_stopped_answer() -> None:
    async def good(line: Line) -> None:
        await line.accept()
        await line.until("input_audio_buffer.append", 20)
        await line.send("input_audio_buffer.speech_started", item_id="u")
        await line.reply("r1")
        await line.until("response.create")
        await line.reply("r2", "One minute left.")
        await line.stay()

    async with server(good) as (url, _), Talk(provider(url), caps=Caps(conversation_s=900)) as talk:
        await talk.until(Ready)
        session: Any = talk.session
        session._budget.warn_at = asyncio.get_running_loop().time()
        await session.interrupt(None, 0, by_service=False)
        await talk.until(ReplyDone, reply="r2")
        kinds = [type(event) for event in talk.events]
        assert kinds.index(ReplyDone) < kinds.index(Notice), "not before the person has spoken, and was answered"
    await settled()


async def test_a_reply_is_not_cut_by_the_end_of_the_minutes() -> None:
    async def good(line: Line) -> None:
        await line.accept()
        await line.reply("r1", done=False)
        await line.until("input_audio_buffer.append", 80)
        await line.send("response.done", response={"id": "r1", "status": "completed"})
        await line.stay()

    async with server(good) as (url, _):
        talk = Talk(provider(url), caps=Caps(allowance=Allowance(0.3), today=lambda: "today"))
        async with talk:
            await talk.until(Ended)
        assert [type(event).__name__ for event in talk.events][-2:] == ["ReplyDone", "Ended"]
    await settled()


# -- interruptions across sessions ---------------------------------------------------------------------------------------------


async def test_an_interruption_reaches_the_session_that_speaks_and_no_other() -> None:
    async def first(line: Line) -> None:
        await line.accept()
        await line.turn(answer="One two three four.")
        await line.until("input_audio_buffer.append")
        line.connection.transport.abort()

    async def second(line: Line) -> None:
        await line.accept()
        await line.reply("r1", done=False)
        await line.until("response.cancel")
        await line.stay()

    async with server(first, second) as (url, lines), Talk(provider(url)) as talk:
        await talk.until(ReplyAudio, 2)
        await talk.session.interrupt("r1", 50, by_service=False)
        await talk.session.interrupt("1:r1", 60, by_service=False)
        await until(lambda: [m for m in lines[1].got if m["type"] == "response.cancel"])
        cancels = [m["response_id"] for m in lines[1].got if m["type"] == "response.cancel"]
        assert cancels == ["r1"]
    await settled()


async def until(condition: Callable[[], Any]) -> None:
    async with asyncio.timeout(GENEROUS_S):
        while not condition():  # noqa: ASYNC110 (the server's side signals nothing)
            await asyncio.sleep(0.01)


async def test_a_turn_that_pipit_ended_is_ended_again_in_the_next_session() -> None:
    async def dropped(line: Line) -> None:
        await line.accept()
        await line.until("input_audio_buffer.commit")
        line.connection.transport.abort()

    async def second(line: Line) -> None:
        await line.accept()
        await line.until("response.create")
        await line.reply("r1")
        await line.stay()

    async with server(dropped, second) as (url, lines), Talk(provider(url, turn_detection={"type": "none"})) as talk:
        await until(lambda: len(lines[0].sound) > 4800 if lines else False)
        talk_pieces = asyncio.create_task(talk.session.end_turn())
        await talk.until(ReplyDone)
        await talk_pieces
        kinds = [m["type"] for m in lines[1].got]
        assert kinds.index("input_audio_buffer.append") < kinds.index("input_audio_buffer.commit") < kinds.index("response.create")
        assert int.from_bytes(lines[1].sound[:2], "little") == 1, "from the beginning"
    await settled()
