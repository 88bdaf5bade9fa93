"""Which words of a reply have been heard, when so many samples of its sound have been. Pure.

Known are the sentences in their order, sometimes the sample at which one ends, and at last how long all of them take. Between two
known places the words are laid out by their weight: roughly, how many letters of sound they have. Where nothing is known yet, the
voice's pace tells how far it is, and its pauses are told from where commas and the ends of sentences would be at that pace.
"""

from __future__ import annotations

import bisect
import itertools
import re
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

LETTERS_PER_S = 19.0
"""How fast speech is where nothing else is known, by weight: 170 words a minute of English."""

AUDIBLE = 200
"""Peak of a sample that belongs to a word; what synthesisers put between sentences is quieter."""

_WORD, _DIGIT, _COMMA, _STOP = 2.0, 4.0, 6.0, 3.0
"""What a word takes besides its letters, what a digit takes, and the pauses of a comma and of the end of a sentence: of the values
tried those with the fewest errors over 70 sentences by two voices of espeak-ng, which tells when it begins each word. Cut anywhere,
99 % of them were right within one word, and all within two."""

_PAUSE_S = 0.08
"""A shorter silence is no pause."""

_TRUST_S = 0.5
"""The pace that was expected counts as much as this much speech in which it was seen."""

_NEAR, _NEAR_LETTERS = 0.3, 6.0
"""A pause is taken for a comma's or a sentence's that is expected this share of the way from the last known place, and this many
letters, from where it was heard; the nearest of them."""


@dataclass(frozen=True)
class _Piece:
    text: str
    weight: float
    end: int
    """Characters that have been given to the speech stage, at its end."""


class _Place(NamedTuple):
    samples: int
    said: float
    """The weight that has been said by then."""
    sure: bool = True
    after_pause: bool = False
    """There was silence from the place before on."""


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
        self._expected: list[tuple[float, float]] = []
        """Where commas and the ends of sentences make pauses: the weight before and after each."""
        self._places = [_Place(0, 0.0)]
        self.samples = 0
        """How much sound there is so far."""
        self._audible = 0
        """Where the last audible sound ends: a pause at the end of a sentence is nothing said."""
        self._cut: int | None = None
        self._done = False

    def add(self, text: str, spoken: str) -> None:
        """Note the next sentence: as it is written, and as it is given to the speech stage."""
        said = self._total
        for word in spoken.split():
            said += _sounding(word)
            if pause := _pause(word):
                self._expected.append((said, said + pause))
                said += pause
        before = self._pieces[-1].end if self._pieces else 0
        self._pieces.append(_Piece(text, weight(spoken), before + len(spoken)))

    def sound(self, sound: NDArray[np.int16], spoken: int | None) -> None:
        """Note more sound, and how many characters have been said at its end, where that is known."""
        loud = np.flatnonzero(np.abs(sound.astype(np.int32)) > AUDIBLE) + self.samples
        if len(loud):
            before = np.concatenate(([self._audible - 1], loud[:-1]))
            for place in np.flatnonzero(loud - before > _PAUSE_S * self._rate_hz):
                self._pause(int(before[place]) + 1, int(loud[place]))
            self._audible = int(loud[-1]) + 1
        self.samples += len(sound)
        if spoken is not None:
            self._know(self._weight_of(spoken))

    def finish(self) -> None:
        """No more sound comes: all has been said."""
        self._done = True
        self._know(self._total)

    @property
    def letters_per_s(self) -> float:
        """How fast this voice speaks, its pauses left out; what was thought where there is too little of it to tell."""
        letters, seconds = self._spoken()
        return letters / seconds if seconds > 1 else self._letters_per_s

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

    def _know(self, said: float) -> None:
        """Note how much has been said by now, for sure: what was guessed must not be more."""
        self._places = [place for place in self._places if place.sure or place.said <= said]
        for samples in (self._audible, self.samples):
            if samples > self._places[-1].samples and said >= self._places[-1].said:
                self._places.append(_Place(samples, said, after_pause=samples > self._audible))

    def _pause(self, begin: int, end: int) -> None:
        """Note a silence between two sounds: somewhere in the text there is a reason for it."""
        last = self._places[-1]
        if begin == 0:
            self._places.append(_Place(end, 0.0, after_pause=True))
        elif begin > last.samples:
            said = self._said(begin)
            reach = _NEAR * (said - last.said) + _NEAR_LETTERS
            first = bisect.bisect_right(self._expected, last.said, key=lambda pause: pause[0])
            near = [pause for pause in self._expected[first:] if abs(pause[0] - said) <= reach]
            if near:
                before, after = min(near, key=lambda pause: abs(pause[0] - said))
                self._places += _Place(begin, before, sure=False), _Place(end, after, sure=False, after_pause=True)

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
        place = bisect.bisect_right(self._places, samples, key=lambda known: known.samples)
        begin, said, *_ = self._places[place - 1]
        if place < len(self._places):
            end, said_then, *_ = self._places[place]
            return said + (said_then - said) * (samples - begin) / (end - begin)
        return min(self._total, said + (samples - begin) / self._rate_hz * self._pace)

    @property
    def _pace(self) -> float:
        """Letters a second: what is seen so far, and while that is little, what is expected."""
        letters, seconds = self._spoken()
        return (letters + self._letters_per_s * _TRUST_S) / (seconds + _TRUST_S)

    def _spoken(self) -> tuple[float, float]:
        """Return how many letters are known to have been said, and how long that took without the pauses."""
        spans = [(place, then) for place, then in itertools.pairwise(self._places) if not then.after_pause]
        letters = sum(then.said - place.said for place, then in spans)
        return letters, sum(then.samples - place.samples for place, then in spans) / self._rate_hz

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
