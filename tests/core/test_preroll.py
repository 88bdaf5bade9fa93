from __future__ import annotations

import pytest

from pipit.core.preroll import LOOK_BACK_MS, PAUSE_MS, settled, start_frame

LOOK_BACK = LOOK_BACK_MS // 20
PAUSE = PAUSE_MS // 20


def frames(text: str) -> list[bool]:
    """Read 'v' as voice and '.' as none."""
    return [letter == "v" for letter in text]


def test_one_breath_starts_the_fixed_time_before_the_detection() -> None:
    voiced = frames("v" * 100)
    assert start_frame(voiced, 50) == 50 - LOOK_BACK


def test_a_pause_begun_before_the_detection_is_where_the_request_starts() -> None:
    voiced = frames("v" * 45 + "." * 30 + "v" * 30)
    assert start_frame(voiced, 50) == 45


def test_a_pause_that_begins_after_the_detection_may_follow_a_short_command_and_is_not_trusted() -> None:
    voiced = frames("v" * 52 + "." * 30)
    assert start_frame(voiced, 50) == 50 - LOOK_BACK


def test_the_silence_before_a_word_that_was_recognised_early_is_not_where_the_request_starts() -> None:
    """The word is 400 ms long and recognised with its last sound; a pause follows, or the request does."""
    assert start_frame(frames("." * 30 + "v" * 20 + "." * 30), 50) == 50
    assert start_frame(frames("." * 30 + "v" * 50), 50) == 50 - LOOK_BACK


def test_of_two_pauses_the_one_after_the_word_counts() -> None:
    assert start_frame(frames("v" * 15 + "." * PAUSE + "v" * 22 + "." * 30), 50) == 47


def test_the_slowest_recognition_loses_nothing_of_a_request_in_the_same_breath() -> None:
    """601 ms after the word's last sound, where the request began: the latest of all voices in the bench."""
    word_ends, detected = 100, 131
    assert start_frame(frames("v" * 200), detected) <= word_ends


def test_a_late_recognition_in_silence_starts_in_that_silence() -> None:
    assert start_frame(frames("v" * 10 + "." * 70), 60) == 60 - LOOK_BACK


def test_the_closure_of_a_consonant_is_no_pause() -> None:
    voiced = frames("v" * 44 + "." * (PAUSE - 1) + "v" * 40)
    assert start_frame(voiced, 50) == 50 - LOOK_BACK


def test_the_end_of_what_was_said_while_connecting_is_no_start() -> None:
    voiced = frames("v" * 100 + "." * 50)
    assert start_frame(voiced, 50) == 50 - LOOK_BACK


def test_early_in_the_recording_it_starts_at_the_beginning() -> None:
    assert start_frame(frames("v" * 20), 5) == 0


@pytest.mark.parametrize("tail", ["." * 40, "v" * 40, "v." * 20])
def test_once_settled_more_sound_changes_nothing(tail: str) -> None:
    voiced = frames("v" * 48 + "." * 4 + tail)
    for length in range(50, len(voiced)):
        if settled(voiced[:length], 50):
            assert start_frame(voiced[:length], 50) == start_frame(voiced, 50)
    assert settled(voiced, 50)
