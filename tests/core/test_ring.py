from __future__ import annotations

import threading

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipit.core.ring import Ring


def counting(start: int, stop: int) -> np.ndarray:
    return np.arange(start, stop).astype(np.int16)


@given(capacity=st.integers(1, 60), writes=st.lists(st.integers(0, 150), max_size=30), reads=st.randoms())
def test_holds_what_a_bytearray_would_hold(capacity: int, writes: list[int], reads: object) -> None:
    ring, model, total = Ring(capacity), bytearray(), 0
    for count in writes:
        samples = counting(total, total + count)
        total += count
        ring.write(samples)
        model += samples.tobytes()
        assert ring.written == total
        assert ring.oldest == max(0, total - capacity)
        start = reads.randint(ring.oldest, total)  # type: ignore[attr-defined]
        stop = reads.randint(start, total)  # type: ignore[attr-defined]
        assert ring.read(start, stop).tobytes() == model[2 * start : 2 * stop]


@pytest.mark.parametrize(
    ("start", "stop"),
    [(49, 60), (140, 151), (100, 90), (-1, 10)],
    ids=["overwritten", "not yet written", "backwards", "negative"],
)
def test_says_which_samples_it_holds(start: int, stop: int) -> None:
    ring = Ring(100)
    ring.write(counting(0, 150))
    with pytest.raises(ValueError, match=rf"samples {start} to {stop} are not in the ring, which holds 50 to 150"):
        ring.read(start, stop)


def test_takes_one_channel_of_an_interleaved_block() -> None:
    ring = Ring(100)
    stereo = counting(0, 60)
    ring.write(stereo[1::2])
    np.testing.assert_array_equal(ring.read(0, 30), stereo[1::2])


def test_a_read_is_a_copy() -> None:
    ring = Ring(4)
    ring.write(counting(0, 4))
    kept = ring.read(0, 4)
    ring.write(counting(4, 9))
    np.testing.assert_array_equal(kept, counting(0, 4))


def test_knows_how_far_it_was_read() -> None:
    ring = Ring(100)
    ring.write(counting(0, 50))
    assert ring.consumed == 0
    ring.read(10, 30)
    ring.read(0, 20)
    assert ring.consumed == 30


def test_refuses_to_hold_nothing() -> None:
    with pytest.raises(ValueError, match="0 samples: must be at least 1"):
        Ring(0)


def test_notices_being_overtaken_while_it_reads() -> None:
    ring = Ring(1000)
    ring.write(counting(0, 1000))
    copied = np.empty

    def slowly(*arguments: object, **keywords: object) -> np.ndarray:
        ring.write(counting(1000, 2300))  # in the place of another thread that runs between the check and the copy
        return copied(*arguments, **keywords)  # type: ignore[call-overload, no-any-return]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("pipit.core.ring.np.empty", slowly)
        with pytest.raises(ValueError, match="samples 0 to 500 were overwritten meanwhile; the ring now begins at 1300"):
            ring.read(0, 500)


def test_a_writer_and_a_reader_at_once() -> None:
    """Whatever the reader gets is whole; it may be told that it was too slow, but never gets a mixture."""
    ring, block, total = Ring(5000), 997, 3_000_000
    sound = counting(0, total)
    done = threading.Event()

    def write() -> None:
        for start in range(0, total, block):
            ring.write(sound[start : start + block])
        done.set()

    writer = threading.Thread(target=write)
    writer.start()
    position = whole = 0
    while not done.is_set() or position < ring.written:
        start, stop = max(position, ring.oldest), ring.written
        try:
            samples = ring.read(start, stop)
        except ValueError:
            continue
        np.testing.assert_array_equal(samples, sound[start:stop])
        position, whole = stop, whole + len(samples)
    writer.join()
    assert whole > 0
    assert ring.written == total
