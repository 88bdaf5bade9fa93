from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipit.wake import Wake
from pipit.wake.framewise import FRAME, Bars, Frames, Settings, Trigger, Word
from tests.speech import blocks

RAMP = np.arange(3 * FRAME + 500, dtype=np.int16)


def collect(frames: Frames, pieces: Sequence[object]) -> list[bytes]:
    return [bytes(frame) for piece in pieces for frame in frames.feed(piece)]  # type: ignore[arg-type]


@given(st.lists(st.integers(0, 3000), min_size=1, max_size=6).filter(any))
def test_frames_do_not_depend_on_the_blocks(sizes: list[int]) -> None:
    pieces = [piece for piece in blocks(RAMP, [max(1, size) for size in sizes])]
    assert collect(Frames(), pieces) == [RAMP[start : start + FRAME].tobytes() for start in range(0, 3 * FRAME, FRAME)]


@pytest.mark.parametrize(
    "block",
    [
        pytest.param(RAMP[:FRAME].tobytes(), id="bytes"),
        pytest.param(bytearray(RAMP[:FRAME].tobytes()), id="bytearray"),
        pytest.param(memoryview(RAMP[:FRAME].tobytes()), id="memoryview"),
        pytest.param(RAMP[:FRAME], id="array"),
        pytest.param(np.repeat(RAMP[:FRAME], 2)[::2], id="every second element of an array"),
        pytest.param(np.stack([RAMP[:FRAME], -RAMP[:FRAME]], axis=1)[:, 0], id="one channel of two"),
        pytest.param(RAMP[None, :FRAME], id="one row"),
    ],
)
def test_frames_take_any_buffer_of_samples(block: object) -> None:
    assert collect(Frames(), [block]) == [RAMP[:FRAME].tobytes()]


@pytest.mark.parametrize(
    ("block", "message"),
    [
        pytest.param(np.zeros(FRAME, np.float32), r"5120 bytes in format 'f'", id="floats"),
        pytest.param(np.zeros(FRAME, ">i2"), r"format '>h'", id="the other byte order"),
        pytest.param(np.zeros(FRAME, np.int32), r"format 'i'", id="32 bits"),
        pytest.param(b"\0" * 5, r"a block of 5 bytes", id="half a sample"),
    ],
)
def test_frames_refuse_other_buffers(block: object, message: str) -> None:
    with pytest.raises(ValueError, match=rf"{message}.*the wake word takes int16 samples"):
        collect(Frames(), [block])


def test_reset_forgets_the_unfinished_frame() -> None:
    frames = Frames()
    collect(frames, [RAMP[:1000]])
    frames.reset()
    assert collect(frames, [RAMP[:FRAME]]) == [RAMP[:FRAME].tobytes()]


def make(thresholds: Mapping[str, float], patience: int = 1, refractory_s: float = 1.6) -> Trigger:
    return Trigger({word: Bars(threshold, 0.6 * threshold) for word, threshold in thresholds.items()}, patience, refractory_s)


def heard(trigger: Trigger, scores: Sequence[float]) -> list[int]:
    """Feed the scores of one word; list the frames at which it is recognised."""
    return [frame for frame, score in enumerate(scores) if trigger.feed({"a": score})]


@pytest.mark.parametrize(
    ("patience", "scores", "expected"),
    [
        pytest.param(1, [0.1, 0.49, 0.2], [], id="below"),
        pytest.param(1, [0.1, 0.5, 0.9, 0.9], [1], id="once, at the crossing"),
        pytest.param(2, [0.9, 0.1, 0.9, 0.1], [], id="patience: never two in a row"),
        pytest.param(2, [0.9, 0.1, 0.9, 0.9], [3], id="patience: two in a row"),
        pytest.param(3, [0.9] * 9, [2], id="patience 3"),
        pytest.param(1, [0.9, *[0.1] * 18, 0.9, 0.1], [0], id="again within 1.6 s: the same utterance"),
        pytest.param(1, [0.9, *[0.1] * 19, 0.9, 0.1], [0, 20], id="again after 1.6 s: another one"),
        pytest.param(1, [0.9] * 100, [0], id="high all the time: one utterance"),
        pytest.param(1, [0.9, *[0.1] * 18, *[0.9] * 50], [0], id="what began within 1.6 s stays the same utterance"),
        pytest.param(2, [0.9, 0.9, *[0.1] * 18, 0.9, 0.9], [1, 21], id="patience runs while nothing counts"),
    ],
)
def test_trigger(patience: int, scores: list[float], expected: list[int]) -> None:
    assert heard(make({"a": 0.5}, patience, 1.6), scores) == expected


