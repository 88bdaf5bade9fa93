from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from pipit.echo.talking import Talking, Voiced
from tests import speech

FRAME = 320
PERSON = speech.say("no I meant the other one please", "en-us+f3")
PIPIT = speech.say("the river begins high in the mountains and runs past three old towns", "en-us")
QUIET = speech.noise(1.0, dbfs=-66)


def frames(samples: NDArray[np.int16]) -> list[NDArray[np.int16]]:
    return list(samples[: len(samples) // FRAME * FRAME].reshape(-1, FRAME))


def strict() -> Voiced:
    return Voiced(mode=3, needed=6, window=10, hold=16, above_noise_db=8, quietest_dbfs=-50, below_heard_db=30)


def decide(voiced: Voiced, left: NDArray[np.int16], heard: NDArray[np.int16] | None = None) -> list[bool]:
    return [voiced.feed(a, b) for a, b in zip(frames(left), frames(left if heard is None else heard), strict=True)]


def test_six_voiced_frames_begin_a_talk_which_lasts_through_a_pause_and_ends_a_third_of_a_second_after_the_last() -> None:
    said = decide(strict(), np.concatenate((QUIET, PERSON, QUIET)))
    begin, end = said.index(True), len(said) - said[::-1].index(True)
    assert 50 + 5 <= begin < 50 + 20
    last = 50 + len(PERSON) // FRAME
    assert last < end <= last + 18
    assert all(said[begin:end])


@pytest.mark.parametrize(
    "sound",
    [
        pytest.param(speech.noise(8.0, dbfs=-40), id="a fan"),
        pytest.param(speech.level(np.tile(PERSON, 5), -60.0), id="somebody next door"),
    ],
)
def test_what_goes_on_all_the_time_or_elsewhere_is_no_person_in_this_room(sound: NDArray[np.int16]) -> None:
    assert not any(decide(strict(), sound)[250:])


def test_what_is_left_of_something_a_thousand_times_as_strong_does_not_count() -> None:
    loud = speech.level(PERSON, -12.0)
    assert not any(decide(strict(), speech.level(PERSON, -44.0), loud))
    assert any(decide(strict(), speech.level(PERSON, -36.0), loud))


def test_rest_ends_it() -> None:
    voiced = strict()
    assert decide(voiced, PERSON[: 40 * FRAME])[-1]
    voiced.rest()
    assert not voiced.feed(np.zeros(FRAME, np.int16), np.zeros(FRAME, np.int16))


def over(left: NDArray[np.int16], played: NDArray[np.int16]) -> list[bool]:
    talking = Talking()
    return [talking.feed(a, a, b) for a, b in zip(frames(left), frames(played), strict=True)]


def test_a_person_over_pipit_is_heard() -> None:
    count = len(PERSON)
    said = over(np.concatenate((QUIET, PERSON)), PIPIT[: len(QUIET) + count])
    assert said[50 + 25]


@pytest.mark.parametrize("delay", [200, 3000, -3200])
def test_pipit_heard_by_itself_because_nothing_was_cancelled_is_no_person(delay: int) -> None:
    left = np.roll(PIPIT, delay) + speech.noise(len(PIPIT) / 16000, dbfs=-66)[: len(PIPIT)]
    left[: max(0, delay)] = 0
    assert any(decide(strict(), left)), "it could not have been taken for one"
    assert not any(over(left, PIPIT))
