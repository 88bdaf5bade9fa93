from __future__ import annotations

import asyncio
import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from pipit.audio.wav import write_wav
from pipit.gate import CHECK_EVERY_S, Doubt, Gated
from pipit.vad import FRAME, Vad
from pipit.wake import Engine, Wake, openwakeword
from pipit.wake.framewise import FRAME as ENGINE_FRAME
from pipit.wake.openwakeword import Settings, Word
from tests.daemon import Daemon, configuration
from tests.speech import Samples, blocks, missing_tools, noise, say, timeline

pytestmark = pytest.mark.skipif(missing_tools() is not None, reason=str(missing_tools()))

WORDS = Settings(words=(Word("hey_jarvis"), Word("alexa")))


class Noted:
    """An engine that notes which of its frames it scored, how, and how many frames there were by then."""

    def __init__(self, engine: Engine) -> None:
        self.words, self.frame, self.look_back = engine.words, engine.frame, engine.look_back
        self.noted: dict[int, dict[str, float]] = {}
        self.fed_frames = 0.0
        """Set by the test."""
        self.late_frames = 0.0
        self.followed = 0
        self._engine = engine
        self._index = 0
        self.reset, self.close, self.scores, self.near_miss = engine.reset, engine.close, engine.scores, engine.near_miss

    def detect(self, block: bytes, *, interrupting: bool = False) -> Wake | None:
        assert memoryview(block).nbytes == 2 * self.frame
        wake = self._engine.detect(block, interrupting=interrupting)
        self.noted[self._index] = self._engine.scores()
        self._index += 1
        self.late_frames = max(self.late_frames, self.fed_frames - self._index)
        return wake

    def follow(self, block: bytes) -> None:
        self._engine.follow(block)
        self.followed += 1
        self._index += 1

    def skip(self, samples: int) -> None:
        self._engine.skip(samples)
        self._index += samples // self.frame


def never(wake: Wake) -> None:
    pytest.fail(f"the gate was held to be wrong: {wake}")


def hear(
    ears: Gated | Engine, sound: Samples, noted: Noted | None = None, size: int = FRAME, then: tuple[int, ...] = ()
) -> list[tuple[float, Wake]]:
    """Feed blocks; list each wake word with the time at which it was recognised, in seconds."""
    found, fed = [], 0
    for block in blocks(sound, [size, *then]):
        fed += len(block)
        if noted is not None:
            noted.fed_frames = fed // ENGINE_FRAME
        wake = ears.detect(block)
        if wake is not None:
            found.append((fed / 16000, wake))
    return found


def everything(sound: Samples) -> tuple[list[dict[str, float]], list[tuple[float, Wake]]]:
    """Return every frame's scores without a gate, and the wake words."""
    noted = Noted(openwakeword.build(WORDS))
    found = hear(noted, sound, size=ENGINE_FRAME)
    return [noted.noted[index] for index in sorted(noted.noted)], found


