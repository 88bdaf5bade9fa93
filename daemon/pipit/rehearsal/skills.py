"""What the rehearsal's agent can do: a request in words, and the time, become sentences. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from pipit.offline.words import date_in_words, time_in_words

STORIES = (
    (
        "Here is a story.",
        "Once upon a time a pipit lived under the roof of a small railway station, high up in the hills.",
        "She was a brown bird, and so plain that travellers looked straight through her while they searched for eagles.",
        "But the pipit had one gift, and it was that she listened.",
        "She knew every train by the rattle of its wheels, long before anybody else could hear it.",
        "When the morning express was still behind the mountain, she would hop onto the clock and sing two notes.",
        "The station master believed that it was the clock that sang, and he was very proud of it.",
        "One winter the snow fell for three days, and the telegraph wires came down in the forest.",
        "That night a goods train left the valley, and nobody could tell the station that it was coming.",
        "On the same rails, waiting for the morning, stood the express with all its passengers asleep.",
        "The pipit heard the wheels, far below, and she flew to the clock and sang her two notes.",
        "The station master turned over in his bed, for it was the middle of the night, and the clock was surely wrong.",
        "So she sang again, and again, until he got up in his slippers to be angry with the clock.",
        "And there, with the window open, he heard it too: wheels on the rails, where no wheels should be.",
        "He ran out with his lamp, and the goods train stopped so close that the two engines nearly touched.",
        "In the morning they gave the clock a medal.",
        "The pipit did not mind, because the medal was shiny, and it hung in exactly the right place to sit on.",
    ),
    (
        "All right, a story.",
        "There was once a lighthouse keeper who had not spoken to anybody for a whole year.",
        "Each evening he lit the lamp, each morning he put it out, and in between he talked to the sea.",
        "The sea answered, as it always does, but only ever with the same word.",
        "One day a crate was washed ashore, and in the crate lay a small loudspeaker with a microphone.",
        "The keeper dried it carefully, put it on the shelf, and told it about the weather.",
        "The loudspeaker said nothing, for it had not been called by its name, and nobody had told him what that was.",
        "So the keeper tried every name he knew.",
        "He tried the names of his brothers, and of the ships that had passed, and of all the winds.",
        "It took him the whole winter, and by the end of it he had told the loudspeaker everything about his life.",
        "In the spring the supply boat came, and the captain asked him whether he had been lonely.",
        "Not at all, said the keeper, I had somebody who listened.",
        "The captain looked at the loudspeaker and laughed, because the battery compartment was empty.",
        "The keeper thought about it for a moment, and then he laughed as well.",
        "He bought four batteries from the captain, for fairness, and put it back on its shelf.",
        "That evening he lit the lamp as usual, and wished the sea a good night.",
        "And from the shelf a small voice said: good night.",
    ),
)
"""Each lasts well over 40 s at the voices' 165 words a minute: there must be time to interrupt."""

JOKES = (
    ("Why did the loudspeaker go to school?", "It wanted to be a little sharper."),
    ("I know a joke about an echo.", "I know a joke about an echo."),
    ("Why do birds fly south in the winter?", "Because it is too far to walk."),
)


@dataclass(frozen=True)
class Call:
    """A tool that the agent calls."""

    name: str
    arguments: Mapping[str, Any]


@dataclass(frozen=True)
class Reply:
    """What the agent says, and does after it."""

    skill: str
    sentences: tuple[str, ...]
    call: Call | None = None


@dataclass(frozen=True)
class _Skill:
    name: str
    words: re.Pattern[str]
    replies: Callable[[datetime], Sequence[Sequence[str]]]


def _fixed(*replies: Sequence[str]) -> Callable[[datetime], Sequence[Sequence[str]]]:
    return lambda now: replies


def _time(now: datetime) -> Sequence[Sequence[str]]:
    clock = time_in_words(now.hour, now.minute)
    return ((f"It is {clock}.",), (f"The time is {clock}.",), (f"My clock says {clock}.",))


def _date(now: datetime) -> Sequence[Sequence[str]]:
    day = date_in_words(now)
    return ((f"Today is {day}.",), (f"It is {day}.",))


_SKILLS = (
    _Skill("story", re.compile(r"\bstory\b"), _fixed(*STORIES)),
    _Skill("joke", re.compile(r"\b(joke|laugh|funny)\b"), _fixed(*JOKES)),
    _Skill("time", re.compile(r"\btime\b"), _time),
    _Skill("date", re.compile(r"\b(date|day)\b"), _date),
    _Skill("stop", re.compile(r"\b(stop|never mind|quiet|cancel)\b"), _fixed(("Okay.",), ("All right.",))),
    _Skill("thanks", re.compile(r"\bthank(s| you)?\b"), _fixed(("You are welcome.",), ("My pleasure.",), ("Any time.",))),
    _Skill("goodbye", re.compile(r"\b(good)?bye\b"), _fixed(("Goodbye.",), ("See you soon.",))),
    _Skill(
        "help",
        re.compile(r"\b(help|can you do|who are you)\b"),
        _fixed(
            ("I am the agent of the rehearsal.", "Ask me for the time, the date, a story or a joke."),
            ("I can tell you the time and the date, and I know stories and jokes.",),
        ),
    ),
    _Skill("called", re.compile(r"^((hey|okay) )?(jarvis|alexa|computer|mycroft)$"), _fixed(("Yes?",), ("I am listening.",))),
)

_NOT_UNDERSTOOD = (
    ("Sorry, I did not understand that.",),
    ("I am afraid I did not get that.",),
    ("I did not understand.", "Try asking for the time."),
)

_EXACTLY = re.compile(r"\b(?:say|repeat|greet)\b[^:]*:\s*(.+)$", re.IGNORECASE)


def answer(request: str, now: datetime, turn: int) -> Reply:
    """Answer a request.

    Args:
        request: what the person said, in lower case; empty if it was not intelligible.
        now: the local time.
        turn: how many replies there were before; chooses among the wordings, so that a conversation varies and yet repeats exactly.
    """
    for skill in _SKILLS:
        if skill.words.search(request.lower()):
            return Reply(skill.name, _choose(skill.replies(now), turn))
    return Reply("not understood", _choose(_NOT_UNDERSTOOD, turn))


def knows(request: str) -> bool:
    """Say whether there is a skill for a request, so that no tool is needed."""
    return any(skill.words.search(request.lower()) for skill in _SKILLS)


def obey(instructions: str) -> Reply:
    """Answer an instruction that came without a request: its last line; "say ...: TEXT" is spoken to the letter.

    Raises:
        ValueError: there is no text in it.
    """
    lines = [line.strip() for line in instructions.splitlines() if line.strip()]
    if not lines:
        raise ValueError("empty instructions")
    exact = _EXACTLY.search(lines[-1])
    return Reply("instruction", (exact[1].strip("\"'“” "),) if exact else ("I was told the following.", lines[-1]))


def _choose(replies: Sequence[Sequence[str]], turn: int) -> tuple[str, ...]:
    return tuple(replies[turn % len(replies)])
