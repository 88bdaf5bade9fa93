"""Numbers, times and dates in English words, and back. Pure."""

from __future__ import annotations

import re
from datetime import date

_ONES = (
    *("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve", "thirteen"),
    *("fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen"),
)
_TENS = ("", "", "twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety")
_SPECIAL = {"half": 0.5, "a": 1.0, "an": 1.0, "hundred": 100.0}
_ORDINALS = (
    *("", "first", "second", "third", "fourth", "fifth", "sixth", "seventh", "eighth", "ninth", "tenth", "eleventh", "twelfth"),
    *("thirteenth", "fourteenth", "fifteenth", "sixteenth", "seventeenth", "eighteenth", "nineteenth", "twentieth", "twenty first"),
    *("twenty second", "twenty third", "twenty fourth", "twenty fifth", "twenty sixth", "twenty seventh", "twenty eighth"),
    *("twenty ninth", "thirtieth", "thirty first"),
)
_WEEKDAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
_MONTHS = (
    *("January", "February", "March", "April", "May", "June", "July", "August", "September", "October", "November", "December"),
)


def time_in_words(hour: int, minute: int) -> str:
    """Return "three oh five" for 3:05 and for 15:05."""
    return f"{_ONES[(hour - 1) % 12 + 1]} {_minutes(minute)}"


def date_in_words(day: date) -> str:
    """Return "Saturday, the twenty first of November"."""
    return f"{_WEEKDAYS[day.weekday()]}, the {_ORDINALS[day.day]} of {_MONTHS[day.month - 1]}"


def number_in(text: str) -> float | None:
    """Return the first number below 1000 in a text: "in twenty five minutes", "25", "a", "half an hour" is 0.5."""
    total: float | None = None
    for word in re.findall(r"[a-z]+|\d+(?:[.,]\d+)?", text.lower()):
        value = _value(word)
        if value is None:
            if total is not None:
                break
        elif word == "hundred":
            total = 100 * (total or 1)
        elif total is None:
            total = value
        elif value < 10 <= total and total % 10 == 0:
            total += value
        elif word not in ("a", "an"):
            break
    return total


def _value(word: str) -> float | None:
    if word[0].isdigit():
        return float(word.replace(",", "."))
    if word in _SPECIAL:
        return _SPECIAL[word]
    if word in _ONES:
        return float(_ONES.index(word))
    return 10.0 * _TENS.index(word) if word in _TENS[2:] else None


def _minutes(minute: int) -> str:
    if minute == 0:
        return "o'clock"
    if minute < 10:
        return f"oh {_ONES[minute]}"
    if minute < 20:
        return _ONES[minute]
    return _TENS[minute // 10] + (f" {_ONES[minute % 10]}" if minute % 10 else "")
