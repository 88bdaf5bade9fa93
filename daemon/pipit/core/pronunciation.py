"""How words are said: written forms are replaced by spoken ones in text that is about to be spoken.

Whole words, whatever their case, the longest first; a replacement is not looked at again. The text may come in pieces cut anywhere,
even within a word. Transcripts and the conversation's history keep the written form.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

_WORD = r"[\w\u0300-\u036f]"
"""What a word is made of: letters, digits, the underscore, and accents that are characters of their own (decomposed Unicode)."""


class Pronunciation:
    """A map of written to spoken forms, for one stream of text after the other.

    A boundary is asked for only where the written form itself begins or ends with a character of a word: "UI" is not found in
    "build", and "C++" is found in "C++17".

    Args:
        spoken: written form -> spoken form. Forms that differ in case only are one form.

    Raises:
        ValueError: an empty written form, one that is there twice, or a value that is no text.
    """

    def __init__(self, spoken: Mapping[str, str]) -> None:
        _check(spoken)
        pairs = sorted(spoken.items(), key=lambda pair: (-len(pair[0]), pair[0]))
        self._said = [said for _, said in pairs]
        self._longest = max((len(written) for written in spoken), default=0)
        flags = re.IGNORECASE
        # Never matches: without words there is nothing to replace, and an empty alternation would match everywhere.
        self._whole = re.compile("|".join(_bounded(written) for written, _ in pairs) or r"(?!)", flags)
        self._beginning = {
            length: re.compile("|".join(_begun(w[:length]) for w in spoken if len(w) >= length), flags)
            for length in range(1, self._longest + 1)
        }
        self._before = ""
        self._waiting = ""

    def feed(self, text: str) -> str:
        """Take the next piece of text; return what can be spoken of all pieces so far."""
        self._waiting += text
        return self._take(self._undecided())

    def flush(self) -> str:
        """Return the rest: no more text follows. The next piece begins another text."""
        rest = self._take(len(self._waiting))
        self._before = ""
        return rest

    def _take(self, end: int) -> str:
        """Return the text that waits up to `end`, replaced. A form that begins before `end` and crosses it is decided as well."""
        text = self._before + self._waiting
        place, end, pieces = len(self._before), end + len(self._before), list[str]()
        while (found := self._whole.search(text, place)) is not None and found.start() < end:
            assert found.lastindex is not None
            pieces += text[place : found.start()], self._said[found.lastindex - 1]
            place = found.end()
        if place < end:
            pieces.append(text[place:end])
            place = end
        self._before, self._waiting = text[max(0, place - 1) : place], text[place:]
        return "".join(pieces)

    def _undecided(self) -> int:
        """Return where in the text that waits a form may begin whose end has not come yet."""
        text = self._before + self._waiting
        place = len(self._before)
        while place < len(text):
            begins = self._begins(text, place)
            found = self._whole.search(text, place)
            if found is None or found.start() >= begins:
                return min(begins, len(text)) - len(self._before)
            place = found.end()
        return place - len(self._before)

    def _begins(self, text: str, place: int) -> int:
        """Return the first place from which on the rest of the text is the beginning of a form."""
        for start in range(max(place, len(text) - self._longest), len(text)):
            if self._beginning[len(text) - start].fullmatch(text, start):
                return start
        return len(text)


def hint(spoken: Mapping[str, str]) -> str:
    """Return the map as an instruction for an agent that makes its sound itself; empty without words.

    Raises:
        ValueError: see `Pronunciation`.
    """
    _check(spoken)
    if not spoken:
        return ""
    words = "; ".join(f"“{written}” as “{said}”" for written, said in spoken.items())
    return f"When you say these words aloud, pronounce them so, without mentioning it: {words}."


def _check(spoken: Mapping[str, str]) -> None:
    seen: dict[str, str] = {}
    for written, said in spoken.items():
        if not isinstance(written, str) or not written.strip() or written != written.strip():
            raise ValueError(f"{written!r} is no word that can be written; blanks around it do not count")
        if not isinstance(said, str):
            raise ValueError(f"{written!r} is said as {said!r}, which is no text")
        if (other := seen.setdefault(written.casefold(), written)) != written:
            raise ValueError(f"{written!r} is the same word as {other!r}")


def _bounded(written: str) -> str:
    return f"({_left(written)}{re.escape(written)}{_right(written)})"


def _begun(start: str) -> str:
    return _left(start) + re.escape(start)


def _left(written: str) -> str:
    return f"(?<!{_WORD})" if re.match(_WORD, written) else ""


def _right(written: str) -> str:
    return f"(?!{_WORD})" if re.search(f"{_WORD}$", written) else ""
