"""Where sentences end in a text that is still being written, so that the first can be spoken while the second is thought of."""

from __future__ import annotations

import re

EARLY = 60
"""From so many characters on, the first piece of a reply may end at a comma: a long first sentence is not waited for."""

LONGEST = 240
"""Longest piece, in characters: speech synthesis takes a breath there."""

_END = re.compile(r"[.!?…]+[\"'”’»)\]]*(?=\s)|[。！？]+[」』”’）]*|(?=\n)")
"""Where a sentence may end. Whether it does is known when it is known what follows."""

_CLAUSE = re.compile(r"[,;:—–]\s|[，、；：]")

_TITLES = frozenset(
    {
        *(
            "vs",
            "approx",
            "e.g",
            "i.e",
            "cf",
            "z.B",
            "d.h",
            "bzw",
            "ca",
            "Mr",
            "Mrs",
            "Ms",
            "Dr",
            "Prof",
            "St",
            "Mt",
            "Sr",
            "Jr",
            "Rev",
            "Hon",
            "Gen",
            "Col",
            "Sgt",
            "Capt",
            "Lt",
            "Gov",
            "Hr",
            "Fr",
        ),
    }
)
"""Abbreviations that a name or an example follows: never the end of a sentence."""

_BEFORE_NUMBER = frozenset(("No", "Nos", "Nr", "Fig", "Vol", "p", "pp", "Ch", "Sec", "Art", "Abs"))
"""Abbreviations only where a number follows: "No. 5", but "No." """

_INITIALS = re.compile(r"(?:[^\W\d_]\.)*[^\W\d_]")
"""J, U.S, a.m: letters with full stops between them."""


class Sentences:
    """Cuts a stream of text into sentences. Each piece keeps the blanks in front of it, so that nothing of the text is lost.

    A piece is returned as soon as it is known to be whole, which takes the first character of the next sentence: "3." may go on as
    "3.5", and after "5 p.m." a small letter goes on with the sentence.
    """

    def __init__(self) -> None:
        self._text = ""
        self._first = True

    def feed(self, text: str) -> list[str]:
        """Take the next piece of text; return the sentences that are whole by now."""
        self._text += text
        found = []
        while (end := self._end()) is not None:
            found += self._cut(end)
        return found

    def flush(self) -> list[str]:
        """Return the rest: no more text follows. What comes next is another text."""
        found = self._cut(len(self._text))
        self._first = True
        return found

    def _cut(self, end: int) -> list[str]:
        piece, self._text = self._text[:end], self._text[end:]
        if not piece.strip():
            return []
        self._first = False
        return [piece]

    def _end(self) -> int | None:
        """Return where the first piece ends; None: not known yet."""
        for found in _END.finditer(self._text):
            end = found.end()
            if not re.search(r"\w", self._text[:end]):
                continue  # nothing to say so far
            following = self._text[end:].lstrip()
            if not following:
                break
            if found[0] and self._text[end].isspace() and _goes_on(self._text[:end], following[0]):
                continue
            return self._within(end)
        return self._within(len(self._text) + 1)

    def _within(self, end: int) -> int | None:
        """Return where a piece ends that would end at `end`, which may be beyond the text; long ones end earlier."""
        text = self._text[: min(end, len(self._text))]
        if self._first and len(text) > EARLY:
            clause = next((found for found in _CLAUSE.finditer(text) if found.end() >= EARLY), None)
            if clause is not None and clause.end() < end - 1:
                return clause.end()
        if len(text) <= LONGEST:
            return end if end <= len(self._text) else None
        clauses = [found.end() for found in _CLAUSE.finditer(text[:LONGEST])]
        return clauses[-1] if clauses else max(text.rfind(" ", 1, LONGEST), 0) or LONGEST


def _goes_on(sentence: str, following: str) -> bool:
    """Say whether punctuation at the end of `sentence` does not end it, given the first character after the blank."""
    if following.islower():
        return True
    if not sentence.endswith("."):
        return False
    word = sentence.rstrip(".!?…\"'”’»)]").split()[-1].lstrip("\"'“‘«([")
    if word in _TITLES or (word in _BEFORE_NUMBER and following.isdecimal()):
        return True
    if word.isdecimal() and sentence.strip() == f"{word}.":
        return True  # the number of an entry in a list
    return _INITIALS.fullmatch(word) is not None and word != "I" and not word.islower()