def test_without_refractory_time_every_crossing_counts() -> None:
    assert heard(make({"a": 0.5}, 1, 0.0), [0.9, 0.1, 0.9, 0.9]) == [0, 2]


def test_the_strongest_of_several_words_is_reported() -> None:
    trigger = make({"a": 0.5, "b": 0.5, "c": 0.95}, 1, 1.6)
    assert trigger.feed({"a": 0.6, "b": 0.8, "c": 0.9}) == Wake("b", 0.8)


def test_each_word_has_its_threshold() -> None:
    trigger = make({"a": 0.9, "b": 0.2}, 1, 1.6)
    assert trigger.feed({"a": 0.8, "b": 0.1}) is None
    assert trigger.feed({"a": 0.8, "b": 0.3}) == Wake("b", 0.3)


def test_one_utterance_is_reported_once_even_if_it_sounds_like_two_words() -> None:
    trigger = make({"a": 0.5, "b": 0.5}, 1, 1.6)
    assert trigger.feed({"a": 0.9, "b": 0.1}) == Wake("a", 0.9)
    assert trigger.feed({"a": 0.9, "b": 0.99}) is None


def test_reset_forgets_patience_and_refractory_time() -> None:
    trigger = make({"a": 0.5}, 2, 1.6)
    assert heard(trigger, [0.9, 0.9]) == [1]
    trigger.reset()
    assert heard(trigger, [0.9]) == []
    trigger.reset()
    assert heard(trigger, [0.9, 0.9]) == [1]


@pytest.mark.parametrize(
    ("scores", "expected"),
    [
        pytest.param([0.24] * 3 + [0.0] * 9, [], id="far"),
        pytest.param([0.3, 0.4, 0.3, 0, 0, 0, 0, 0, 0], [(7, 0.4)], id="near, and over after 0.4 s"),
        pytest.param([0.3, 0, 0.4, 0.3, 0.6, *[0] * 30], [], id="the wake came after all"),
        pytest.param([0.9, 0.4, 0.3, *[0] * 30], [], id="after the wake it is the same utterance"),
        pytest.param([0.3, *[0] * 6, 0.45, *[0] * 6], [(5, 0.3), (12, 0.45)], id="two"),
    ],
)
def test_near_misses(scores: list[float], expected: list[tuple[int, float]]) -> None:
    trigger, found = make({"a": 0.5}), []
    for frame, score in enumerate(scores):
        trigger.feed({"a": score})
        missed = trigger.near_miss()
        if missed:
            found.append((frame, missed.score))
    assert found == expected


def test_what_lasted_too_short_is_a_near_miss_too() -> None:
    trigger = make({"a": 0.5}, patience=3)
    assert heard(trigger, [0.8, 0.9, 0.1, 0.1, 0.1, 0.1, 0.1]) == []
    assert trigger.near_miss() == Wake("a", 0.9)
    assert trigger.near_miss() is None


def test_of_several_words_the_nearest_is_missed() -> None:
    trigger = make({"a": 0.5, "b": 0.9})
    for scores in ({"a": 0.3, "b": 0.4}, {"a": 0.0, "b": 0.6}):
        trigger.feed(scores)
    trigger.skip(5)
    assert trigger.near_miss() == Wake("b", 0.6)


def test_while_pipit_speaks_the_lower_bar_counts() -> None:
    trigger = make({"a": 0.5})
    assert trigger.feed({"a": 0.31}) is None
    assert trigger.feed({"a": 0.29}, interrupting=True) is None
    assert trigger.feed({"a": 0.31}, interrupting=True) == Wake("a", 0.31)


def test_time_that_passes_unheard_ends_patience_and_counts_for_the_refractory_time() -> None:
    trigger = make({"a": 0.5}, patience=2)
    trigger.feed({"a": 0.9})
    trigger.skip(1)
    assert heard(trigger, [0.9, 0.9]) == [1]
    trigger.skip(18)
    assert heard(trigger, [0.9, 0.9]) == [1], "1.6 s after the first"


@pytest.mark.parametrize(("word", "bar"), [(Word(threshold=0.5), 0.35), (Word(threshold=0.5, interrupting=0.45), 0.45)])
def test_the_lower_bar(word: Word, bar: float) -> None:
    assert word.bars() == Bars(0.5, pytest.approx(bar))


def test_settings_pair_thresholds_with_names() -> None:
    trigger = Settings(words=(Word("x", 0.9), Word("/some/y.tflite", 0.3))).trigger(["x", "y"])
    assert trigger.feed({"x": 0.8, "y": 0.2}) is None
    assert trigger.feed({"x": 0.8, "y": 0.3}) == Wake("y", 0.3)
