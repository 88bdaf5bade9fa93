"""What can be answered without a network: a request in words becomes calls of tools, and their results become sentences. Pure.

A skill is a coroutine turned inside out: a generator that yields the tools it needs, gets their results, and returns what is said.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from typing import Any

from pipit.offline.words import date_in_words, number_in, time_in_words

STEP = 10
"""How much louder "louder" is, in percent."""

FAILED = "Sorry, that did not work."

_SECONDS = {"second": 1, "minute": 60, "hour": 3600}


@dataclass(frozen=True)
class Use:
    """A tool that is needed."""

    tool: str
    arguments: Mapping[str, Any] = field(default_factory=dict)


Skill = Generator[Use, Mapping[str, Any], str]
"""Yields tools, is sent their results, returns the answer."""


class Unable(Exception):
    """It cannot be done; the message is said."""


def find(request: str) -> Skill | None:
    """Return the skill that a request asks for; None where there is none."""
    words = " ".join(re.findall(r"[a-z0-9']+", request.lower()))
    return next((make(words) for pattern, make in _SKILLS if pattern.search(words)), None)


def play(skill: Skill, results: Sequence[str]) -> Use | str:
    """Run a skill from its beginning, given the results so far as JSON; return the tool that it needs next, or what is said."""
    try:
        use = next(skill)
        for result in results:
            use = skill.send(_read(result))
    except StopIteration as end:
        return str(end.value)
    except Unable as problem:
        return str(problem)
    except (KeyError, TypeError, ValueError):  # a result that is not what the tool promises
        return FAILED
    return use


def _read(result: str) -> Mapping[str, Any]:
    try:
        found = json.loads(result)
    except ValueError:
        found = None
    if not isinstance(found, dict):
        raise Unable(FAILED)
    if "error" in found:
        raise Unable("Sorry, that is not possible.")
    return found


def _time(_: str) -> Skill:
    now = yield Use("get_time")
    hour, minute = map(int, str(now["time"]).split(":"))
    return f"It is {time_in_words(hour, minute)}."


def _date(_: str) -> Skill:
    now = yield Use("get_time")
    return f"Today is {date_in_words(date.fromisoformat(str(now['date'])))}."


def _set_timer(words: str) -> Skill:
    unit = re.search(r"(second|minute|hour)", words)
    count = number_in(
        words[: unit.start()].rpartition(" timer for ")[2].removeprefix("set a ").removeprefix("start a ") if unit else ""
    )
    if unit is None or not count:
        raise Unable("For how long? Say: set a timer for five minutes.")
    seconds = count * _SECONDS[unit[1]]
    yield Use("set_timer", {"seconds": seconds, "label": _span(seconds)})
    return f"The timer is set for {_span(seconds)}."


def _timers(_: str) -> Skill:
    timers = (yield Use("list_timers"))["timers"]
    if not timers:
        return "No timer is running."
    left = [f"{_span(timer['seconds_left'])}" for timer in timers]
    return f"There {'is' if len(left) == 1 else 'are'} {' and '.join(left)} left."


def _cancel_timer(words: str) -> Skill:
    timers = (yield Use("list_timers"))["timers"]
    if not timers:
        return "No timer is running."
    if len(timers) > 1 and not re.search(r"\b(all|timers)\b", words):
        return f"There are {len(timers)} timers. Say: cancel all timers."
    for timer in timers:
        yield Use("cancel_timer", {"timer": timer["timer"]})
    return "The timer is cancelled." if len(timers) == 1 else "All timers are cancelled."


def _set_volume(words: str) -> Skill:
    wanted = number_in(words.rpartition("volume")[2])
    if wanted is None:
        raise Unable("How loud? Say: set the volume to forty percent.")
    level = (yield Use("set_volume", {"level": min(100.0, wanted)}))["level"]
    return f"The volume is {level} percent."


def _change_volume(words: str) -> Skill:
    step = STEP if re.search(r"\b(louder|up)\b", words) else -STEP
    level = (yield Use("set_volume", {"change": step}))["level"]
    return f"The volume is {level} percent."


def _volume(_: str) -> Skill:
    level = (yield Use("get_volume"))["level"]
    return f"The volume is {level} percent."


def _leave(answer: str) -> Callable[[str], Skill]:
    def leave(_: str) -> Skill:
        yield Use("end_conversation")
        return answer

    return leave


def _fixed(answer: str) -> Callable[[str], Skill]:
    def say(_: str) -> Skill:
        yield from ()
        return answer

    return say


def _span(seconds: float) -> str:
    """Return "5 minutes" or "1 hour and 30 minutes"."""
    whole = round(seconds)
    counts = {"hour": whole // 3600, "minute": whole % 3600 // 60, "second": whole % 60}
    said = [f"{count} {unit}{'s' * (count != 1)}" for unit, count in counts.items() if count]
    return " and ".join(said) or "0 seconds"


HELP = "I can tell you the time and the date, set timers, and change the volume."

_SKILLS: Sequence[tuple[re.Pattern[str], Callable[[str], Skill]]] = (
    (re.compile(r"\b(cancel|stop|delete)\b.*\btimers?\b"), _cancel_timer),
    (re.compile(r"\b(time|long) is left\b|\b(what|which|any) timers\b"), _timers),
    (re.compile(r"\btimer\b"), _set_timer),
    (re.compile(r"\bvolume (to )?(\d|[a-z]+ percent|(one|a) hundred)|\bvolume to\b"), _set_volume),
    (re.compile(r"\b(louder|quieter|softer|volume (up|down)|turn it (up|down))\b"), _change_volume),
    (re.compile(r"\bhow loud\b|\bvolume\b"), _volume),
    (re.compile(r"\btime\b"), _time),
    (re.compile(r"\b(date|day)\b"), _date),
    (re.compile(r"\b(good)?bye\b"), _leave("Goodbye.")),
    (re.compile(r"\b(stop|never mind|quiet|cancel)\b"), _leave("Okay.")),
    (re.compile(r"\bthank(s| you)?\b"), _fixed("You are welcome.")),
    (re.compile(r"\b(help|can you do|who are you)\b"), _fixed(HELP)),
    (re.compile(r"^((hey|okay) )?(jarvis|alexa|computer|mycroft)$"), _fixed("Yes?")),
)
"""The first that fits is meant."""
