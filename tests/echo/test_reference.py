from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from pipit.core.ring import Ring
from pipit.echo.reference import LEAD_S, Reference

FRAME = 320


def wave(rate_hz: int, seconds: float) -> NDArray[np.int16]:
    """Return a sound of 300 to 3000 Hz of which any moment can be computed."""
    return at_times(np.arange(round(seconds * rate_hz)) / rate_hz)


def at_times(times_s: NDArray[np.float64]) -> NDArray[np.int16]:
    tones = sum(np.sin(2 * np.pi * hz * times_s + hz) for hz in (311, 701, 1409, 2887))
    return np.rint(3000 * np.asarray(tones)).astype(np.int16)


class Player:
    """A loudspeaker whose sample n sounds when the microphone takes sample (n - offset) * 16000 / rate."""

    def __init__(self, rate_hz: int, offset: float = 0.0, seconds: float = 4.0) -> None:
        self.rate_hz = rate_hz
        self.offset = offset
        self.ring = Ring(10 * rate_hz)
        self.ring.write(wave(rate_hz, seconds))
        self.known = True

    def at(self, captured: float) -> float | None:
        return captured * self.rate_hz / 16000 + self.offset if self.known else None

    def frames(self, reference: Reference, first: int, count: int, drift: float = 0.0, lag_s: float = 0.0) -> NDArray[np.int16]:
        got = [reference.frame(float(FRAME * k), FRAME, drift, lag_s) for k in range(first, first + count)]
        return np.concatenate([np.zeros(FRAME, np.int16) if frame is None else frame for frame in got])


def error_db(got: NDArray[np.int16], wanted: NDArray[np.int16]) -> float:
    difference = got.astype(float) - wanted
    return 10 * float(np.log10((np.mean(difference**2) + 1e-9) / np.mean(wanted.astype(float) ** 2)))


@pytest.mark.parametrize("rate_hz", [16000, 44100, 48000])
@pytest.mark.parametrize("offset", [0.0, 480.4])
def test_what_sounded_when_a_frame_was_captured_a_little_ahead(rate_hz: int, offset: float) -> None:
    player = Player(rate_hz, offset)
    got = player.frames(Reference(player.ring, rate_hz, player.at), 10, 100)
    begin_s = 10 * FRAME / 16000 + LEAD_S + offset / rate_hz
    assert error_db(got, at_times(begin_s + np.arange(len(got)) / 16000)) < -50


@pytest.mark.parametrize("rate_hz", [16000, 44100, 48000])
@pytest.mark.parametrize("ppm", [100, -37])
def test_it_is_read_faster_or_slower_as_asked(rate_hz: int, ppm: float) -> None:
    player = Player(rate_hz)
    got = player.frames(Reference(player.ring, rate_hz, player.at), 0, 150, drift=ppm * 1e-6)
    times_s = LEAD_S + np.arange(len(got)) / 16000 * (1 + ppm * 1e-6)
    assert error_db(got[1000:], at_times(times_s)[1000:]) < -45


def test_an_echo_that_comes_later_than_the_stamps_say_is_read_later() -> None:
    player = Player(48000)
    got = player.frames(Reference(player.ring, 48000, player.at), 20, 20, lag_s=0.05)
    assert error_db(got, at_times(20 * FRAME / 16000 + LEAD_S - 0.05 + np.arange(len(got)) / 16000)) < -50


def test_jitter_of_the_stamps_does_not_move_it() -> None:
    player, rng = Player(48000), np.random.default_rng(1)
    reference = Reference(player.ring, 48000, lambda captured: captured * 3 + float(rng.normal(0, 48)))  # 1 ms
    got = player.frames(reference, 10, 100)
    best_s = 0.0
    for step_s in (5e-5, 1e-6, 1e-7):  # it stands wherever the first stamp was
        shifts = best_s + step_s * np.arange(-60, 61)
        times_s = 10 * FRAME / 16000 + LEAD_S + np.arange(len(got)) / 16000
        errors = [error_db(got, at_times(times_s + shift)) for shift in shifts]
        best_s = float(shifts[np.argmin(errors)])
    assert min(errors) < -40, "it wobbles"
    assert reference.jumps == 0


def test_the_first_stamps_do_not_count_but_those_when_sound_begins() -> None:
    player = Player(48000, offset=-24000 + 200)  # half a second of silence, and stamps that are wrong by 4 ms
    reference = Reference(player.ring, 48000, player.at)
    player.frames(reference, 0, 10)
    player.offset = -24000
    got = player.frames(reference, 10, 40)
    start = round((0.5 - LEAD_S) * 16000) - 10 * FRAME
    assert error_db(got[start + 40 :], at_times((np.arange(start + 40, len(got)) - start) / 16000)) < -40
    assert reference.jumps == 0


def test_it_jumps_where_the_stamps_stay_away() -> None:
    player = Player(48000)
    reference = Reference(player.ring, 48000, player.at)
    player.frames(reference, 10, 10)
    player.offset = 480  # 10 ms: samples were inserted
    player.frames(reference, 20, 4)
    assert reference.jumps == 0
    got = player.frames(reference, 24, 10)
    assert reference.jumps == 1
    tail = got[FRAME:]
    assert error_db(tail, at_times(25 * FRAME / 16000 + 0.01 + LEAD_S + np.arange(len(tail)) / 16000)) < -45


def test_silence_is_none_and_so_is_what_is_not_known() -> None:
    player = Player(48000, seconds=1.0)
    player.ring.write(np.zeros(48000, np.int16))
    reference = Reference(player.ring, 48000, player.at)
    assert reference.frame(0.0, FRAME, 0.0, 0.0) is not None
    assert reference.frame(24000.0, FRAME, 0.0, 0.0) is not None  # counted on from the first frame: 20 ms in
    player.known = False
    assert reference.frame(640.0, FRAME, 0.0, 0.0) is None
    player.known = True
    assert reference.frame(24000.0, FRAME, 0.0, 0.0) is None


def test_before_the_beginning_there_was_silence() -> None:
    player = Player(48000, offset=-4800)
    got = player.frames(Reference(player.ring, 48000, player.at), 0, 20)
    start = round((0.1 - LEAD_S) * 16000)
    assert not got[: start - 40].any()
    assert error_db(got[start + 40 :], at_times((np.arange(start + 40, len(got)) - start) / 16000)) < -40
