"""Where turns begin and end, in sound of which that is known."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from pipit.offline.ear import Ear, Started, Stopped, TurnDetection, Utterance
from tests import speech

pytestmark = pytest.mark.skipif(speech.missing_tools() is not None, reason=str(speech.missing_tools()))

RATE_HZ = 24000
QUESTION = speech.say("what time is it", voice="en-gb", rate_hz=RATE_HZ)
QUESTION_MS = len(QUESTION) * 1000 // RATE_HZ
SILENCE = np.zeros(2 * RATE_HZ, np.int16)


def room(seconds: float, *clips: tuple[float, NDArray[np.int16]], dbfs: float = -55.0) -> NDArray[np.int16]:
    return speech.timeline(clips, seconds, RATE_HZ, dbfs)


def listen(samples: NDArray[np.int16], detection: TurnDetection | None = TurnDetection(), block: int = 2400) -> list[object]:  # noqa: B008
    ear = Ear(RATE_HZ, detection)
    return [change for start in range(0, len(samples), block) for change in ear.feed(samples[start : start + block])]


def times(changes: list[object]) -> tuple[int, int]:
    [started, stopped, utterance] = changes
    assert isinstance(started, Started)
    assert isinstance(stopped, Stopped)
    assert isinstance(utterance, Utterance)
    return started.at_ms, stopped.at_ms


@pytest.mark.parametrize("dbfs", [-26.0, -35.0])
@pytest.mark.parametrize("noise_dbfs", [-65.0, -50.0])
def test_one_turn_is_found_where_it_is(dbfs: float, noise_dbfs: float) -> None:
    start_ms, end_ms = times(listen(room(4.0, (1.0, speech.level(QUESTION, dbfs)), dbfs=noise_dbfs)))
    assert start_ms == pytest.approx(1000 - 300, abs=60)
    assert end_ms == pytest.approx(1000 + QUESTION_MS + 500, abs=100)


@pytest.mark.parametrize("padding_ms", [0, 100, 600])
def test_the_padding_before_it_is_as_long_as_asked(padding_ms: int) -> None:
    start_ms, _ = times(listen(room(4.0, (1.0, QUESTION)), TurnDetection(padding_ms=padding_ms)))
    assert start_ms == pytest.approx(1000 - padding_ms, abs=60)


def test_no_padding_is_invented_before_the_sound_began() -> None:
    start_ms, _ = times(listen(room(3.0, (0.1, QUESTION)), TurnDetection(padding_ms=600)))
    assert start_ms == 0


@pytest.mark.parametrize("silence_ms", [200, 500, 1000])
def test_the_pause_that_ends_it_is_as_long_as_asked(silence_ms: int) -> None:
    word = speech.say("stop", voice="en-gb", rate_hz=RATE_HZ)
    _, end_ms = times(listen(room(4.0, (1.0, word)), TurnDetection(silence_ms=silence_ms)))
    assert end_ms == pytest.approx(1000 + len(word) // 24 + silence_ms, abs=120)


@pytest.mark.parametrize("pause_ms", [100, 250, 400])
def test_a_pause_is_told_of_when_it_is_as_long_as_asked_and_so_is_its_end(pause_ms: int) -> None:
    word = speech.say("stop", voice="en-gb", rate_hz=RATE_HZ)
    second_ms = 1000 + len(word) // 24 + 500
    ear, told = Ear(RATE_HZ, TurnDetection(silence_ms=800, pause_ms=pause_ms)), list[tuple[str, int]]()
    sound = room(4.0, (1.0, word), (second_ms / 1000, word))
    for start in range(0, len(sound), 480):
        told += [(type(found).__name__, (start + 480) // 24) for found in ear.feed(sound[start : start + 480])]
    names, ends = zip(*told, strict=True)
    assert names == ("Started", "Paused", "Resumed", "Paused", "Stopped", "Utterance")
    assert ends[1] == pytest.approx(1000 + len(word) // 24 + pause_ms, abs=50)
    assert ends[2] == pytest.approx(second_ms, abs=160)


def test_a_higher_threshold_wants_louder_speech() -> None:
    quiet = room(4.0, (1.0, speech.level(QUESTION, -45.0)), dbfs=-70.0)
    assert listen(quiet, TurnDetection(threshold=0.3)) != []
    assert listen(quiet, TurnDetection(threshold=0.9)) == []


@pytest.mark.parametrize("kind", ["room", "pink", "white"])
@pytest.mark.parametrize("dbfs", [-65.0, -55.0, -45.0])
def test_noise_is_no_turn_not_even_after_digital_silence(kind: str, dbfs: float) -> None:
    noise = speech.noise(4.0, RATE_HZ, dbfs, kind=kind)
    assert listen(np.concatenate((noise, SILENCE, noise))) == []


def test_somebody_who_speaks_right_after_digital_silence_is_heard() -> None:
    start_ms, end_ms = times(listen(np.concatenate((room(1.0), SILENCE, room(2.5, (0.0, QUESTION))))))
    assert 2700 <= start_ms <= 3000
    assert end_ms == pytest.approx(3000 + QUESTION_MS + 500, abs=100)


@pytest.mark.parametrize(("length_s", "blip"), [(0.2, True), (0.25, True), (0.9, False)])
def test_the_end_of_a_wake_word_is_a_blip(length_s: float, blip: bool) -> None:
    end = speech.say("hey jarvis", voice="en-gb", rate_hz=RATE_HZ)[-round(length_s * RATE_HZ) :]
    [utterance] = [change for change in listen(room(2.0, (0.0, end))) if isinstance(change, Utterance)]
    assert utterance.blip is blip


@pytest.mark.parametrize("word", ["stop", "help", "yes"])
def test_a_short_word_is_none(word: str) -> None:
    clip = speech.say(word, voice="en-gb", rate_hz=RATE_HZ)
    [utterance] = [change for change in listen(room(3.0, (1.0, clip))) if isinstance(change, Utterance)]
    assert not utterance.blip


@pytest.mark.parametrize("block", [100, 480, 2400, 24000 * 8])
def test_it_does_not_matter_how_the_sound_is_cut(block: int) -> None:
    sound = room(2.5, (0.5, QUESTION))
    assert times(listen(sound, block=block)) == times(listen(sound))


def test_two_turns_are_two() -> None:
    found = listen(room(6.0, (1.0, QUESTION), (3.5, QUESTION)))
    assert [type(change) for change in found] == [Started, Stopped, Utterance] * 2


def test_the_utterance_is_the_sound_from_start_to_end() -> None:
    sound = room(4.0, (1.0, QUESTION))
    found = listen(sound)
    start_ms, end_ms = times(found)
    [utterance] = [change for change in found if isinstance(change, Utterance)]
    assert len(utterance.samples) == 16 * (end_ms - start_ms)
    expected = speech.resample(sound[start_ms * 24 : end_ms * 24], RATE_HZ, 16000)
    together = np.correlate(utterance.samples.astype(float), expected[20:-20], "valid").max()
    assert together / np.linalg.norm(expected) / np.linalg.norm(utterance.samples) > 0.98


def test_without_detection_everything_is_kept_until_it_is_taken() -> None:
    ear = Ear(RATE_HZ, None)
    assert ear.feed(room(2.5, (0.5, QUESTION))) == []
    assert ear.uncommitted_ms == pytest.approx(2500, abs=20)
    utterance = ear.take()
    assert len(utterance.samples) == pytest.approx(2.5 * 16000, abs=400)
    assert utterance.voiced_ms > 500
    assert (ear.uncommitted_ms, len(ear.take().samples)) == (0, 0)


def test_after_clearing_the_turn_is_forgotten_and_the_clock_goes_on() -> None:
    ear = Ear(RATE_HZ, TurnDetection())
    ear.feed(room(1.5, (0.5, QUESTION)))
    assert ear.talking
    ear.clear()
    assert not ear.talking
    assert ear.uncommitted_ms == 0
    [started] = [change for change in ear.feed(room(3.0, (1.0, QUESTION))) if isinstance(change, Started)]
    assert started.at_ms == pytest.approx(1500 + 1000 - 300, abs=60)


def test_hours_of_silence_take_no_memory() -> None:
    ear = Ear(RATE_HZ, TurnDetection())
    for _ in range(30):
        ear.feed(SILENCE)
    assert len(ear.take().samples) < 16000
