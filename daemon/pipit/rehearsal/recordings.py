"""Recordings that come as files in an HTTP request: multipart bodies and WAV. Pure."""

from __future__ import annotations

import io
import re
import wave
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipit.core.pcm import HEARING_RATE_HZ, Resampler
from pipit.rehearsal.shapes import Refused


@dataclass(frozen=True)
class Recording:
    """Sound as it was sent."""

    samples: NDArray[np.int16]
    """Shape (n,), 16 kHz."""
    seconds: float


def recording(data: bytes, path: str) -> Recording:
    """Read a WAV file of 16-bit samples.

    Args:
        data: the file.
        path: the field that it came in, for complaints.

    Raises:
        Refused: it is no such file; of other containers the rehearsal knows nothing.
    """
    try:
        with wave.open(io.BytesIO(data)) as file:
            channels, width, rate_hz, frames = file.getnchannels(), file.getsampwidth(), file.getframerate(), file.getnframes()
            pcm = file.readframes(frames)
    except (wave.Error, EOFError) as error:
        raise Refused("value", path, f"Audio file could not be decoded ({error}); the rehearsal reads WAV.") from None
    if width != 2 or not 8000 <= rate_hz <= 96000:
        raise Refused(
            "value", path, f"Audio of {8 * width} bits at {rate_hz} Hz could not be decoded; the rehearsal reads 16-bit WAV."
        )
    whole = len(pcm) // (2 * channels) * 2 * channels
    samples = np.frombuffer(pcm[:whole], "<i2").reshape(-1, channels).mean(axis=1).astype(np.int16)
    return Recording(Resampler(rate_hz, HEARING_RATE_HZ).process(samples), len(samples) / rate_hz)


def multipart(kind: str, body: bytes) -> Mapping[str, bytes] | None:
    """Return the parts of a form (RFC 7578) by name; None if it is none."""
    found = re.search(r'^multipart/form-data\s*;.*boundary="?([^";]+)"?', kind, re.IGNORECASE)
    if found is None:
        return None
    line = b"--" + found[1].encode("latin-1")
    parts = {}
    for part in (b"\r\n" + body).split(b"\r\n" + line)[1:]:
        head, blank, content = part.removeprefix(b"\r\n").partition(b"\r\n\r\n")
        name = re.search(rb'content-disposition:\s*form-data;.*\bname="([^"]*)"', head, re.IGNORECASE)
        if blank and name:
            parts[name[1].decode("utf-8", "replace")] = content
    return parts
