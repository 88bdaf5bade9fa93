from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipit.core import g711

LAWS = ["pcmu", "pcma"]


@pytest.mark.parametrize(
    ("law", "code", "sample"),
    [  # ITU-T G.711, tables 1 and 2, scaled to 16 bits
        ("pcmu", 0xFF, 0),
        ("pcmu", 0x80, 32124),
        ("pcmu", 0x00, -32124),
        ("pcmu", 0xF0, 120),
        ("pcma", 0xD5, 8),
        ("pcma", 0x55, -8),
        ("pcma", 0xAA, 32256),
        ("pcma", 0x2A, -32256),
    ],
)
def test_codes_of_the_recommendation(law: str, code: int, sample: int) -> None:
    assert np.frombuffer(g711.decode(bytes([code]), law), "<i2").tolist() == [sample]


@pytest.mark.parametrize("law", LAWS)
def test_every_code_survives(law: str) -> None:
    codes = np.arange(256, dtype=np.uint8).tobytes()
    sound = g711.decode(codes, law)
    assert g711.decode(g711.encode(sound, law), law) == sound


@pytest.mark.parametrize("law", LAWS)
@given(samples=st.lists(st.integers(-32768, 32767)))
def test_a_sample_comes_back_within_half_a_step(law: str, samples: list[int]) -> None:
    pcm = np.array(samples, "<i2")
    back = np.frombuffer(g711.decode(g711.encode(pcm.tobytes(), law), law), "<i2").astype(int)
    assert np.all(np.abs(back - pcm) <= np.maximum(16, np.abs(pcm.astype(int)) // 16))


def test_laws_differ() -> None:
    pcm = np.array([1000, -3000], "<i2").tobytes()
    assert g711.encode(pcm, "pcmu") != g711.encode(pcm, "pcma")
