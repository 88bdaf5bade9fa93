"""G.711: 8 kHz speech in 8 bits a sample, as telephones carry it. A sixth of the bytes of 24 kHz PCM16, for slow networks.

ITU-T G.711 (11/88): mu-law (PCMU) and A-law (PCMA). Whole tables are made once, so that a message costs two look-ups.
"""

from __future__ import annotations

import functools

import numpy as np
from numpy.typing import NDArray

RATE_HZ = 8000


def encode(pcm: bytes, law: str) -> bytes:
    """Return 16-bit PCM as G.711.

    Args:
        pcm: little-endian samples, a whole number of them.
        law: "pcmu" or "pcma".
    """
    return bytes(_encoding(law)[np.frombuffer(pcm, "<u2")])


def decode(data: bytes, law: str) -> bytes:
    """Return G.711 as little-endian 16-bit PCM."""
    return bytes(_decoding(law)[np.frombuffer(data, np.uint8)])


@functools.cache
def _decoding(law: str) -> NDArray[np.int16]:
    """Return the sample (16 bits) of each code."""
    code = np.arange(256)
    if law == "pcmu":
        code = ~code & 0xFF
        size = (((code & 0x0F) << 3) + 132 << (code >> 4 & 7)) - 132
        return np.where(code & 0x80, -size, size).astype("<i2")
    code = code ^ 0x55
    exponent, mantissa = code >> 4 & 7, (code & 0x0F) << 4
    size = np.where(exponent == 0, mantissa + 8, mantissa + 264 << np.maximum(exponent - 1, 0))
    return np.where(code & 0x80, size, -size).astype("<i2")


@functools.cache
def _encoding(law: str) -> NDArray[np.uint8]:
    """Return the code of each sample, indexed by the sample taken as unsigned: the code whose sample is nearest."""
    decoded = _decoding(law).astype(np.int32)
    order = np.argsort(decoded, kind="stable")
    levels = decoded[order]
    samples = np.arange(65536, dtype=np.uint16).view(np.int16).astype(np.int32)
    above = np.clip(np.searchsorted(levels, samples), 1, 255)
    nearer = np.where(samples - levels[above - 1] <= levels[above] - samples, above - 1, above)
    return order[nearer].astype(np.uint8)
