from __future__ import annotations

from pipit.core.playhead import Playhead


def test_nothing_is_heard_before_anything_is_played() -> None:
    assert Playhead(48000).heard(5.0) == 0


def test_a_block_is_heard_after_its_delay_at_the_rate_of_the_device() -> None:
    playhead = Playhead(1000)
    playhead.hand(10.0, 0.5, before=0, after=20)
    playhead.hand(10.02, 0.5, before=20, after=40)
    heard = [playhead.heard(now) for now in (10.0, 10.49, 10.51, 10.53, 10.6)]
    assert heard == [0, 0, 10, 30, 40]


def test_silence_takes_time_but_has_no_position() -> None:
    playhead = Playhead(1000)
    playhead.hand(1.0, 0.1, before=0, after=5)
    playhead.hand(1.02, 0.1, before=5, after=5)
    playhead.hand(1.04, 0.1, before=5, after=25)
    assert [playhead.heard(now) for now in (1.103, 1.13, 1.15)] == [3, 5, 15]


def test_what_was_dropped_counts_once_its_place_is_reached() -> None:
    playhead = Playhead(1000)
    playhead.hand(1.0, 0.1, before=0, after=20)
    playhead.hand(1.02, 0.1, before=20, after=9000)
    playhead.hand(1.04, 0.1, before=9000, after=9000)
    assert [playhead.heard(now) for now in (1.11, 1.139, 1.15)] == [10, 39, 9000]


def test_never_goes_back_and_keeps_only_what_is_on_its_way() -> None:
    playhead, last = Playhead(48000), 0
    for block in range(1000):
        now = block * 0.02
        playhead.hand(now, 0.04, before=960 * block, after=960 * (block + 1))
        assert playhead.heard(now) >= last
        last = playhead.heard(now)
    assert len(playhead._blocks) <= 5
    assert last == 960 * 997
