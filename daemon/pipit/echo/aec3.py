"""WebRTC's third echo canceller, by the package pywebrtc-audio.

It finds any delay by itself, converges within half a second and follows 100 ppm of drift. But its suppressor trusts its own linear
filter with 6 dB at most, so a person who is not much louder than the loudspeaker is pressed down with the echo.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from pipit.core.pcm import HEARING_RATE_HZ
from pipit.echo.louder import Louder
from pipit.echo.proof import power
from pipit.errors import ConfigError


class Aec3:
    """Cancels frame by frame; the frame's length is a multiple of 10 ms.

    Raises:
        ConfigError: the package is not installed.
    """

    def __init__(self) -> None:
        try:
            import pywebrtc_audio
        except ImportError as error:
            raise ConfigError(
                f"echo.engine: this engine needs the package pywebrtc-audio ({error}): install it as Pipit is installed "
                "(pip install pywebrtc-audio), or set echo.engine to kalman or off"
            ) from error
        self._louder = Louder()
        self._canceller = pywebrtc_audio.EchoCanceller(sample_rate=HEARING_RATE_HZ, num_channels=1)

    def quiet(self) -> None:
        """Begin anew after a time without sound."""
        self._louder.rest()

    def step(self, microphone: NDArray[np.int16], reference: NDArray[np.int16]) -> NDArray[np.int16]:
        """Take the next frame of both; return the microphone's without the echo, or as it was where that were louder."""
        left = np.asarray(self._canceller.process(microphone, reference), np.int16)
        return microphone if self._louder.feed(power(left), power(microphone)) else left
