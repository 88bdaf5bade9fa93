"""A cue over a person's voice, then a reply that the microphone does not hear: no canceller may make sound of its own of that."""

from __future__ import annotations

import numpy as np
import pytest

from pipit.audio.mixer import Mixer
from pipit.core.pcm import HEARING_RATE_HZ, dbfs
from pipit.cues import Cues
from pipit.echo import Canceller, hybrid, kalman, webrtc
from pipit.echo.louder import Louder
from tests import speech

FRAME = HEARING_RATE_HZ // 50
CUE_AT_S, REPLY_AT_S = 0.9, 3.5


def played() -> np.ndarray[tuple[int], np.dtype[np.int16]]:
    mixer = Mixer(HEARING_RATE_HZ, volume=60)
    Cues(mixer, {"wake": True}).play("wake")
    cue = np.concatenate([mixer.pull(FRAME).copy() for _ in range(25)])
    reply = speech.say("it is a quarter past nine in the morning, and the sun is shining", rate_hz=HEARING_RATE_HZ)
    return speech.timeline([(CUE_AT_S, cue), (REPLY_AT_S, reply)], seconds=8, rate_hz=HEARING_RATE_HZ, noise_dbfs=-120)


def heard(noise_dbfs: float) -> np.ndarray[tuple[int], np.dtype[np.int16]]:
    person = speech.say("hey jarvis, what time is it", rate_hz=HEARING_RATE_HZ)
    return speech.timeline([(0.2, person)], seconds=8, rate_hz=HEARING_RATE_HZ, noise_dbfs=noise_dbfs)


@pytest.mark.parametrize("engine", ["hybrid", "kalman", "webrtc"])
@pytest.mark.parametrize("noise_dbfs", [-60.0, -75.0])
def test_what_comes_out_is_never_far_louder_than_what_went_in(engine: str, noise_dbfs: float) -> None:
    make = {"hybrid": hybrid.build, "kalman": kalman.build, "webrtc": webrtc.build}[engine]
    settings = {"hybrid": hybrid.Settings(), "kalman": kalman.Settings(), "webrtc": webrtc.Settings()}[engine]
    canceller: Canceller = make(settings)  # type: ignore[operator]
    microphone, reference = heard(noise_dbfs), played()
    ears, speeches = [], []
    for start in range(0, len(microphone), FRAME):
        frame = reference[start : start + FRAME]
        cleaned = canceller.clean(microphone[start : start + FRAME], frame if frame.any() else None)
        ears.append(cleaned.ears)
        speeches.append(cleaned.speech)
    during = slice(round(REPLY_AT_S * HEARING_RATE_HZ), 7 * HEARING_RATE_HZ)
    for out in (np.concatenate(ears)[during], np.concatenate(speeches)[during]):
        loudest = max(dbfs(out[start : start + 5 * FRAME]) for start in range(0, len(out) - 5 * FRAME, FRAME))
        assert loudest < noise_dbfs + 9


def test_louder_is_far_more_than_there_was() -> None:
    louder = Louder()
    assert not louder.feed(3e-4, 1e-4)
    assert louder.feed(3e-3, 1e-4)
    assert not Louder().feed(3e-8, 0.0)
