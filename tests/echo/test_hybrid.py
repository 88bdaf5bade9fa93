from __future__ import annotations

import functools
import sys
from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from pipit.echo.hybrid import Hybrid, Settings, build
from pipit.echo.proof import Verdict
from pipit.errors import ConfigError
from pipit.offline.ear import Ear, Started, TurnDetection
from tests import speech
from tests.bench.room import FRAME, RATE_HZ, SLIP_S, Scene, Take, near_clips, take

PLAIN = Scene("plain", delay_ms=0)


@functools.cache
def listened(slip_ms: float, person: bool) -> tuple[Take, Hybrid, NDArray[np.int16], NDArray[np.int16], list[bool]]:
    """Return a take and what the engine made of it: for the service, for the wake word, and whether somebody talked.

    The service hears it as it does during a reply: silence where it is not clear.
    """
    clips = [(10.0, near_clips(1, 1)[0])] if person else None
    made = take(replace(PLAIN, slip_ms=slip_ms), 14, clips)
    # The reference comes 10 ms early, as it does in the daemon.
    played = np.concatenate((made.reference[160:], np.zeros(160 + 50 * FRAME, np.int16)))
    heard = np.concatenate((made.microphone, speech.noise(1, RATE_HZ, dbfs=-66)))
    engine = Hybrid(20)
    speeches, ears, talking = [], [], []
    for start in range(0, len(heard), FRAME):
        reference = played[start : start + FRAME]
        cleaned = engine.clean(heard[start : start + FRAME], reference if reference.any() else None)
        assert engine.proof is not None
        left = cleaned.speech if cleaned.left is None else cleaned.left
        assert len(left) == len(cleaned.speech) == len(cleaned.ears)
        engine.proof.feed(heard[start : start + FRAME], left, cleaned.ears, reference, cleaned.talking)
        speeches.append(cleaned.speech if cleaned.clear else np.zeros_like(cleaned.speech))
        ears.append(cleaned.ears)
        talking.append(cleaned.talking)
    return made, engine, np.concatenate(speeches), np.concatenate(ears), talking


def turns(samples: NDArray[np.int16]) -> int:
    """Return how often a service's voice detection would begin a turn."""
    ear = Ear(RATE_HZ, TurnDetection())
    return sum(isinstance(found, Started) for found in ear.feed(samples))


def level(samples: NDArray[np.int16]) -> float:
    return float(np.sqrt(np.mean(samples.astype(float) ** 2)))


def kept(heard: NDArray[np.int16], person: NDArray[np.floating] | NDArray[np.int16]) -> float:
    """Return how much of the person's amplitude is in what was heard."""
    near = person.astype(float)
    return float(np.dot(near, heard) / np.dot(near, near))


def test_pipit_alone_is_removed_is_nobody_and_is_proven() -> None:
    made, engine, heard, ears, talking = listened(0, False)
    assert not any(talking)
    part = slice(RATE_HZ, 13 * RATE_HZ)
    assert not heard[part].any()
    part = slice(8 * RATE_HZ, 13 * RATE_HZ)
    assert level(made.microphone[part]) > 20 * level(ears[part])
    assert engine.proof is not None
    assert engine.proof.verdict is Verdict.WORKS
    removed_db = engine.proof.removed_db()
    assert removed_db is not None
    assert 34 < removed_db < 70  # what the cancellers remove: silence would be more


def test_nothing_is_lost_or_doubled_and_what_follows_is_as_it_was_heard() -> None:
    made, engine, heard, ears, _ = listened(0, False)
    assert len(heard) == len(ears) == len(made.microphone) + RATE_HZ
    assert engine.memory is not None
    tail = speech.noise(1, RATE_HZ, dbfs=-66)[-10 * FRAME :]
    assert np.array_equal(heard[-10 * FRAME :], tail)
    assert np.array_equal(ears[-10 * FRAME :], tail)


def test_a_person_is_noticed_and_is_whole_for_the_service() -> None:
    made, _, heard, _, talking = listened(0, True)
    first = talking.index(True)
    assert 10.0 < first * FRAME / RATE_HZ < 10.5
    assert turns(heard) == 1
    [(start_s, stop_s)] = made.onsets
    assert not heard[RATE_HZ : round((start_s - 0.5) * RATE_HZ)].any()
    part = slice(round(start_s * RATE_HZ), round(stop_s * RATE_HZ))
    assert kept(heard[part], made.near[part] * 32768) == pytest.approx(1, abs=0.12)  # a loss of 1 dB


def test_an_echo_that_moves_is_followed_and_is_nobody() -> None:
    made, _, heard, ears, talking = listened(20, False)
    assert not any(talking)
    assert not heard[RATE_HZ : 13 * RATE_HZ].any()
    moved = round(SLIP_S * RATE_HZ)
    part = slice(moved + RATE_HZ, moved + 4 * RATE_HZ)
    assert level(made.microphone[part]) > 10 * level(ears[part])


def test_that_nothing_goes_up_is_no_proof() -> None:
    """Where what was played is not what sounds, nothing is removed, and nobody talks."""
    made = take(PLAIN, 10)
    engine = Hybrid(20)
    assert engine.proof is not None
    silent = 0
    for start in range(0, len(made.microphone) - FRAME + 1, FRAME):
        heard, played = made.microphone[start : start + FRAME], made.reference[::-1][start : start + FRAME]
        cleaned = engine.clean(heard, played)
        left = cleaned.speech if cleaned.left is None else cleaned.left
        if len(left):
            engine.proof.feed(heard, left, cleaned.ears, played, talking=False)
        silent += not cleaned.clear
    assert silent > 0
    assert engine.proof.verdict is Verdict.FAILS


def test_who_answers_a_cue_or_talks_when_a_reply_has_ended_is_heard_whole() -> None:
    engine, out = Hybrid(20), []

    def hear(microphone: NDArray[np.int16], reference: NDArray[np.int16] | None) -> None:
        cleaned = engine.clean(microphone, reference)
        out.append(cleaned.speech if cleaned.clear else np.zeros_like(cleaned.speech))

    person = speech.say("what time is it", dbfs=-26)
    person = person[: len(person) // FRAME * FRAME]
    cue = np.rint(3000 * np.sin(np.arange(8 * FRAME) * 0.3)).astype(np.int16)
    for start in range(0, len(cue), FRAME):
        hear(cue[start : start + FRAME], cue[start : start + FRAME])
    for start in range(0, len(person), FRAME):
        hear(person[start : start + FRAME], None)
    for _ in range(50):
        hear(np.zeros(FRAME, np.int16), None)
    heard = np.concatenate(out)[len(cue) :][: len(person)]
    late = 12 * FRAME  # until then the cue's echo may be in the room
    assert kept(heard[late:], person[late:]) == pytest.approx(1, abs=0.12)


def test_the_package_that_is_missing_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pywebrtc_audio", None)
    with pytest.raises(ConfigError, match="pip install pywebrtc-audio"):
        build(Settings())
