"""What the rehearsal understands: synthesised speech by several voices over room noise."""

from __future__ import annotations

import sys

import numpy as np
import pytest

from pipit.errors import ConfigError
from pipit.offline.recogniser import Recogniser
from pipit.rehearsal.server import GRAMMAR
from tests import speech

pytestmark = pytest.mark.skipif(speech.missing_tools() is not None, reason=str(speech.missing_tools()))

VOICES = ("en-us", "en-gb", "en-gb-x-rp", "en-us+f3", "en-gb+m3", "flite:slt")
REQUESTS = ("what time is it", "what is the date today", "tell me a long story", "tell me a joke", "never mind", "goodbye")


@pytest.fixture(scope="module")
def recogniser() -> Recogniser:
    return Recogniser(GRAMMAR)


def in_a_room(clip: speech.Samples, before_s: float = 0.3) -> speech.Samples:
    return speech.timeline([(before_s, clip)], before_s + len(clip) / 16000 + 0.6, noise_dbfs=-50)


@pytest.mark.parametrize("voice", VOICES)
@pytest.mark.parametrize("request_", REQUESTS)
def test_a_request_is_understood(recogniser: Recogniser, request_: str, voice: str) -> None:
    assert recogniser.hear(in_a_room(speech.say(request_, voice=voice))).text == request_


@pytest.mark.parametrize("voice", VOICES)
def test_the_wake_word_before_it_is_left_out(recogniser: Recogniser, voice: str) -> None:
    clip = speech.say("hey jarvis what time is it", voice=voice)
    assert recogniser.hear(in_a_room(clip)).text == "what time is it"


@pytest.mark.parametrize("voice", VOICES)
def test_it_is_understood_wherever_in_the_wake_word_the_sound_begins(recogniser: Recogniser, voice: str) -> None:
    clip = speech.say("hey jarvis what time is it", voice=voice)
    for cut_s in (0.1, 0.2, 0.3, 0.4, 0.5):
        assert recogniser.hear(in_a_room(clip[round(cut_s * 16000) :], before_s=0.0)).text == "what time is it", cut_s


def test_digital_silence_around_it_does_no_harm(recogniser: Recogniser) -> None:
    clip = in_a_room(speech.say("what time is it", voice="en-gb"), before_s=0.0)
    silence = np.zeros(16000, np.int16)
    assert recogniser.hear(np.concatenate((silence, clip, silence))).text == "what time is it"


@pytest.mark.parametrize("voice", ["en-gb", "en-us"])
@pytest.mark.parametrize("speed", [150, 175])
def test_a_clean_recording_is_understood_whatever_little_is_around_it(recogniser: Recogniser, voice: str, speed: int) -> None:
    clip = speech.say("what time is it", voice=voice, speed=speed)
    clean = np.concatenate((np.zeros(4800, np.int16), clip, np.zeros(9600, np.int16)))
    ripple = np.random.default_rng(1).integers(-1, 2, len(clean)).astype(np.int16)
    heard = {"zeros": recogniser.hear(clean).text, "ripple": recogniser.hear(clean + ripple).text}
    for dbfs in (-80.0, -70.0, -60.0):
        heard[f"{dbfs} dBFS"] = recogniser.hear(speech.timeline([(0.3, clip)], len(clean) / 16000, noise_dbfs=dbfs)).text
    assert set(heard.values()) == {"what time is it"}, heard


def test_the_wake_word_alone_is_a_call(recogniser: Recogniser) -> None:
    assert recogniser.hear(in_a_room(speech.say("hey jarvis", voice="en-us"))).text == "hey jarvis"


@pytest.mark.parametrize("voice", VOICES)
@pytest.mark.parametrize("sentence", ["please order twelve pizzas for tomorrow", "turn on the kitchen lights"])
def test_what_it_does_not_know_is_not_intelligible(recogniser: Recogniser, sentence: str, voice: str) -> None:
    assert recogniser.hear(in_a_room(speech.say(sentence, voice=voice))).text == ""


@pytest.mark.parametrize("dbfs", [-120.0, -60.0, -40.0])
def test_noise_is_not_intelligible(recogniser: Recogniser, dbfs: float) -> None:
    assert recogniser.hear(speech.noise(2.0, dbfs=dbfs)).text == ""


@pytest.mark.parametrize("count", [0, 1, 160, 500])
def test_hardly_any_sound_is_not_intelligible(recogniser: Recogniser, count: int) -> None:
    assert recogniser.hear(np.full(count, 1000, np.int16)).text == ""


def test_equal_sounds_give_equal_results_whatever_was_heard_before(recogniser: Recogniser) -> None:
    clip = in_a_room(speech.say("what is the date today", voice="en-gb"))
    first = recogniser.hear(clip)
    recogniser.hear(speech.noise(2.0, dbfs=-20.0))
    assert recogniser.hear(clip) == first


def test_without_pocketsphinx_the_message_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pocketsphinx", None)
    with pytest.raises(ConfigError, match="sudo make install EXTRAS=local"):
        Recogniser(GRAMMAR)
