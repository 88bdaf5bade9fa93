from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from pipit.echo.proof import NoiseFloor, Proof, Verdict, power

FRAME = 320
PLAYED = np.random.default_rng(0).integers(-3000, 3000, FRAME).astype(np.int16)


def noise(dbfs: float, seed: int) -> NDArray[np.int16]:
    return np.rint(32768 * 10 ** (dbfs / 20) * np.random.default_rng(seed).standard_normal(FRAME)).astype(np.int16)


def speak(
    proof: Proof, seconds: float, heard_dbfs: float, left_dbfs: float, *, ears_dbfs: float | None = None, talking: bool = False
) -> None:
    """Let Pipit speak, and be silent for a second afterwards, in a room with noise at -70 dBFS."""
    for frame in range(round(seconds * 50)):
        speech = noise(left_dbfs, frame + 9999)
        ears = speech if ears_dbfs is None else noise(ears_dbfs, frame + 9999)
        proof.feed(noise(heard_dbfs, frame), speech, ears, PLAYED, talking)
    rest(proof)


def hear(proof: Proof, heard: NDArray[np.int16], left: NDArray[np.int16], played: NDArray[np.int16] | None) -> None:
    proof.feed(heard, left, left, played, talking=False)


def rest(proof: Proof, seconds: float = 1.0) -> None:
    for frame in range(round(seconds * 50)):
        hear(proof, noise(-70, frame), noise(-70, frame), None)


def test_nothing_is_believed_before_it_was_measured() -> None:
    proof = Proof(20)
    rest(proof, 3)
    assert proof.verdict is Verdict.UNPROVEN
    speak(proof, 2.7, -26, -60)
    assert proof.verdict is Verdict.UNPROVEN
    assert proof.count == 5
    speak(proof, 0.5, -26, -60)
    assert proof.verdict is Verdict.WORKS


def test_what_works_only_at_first_or_now_and_then_is_not_believed() -> None:
    proof = Proof(20)
    rest(proof)
    for left_dbfs in (-26, -60, -80, -30, -32, -30, -44, -42, -70, -40):  # an echo that comes a second late, as AEC3 left it
        speak(proof, 0.5, -26, left_dbfs)
        assert proof.verdict is not Verdict.WORKS
    assert proof.verdict is Verdict.FAILS
    assert proof.deciding_db is not None
    assert proof.deciding_db < 20


def test_what_removes_enough_works() -> None:
    proof = Proof(20)
    rest(proof)
    speak(proof, 3, -26, -50)
    assert proof.verdict is Verdict.WORKS
    assert proof.removed_db() == pytest.approx(24, abs=0.5)


def test_what_removes_too_little_fails_and_comes_back_when_it_is_clearly_better() -> None:
    proof = Proof(20)
    rest(proof)
    speak(proof, 3, -26, -42)
    assert proof.verdict is Verdict.FAILS
    speak(proof, 3, -26, -47.5)  # 21.5 dB: above the floor, but no more than that
    assert proof.verdict is Verdict.FAILS
    speak(proof, 3, -26, -50)
    assert proof.verdict is Verdict.WORKS
    speak(proof, 3, -26, -47.5)
    assert proof.verdict is Verdict.WORKS
    speak(proof, 3, -26, -42)
    assert proof.verdict is Verdict.FAILS


def test_one_bad_half_second_is_a_door() -> None:
    proof = Proof(20)
    rest(proof)
    speak(proof, 3, -26, -50)
    speak(proof, 0.5, -26, -30)
    assert proof.verdict is Verdict.WORKS


def test_what_mutes_everything_is_no_canceller() -> None:
    proof = Proof(20)
    rest(proof)
    speak(proof, 5, -26, -64, ears_dbfs=-28)
    assert proof.verdict is Verdict.FAILS
    assert proof.removed_db() == pytest.approx(2, abs=0.5)
    speak(proof, 5, -26, -64, ears_dbfs=-40)
    assert proof.verdict is Verdict.WORKS
    assert proof.removed_db(10) == pytest.approx(38, abs=0.5)


def test_an_echo_that_vanishes_in_the_noise_is_gone_however_little_that_was() -> None:
    proof = Proof(20)
    rest(proof, 10)
    speak(proof, 3, -62, -70)  # a quiet loudspeaker: 8 dB is all there is
    assert proof.verdict is Verdict.WORKS
    assert proof.removed_db() is None


def test_a_person_who_talks_as_well_is_not_held_against_it_nor_is_the_time_before_it_was_noticed() -> None:
    proof = Proof(20)
    rest(proof)
    speak(proof, 3, -26, -50)
    for frame in range(25):  # they have begun, and it takes half a second to notice
        hear(proof, noise(-26, frame), noise(-28, frame), PLAYED)
    count = proof.count
    speak(proof, 5, -26, -28, talking=True)
    assert proof.verdict is Verdict.WORKS
    assert proof.count == count


def test_a_reply_is_judged_by_its_own_measurements() -> None:
    proof = Proof(20)
    rest(proof)
    speak(proof, 3, -26, -50)
    mark = proof.count
    assert proof.removed_db(mark) is None
    speak(proof, 3, -26, -60)
    assert proof.removed_db(mark) == pytest.approx(34, abs=0.5)


def test_what_was_proven_before_a_restart_is_believed_until_it_fails() -> None:
    proof = Proof(20)
    proof.trust()
    assert proof.verdict is Verdict.WORKS
    rest(proof)
    speak(proof, 3, -26, -30)
    assert proof.verdict is Verdict.FAILS


def test_digital_silence_from_the_loudspeaker_is_no_measurement() -> None:
    proof = Proof(20)
    for frame in range(200):
        hear(proof, noise(-30, frame), noise(-30, frame), np.zeros(FRAME, np.int16))
    assert proof.count == 0


def test_the_floor_of_noise_falls_at_once_and_rises_slowly() -> None:
    floor = NoiseFloor()
    for _ in range(50):
        floor.feed(-75)
    assert floor.dbfs == pytest.approx(-75, abs=0.5)
    for _ in range(100):
        floor.feed(-20)  # somebody talks for two seconds
    assert floor.dbfs < -72
    for _ in range(3000):
        floor.feed(-50)
    assert floor.dbfs == pytest.approx(-50, abs=0.5)


def test_power_is_never_zero() -> None:
    assert power(np.zeros(FRAME, np.int16)) > 0
    assert power(np.zeros(0, np.int16)) > 0
    assert power(np.full(FRAME, 16384, np.int16)) == pytest.approx(0.25)


def test_a_noise_that_stops_while_pipit_speaks_is_not_taken_for_its_echo() -> None:
    proof = Proof(20)
    for frame in range(500):  # a fan, and a loudspeaker that the microphone does not hear
        hear(proof, noise(-60, frame), noise(-60, frame), None)
    for frame in range(400):
        level_dbfs = -60 if frame < 200 else -90
        hear(proof, noise(level_dbfs, frame), noise(level_dbfs, frame), PLAYED)
        assert proof.verdict is not Verdict.FAILS
    assert proof.verdict is Verdict.WORKS


def test_what_nobody_hears_is_not_held_against_it_where_a_microphone_mutes_itself() -> None:
    proof = Proof(20)
    silence = np.zeros(FRAME, np.int16)
    for _ in range(500):
        hear(proof, silence, silence, None)
    for frame in range(400):
        hear(proof, silence, noise(-86, frame), PLAYED)
    assert proof.verdict is Verdict.WORKS
