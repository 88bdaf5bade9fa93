from __future__ import annotations

import threading

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from pipit.audio.mixer import CEILING_DBFS, CUE_UNDER_SPEECH_DB, DUCK_MS, FADE_MS, UNDUCK_MS, VOLUME_RAMP_MS, Mixer, volume_gain

RATE = 48000
BLOCK = RATE // 50
FADE = FADE_MS * RATE // 1000
SILENCE = np.zeros(BLOCK, np.int16)

TONE_STEP = 20000 * 2 * np.pi * 200 / RATE
"""Largest step from sample to sample of `tone`."""
STEP = TONE_STEP + 32768 / FADE + 2
"""Largest step that a fade of `tone` may add; a click would be a step of up to 20000."""


def tone(count: int, start: int = 0) -> NDArray[np.int16]:
    return np.round(20000 * np.cos(2 * np.pi * 200 * np.arange(start, start + count) / RATE)).astype(np.int16)


def loud(prebuffer_ms: float = 60, capacity_s: float = 4.0) -> Mixer:
    return Mixer(RATE, volume=100, prebuffer_ms=prebuffer_ms, capacity_s=capacity_s)


def pull(mixer: Mixer, blocks: int = 1, frames: int = BLOCK) -> NDArray[np.int16]:
    return np.concatenate([mixer.pull(frames).copy() for _ in range(blocks)])


def steepest(sound: NDArray[np.int16]) -> int:
    return int(np.abs(np.diff(np.concatenate(([0], sound)).astype(int))).max())


def test_silence_without_speech() -> None:
    mixer = loud()
    np.testing.assert_array_equal(pull(mixer, 3), np.zeros(3 * BLOCK))
    assert (mixer.played, mixer.gaps, mixer.level_dbfs) == (0, 0, -120)


def test_speech_comes_out_as_it_went_in() -> None:
    mixer, speech = loud(), tone(10 * BLOCK)
    assert mixer.write(speech) == mixer.written == 10 * BLOCK
    mixer.end()
    out = pull(mixer, 12)
    np.testing.assert_array_equal(out[FADE : 10 * BLOCK], speech[FADE:])
    np.testing.assert_array_equal(out[10 * BLOCK + FADE :], 0)
    assert mixer.played == 10 * BLOCK
    assert mixer.gaps == 0


def test_speech_waits_for_the_prebuffer() -> None:
    mixer = loud(prebuffer_ms=60)
    mixer.write(tone(3 * BLOCK - 1))
    assert not pull(mixer).any()
    assert mixer.played == 0
    mixer.write(tone(1, 3 * BLOCK - 1))
    assert pull(mixer).any()
    assert mixer.played == BLOCK


def test_an_utterance_shorter_than_the_prebuffer_is_played() -> None:
    mixer = loud(prebuffer_ms=60)
    mixer.write(tone(100))
    mixer.end()
    assert pull(mixer).any()
    assert mixer.played == 100
    assert not pull(mixer).any()
    assert mixer.gaps == 0


def test_an_end_that_comes_late_is_no_gap() -> None:
    mixer = loud(prebuffer_ms=20)
    mixer.write(tone(2 * BLOCK))
    pull(mixer, 5)
    mixer.end()
    pull(mixer, 2)
    mixer.write(tone(BLOCK))
    mixer.end()
    assert pull(mixer).any()
    assert mixer.gaps == 0


def test_each_gap_doubles_the_prebuffer_up_to_240_ms_until_the_end() -> None:
    mixer = loud(prebuffer_ms=60)
    needed = []
    for _ in range(4):
        waited = 0
        while not pull(mixer).any():
            mixer.write(tone(BLOCK))
            waited += 1
        needed.append(waited)
        pull(mixer, 20)  # runs dry
    assert needed == [3, 6, 12, 12]
    assert mixer.gaps == 3
    mixer.end()
    mixer.write(tone(3 * BLOCK))
    assert pull(mixer).any()


def test_a_gap_does_not_click() -> None:
    mixer = loud(prebuffer_ms=20)
    mixer.write(tone(1600))
    before = pull(mixer, 3)
    mixer.write(tone(4000, 1600))
    mixer.end()
    out = np.concatenate((before, pull(mixer, 6)))
    assert mixer.gaps == 1
    assert steepest(out) <= STEP


def test_speech_that_stops_on_the_edge_of_a_block_does_not_click() -> None:
    mixer = loud()
    mixer.write(tone(4 * BLOCK))
    mixer.end()
    out = pull(mixer, 6)
    assert abs(int(out[4 * BLOCK - 1])) > 15000
    assert steepest(out) <= STEP


