from __future__ import annotations

import wave
from pathlib import Path

import numpy as np
import pytest

from pipit.audio.mixer import Mixer
from pipit.cues import Cues
from pipit.errors import ConfigError

ALL = {"wake": True, "done": True, "error": True}


def played(mixer: Mixer, seconds: float = 0.5) -> np.ndarray[tuple[int], np.dtype[np.int16]]:
    return np.concatenate([mixer.pull(mixer.rate_hz // 50).copy() for _ in range(round(seconds * 50))])


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize("rate_hz", [16000, 44100, 48000])
def test_a_cue_is_short_audible_and_does_not_click(name: str, rate_hz: int) -> None:
    mixer = Mixer(rate_hz, volume=100)
    Cues(mixer, ALL).play(name)
    sound = played(mixer).astype(int)
    audible = np.flatnonzero(np.abs(sound) > 104)
    assert 0.1 < (audible[-1] - audible[0]) / rate_hz < 0.35
    assert 3000 < np.abs(sound).max() < 10000
    steepest = 2 * np.pi * 880 / rate_hz * np.abs(sound).max()  # of the highest note; a click is steeper
    assert np.abs(np.diff(sound)).max() <= steepest * 1.05


def test_the_three_can_be_told_apart() -> None:
    sounds = []
    for name in ALL:
        mixer = Mixer(16000, volume=100)
        Cues(mixer, ALL).play(name)
        sounds.append(np.abs(np.fft.rfft(played(mixer))))
    pitches = [int(np.argmax(s)) * 2 for s in sounds]  # 0.5 s: bins of 2 Hz
    assert pitches[2] < 300 < min(pitches[:2])


def test_one_that_is_switched_off_is_silent() -> None:
    mixer = Mixer(16000, volume=100)
    Cues(mixer, {**ALL, "wake": False}).play("wake")
    assert not played(mixer).any()


def test_a_file_takes_its_place_at_the_loudspeakers_rate(tmp_path: Path) -> None:
    tone = (np.sin(np.arange(22050) * 2 * np.pi * 500 / 22050) * 8000).astype(np.int16)
    with wave.open(str(tmp_path / "ding.wav"), "wb") as file:
        file.setnchannels(2)
        file.setsampwidth(2)
        file.setframerate(22050)
        file.writeframes(np.stack([tone, tone], axis=1).tobytes())
    mixer = Mixer(48000, volume=100)
    Cues(mixer, {**ALL, "wake": str(tmp_path / "ding.wav")}).play("wake")
    sound = played(mixer, 1.2)
    assert np.argmax(np.abs(np.fft.rfft(sound[: 48000 // 2]))) * 2 == 500
    assert abs(np.flatnonzero(np.abs(sound) > 104)[-1] / 48000 - 1.0) < 0.01


def test_a_file_that_is_no_wav_is_named(tmp_path: Path) -> None:
    (tmp_path / "ding.wav").write_bytes(b"ID3 this is an MP3")
    with pytest.raises(ConfigError, match=r"ding\.wav"):
        Cues(Mixer(16000), {**ALL, "wake": str(tmp_path / "ding.wav")})