@pytest.fixture(scope="module")
def evening() -> Samples:
    """Four minutes of a living room: long silences, wake words, other speech, music, noise that begins and ends, drop-outs."""
    clips = []
    at = 6.0
    texts = (
        "hey jarvis",
        "what is the weather like tomorrow",
        "alexa",
        "hey there",
        "hey jarvis, turn on the light",
        "no",
        "alexa",
    )
    voices = ("en-gb", "flite:slt", "en-us-nyc", "flite:rms", "en-gb-x-rp", "en-us+f3", "flite:kal16")
    for index in range(28):
        clip = say(texts[index % 7], voices[(index // 2) % 7], dbfs=-26 - 6 * (index % 5))
        clips.append((at, clip))
        at += len(clip) / 16000 + (0.2, 1.1, 3.0, 5.3, 9.7, 15.1)[index % 6]
    room = timeline(clips, at + 3, noise_dbfs=-62)
    fan, chord = (
        noise(8, dbfs=-40, kind="pink", seed=5),
        np.sin(np.outer((220.0, 277.2, 329.6), np.arange(80000)) * 2 * np.pi / 16000),
    )
    room[40 * 16000 :][: len(fan)] += fan
    room[90 * 16000 :][:80000] += (1500 * chord.sum(axis=0)).astype(np.int16)
    room[120 * 16000 :][:9000] = 0
    return room[: len(room) // ENGINE_FRAME * ENGINE_FRAME]


@pytest.mark.parametrize("size", [FRAME, 1, 777, 4096], ids="blocks of {}".format)
def test_no_score_differs_from_the_one_without_a_gate(evening: Samples, size: int) -> None:
    sound = evening if size == FRAME else evening[: 20 * 16000]
    scores, found = everything(sound)
    noted = Noted(openwakeword.build(WORDS))
    gated = Gated(noted, 1, never)
    heard = hear(gated, sound, noted, size)
    assert {index: scores[index] for index in noted.noted} == noted.noted
    assert [wake for _, wake in heard] == [wake for _, wake in found]
    assert len(found) >= (8 if size == FRAME else 1), "there must be something to hear"
    assert [at for at, _ in heard] == pytest.approx([at for at, _ in found], abs=max(size, 1) / 16000)
    assert not gated.broken


def test_a_frame_that_begins_in_the_middle_of_a_block_is_no_other() -> None:
    sound = timeline([(2.0, say("hey jarvis", "flite:slt"))], 5)
    usual = hear(Gated(openwakeword.build(WORDS), 1, never), sound)
    shifted = hear(Gated(openwakeword.build(WORDS), 1, never), sound, None, 100, (FRAME, FRAME, 220))
    assert [wake for _, wake in shifted] == [wake for _, wake in usual] != []


def test_it_is_closed_in_a_quiet_room_and_open_where_there_is_voice(evening: Samples) -> None:
    noted = Noted(openwakeword.build(WORDS))
    gated = Gated(noted, 1, never)
    hear(gated, evening, noted)
    vad = Vad(1)
    voiced = [vad.is_speech(evening[start : start + FRAME]) for start in range(0, len(evening) - FRAME + 1, FRAME)]
    for frame in range(len(evening) // ENGINE_FRAME):
        if any(voiced[4 * frame : 4 * frame + 4]):
            assert frame in noted.noted
    assert len(noted.noted) + noted.followed < 0.8 * len(evening) / ENGINE_FRAME

    quiet = Noted(openwakeword.build(WORDS))
    hear(Gated(quiet, 1, never), noise(60, dbfs=-62), quiet)
    assert len(quiet.noted) + quiet.followed < 20, "the detector takes the first 0.1 s of any sound for voice"


def test_it_catches_up_in_small_steps_and_soon(evening: Samples) -> None:
    """Not 25 frames at once, which on a small machine would hold everything else up; and done before a word can be over."""
    noted = Noted(openwakeword.build(WORDS))
    gated = Gated(noted, 1, never)
    most = 0
    for fed, block in enumerate(blocks(evening, [FRAME]), 1):
        noted.fed_frames = fed * FRAME // ENGINE_FRAME
        before = noted.followed + len(noted.noted)
        gated.detect(block)
        most = max(most, noted.followed + len(noted.noted) - before)
    assert most == 2
    assert 0 < noted.late_frames <= 4


def test_scores_are_those_of_the_engine_and_none_while_it_is_closed() -> None:
    gated = Gated(openwakeword.build(WORDS), 1, never)
    clip = say("hey jarvis", "flite:slt")
    sound = timeline([(3.0, clip)], 6.5)
    seen = []
    for block in blocks(sound, [FRAME]):
        gated.detect(block)
        seen.append((gated.open, gated.scores()["hey_jarvis"]))
    assert max(score for _, score in seen) > 0.9
    assert all(score == 0 for is_open, score in seen if not is_open)
    assert not seen[-1][0]


def test_the_refractory_time_passes_while_it_is_closed() -> None:
    clip = say("hey jarvis", "flite:slt")
    sound = timeline([(2.0, clip), (9.0, clip), (12.0, clip)], 15)
    engine = openwakeword.build(Settings(refractory_s=6.0))
    assert len(hear(Gated(engine, 1, never), sound)) == len(hear(openwakeword.build(Settings(refractory_s=6.0)), sound)) == 2


def test_a_gate_that_would_make_it_deaf_is_found_out_and_opened() -> None:
    """Mode 3 takes a faint person for no voice. The check does not, and from then on nothing is missed."""
    clip = say("hey jarvis", "flite:slt", dbfs=-58)
    sound = timeline([(at, clip) for at in (5.0, 11.0, 17.0)], 21, noise_dbfs=-75)
    assert len(hear(openwakeword.build(Settings()), sound)) == 3
    assert not any(Vad(3).is_speech(block) for block in blocks(sound[: len(sound) // FRAME * FRAME], [FRAME]))
    reported: list[Wake] = []
    gated = Gated(openwakeword.build(Settings()), 3, reported.append)
    heard = hear(gated, sound)
    assert len(heard) == 3
    assert reported == [heard[0][1]]
    assert gated.broken
    assert gated.open
    assert gated.checks == 1
    gated.reset()
    assert len(hear(gated, sound)) == 3, "once wrong, it stays open"


async def test_the_owner_is_told_that_the_gate_was_wrong(tmp_path: Path) -> None:
    clip = say("hey jarvis", "flite:slt", dbfs=-58)
    write_wav(tmp_path / "heard.wav", timeline([(at, clip) for at in (5.0, 11.0)], 15, noise_dbfs=-75), 16000)
    settings = configuration(tmp_path, audio={"pace": "fast"}, gate={"mode": 3})
    async with asyncio.timeout(60), Daemon(settings, tmp_path) as daemon:
        told = await daemon.until("gate")
    assert told["level"] == "warning"
    assert re.match(
        r"the speech gate heard no voice where 'hey_jarvis' was said \(score 0\.\d+\), .* set gate\.mode", told["message"]
    )


def test_near_misses_and_the_lower_bar_go_through() -> None:
    clip = say("hey jarvis", "flite:slt")
    sound = timeline([(2.0, clip)], 5)
    gated = Gated(openwakeword.build(Settings(words=(Word(threshold=1.0, interrupting=0.5),))), 1, never)
    assert hear(gated, sound) == []
    near = gated.near_miss()
    assert near is not None
    assert near.score > 0.9
    gated.reset()
    assert any(gated.detect(block, interrupting=True) for block in blocks(sound, [FRAME]))
    gated.close()


def test_other_frames_are_refused() -> None:
    noted = Noted(openwakeword.build(Settings()))
    noted.frame = 1000
    with pytest.raises(ValueError, match=r"frames of 1000 samples cannot be gated: must be whole frames of 320"):
        Gated(noted, 1, never)


# -- when to check -----------------------------------------------------------------------------------------------------------------

EVERY = round(CHECK_EVERY_S * 16000 / ENGINE_FRAME)


def checks(frames: Sequence[bytes]) -> list[int]:
    doubt = Doubt(EVERY)
    return [index for index, frame in enumerate(frames) if doubt.feed(frame)]


def steady(count: int, dbfs: float = -60.0) -> list[bytes]:
    """Frames of noise; ten different ones are enough."""
    different = [block.tobytes() for block in blocks(noise(0.8, dbfs=dbfs), [ENGINE_FRAME])]
    return [different[index % 10] for index in range(count)]


def test_steady_noise_is_checked_every_ten_minutes_once_enough_was_saved_up() -> None:
    assert EVERY % 4 == 0, "it looks at every fourth frame"
    assert checks(steady(6 * EVERY)) == [3 * EVERY - 1, 4 * EVERY - 1, 5 * EVERY - 1, 6 * EVERY - 1]


def test_what_is_louder_is_checked_at_once_but_no_oftener_on_the_whole() -> None:
    door = steady(4, -40)
    frames = steady(100) + 30 * (door + steady(300))
    assert checks(frames) == [103, 407, 711, 7703]


def test_digital_silence_is_nothing_to_check() -> None:
    assert checks([bytes(2 * ENGINE_FRAME)] * 1000) == []
