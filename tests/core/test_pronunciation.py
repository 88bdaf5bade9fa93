from __future__ import annotations

import re

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from pipit.core.pronunciation import Pronunciation, hint

WORDS = {
    "API": "A P I",
    "SQL": "sequel",
    "New York": "Nu Jork",
    "New": "fresh",
    "C++": "see plus plus",
    ".NET": "dot net",
    "UI": "U I",
}


def spoken(text: str, words: dict[str, str] = WORDS) -> str:
    pronunciation = Pronunciation(words)
    return pronunciation.feed(text) + pronunciation.flush()


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ("The API, please.", "The A P I, please."),
        ("the api and the Api", "the A P I and the A P I"),
        ("build the UI", "build the U I"),  # not inside of a word
        ("APIs and MySQL", "APIs and MySQL"),
        ("the API's SQL", "the A P I's sequel"),
        ("New York is new", "Nu Jork is fresh"),  # the longest first
        ("New Yorker", "fresh Yorker"),
        ("C++ and C++17, not C", "see plus plus and see plus plus17, not C"),  # no boundary where the form has none
        ("ObjectiveC++", "ObjectiveC++"),
        ("ASP.NET", "ASPdot net"),
        ("SQL_x SQL", "SQL_x sequel"),
        ("", ""),
    ],
)
def test_whole_words_are_replaced(written: str, said: str) -> None:
    assert spoken(written) == said


@pytest.mark.parametrize(
    ("words", "written", "said"),
    [
        ({"Škoda": "Shkoda"}, "ein ŠKODA fährt", "ein Shkoda fährt"),
        ({"Zürich": "Tsoorich"}, "Zürichsee, zürich", "Zürichsee, Tsoorich"),
        ({"Αθήνα": "Athens"}, "η ΑΘΉΝΑ", "η Athens"),
        ({"cafe": "kaffee"}, "cafe\u0301 cafe", "cafe\u0301 kaffee"),  # the accent belongs to the word
        ({"北京": "Beijing"}, "北京 北京市", "Beijing 北京市"),
        ({"a.b": "x"}, "aXb a.b", "aXb x"),  # written forms are no patterns
        ({"x": r"\1 \g<0>"}, "x", r"\1 \g<0>"),  # nor are spoken forms
        ({"a": "b", "b": "a"}, "a b", "b a"),  # what was replaced is not looked at again
    ],
)
def test_any_script(words: dict[str, str], written: str, said: str) -> None:
    assert spoken(written, words) == said


def test_a_word_cut_in_two_is_found() -> None:
    words = Pronunciation(WORDS)
    assert [words.feed(piece) for piece in ("in Ne", "w Yo", "rk, N", "ew shoes")] == ["in ", "", "Nu Jork, ", "fresh shoes"]
    assert words.flush() == ""


def test_only_what_may_become_a_word_is_held_back() -> None:
    words = Pronunciation(WORDS)
    assert words.feed("Hello there, ") == "Hello there, "
    assert words.feed("the SQ") == "the "
    assert words.feed("uare") == "SQuare"
    assert (words.feed("AP"), words.feed("I")) == ("AP", "I")  # "SQuareAPI" is one word
    assert (words.feed(" AP"), words.feed("I"), words.flush()) == (" ", "", "A P I")


def test_after_a_flush_another_text_begins() -> None:
    words = Pronunciation(WORDS)
    assert words.feed("x") + words.flush() == "x"
    assert words.feed("API") + words.flush() == "A P I"


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        ({"": "x"}, "no word"),
        ({" a": "x"}, "no word"),
        ({"SQL": "x", "sql": "y"}, "'sql' is the same word as 'SQL'"),
        ({"a": 5}, "is said as 5, which is no text"),
        ({7: "x"}, "7 is no word"),
    ],
)
def test_an_unusable_map_is_refused(words: dict[str, str], problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        Pronunciation(words)
    with pytest.raises(ValueError, match=problem):
        hint(words)


def test_the_hint_names_every_word() -> None:
    assert hint({}) == ""
    text = hint({"nginx": "engine x", "SQL": "sequel"})
    assert "“nginx” as “engine x”; “SQL” as “sequel”" in text


LETTERS = "abAB +.é\u0301_1"
MAPS = st.dictionaries(
    st.text(LETTERS, min_size=1, max_size=5).filter(lambda w: w.strip() == w), st.text("xyz ", max_size=4), max_size=6
).filter(lambda words: len({w.casefold() for w in words}) == len(words))


@given(MAPS, st.lists(st.text(LETTERS, max_size=6), max_size=12))
@example({"a": "x", "a a": "y"}, ["a", " ", "a"])
@example({"aa": "x", "a b": "y"}, ["aa", " b"])
def test_how_the_text_is_cut_makes_no_difference(words: dict[str, str], pieces: list[str]) -> None:
    streamed = Pronunciation(words)
    assert "".join([streamed.feed(piece) for piece in pieces] + [streamed.flush()]) == spoken("".join(pieces), words)


@given(MAPS, st.text(LETTERS, max_size=30))
def test_it_is_what_one_search_from_left_to_right_finds(words: dict[str, str], text: str) -> None:
    """The definition, written down in another way: at each place the longest form whose ends are at the ends of words."""
    letter = re.compile(r"[\w\u0300-\u036f]")
    result, place = "", 0
    while place < len(text):
        for written in sorted(words, key=len, reverse=True):
            end = place + len(written)
            left = place > 0 and letter.match(text[place - 1]) and letter.match(written[0])
            right = end < len(text) and letter.match(text[end]) and letter.match(written[-1])
            if text[place:end].lower() == written.lower() and not left and not right:
                result, place = result + words[written], end
                break
        else:
            result, place = result + text[place], place + 1
    assert spoken(text, words) == result


@given(st.text(max_size=40))
def test_without_words_nothing_changes(text: str) -> None:
    assert spoken(text, {}) == text
