"""`pipit wake tune`: which threshold would have treated the kept wakes and near misses best."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

WANTED = ("heard", "missed")
"""Kinds of clips in which a person meant to wake Pipit."""

UNWANTED = ("false",)
"""Kinds in which nobody did. What came near and was not repeated (near), or led nowhere (wake), may be either: it is only shown."""

LOWEST, HIGHEST = 0.1, 0.95


@dataclass(frozen=True)
class Scored:
    """A clip: what it is, and the highest score that its word has in it with the present models."""

    name: str
    kind: str
    word: str
    score: float


@dataclass(frozen=True)
class Proposal:
    """A threshold for a word."""

    word: str
    present: float
    threshold: float
    missed: tuple[int, int]
    """Of the clips that should have woken Pipit, how many would not: at the present threshold, at the proposed one."""
    false: tuple[int, int]
    """Of those that should not have, how many would: likewise."""
    wanted: int
    unwanted: int


def propose(word: str, present: float, clips: Sequence[Scored]) -> Proposal | None:
    """Return the threshold with the fewest mistakes, and of several the one nearest to the present; None without a clip that tells.

    Args:
        word: the wake word.
        present: its threshold.
        clips: of any word and kind.
    """
    wanted = [clip.score for clip in clips if clip.word == word and clip.kind in WANTED]
    unwanted = [clip.score for clip in clips if clip.word == word and clip.kind in UNWANTED]
    if not wanted and not unwanted:
        return None

    def mistakes(threshold: float) -> tuple[int, int]:
        return sum(score < threshold for score in wanted), sum(score >= threshold for score in unwanted)

    best = min((present, *_between([*wanted, *unwanted])), key=lambda each: (sum(mistakes(each)), abs(each - present)))
    before, after = mistakes(present), mistakes(best)
    return Proposal(word, present, best, (before[0], after[0]), (before[1], after[1]), len(wanted), len(unwanted))


def _between(scores: Sequence[float]) -> Iterator[float]:
    """Yield thresholds in the middle between neighbouring scores and beyond the outermost, in hundredths, within the bounds."""
    ordered = sorted({LOWEST - 0.02, *scores, HIGHEST + 0.02})
    for low, high in itertools.pairwise(ordered):
        middle = round((low + high) / 2, 2)
        if low < middle <= high and LOWEST <= middle <= HIGHEST:
            yield middle


def as_text(present: Mapping[str, float], clips: Sequence[Scored]) -> Iterator[str]:
    """Yield the lines that list the clips and say what to change.

    Args:
        present: the threshold of each word in use.
        clips: all that were kept of them.
    """
    for clip in clips:
        yield f"{clip.score:.3f}  {clip.kind:<6}  {clip.name}"
    for word, threshold in present.items():
        proposal = propose(word, threshold, clips)
        yield ""
        if proposal is None:
            yield f"{word}: nothing was kept that tells whether {threshold:g} is too low or too high"
        elif proposal.threshold == threshold:
            yield f"{word}: keep {threshold:g}; {_counts(proposal, 0)}"
        else:
            yield f"{word}: now {threshold:g}; {_counts(proposal, 0)}"
            yield f"{word}: propose {proposal.threshold:g}; {_counts(proposal, 1)}"


def _counts(proposal: Proposal, column: int) -> str:
    missed = f"{proposal.missed[column]} of {proposal.wanted} wanted wakes missed"
    return f"{missed}, {proposal.false[column]} of {proposal.unwanted} false wakes let through"
