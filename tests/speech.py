"""Speech, noise and silence for the tests: synthesised with espeak-ng or flite, the same on every run, no microphone needed.

    hello = say("hey jarvis", voice="en-gb", speed=160)
    sound = timeline([(2.0, hello), (4.5, say("what time is it"))], seconds=8, noise_dbfs=-60)

Everything is mono int16. Levels are RMS in dB relative to full scale (a full-scale sine is -3 dBFS). Clips are cached in the
temporary folder, because a synthesis takes 20 to 200 ms.
"""

from __future__ import annotations

import hashlib
import io
import os
import shutil
import subprocess
import tempfile
import wave
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

Samples = NDArray[np.int16]

SPEECH_DBFS = -26.0
"""Active speech level of the clips: the usual nominal level of telephone speech material (ITU-T P.56 / G.191)."""


def missing_tools() -> str | None:
    """Say which synthesiser is not installed, or None; for `pytest.mark.skipif`."""
    missing = [tool for tool in ("espeak-ng", "flite") if shutil.which(tool) is None]
    return f"not installed: {', '.join(missing)} (apt install {' '.join(missing)})" if missing else None


def say(
    text: str,
    voice: str = "en-gb",
    speed: int = 160,
    pitch: int = 50,
    rate_hz: int = 16000,
    dbfs: float = SPEECH_DBFS,
) -> Samples:
    """Return the text as speech, trimmed to where something is audible.

    Args:
        text: what is said.
        voice: a voice of espeak-ng ("en-gb", "en-us+f3"), or "flite:slt" (rms, awb, kal, kal16) for one of flite's, or
            "festival:kal_diphone" for one of festival's, if that is installed.
        speed: words a minute; flite and festival are stretched accordingly, 160 being their natural speed.
        pitch: 0 to 99; espeak-ng only.
        rate_hz: sample rate of the result.
        dbfs: RMS of the result.
    """
    key = hashlib.sha256(repr((text, voice, speed, pitch, rate_hz, dbfs)).encode()).hexdigest()[:24]
    path = _cache() / f"{key}.npy"
    if not path.exists():
        clip = render(text, voice, speed, pitch, rate_hz, dbfs)
        partial = path.with_suffix(f".{os.getpid()}.npy")
        np.save(partial, clip)
        partial.replace(path)
    loaded: Samples = np.load(path)
    return loaded


def render(text: str, voice: str, speed: int, pitch: int, rate_hz: int, dbfs: float) -> Samples:
    """Do what `say` does, without keeping it: for long texts."""
    return level(_trim(resample(*_synthesise(text, voice, speed, pitch), rate_hz)), dbfs)


def noise(seconds: float, rate_hz: int = 16000, dbfs: float = -60.0, seed: int = 0, kind: str = "room") -> Samples:
    """Return stationary noise.

    Args:
        seconds: its length.
        rate_hz: its sample rate.
        dbfs: its RMS; quiet rooms give -70 to -55 dBFS at a usual microphone gain.
        seed: the same seed gives the same samples.
        kind: "room" (power falls 6 dB an octave above 100 Hz, like a ventilated room), "pink" (3 dB) or "white".
    """
    count = round(seconds * rate_hz)
    spectrum = np.fft.rfft(np.random.default_rng(seed).standard_normal(count))
    slope = {"room": 1.0, "pink": 0.5, "white": 0.0}[kind]
    frequency = np.maximum(np.fft.rfftfreq(count, 1 / rate_hz), 100.0)
    return level(np.fft.irfft(spectrum * frequency**-slope, count), dbfs)


def timeline(
    clips: Iterable[tuple[float, Samples]],
    seconds: float,
    rate_hz: int = 16000,
    noise_dbfs: float = -60.0,
    seed: int = 0,
) -> Samples:
    """Lay clips over room noise, each at its start time in seconds; clips may overlap, and must end within `seconds`."""
    mix = noise(seconds, rate_hz, noise_dbfs, seed).astype(np.int32)
    for start_s, clip in clips:
        start = round(start_s * rate_hz)
        if start + len(clip) > len(mix):
            raise ValueError(f"the clip at {start_s} s lasts {len(clip) / rate_hz:.2f} s and ends beyond {seconds} s")
        mix[start : start + len(clip)] += clip
    return np.clip(mix, -32768, 32767).astype(np.int16)


def blocks(samples: Samples, sizes: Sequence[int]) -> Iterable[Samples]:
    """Cut samples into blocks whose sizes repeat `sizes`; the last block may be shorter."""
    start = turn = 0
    while start < len(samples):
        size = sizes[turn % len(sizes)]
        yield samples[start : start + size]
        start, turn = start + size, turn + 1


def level(samples: NDArray[np.number], dbfs: float) -> Samples:
    """Scale to an RMS in dBFS; clips at full scale."""
    wide = np.asarray(samples, np.float64)
    rms = float(np.sqrt(np.mean(wide**2)))
    if rms == 0:
        return np.zeros(len(wide), np.int16)
    return np.clip(np.round(wide * (32768 * 10 ** (dbfs / 20) / rms)), -32768, 32767).astype(np.int16)


def resample(samples: NDArray[np.number], from_hz: int, to_hz: int) -> NDArray[np.float64]:
    """Change the sample rate of a whole clip by cutting or extending its spectrum: exact, not for streams."""
    wide = np.asarray(samples, np.float64)
    count = round(len(wide) * to_hz / from_hz)
    spectrum = np.fft.rfft(wide)
    kept = np.zeros(count // 2 + 1, complex)
    shared = min(len(kept), len(spectrum))
    kept[:shared] = spectrum[:shared]
    return np.fft.irfft(kept, count) * (count / len(wide))


def _synthesise(text: str, voice: str, speed: int, pitch: int) -> tuple[Samples, int]:
    if voice.startswith("flite:"):
        with tempfile.NamedTemporaryFile(suffix=".wav") as file:
            stretch = f"duration_stretch={160 / speed:.3f}"
            command = ["flite", "-voice", voice[6:], "--setf", stretch, "-t", text, "-o", file.name]
            subprocess.run(command, check=True, capture_output=True)
            return _read_wav(Path(file.name).read_bytes())
    if voice.startswith("festival:"):
        stretch = f"(Parameter.set 'Duration_Stretch {160 / speed:.3f})"
        with tempfile.NamedTemporaryFile(suffix=".wav") as file:  # into a pipe it writes a header without a length
            command = ["text2wave", "-eval", f"(voice_{voice[9:]})", "-eval", stretch, "-o", file.name]
            subprocess.run(command, check=True, capture_output=True, input=text.encode())
            return _read_wav(Path(file.name).read_bytes())
    command = ["espeak-ng", "-v", voice, "-s", str(speed), "-p", str(pitch), "--stdout", text]
    return _read_wav(subprocess.run(command, check=True, capture_output=True).stdout)


def _read_wav(data: bytes) -> tuple[Samples, int]:
    # espeak-ng writes to a pipe and cannot know the length in advance: the header says 2 GB, so everything there is taken.
    with wave.open(io.BytesIO(data)) as file:
        frames = file.readframes(len(data))
        return np.frombuffer(frames[: len(frames) // 2 * 2], "<i2"), file.getframerate()


def _trim(samples: NDArray[np.float64]) -> NDArray[np.float64]:
    audible = np.flatnonzero(np.abs(samples) > 0.02 * np.max(np.abs(samples)))
    return samples[audible[0] : audible[-1] + 1]


def _cache() -> Path:
    folder = Path(tempfile.gettempdir()) / f"pipit-test-speech-{os.getuid()}"
    folder.mkdir(exist_ok=True)
    return folder
