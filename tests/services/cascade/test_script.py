"""Which words have been heard: laid out by hand, and measured against what espeak-ng really says when."""

from __future__ import annotations

import numpy as np
import pytest

from pipit.offline import espeak
from pipit.rehearsal import skills
from pipit.services.cascade.script import Script
from tests import speech
from tests.services.cascade.spoken_words import RATE_HZ, word_ends

SENTENCES = (*skills.STORIES[0][1:], "It is 12:45 on Saturday, and the timer has 90 seconds left.")


def loud(count: int) -> speech.Samples:
    return np.full(count, 1000, np.int16)


def test_nothing_was_heard() -> None:
    script = Script(1000)
    script.add("Hello there.", "Hello there.")
    script.sound(loud(1000), 12)
    script.finish()
    script.cut(0)
    assert script.text == ""


def test_all_of_it_was_heard_unless_it_was_cut() -> None:
    script = Script(1000)
    script.add("One.", "One.")
    script.add(" Two.", " Two.")
    assert script.text == "One. Two."
    script.sound(loud(500), None)
    script.finish()
    script.cut(500)
    assert script.text == "One. Two."


def test_a_cut_between_known_places_is_exact() -> None:
    script = Script(1000)
    script.add("One two three.", "One two three.")
    script.add(" Four five six.", " Four five six.")
    script.sound(loud(900), 14)
    script.sound(loud(3000), None)
    script.sound(loud(0), 29)
    script.finish()
    script.cut(900)
    assert script.text == "One two three."


def test_a_pause_at_the_end_of_a_sentence_is_nothing_said() -> None:
    script = Script(1000)
    script.add("aaaa bbbb", "aaaa bbbb")
    script.sound(np.concatenate((loud(1000), np.zeros(1000, np.int16))), None)
    script.finish()
    script.cut(1000)
    assert script.text == "aaaa bbbb"


def test_the_latest_cut_never_makes_more_heard() -> None:
    script = Script(1000)
    script.add("One two three four.", "One two three four.")
    script.sound(loud(1000), None)
    script.finish()
    script.cut(500)
    heard = script.text
    script.cut(900)
    assert script.text == heard


def test_what_is_spoken_otherwise_than_written_is_kept_as_written() -> None:
    script = Script(1000)
    script.add("Use SQL now, please.", "Use sequel now, please.")
    script.sound(loud(2000), len("Use sequel now, please."))
    script.finish()
    script.cut(700)
    assert script.text == "Use SQL"


def test_without_known_places_it_goes_by_the_pace_of_the_voice() -> None:
    script = Script(1000, letters_per_s=10.0)
    script.add("aaaa bbbb cccc dddd eeee", "aaaa bbbb cccc dddd eeee")
    script.sound(loud(9000), None)
    script.cut(1900)
    assert script.text == "aaaa bbbb cccc"


def test_the_pace_of_a_voice_is_learnt_from_a_whole_reply() -> None:
    script = Script(1000)
    script.add("aaaa bbbb", "aaaa bbbb")
    script.sound(loud(2000), None)
    assert script.finish() == pytest.approx(12 / 2)
    short = Script(1000)
    short.add("aaaa", "aaaa")
    short.sound(loud(500), None)
    assert short.finish() is None


@pytest.mark.skipif(speech.missing_tools() is not None, reason=str(speech.missing_tools()))
@pytest.mark.parametrize("voice", ["en-gb", "en-us+f3"])
def test_wherever_real_speech_is_cut_the_words_are_right_within_one(voice: str) -> None:
    wrong = []
    for sentence in SENTENCES:
        ends, sound = word_ends(sentence, voice), espeak.synthesise(sentence, RATE_HZ, voice)
        for cut in range(0, ends[-1], RATE_HZ // 10):
            script = Script(RATE_HZ)
            script.add(sentence, sentence)
            script.sound(sound, len(sentence))
            script.finish()
            script.cut(cut)
            wrong.append(len(script.text.split()) - sum(end <= cut for end in ends))
    assert sum(abs(error) > 1 for error in wrong) <= 0.02 * len(wrong)
    assert max(map(abs, wrong)) <= 2
