from __future__ import annotations

import re
from datetime import datetime
from pathlib import Path

import pytest

from pipit.rehearsal import skills

NOW = datetime(2026, 11, 5, 8, 5)


@pytest.mark.parametrize(
    ("request_", "skill"),
    [
        ("what time is it", "time"),
        ("tell me the time please", "time"),
        ("What is the date today?", "date"),
        ("what day is it", "date"),
        ("tell me a long story", "story"),
        ("tell me a story about the time before trains", "story"),
        ("tell me a joke", "joke"),
        ("make me laugh", "joke"),
        ("help", "help"),
        ("what can you do", "help"),
        ("stop", "stop"),
        ("never mind", "stop"),
        ("thank you very much", "thanks"),
        ("bye bye", "goodbye"),
        ("hey jarvis", "called"),
        ("", "not understood"),
        ("turn on the lights", "not understood"),
        ("stopwatch", "not understood"),
    ],
)
def test_a_request_finds_its_skill(request_: str, skill: str) -> None:
    assert skills.answer(request_, NOW, 0).skill == skill


@pytest.mark.parametrize(
    ("clock", "words"),
    [
        ((0, 0), "twelve o'clock"),
        ((8, 5), "eight oh five"),
        ((12, 15), "twelve fifteen"),
        ((13, 30), "one thirty"),
        ((23, 59), "eleven fifty nine"),
    ],
)
def test_the_time_is_told_in_words(clock: tuple[int, int], words: str) -> None:
    [sentence] = skills.answer("what time is it", datetime(2026, 1, 1, *clock), 0).sentences
    assert sentence == f"It is {words}."


def test_the_date_is_told_in_words() -> None:
    assert skills.answer("what day is it", NOW, 0).sentences == ("Today is Thursday, the fifth of November.",)


@pytest.mark.parametrize("day", range(1, 32))
def test_every_day_of_a_month_has_a_name(day: int) -> None:
    [sentence] = skills.answer("what day is it", datetime(2026, 1, day), 0).sentences
    assert re.fullmatch(r"Today is [A-Z][a-z]+day, the [a-z ]+ of January\.", sentence)


def test_wordings_vary_from_turn_to_turn_and_repeat_exactly() -> None:
    spoken = [skills.answer("what time is it", NOW, turn).sentences for turn in range(4)]
    assert len(set(spoken)) == 3
    assert spoken[0] == spoken[3]


@pytest.mark.parametrize("turn", range(len(skills.STORIES)))
def test_a_story_is_long_enough_to_be_interrupted(turn: int) -> None:
    """At 165 words a minute 40 s are 110 words; that it really lasts so long is shown with the voice."""
    words = " ".join(skills.answer("tell me a story", NOW, turn).sentences).split()
    assert len(words) > 150


@pytest.mark.parametrize(
    ("instructions", "sentences"),
    [
        ("You live in a kitchen.\nSay exactly: Kitchen here.", ("Kitchen here.",)),
        ('Greet the user with: "Good morning!"', ("Good morning!",)),
        ("Tell the user that the kettle has boiled.", ("I was told the following.", "Tell the user that the kettle has boiled.")),
    ],
)
def test_an_instruction_is_obeyed(instructions: str, sentences: tuple[str, ...]) -> None:
    assert skills.obey(instructions).sentences == sentences


def test_no_instruction_is_an_error() -> None:
    with pytest.raises(ValueError, match="empty"):
        skills.obey(" \n ")


def sentences_of(grammar: str) -> list[str]:
    """Return every sentence of the alternatives that skills.gram has for <skill>."""
    rules = dict(re.findall(r"<(\w+)> = (.*?);", grammar, re.DOTALL))
    alternatives = []
    for name in re.findall(r"<(\w+)>", rules["skill"]):
        for alternative in rules[name].split("|"):
            optional = re.findall(r"\[([^\]]*)\]", alternative)
            assert "(" not in alternative, "groups are not expanded here"
            plain = " ".join(re.sub(r"\[[^\]]*\]", "", alternative).split())
            alternatives += [plain] + [plain + " " + words.split("|")[0] for words in optional]
    return alternatives


def test_every_sentence_of_the_grammar_is_understood() -> None:
    grammar = Path(skills.__file__).with_name("skills.gram").read_text()
    # "a [long | short] story": the alternatives within brackets are taken out before those outside are told apart.
    grammar = re.sub(r"\[([^\]|]*)\|[^\]]*\]", r"[\1]", grammar)
    found = sentences_of(grammar)
    assert len(found) > 20
    assert [sentence for sentence in found if skills.answer(sentence, NOW, 0).skill == "not understood"] == []
