from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipit.wake import Wake
from pipit.wake.framewise import FRAME, Frames, Settings, Trigger, Word
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
    assert heard(Trigger({"a": 0.5}, patience, 1.6), scores) == expected


def test_without_refractory_time_every_crossing_counts() -> None:
    assert heard(Trigger({"a": 0.5}, 1, 0.0), [0.9, 0.1, 0.9, 0.9]) == [0, 2]


def test_the_strongest_of_several_words_is_reported() -> None:
    trigger = Trigger({"a": 0.5, "b": 0.5, "c": 0.95}, 1, 1.6)
    assert trigger.feed({"a": 0.6, "b": 0.8, "c": 0.9}) == Wake("b", 0.8)


def test_each_word_has_its_threshold() -> None:
    trigger = Trigger({"a": 0.9, "b": 0.2}, 1, 1.6)
    assert trigger.feed({"a": 0.8, "b": 0.1}) is None
    assert trigger.feed({"a": 0.8, "b": 0.3}) == Wake("b", 0.3)


def test_one_utterance_is_reported_once_even_if_it_sounds_like_two_words() -> None:
    trigger = Trigger({"a": 0.5, "b": 0.5}, 1, 1.6)
    assert trigger.feed({"a": 0.9, "b": 0.1}) == Wake("a", 0.9)
    assert trigger.feed({"a": 0.9, "b": 0.99}) is None


def test_reset_forgets_patience_and_refractory_time() -> None:
    trigger = Trigger({"a": 0.5}, 2, 1.6)
    assert heard(trigger, [0.9, 0.9]) == [1]
    trigger.reset()
    assert heard(trigger, [0.9]) == []
    trigger.reset()
    assert heard(trigger, [0.9, 0.9]) == [1]


def test_settings_pair_thresholds_with_names() -> None:
    trigger = Settings(words=(Word("x", 0.9), Word("/some/y.tflite", 0.3))).trigger(["x", "y"])
    assert trigger.feed({"x": 0.8, "y": 0.2}) is None
    assert trigger.feed({"x": 0.8, "y": 0.3}) == Wake("y", 0.3)
