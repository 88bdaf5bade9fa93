"""Sound as a file in a request: a WAV header, and multipart/form-data. Pure."""

from __future__ import annotations

import secrets
import struct
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from pipit.core.pcm import HEARING_RATE_HZ


def wav(samples: NDArray[np.int16], shortest_s: float = 0.0) -> bytes:
    """Return a WAV file.

    Args:
        samples: shape (n,), mono, 16 kHz.
        shortest_s: shorter sound is padded with silence, half of it on either side.
    """
    missing = max(0, round(shortest_s * HEARING_RATE_HZ) - len(samples))
    pcm = np.pad(samples, (missing // 2, missing - missing // 2)).astype("<i2").tobytes()
    rate = HEARING_RATE_HZ
    head = struct.pack(
        "<4sI4s4sIHHIIHH4sI", b"RIFF", 36 + len(pcm), b"WAVE", b"fmt ", 16, 1, 1, rate, 2 * rate, 2, 16, b"data", len(pcm)
    )
    return head + pcm


def multipart(fields: Mapping[str, str], name: str, sound: bytes) -> tuple[str, bytes]:
    """Return the content type and the body of a form with one WAV file (RFC 7578).

    Args:
        fields: the texts.
        name: of the part with the file.
        sound: what `wav` returned.
    """
    border = f"pipit-{secrets.token_hex(16)}"
    parts = [
        f'--{border}\r\nContent-Disposition: form-data; name="{key}"\r\n\r\n{value}\r\n'.encode() for key, value in fields.items()
    ]
    head = (
        f'--{border}\r\nContent-Disposition: form-data; name="{name}"; filename="utterance.wav"\r\nContent-Type: audio/wav\r\n\r\n'
    )
    return f"multipart/form-data; boundary={border}", b"".join([*parts, head.encode(), sound, f"\r\n--{border}--\r\n".encode()])