@pytest.mark.parametrize("frames", [BLOCK, 480, 100, 64], ids=lambda frames: f"blocks of {frames}")
@pytest.mark.parametrize("left", [5000, 100, 1], ids=lambda left: f"{left} samples left")
def test_discard_fades_within_5_ms(frames: int, left: int) -> None:
    mixer = loud()
    mixer.write(tone(20 * frames + left))
    mixer.end()
    sounding = pull(mixer, 20, frames)
    mixer.discard()
    faded = pull(mixer, 2 * BLOCK // frames, frames)
    assert steepest(np.concatenate((sounding, faded))) <= STEP
    assert faded.any()
    assert not faded[2 * FADE :].any()
    assert mixer.played == mixer.written == 20 * frames + left


def test_discard_drops_what_waits_and_keeps_what_comes_after() -> None:
    mixer = loud()
    mixer.write(tone(2 * BLOCK))
    mixer.discard()
    mixer.write(tone(5 * BLOCK, 7))
    mixer.end()
    pull(mixer)
    assert mixer.played == 2 * BLOCK
    np.testing.assert_array_equal(pull(mixer, 5)[FADE:], tone(5 * BLOCK, 7)[FADE:])
    assert mixer.played == 7 * BLOCK


def test_discarding_twice_is_discarding_once() -> None:
    mixer = loud()
    mixer.write(tone(6 * BLOCK))
    pull(mixer, 2)
    mixer.discard()
    mixer.discard()
    pull(mixer)
    mixer.discard()
    assert not pull(mixer, 2).any()
    assert mixer.gaps == 0


def test_after_a_discard_the_prebuffer_is_short_again() -> None:
    mixer = loud(prebuffer_ms=60)
    for _ in range(3):
        mixer.write(tone(12 * BLOCK))
        pull(mixer, 20)
    mixer.discard()
    mixer.write(tone(3 * BLOCK))
    assert pull(mixer).any()


def test_two_utterances_in_a_row() -> None:
    mixer = loud(prebuffer_ms=60)
    mixer.write(tone(2 * BLOCK + 10))
    mixer.end()
    mixer.write(tone(BLOCK, 3))
    out = pull(mixer, 6)
    assert mixer.played == 2 * BLOCK + 10, "the second waits for its own prebuffer"
    mixer.end()
    out = np.concatenate((out, pull(mixer, 2)))
    assert mixer.played == mixer.written
    assert mixer.gaps == 0
    assert steepest(out) <= STEP


def test_the_second_utterance_waits_even_where_the_first_ends_with_a_block() -> None:
    mixer = loud(prebuffer_ms=60)
    mixer.write(tone(3 * BLOCK))
    mixer.end()
    mixer.write(tone(100))
    pull(mixer, 5)
    assert mixer.played == 3 * BLOCK


def test_refuses_what_does_not_fit() -> None:
    mixer = loud(capacity_s=0.1)
    assert mixer.free == 4800
    mixer.write(tone(4000))
    with pytest.raises(ValueError, match="801 samples of speech, but only 800 fit"):
        mixer.write(tone(801))
    pull(mixer)
    assert mixer.free == 800 + BLOCK


def test_a_full_mixer_plays_even_if_the_prebuffer_is_longer() -> None:
    mixer = loud(prebuffer_ms=240, capacity_s=0.1)
    mixer.write(tone(mixer.free))
    assert pull(mixer).any()


@given(
    sizes=st.lists(st.integers(1, 3000), min_size=1, max_size=20),
    frames=st.lists(st.integers(1, 2000), min_size=1, max_size=10),
)
def test_no_sample_is_lost_or_doubled_however_it_is_cut(sizes: list[int], frames: list[int]) -> None:
    mixer, speech = loud(prebuffer_ms=0, capacity_s=0.1), tone(sum(sizes))
    out, start, turn = [], 0, 0
    for size in sizes:
        piece = speech[start : start + size]
        start += size
        while len(piece):
            count = min(len(piece), mixer.free)
            mixer.write(piece[:count])
            piece = piece[count:]
            if not mixer.free:
                out.append(mixer.pull(frames[turn % len(frames)]).copy())
                turn += 1
    mixer.end()
    while mixer.played < mixer.written:
        out.append(mixer.pull(frames[turn % len(frames)]).copy())
        turn += 1
    played = np.concatenate(out)[: len(speech)]
    np.testing.assert_array_equal(played[FADE:], speech[FADE:])
    assert mixer.gaps == 0


def test_volume_is_a_cube_and_acts_at_once_in_15_ms() -> None:
    assert [volume_gain(percent) for percent in (-5, 0, 50, 100, 120)] == [0, 0, 0.125, 1, 1]
    mixer = loud()
    mixer.write(np.full(20 * BLOCK, 16000, np.int16))
    pull(mixer, 2)
    mixer.set_volume(50)
    out = pull(mixer, 2)
    ramp = VOLUME_RAMP_MS * RATE // 1000
    assert out[0] < 16000
    assert (np.diff(out.astype(int)) <= 0).all()
    assert np.abs(np.diff(out.astype(int))).max() <= 16000 / ramp + 2
    np.testing.assert_array_equal(out[ramp:], 2000)
    mixer.set_volume(300)
    assert mixer.volume == 100
    assert pull(mixer, 2)[-1] == 16000


def test_volume_set_in_silence_needs_no_ramp() -> None:
    mixer = Mixer(RATE, volume=100, prebuffer_ms=0)
    mixer.set_volume(0)
    pull(mixer)
    mixer.write(tone(BLOCK))
    assert not pull(mixer).any()


def test_short_sounds_overlap_each_other() -> None:
    mixer = loud()
    mixer.cue(np.full(1500, 200, np.int16))
    first = pull(mixer)
    mixer.cue(np.full(BLOCK, 30, np.int16))
    rest = pull(mixer, 2)
    assert [first[-1], rest[0], rest[1500 - BLOCK], rest[-1]] == [200, 230, 30, 0]


def test_short_sounds_are_quieter_under_speech() -> None:
    mixer = loud(prebuffer_ms=0)
    mixer.write(np.full(4 * BLOCK, 1000, np.int16))
    mixer.cue(np.full(3 * BLOCK, 200, np.int16))
    sound = pull(mixer, 3)
    assert sound[-1] == 1000 + round(200 * 10 ** (-CUE_UNDER_SPEECH_DB / 20))


def test_discard_leaves_short_sounds_alone() -> None:
    mixer = loud()
    mixer.cue(np.full(3 * BLOCK, 500, np.int16))
    mixer.write(tone(BLOCK))
    mixer.discard()
    np.testing.assert_array_equal(pull(mixer, 3), 500)


def test_what_is_too_loud_is_turned_down_and_keeps_its_shape() -> None:
    mixer = loud()
    sound = tone(20 * BLOCK).astype(np.float64)
    sound *= 25000 / np.abs(sound).max()
    sound[: 8 * BLOCK] *= 0.5
    for _ in range(2):
        mixer.cue(sound.astype(np.int16))
    pulled = pull(mixer, 20).astype(np.float64)
    ceiling = 32768 * 10 ** (CEILING_DBFS / 20)
    assert np.abs(pulled[8 * BLOCK + RATE // 1000 :]).max() <= ceiling * 1.01
    np.testing.assert_allclose(pulled[: 8 * BLOCK - RATE // 1000], 2 * sound[: 8 * BLOCK - RATE // 1000], atol=2)
    later = slice(10 * BLOCK, 20 * BLOCK)
    likeness = np.corrcoef(pulled[later], sound[later])[0, 1]
    assert likeness > 0.999, "it was clipped"


def test_the_limiter_lets_go_again() -> None:
    mixer = loud()
    mixer.cue(np.full(BLOCK, 30000, np.int16))
    mixer.cue(np.full(BLOCK, 30000, np.int16))
    mixer.cue(np.full(10 * BLOCK, 1000, np.int16))
    assert pull(mixer, 10)[-1] == 1000


def test_speech_is_ducked_at_once_and_comes_back_gently() -> None:
    mixer = loud(prebuffer_ms=0)
    mixer.write(np.full(60 * BLOCK, 10000, np.int16))
    pull(mixer)
    mixer.duck(20)
    down = pull(mixer, 2)
    assert down[round(RATE * DUCK_MS / 1000)] == 1000
    mixer.unduck()
    up = pull(mixer, 20)
    assert up[0] < 1100
    assert 4000 < up[round(RATE * UNDUCK_MS / 2000)] < 7000
    assert up[-1] == 10000
    assert np.abs(np.diff(up.astype(int))).max() < 10, "it would click"


def test_what_begins_while_ducked_begins_ducked_and_short_sounds_do_not_duck() -> None:
    mixer = loud(prebuffer_ms=0)
    mixer.duck(20)
    mixer.cue(np.full(BLOCK, 500, np.int16))
    assert pull(mixer)[-1] == 500
    mixer.write(np.full(2 * BLOCK, 10000, np.int16))
    assert pull(mixer).max() == 1000


def test_the_reference_is_what_was_pulled() -> None:
    mixer = Mixer(RATE, volume=40)
    pulled = [pull(mixer)]
    mixer.write(tone(10 * BLOCK))
    pulled.append(pull(mixer, 4))
    mixer.discard()
    mixer.cue(tone(700))
    pulled.append(pull(mixer, 3, frames=1000))
    everything = np.concatenate(pulled)
    np.testing.assert_array_equal(mixer.reference.read(0, mixer.reference.written), everything)


def test_more_frames_than_ever_before() -> None:
    mixer = loud()
    mixer.write(tone(50000))
    mixer.end()
    np.testing.assert_array_equal(mixer.pull(50000)[FADE:], tone(50000)[FADE:])


def test_written_and_pulled_at_once() -> None:
    """Every sample that a second thread writes comes out, in order, with silence only where it had to be waited for."""
    mixer, speech = loud(prebuffer_ms=20, capacity_s=0.2), np.arange(1, 400_001, dtype=np.int64)
    sound = (speech % 20000 + 1).astype(np.int16)  # never 0

    def write() -> None:
        start = 0
        while start < len(sound):
            count = min(mixer.free, len(sound) - start, 700)
            mixer.write(sound[start : start + count])
            start += count
        mixer.end()

    writer = threading.Thread(target=write)
    writer.start()
    heard = 0
    while heard < len(sound):
        before = mixer.played
        out = mixer.pull(BLOCK)
        count = mixer.played - before
        assert count <= BLOCK
        inner = slice(FADE, max(FADE, count))
        np.testing.assert_array_equal(out[inner], sound[before : before + count][inner])
        heard = mixer.played
    writer.join()
