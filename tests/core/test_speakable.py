from __future__ import annotations

import itertools
import re
import time

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from pipit.core.speakable import Speakable, speakable


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ("It is four o'clock.", "It is four o'clock."),
        ("**Bold** and *slanted*, _both_ and ***all***.", "Bold and slanted, both and all."),
        ("a ~~wrong~~ right `word`", "a wrong right word"),
        ("**two words**", "two words"),
        ("5*3 snake_case 2 * 3", "5*3 snake_case 2 * 3"),
        ("# Title\nText.", "Title.\nText."),
        ("### What?\nText.", "What?\nText."),
        ("Buy:\n- milk\n- two eggs\n", "Buy: milk.\ntwo eggs."),
        ("1. First\n2) Second", "1: First.\n2: Second"),
        ("> quoted\n> twice", "quoted.\ntwice"),
        ("- [x] done\n- [ ] open", "done.\nopen"),
        ("One line\nand the next.", "One line and the next."),
        ("A paragraph\n\nanother", "A paragraph.\nanother"),
        ("above\n\n---\n\nbelow", "above.\nbelow"),
        ("| City | °C |\n|---|:-:|\n| Riga | 4 |\n", "City, °C.\nRiga, 4."),
        ("See [the manual](https://x.org/a?b=c) first.", "See the manual first."),
        ("![a bird](bird.png) sings", "a bird sings"),
        ("as known[1][^2].", "as known."),
        ("Visit https://www.example.com/path?x=1.", "Visit example dot com."),
        ("(see http://user:pw@host.example:8080/#x)", "(see host dot example)"),
        ("<https://pipit.example> or www.pipit.example!", "pipit dot example or pipit dot example!"),
        ("Write to anna.b@mail.example, please", "Write to anna dot b at mail dot example, please"),
        ("Great 🎉🎉! Done ✅.", "Great! Done."),
        ("a👍🏽b 👨‍👩‍👧 🇱🇻 1️⃣", "a b 1"),
        ("C♯ and B♭ stay", "C♯ and B♭ stay"),
        ("R&amp;D<br>x", "R&D x"),
        ("Run:\n```python\nprint('**')\n```\nThen stop.", "Run: Then stop."),
        ("Say ```this one``` now", "Say this one now"),
        ("```x y``` now", "now"),
        ("an [unclosed bracket", "an [unclosed bracket"),
        ("[laughs] well", "[laughs] well"),
        ("  spaces \t between\r\n", "spaces between"),
        ("नमस्ते क्‍ष", "नमस्ते क्‍ष"),  # a joiner that is no picture's
        ("", ""),
    ],
)
def test_what_is_said(written: str, said: str) -> None:
    assert speakable(written) == said


def test_a_sentence_waits_for_nothing_but_its_last_word() -> None:
    stream = Speakable()
    assert stream.feed("It is four o'clo") == "It is four"
    assert stream.feed("ck. ") == " o'clock."
    assert stream.feed("And [a link") == " And"
    assert stream.feed("](x) here ") == " a link here"
    assert stream.flush() == ""


def test_a_bracket_that_is_never_closed_does_not_hold_the_rest_back_for_ever() -> None:
    stream = Speakable()
    said = stream.feed("[" + "word " * 300)
    assert said.startswith("[word word")


def test_after_a_flush_another_text_begins() -> None:
    stream = Speakable()
    assert stream.feed("```\ncode") + stream.flush() == ""
    assert stream.feed("- entry") + stream.flush() == "entry"


def test_long_and_hostile_text_takes_no_time() -> None:
    began = time.process_time()
    for text in ("[" * 20000, "*" * 20000, "[a](" * 5000, "_a" * 10000, "|" * 20000, "a@" * 10000, "www." * 5000, "🎉" * 20000):
        speakable(text)
    assert time.process_time() - began < 20  # quadratic in the longest link at worst, not in the text


PIECES = st.sampled_from(
    [
        *("word", " ", "\n", "*", "**", "_", "`", "```", "#", "- ", "1. ", "|", "---", "[", "]", "(", ")", "![", "~~", ">", "<b>"),
        *("https://a.example/b", "www.", "a@b.example", "🎉", "\ufe0f", "\u200d", ".", "!", "5", "é", "[1]", "&amp;", "\t", "[x]"),
    ]
)
TEXTS = st.lists(PIECES, max_size=25).map("".join)


@given(TEXTS, st.lists(st.integers(0, 60), max_size=8))
@example("[a](b (c) d", [4])
def test_how_the_text_is_cut_makes_no_difference(text: str, places: list[int]) -> None:
    stream = Speakable()
    cuts = [0, *sorted(min(place, len(text)) for place in places), len(text)]
    pieces = [text[start:end] for start, end in itertools.pairwise(cuts)]
    assert "".join([stream.feed(piece) for piece in pieces] + [stream.flush()]) == speakable(text)


@given(TEXTS)
def test_no_mark_and_no_picture_is_left(text: str) -> None:
    said = speakable(text)
    assert not re.search(r"\*\*|__|~~|`|https?://|🎉|\ufe0f|  |^\s|\s$", said)


@given(st.lists(st.from_regex(r"[a-eé'][a-eé',.?!]{0,7}", fullmatch=True), max_size=12))
def test_plain_sentences_stay_as_they_are(words: list[str]) -> None:
    assert speakable(" ".join(words)) == " ".join(words)
