from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipit.core.sentences import EARLY, LONGEST, Sentences


def split(*pieces: str) -> list[str]:
    sentences = Sentences()
    found = [sentence for piece in pieces for sentence in sentences.feed(piece)]
    return [*found, *sentences.flush()]


@pytest.mark.parametrize(
    ("text", "sentences"),
    [
        ("It is three. The sun shines.", ["It is three.", " The sun shines."]),
        ("Really?! Yes. No", ["Really?!", " Yes.", " No"]),
        ("Dr. Smith lives in St. Ives. He is old.", ["Dr. Smith lives in St. Ives.", " He is old."]),
        ("It costs 3.50 euros. That is a lot.", ["It costs 3.50 euros.", " That is a lot."]),
        ("Use tools, e.g. Hammers. Or not.", ["Use tools, e.g. Hammers.", " Or not."]),
        ("Come at 5 p.m. tomorrow. Bye.", ["Come at 5 p.m. tomorrow.", " Bye."]),
        ("Come at 5 p.m. The door is open.", ["Come at 5 p.m.", " The door is open."]),
        ("J. S. Bach wrote it. So did I. Well.", ["J. S. Bach wrote it.", " So did I.", " Well."]),
        ("The U.S. Army is big. Yes.", ["The U.S. Army is big.", " Yes."]),
        ("No. That is number No. 5 of six.", ["No.", " That is number No. 5 of six."]),
        ("1. First this. 2. Then that.", ["1. First this.", " 2. Then that."]),
        ("Wait... what? Yes.", ["Wait... what?", " Yes."]),
        ('"Stop!" he said. "Now."', ['"Stop!" he said.', ' "Now."']),
        ("Eins.\nZwei ohne Punkt\nDrei.", ["Eins.", "\nZwei ohne Punkt", "\nDrei."]),
        ("今日は晴れです。明日は雨です。", ["今日は晴れです。", "明日は雨です。"]),
        ("Look at example.com for it. Then come.", ["Look at example.com for it.", " Then come."]),
        ("It is 5. Then 6 comes.", ["It is 5.", " Then 6 comes."]),
        ("", []),
        ("   ", []),
        ("... !", ["... !"]),
    ],
)
def test_sentences(text: str, sentences: list[str]) -> None:
    assert split(text) == sentences


def test_a_sentence_is_whole_when_the_next_begins() -> None:
    sentences = Sentences()
    assert sentences.feed("It is 3.") == []
    assert sentences.feed(" ") == []
    assert sentences.feed("The") == ["It is 3."]


def test_a_number_may_go_on() -> None:
    assert split("Pi is 3.", "14 or so. ", "Yes.") == ["Pi is 3.14 or so.", " Yes."]


def test_a_long_first_sentence_ends_at_a_comma() -> None:
    text = (
        "When the morning express was still far behind the mountain and the fog, she would hop onto the clock, and sing two notes."
    )
    first, rest = split(text)
    assert first.endswith("fog, ")
    assert EARLY <= len(first) < len(text)
    assert first + rest == text


def test_later_sentences_wait_for_their_end() -> None:
    text = (
        "When the morning express was still far behind the mountain and the fog, she would hop onto the clock, and sing two notes."
    )
    assert split("Yes. ", text) == ["Yes.", " " + text]


def test_what_never_ends_is_cut() -> None:
    pieces = split("word " * 200)
    assert all(len(piece) <= LONGEST for piece in pieces)
    assert "".join(pieces).split() == ["word"] * 200


def test_without_any_blank_it_is_cut_as_well() -> None:
    assert [len(piece) for piece in split("x" * 1000)] == [LONGEST] * 4 + [1000 - 4 * LONGEST]


@given(st.lists(st.text(alphabet="ab .,!?\nA3。\"'", max_size=40), max_size=12))
def test_nothing_is_lost_however_it_is_cut(pieces: list[str]) -> None:
    text = "".join(pieces)
    assert "".join(split(*pieces)).split() == text.split()


@given(st.text(alphabet="ab .,!?A3", max_size=120), st.integers(1, 20))
def test_the_cut_of_the_stream_makes_no_difference(text: str, size: int) -> None:
    assert split(*(text[i : i + size] for i in range(0, len(text), size))) == split(*text)
