"""Which words of a reply have been heard, when so many samples of its sound have been. Pure.

Known are the sentences in their order, sometimes the sample at which one ends, and at last how long all of them take. Between two
known places the words are laid out by their weight: roughly, how many letters of sound they have.
"""

from __future__ import annotations

import bisect
import itertools
import re
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

LETTERS_PER_S = 15.0
"""How fast speech is where nothing else is known: 165 words a minute of English, with their blanks."""

AUDIBLE = 200
"""Peak of a sample that belongs to a word; what synthesisers put between sentences is quieter."""

_WORD, _DIGIT, _COMMA, _STOP = 2.0, 4.0, 6.0, 3.0
"""What a word takes besides its letters, what a digit takes, and the pauses of a comma and of the end of a sentence: of the values
tried those with the fewest errors over 70 sentences by two voices of espeak-ng, which tells when it begins each word. Cut anywhere,
99 % of them were right within one word, and all within two."""


@dataclass(frozen=True)
class _Piece:
    text: str
    weight: float
    end: int
    """Characters that have been given to the speech stage, at its end."""


class Script:
    """One reply: its text as it is written, its sound as it comes.

    Args:
        rate_hz: of the sound.
        letters_per_s: how fast this voice is thought to speak.
    """

    def __init__(self, rate_hz: int, letters_per_s: float = LETTERS_PER_S) -> None:
        self._rate_hz = rate_hz
        self._letters_per_s = letters_per_s
        self._pieces: list[_Piece] = []
        self._known: list[tuple[int, float]] = [(0, 0.0)]
        """Places: samples, and the weight that has been said by then."""
        self.samples = 0
        """How much sound there is so far."""
        self._audible = 0
        """Where the last audible sound ends: a pause at the end of a sentence is nothing said."""
        self._cut: int | None = None
        self._done = False

    def add(self, text: str, spoken: str) -> None:
        """Note the next sentence: as it is written, and as it is given to the speech stage."""
        before = self._pieces[-1].end if self._pieces else 0
        self._pieces.append(_Piece(text, weight(spoken), before + len(spoken)))

    def sound(self, sound: NDArray[np.int16], spoken: int | None) -> None:
        """Note more sound, and how many characters have been said at its end, where that is known."""
        loud = np.flatnonzero(np.abs(sound.astype(np.int32)) > AUDIBLE)
        if len(loud):
            self._audible = self.samples + int(loud[-1]) + 1
        self.samples += len(sound)
        if spoken is not None:
            self._know(self._weight_of(spoken))

    def finish(self) -> float | None:
        """No more sound comes: all has been said. Returns the letters a second, if the reply is long enough to tell."""
        self._done = True
        self._know(self._total)
        seconds = self.samples / self._rate_hz
        return self._total / seconds if seconds > 1 and self._total else None

    def cut(self, samples: int) -> None:
        """Note that no more than so many samples were heard."""
        self._cut = samples if self._cut is None else min(samples, self._cut)

    @property
    def text(self) -> str:
        """Return what was heard as far as is known: all of it, or what came before the cut."""
        if self._cut is None:
            return "".join(piece.text for piece in self._pieces).strip()
        if self._done and self._cut >= self.samples:
            return "".join(piece.text for piece in self._pieces).strip()
        return self._until(self._said(self._cut))

    @property
    def _total(self) -> float:
        return sum(piece.weight for piece in self._pieces)

    def _know(self, weight_said: float) -> None:
        for samples in (self._audible, self.samples):
            if samples > self._known[-1][0] and weight_said >= self._known[-1][1]:
                self._known.append((samples, weight_said))

    def _weight_of(self, characters: int) -> float:
        """Return the weight of the first so many characters that were given to the speech stage."""
        place = bisect.bisect_left([piece.end for piece in self._pieces], characters)
        before = sum(piece.weight for piece in self._pieces[:place])
        if place == len(self._pieces):
            return before
        begin = self._pieces[place - 1].end if place else 0
        length = self._pieces[place].end - begin
        return before + self._pieces[place].weight * ((characters - begin) / length if length else 1.0)

    def _said(self, samples: int) -> float:
        """Return the weight that has been said after so many samples."""
        place = bisect.bisect_right(self._known, samples, key=lambda known: known[0])
        begin, said = self._known[place - 1]
        if place < len(self._known):
            end, said_then = self._known[place]
            return said + (said_then - said) * (samples - begin) / (end - begin)
        return min(self._total, said + (samples - begin) / self._rate_hz * self._letters_per_s)

    def _until(self, said: float) -> str:
        """Return the words that have been said whole."""
        heard: list[str] = []
        for piece in self._pieces:
            if piece.weight and said >= piece.weight:
                heard.append(piece.text)
                said -= piece.weight
                continue
            part = said / piece.weight if piece.weight else 0.0
            heard.append(_words_until(piece.text, part * weight(piece.text)))
            break
        return "".join(heard).strip()


def weight(text: str) -> float:
    """Return how long a text takes, in letters of sound."""
    return sum(_weight(word) for word in text.split())


def _words_until(text: str, said: float) -> str:
    """Return the words that have been said whole after so much weight."""
    words = re.findall(r"\s*\S+", text)
    ends = itertools.accumulate(_weight(word.strip()) for word in words)
    count = 0
    for word, end in zip(words, ends, strict=True):
        if end - _pause(word) > said:
            break
        count += 1
    return "".join(words[:count])


def _weight(word: str) -> float:
    return _sounding(word) + _pause(word)


def _sounding(word: str) -> float:
    return _WORD + sum(character.isalpha() + _DIGIT * character.isdigit() for character in word)


def _pause(word: str) -> float:
    if re.search(r"[.!?…。！？][\"'”’»)\]]*$", word):
        return _STOP
    return _COMMA if re.search(r"[,;:、，][\"'”’»)\]]*$", word) else 0.0
