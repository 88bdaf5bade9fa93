from __future__ import annotations

import numpy as np

from pipit.wake import off
from tests.speech import Samples


def test_hears_nothing(sounds: Samples) -> None:
    engine = off.build(off.Settings())
    assert engine.detect(sounds) is None
    assert engine.detect(np.empty(0, np.int16)) is None
    assert (engine.words, engine.scores()) == ((), {})
    engine.reset()
    engine.close()
