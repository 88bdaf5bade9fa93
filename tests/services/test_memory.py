from __future__ import annotations

from pipit.services import Line
from pipit.services.memory import CHARACTERS, KEPT, LINES, History, Sound


def test_who_said_what() -> None:
    history = History()
    history.user(" Is it raining? ")
    history.user(" ")
    history.words("r", "Not ")
    history.words("r", "yet.")
    assert history.done("r") == "Not yet."
    assert history.said() == (Line(False, "Is it raining?"), Line(True, "Not yet."))
    assert history.said(before=1) == (Line(False, "Is it raining?"),)


def test_of_an_interrupted_reply_only_what_was_heard_is_remembered() -> None:
    history = History()
    history.words("r", "one two three four")
    assert history.done("r", 0.5) == "one two"
    assert history.said() == (Line(True, "one two"),)


def test_a_reply_may_turn_out_to_have_been_heard_in_part_after_it_was_sent_to_the_end() -> None:
    history = History()
    history.words("r", "one two three four")
    history.done("r")
    history.user("Stop.")
    history.done("r", 0.5)
    assert history.said() == (Line(True, "one two"), Line(False, "Stop."))
    history.done("r", 0.0)
    assert history.said() == (Line(False, "Stop."),)


def test_no_more_is_carried_over_than_is_useful() -> None:
    history = History()
    for number in range(LINES + 5):
        history.user(f"line {number}")
    assert [line.text for line in history.said()] == [f"line {number}" for number in range(5, LINES + 5)]
    history.user("x" * CHARACTERS)
    assert history.said() == (Line(False, "x" * CHARACTERS),)


def test_sound_is_kept_for_a_while_and_more_may_come_while_it_is_read() -> None:
    sound = Sound(6)
    for piece in (b"aa", b"bb", b"cc", b"dd"):
        sound.append(piece)
    assert (sound.begin, sound.end) == (2, 8)
    heard = []
    for piece in sound.since(4):
        heard.append(piece)
        if piece == b"dd":
            sound.append(b"ee")
    assert heard == [b"cc", b"dd", b"ee"]
    assert list(sound.since(sound.end)) == []


def test_a_conversation_of_days_is_not_kept_whole() -> None:
    history = History()
    history.words("first", "one two three")
    history.done("first")
    for n in range(10 * KEPT):
        history.user(f"line {n}")
    assert len(history) == 10 * KEPT + 1
    assert len(history._lines) <= 2 * KEPT
    assert history.said()[-1] == Line(False, f"line {10 * KEPT - 1}")
    assert history.said(before=len(history) - 1)[-1] == Line(False, f"line {10 * KEPT - 2}")
    assert history.said(before=5) == (), "those are gone"
    assert history.done("first", 0.5) == "", "and so is the reply"
    history.words("last", "four five six")
    history.done("last")
    assert history.done("last", 0.5) == "four"
    assert history.said()[-1] == Line(True, "four")


def test_a_line_without_end_leaves_room_for_nothing_else_and_is_cut() -> None:
    history = History()
    history.user("x" * (3 * CHARACTERS))
    assert [len(line.text) for line in history.said()] == [CHARACTERS]
