from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from pipit.core.pcm import SILENCE_DBFS, Joiner, Resampler, dbfs

RATES = (48000, 44100, 24000, 22050, 16000)
PAIRS = [(rate_in, rate_out) for rate_in in RATES for rate_out in RATES if rate_in != rate_out]
AMPLITUDE = 20000


def tone(hz: float, rate_hz: int, seconds: float = 0.5) -> NDArray[np.int16]:
    return np.round(AMPLITUDE * np.sin(2 * np.pi * hz * np.arange(round(seconds * rate_hz)) / rate_hz)).astype(np.int16)


def spectrum_db(samples: NDArray[np.int16], rate_hz: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return frequencies and levels relative to a tone of AMPLITUDE; a window whose own side lobes are below -110 dB."""
    settled = samples[len(samples) // 4 :].astype(np.float64)
    window = np.kaiser(len(settled), 16)
    levels = 2 * np.abs(np.fft.rfft(settled * window)) / window.sum() / AMPLITUDE
    return np.fft.rfftfreq(len(settled), 1 / rate_hz), 20 * np.log10(np.maximum(levels, 1e-9))


def level_at(hz: float, samples: NDArray[np.int16], rate_hz: int) -> float:
    settled = samples[len(samples) // 4 :].astype(np.float64)
    window = np.kaiser(len(settled), 16)
    turn = np.exp(-2j * np.pi * hz * np.arange(len(settled)) / rate_hz)
    return 20 * math.log10(2 * abs((settled * window * turn).sum()) / window.sum() / AMPLITUDE)


@pytest.mark.parametrize(("rate_in", "rate_out"), PAIRS)
def test_delay_is_under_2_ms_and_as_stated(rate_in: int, rate_out: int) -> None:
    resampler, hz = Resampler(rate_in, rate_out), 500.0
    out = resampler.process(tone(hz, rate_in)).astype(np.float64)
    t = np.arange(len(out)) / rate_out
    settled = t > 0.1
    turn = np.exp(-2j * np.pi * hz * t[settled])
    late_s = -(np.angle((out[settled] * turn).sum()) + math.pi / 2) / (2 * math.pi * hz)  # 500 Hz: unambiguous below 2 ms
    assert late_s % (1 / hz) == pytest.approx(resampler.delay_s, abs=2e-6)
    assert resampler.delay_s < 0.002


@pytest.mark.parametrize("lobes", [16, 32])
@pytest.mark.parametrize("above", [1.0, 1.05, 1.3, 1.7])
@pytest.mark.parametrize(("rate_in", "rate_out"), [pair for pair in PAIRS if pair[0] > pair[1]])
def test_what_would_alias_is_80_db_down(rate_in: int, rate_out: int, above: float, lobes: int) -> None:
    hz = above * rate_out / 2
    if hz > 0.98 * rate_in / 2:
        hz = (rate_out + rate_in) / 4
    out = Resampler(rate_in, rate_out, lobes).process(tone(hz, rate_in))
    _, levels = spectrum_db(out, rate_out)
    assert levels.max() < -80


@pytest.mark.parametrize("lobes", [16, 32])
@pytest.mark.parametrize(("rate_in", "rate_out"), [pair for pair in PAIRS if pair[0] < pair[1]])
def test_images_are_80_db_down(rate_in: int, rate_out: int, lobes: int) -> None:
    for hz in (1000.0, 0.4 * rate_in, 0.48 * rate_in):
        frequencies, levels = spectrum_db(Resampler(rate_in, rate_out, lobes).process(tone(hz, rate_in)), rate_out)
        assert levels[np.abs(frequencies - hz) > 60].max() < -80


@pytest.mark.parametrize(("lobes", "flat_to"), [(16, 0.70), (32, 0.85)])
@pytest.mark.parametrize(("rate_in", "rate_out"), PAIRS)
def test_passes_what_both_rates_can_hold(rate_in: int, rate_out: int, lobes: int, flat_to: float) -> None:
    nyquist = min(rate_in, rate_out) / 2
    for share in (0.1, 0.5, flat_to):
        hz = round(share * nyquist)
        out = Resampler(rate_in, rate_out, lobes).process(tone(hz, rate_in))
        assert level_at(hz, out, rate_out) == pytest.approx(0, abs=0.1)


@pytest.mark.parametrize(("rate_in", "rate_out"), [*PAIRS, (8000, 96000), (11025, 16000), (48000, 47999)])
@settings(max_examples=20)
@given(counts=st.lists(st.integers(0, 1200), max_size=8))
def test_blocks_of_any_size_give_the_same_samples(rate_in: int, rate_out: int, counts: list[int]) -> None:
    sound = np.random.default_rng(1).integers(-20000, 20000, 3000).astype(np.int16)
    whole = Resampler(rate_in, rate_out).process(sound)
    resampler, edges = Resampler(rate_in, rate_out), [0, *np.cumsum(counts), len(sound)]
    pieces = [resampler.process(sound[start:stop]) for start, stop in pairwise(edges)]
    np.testing.assert_array_equal(np.concatenate(pieces)[: len(whole)], whole)


@pytest.mark.parametrize(("rate_in", "rate_out"), [*PAIRS, (8000, 96000), (96000, 8000), (11025, 48000)])
def test_gives_as_many_samples_as_the_rates_say(rate_in: int, rate_out: int) -> None:
    assert len(Resampler(rate_in, rate_out).process(np.zeros(rate_in, np.int16))) == rate_out


def test_a_20_ms_block_gives_a_20_ms_block() -> None:
    for rate_in, rate_out in PAIRS:
        resampler = Resampler(rate_in, rate_out, lobes=32)
        for _ in range(3):
            assert len(resampler.process(np.zeros(rate_in // 50, np.int16))) == rate_out // 50


def test_equal_rates_change_nothing() -> None:
    sound = tone(440, 48000)
    resampler = Resampler(48000, 48000)
    assert resampler.process(sound) is sound
    assert resampler.delay_s == 0


def test_reset_forgets_the_sound_before() -> None:
    resampler = Resampler(44100, 16000)
    first = resampler.process(tone(440, 44100)[:1000])
    resampler.process(tone(3000, 44100)[:777])
    resampler.reset()
    np.testing.assert_array_equal(resampler.process(tone(440, 44100)[:1000]), first)


def test_full_scale_is_clipped_not_wrapped() -> None:
    square = np.where(np.arange(4000) // 50 % 2, 32767, -32768).astype(np.int16)  # overshoots by 9 % at each edge (Gibbs)
    out = Resampler(16000, 48000).process(square).astype(int)
    assert out.max() == 32767
    assert out.min() == -32768
    assert np.abs(np.diff(out)).max() < 60000


def test_does_not_keep_a_plan_for_every_block_size_there_ever_was() -> None:
    resampler = Resampler(22050, 48000)
    for count in range(1, 400):
        resampler.process(np.zeros(count, np.int16))
    assert len(resampler._plans) <= 8


@pytest.mark.parametrize("rates", [(7999, 16000), (16000, 96001), (0, 16000)])
def test_refuses_rates_that_no_sound_card_has(rates: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match="Hz: must be 8000 to 96000"):
        Resampler(*rates)


def test_refuses_a_filter_that_filters_nothing() -> None:
    with pytest.raises(ValueError, match="3 lobes: must be at least 4"):
        Resampler(48000, 16000, lobes=3)


@given(sound=st.lists(st.integers(-32768, 32767), max_size=50), cuts=st.lists(st.integers(0, 100), max_size=8))
def test_joins_bytes_cut_anywhere(sound: list[int], cuts: list[int]) -> None:
    pcm = np.array(sound, "<i2").tobytes()
    joiner, edges = Joiner(), [0, *sorted(cuts), len(pcm)]
    pieces = [joiner.feed(pcm[start:stop]) for start, stop in pairwise(edges)]
    assert np.concatenate(pieces).tolist() == sound


def test_half_a_sample_is_forgotten_on_reset() -> None:
    joiner = Joiner()
    assert len(joiner.feed(b"\x01")) == 0
    joiner.reset()
    assert joiner.feed(b"\x02\x03").tolist() == [0x0302]


@pytest.mark.parametrize(
    ("samples", "level"),
    [
        (np.empty(0, np.int16), SILENCE_DBFS),
        (np.zeros(100, np.int16), SILENCE_DBFS),
        (np.full(100, -32768, np.int16), 0.0),
        (np.full(100, 328, np.int16), -40.0),
        (tone(1000, 48000), 20 * math.log10(AMPLITUDE / 32768 / math.sqrt(2))),
    ],
    ids=["nothing", "silence", "full scale", "quiet", "tone"],
)
def test_dbfs(samples: NDArray[np.int16], level: float) -> None:
    assert dbfs(samples) == pytest.approx(level, abs=0.02)
