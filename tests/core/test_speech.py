from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipit.core.speech import END_MS, START_FRAMES, WINDOW_FRAMES, Endpointer

FRAME_MS = 20
END_FRAMES = END_MS // FRAME_MS


def changes(endpointer: Endpointer, flags: str) -> list[tuple[int, str]]:
    """Feed "#" for voiced and "." for unvoiced; list (frames fed so far, change)."""
    found: list[tuple[int, str]] = []
    for count, flag in enumerate(flags, 1):
        change = endpointer.feed(flag == "#")
        if change:
            found.append((count, change))
    return found


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        pytest.param("." * 500, [], id="silence"),
        pytest.param("#" * 7 + "." * 100, [], id="one frame too few"),
        pytest.param("#" * 8, [(8, "started")], id="just enough"),
        pytest.param("####..####", [(10, "started")], id="two frames lost"),
        pytest.param("####...####", [], id="three frames lost"),
        pytest.param(("######" + "." * 20) * 20, [], id="a click every half second"),
        pytest.param("#" * 20 + "." * 34, [(8, "started")], id="a pause one frame short of the end"),
        pytest.param("#" * 20 + "." * 35, [(8, "started"), (55, "stopped")], id="the end"),
        pytest.param("#" * 20 + "." * 17 + "######" + "." * 17, [(8, "started"), (55, "stopped")], id="a click in a pause"),
        pytest.param("#" * 20 + "." * 26 + "#" * 8 + "." * 34, [(8, "started")], id="a word in a pause"),
        pytest.param("########" + "." * 35 + "########", [(8, "started"), (43, "stopped"), (51, "started")], id="two turns"),
    ],
)
def test_turns(flags: str, expected: list[tuple[int, str]]) -> None:
    assert (START_FRAMES, WINDOW_FRAMES, END_MS) == (8, 10, 700)
    assert changes(Endpointer(), flags) == expected


def test_talking_lasts_through_pauses() -> None:
    endpointer = Endpointer()
    changes(endpointer, "#" * 7)
    assert not endpointer.talking
    changes(endpointer, "#" + "." * 34)
    assert endpointer.talking
    changes(endpointer, ".")
    assert not endpointer.talking


def test_quiet_ms_finds_where_the_pause_began() -> None:
    endpointer = Endpointer()
    changes(endpointer, "#" * 30)
    assert endpointer.quiet_ms == 0
    changes(endpointer, "...")
    assert endpointer.quiet_ms == 60
    changes(endpointer, "." * 10 + "#")
    assert endpointer.quiet_ms == 280


def test_after_a_stop_old_frames_do_not_help_a_new_start() -> None:
    endpointer = Endpointer(end_ms=20)
    assert changes(endpointer, "########." + "#" * 7) == [(8, "started"), (9, "stopped")]


def test_reset_forgets() -> None:
    endpointer = Endpointer()
    changes(endpointer, "#" * 20)
    endpointer.reset()
    assert not endpointer.talking
    assert changes(endpointer, "#" * 7) == []
    assert changes(endpointer, "#") == [(1, "started")]


def test_numbers_are_in_the_units_they_say() -> None:
    endpointer = Endpointer(start_frames=1, window_frames=1, end_ms=100, frame_ms=10)
    assert changes(endpointer, "#" + "." * 20) == [(1, "started"), (11, "stopped")]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"start_frames": 0}, "start_frames is 0"),
        ({"start_frames": 11}, r"start_frames is 11; it must be 1 to window_frames \(10\)"),
        ({"end_ms": 10}, "end_ms is 10 and frame_ms 20"),
        ({"frame_ms": 0}, "frame_ms 0"),
    ],
)
def test_impossible_numbers(arguments: dict[str, int], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Endpointer(**arguments)


@given(st.lists(st.booleans(), max_size=400))
def test_starts_and_stops_alternate_and_talking_agrees(flags: list[bool]) -> None:
    endpointer = Endpointer()
    expected = "started"
    for voiced in flags:
        change = endpointer.feed(voiced)
        if change:
            assert change == expected
            expected = "stopped" if change == "started" else "started"
        assert endpointer.talking == (expected == "stopped")
        assert not endpointer.talking or endpointer.quiet_ms < END_MS


@given(st.lists(st.booleans(), max_size=200))
def test_silence_always_ends_it(flags: list[bool]) -> None:
    endpointer = Endpointer()
    for voiced in flags:
        endpointer.feed(voiced)
    for _ in range(END_FRAMES):
        endpointer.feed(False)
    assert not endpointer.talking
