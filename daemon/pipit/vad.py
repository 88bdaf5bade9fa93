"""Voice activity: WebRTC's detector, the C module on its own.

The wrapper `webrtcvad.py` around it is not used: it reads its version from the package metadata (50 ms), and older releases want
pkg_resources, which setuptools no longer has. `_webrtcvad` loads in 0.3 ms and costs 0.1 ms of CPU per second of sound.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from pipit.errors import ConfigError

if TYPE_CHECKING:
    import numpy as np
    from _typeshed import ReadableBuffer
    from numpy.typing import NDArray

RATE_HZ = 16000
FRAME_MS = 20
FRAME = RATE_HZ * FRAME_MS // 1000
"""Samples in a frame. The detector also takes 10 and 30 ms; 20 ms divides Pipit's blocks and the wake word's 80 ms."""

_FRAME_BYTES = 2 * FRAME

_EDGE = bytes(2 * RATE_HZ * 5 // 1000)
"""5 ms of digital silence. A microphone's own noise is never that."""


class Vad:
    """Says frame by frame whether somebody speaks. It adapts to the background, so it must see every frame.

    Digital silence is kept from it, the frames included that only begin or end with it: no room is that quiet. What comes of a
    muted or starved sound card would be learnt as the background, and the room's own noise then be speech for seconds (measured at
    -60 to -40 dBFS: 0.1 s of zeros, then 3.5 to 6.3 s of "speech").

    Args:
        mode: 0 (lets everything pass that may be speech) to 3 (lets pass only what surely is). Measured: mode 3 loses one in six
            speakers at -50 dBFS and mode 2 one in a hundred; modes 0 and 1 take white noise at -30 dBFS for speech.

    Raises:
        ConfigError: the C module is not installed.
        ValueError: no such mode.
    """

    def __init__(self, mode: int = 1) -> None:
        if not 0 <= mode <= 3:
            raise ValueError(f"voice detector mode {mode}: must be 0 to 3")
        self._mode = mode
        self._module = _load()
        self._process = self._module.process
        self.reset()

    def is_speech(self, frame: NDArray[np.int16] | ReadableBuffer) -> bool:
        """Take the next `FRAME` int16 samples (an array or a buffer) at 16 kHz; digital silence is none.

        Raises:
            ValueError: not one frame; the C code would read beyond it.
        """
        # numpy declares its buffer protocol only from Python 3.12 on
        samples = frame if isinstance(frame, bytes) else memoryview(cast("ReadableBuffer", frame)).tobytes()
        if len(samples) != _FRAME_BYTES:
            raise ValueError(
                f"a frame of {len(samples)} bytes: the voice detector takes {FRAME} samples of int16 ({_FRAME_BYTES} bytes)"
            )
        if samples.startswith(_EDGE) or samples.endswith(_EDGE):
            return False
        return bool(self._process(self._state, RATE_HZ, samples, FRAME))

    def reset(self) -> None:
        """Forget the background, as at the start."""
        self._state = self._module.create()
        self._module.init(self._state)
        self._module.set_mode(self._state, self._mode)


def _load() -> Any:
    try:
        import _webrtcvad
    except ImportError as error:
        raise ConfigError(f"voice detection needs the C module _webrtcvad ({error}): pip install webrtcvad-wheels") from error
    return _webrtcvad
