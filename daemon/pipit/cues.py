"""Short sounds at the wake word, at the end and on an error: made here, or taken from WAV files."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from pipit.audio.mixer import Mixer
from pipit.audio.wav import read_wav
from pipit.core.pcm import Resampler
from pipit.errors import ConfigError

# Notes as (Hz, seconds). Rising: go ahead. Falling: finished. Low and repeated: something is wrong. Three times high:
# a timer. The first three end within 0.3 s, so that they are over before a person who was called upon to speak begins to.
_NOTES: Mapping[str, tuple[tuple[float, float], ...]] = {
    "wake": ((659.3, 0.06), (880.0, 0.09)),
    "done": ((880.0, 0.06), (659.3, 0.09)),
    "error": ((220.0, 0.1), (0.0, 0.05), (220.0, 0.15)),
    "timer": ((1046.5, 0.12), (0.0, 0.06), (1046.5, 0.12), (0.0, 0.06), (1046.5, 0.12)),
}

_PEAK = 0.2
"""Of full scale, before the volume: -14 dBFS, quieter than speech."""

_EDGE_S = 0.008
"""Rise and fall of each note; a shorter one clicks."""


class Cues:
    """The sounds that are switched on, ready at the loudspeaker's rate.

    Args:
        mixer: where they are played.
        chosen: for each of "wake", "done", "error" and "timer": True for the built-in sound, False for none, or the path of a WAV
            file.

    Raises:
        ConfigError: a WAV file is missing or unreadable.
    """

    def __init__(self, mixer: Mixer, chosen: Mapping[str, bool | str]) -> None:
        self._mixer = mixer
        self.choose(chosen)

    def choose(self, chosen: Mapping[str, bool | str]) -> None:
        """Change which sounds are played; arguments and errors as above."""
        rate_hz = self._mixer.rate_hz
        self._sounds = {
            name: _notes(name, rate_hz) if choice is True else _file(name, str(choice), rate_hz)
            for name, choice in chosen.items()
            if choice is not False
        }

    def play(self, name: str) -> None:
        """Play a sound beside whatever else is playing; does nothing where it is switched off."""
        sound = self._sounds.get(name)
        if sound is not None:
            self._mixer.cue(sound)


def _notes(name: str, rate_hz: int) -> NDArray[np.int16]:
    return np.concatenate([_tone(pitch_hz, length_s, rate_hz) for pitch_hz, length_s in _NOTES[name]])


def _tone(pitch_hz: float, length_s: float, rate_hz: int) -> NDArray[np.int16]:
    t = np.arange(round(length_s * rate_hz)) / rate_hz
    shape = np.clip(np.minimum(t, length_s - t) / _EDGE_S, 0, 1)
    return np.rint(np.sin(2 * np.pi * pitch_hz * t) * shape * _PEAK * 32767).astype(np.int16)


def _file(name: str, path: str, rate_hz: int) -> NDArray[np.int16]:
    try:
        samples, file_rate_hz = read_wav(path)
    except ConfigError as error:
        raise ConfigError(*(f"sounds.{name}: {problem}" for problem in error.problems)) from error
    mono = samples.mean(axis=1).astype(np.int16)
    return Resampler(file_rate_hz, rate_hz, lobes=32).process(mono)
