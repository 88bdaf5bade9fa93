"""How sound is written in the voice agents' messages: base64 of PCM16, or of G.711 at 8 kHz. Pure.

G.711's tables are the one thing shared with the daemon's codecs: tests hold them to the values of the recommendation.
"""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass
from typing import Literal

from pipit.core import g711

Law = Literal["pcm", "pcmu", "pcma"]

COMPANDED: dict[str, Law] = {"audio/pcmu": "pcmu", "audio/pcma": "pcma"}
"""Name in both families' settings -> which table."""
COMPANDED_HZ = g711.RATE_HZ


@dataclass(frozen=True)
class Format:
    """One direction of a session."""

    rate_hz: int
    law: Law = "pcm"

    @classmethod
    def of(cls, name: str, rate_hz: int) -> Format:
        """Return what is called "audio/pcm", at this rate, or "audio/pcmu" or "audio/pcma", which have a rate of their own."""
        law = COMPANDED.get(name)
        return cls(COMPANDED_HZ, law) if law else cls(rate_hz)

    def decode(self, audio: str) -> bytes | None:
        """Return the PCM16 in a message; None if that is no base64 or no whole number of samples."""
        try:
            data = base64.b64decode(audio, validate=True)
        except binascii.Error:
            return None
        if self.law != "pcm":
            return g711.decode(data, self.law)
        return None if len(data) % 2 else data

    def encode(self, pcm: bytes) -> str:
        """Return PCM16 as it stands in a message."""
        return base64.b64encode(pcm if self.law == "pcm" else g711.encode(pcm, self.law)).decode()

    def seconds(self, pcm: bytes) -> float:
        """Return how long PCM16 lasts."""
        return len(pcm) / 2 / self.rate_hz
