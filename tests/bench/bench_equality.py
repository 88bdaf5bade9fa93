"""The engine's scores beside those of the openwakeword package's own Model.predict, over a quarter of an hour of all sorts.

Run: python -m tests.bench.bench_equality

The package gets frames of 80 ms, which is what its scores are defined by; the engine gets those, and blocks of awkward sizes. Fails
where two scores differ by 1e-5 or more from frame 26 on; before, the package's depend on the random sound that it begins with.
"""

from __future__ import annotations

import itertools
import sys
import warnings
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from pipit.wake import openwakeword
from pipit.wake.openwakeword import Settings, Word
from tests.bench import corpus, other_speech
from tests.speech import Samples, blocks
from tests.wake import stock

WORDS = ("hey_jarvis", "alexa")
AWKWARD = (1, 7, 320, 1279, 1281, 160, 4096, 911, 2)
FRAME, SETTLED, TOLERANCE = 1280, 26, 1e-5
OTHER_H = 0.2
UTTERANCES = 2


def everything() -> Samples:
    """Return what is compared: other speech, music and noise, silence, wake words in all conditions."""
    try:
        other = [piece for _, piece in other_speech.sounds(OTHER_H)]
    except stock.Unavailable as error:
        sys.stdout.write(f"{error}: only what espeak-ng and flite say\n\n")
        other = [piece for _, piece in itertools.islice(other_speech.read_aloud(), round(OTHER_H * 60))]
    spoken = [corpus.heard(each, condition)[0] for each in corpus.utterances(UTTERANCES) for condition in corpus.CONDITIONS]
    silence = [np.zeros(16000 * 5 + 123, np.int16)]
    whole = np.concatenate([*spoken, *silence, *other, *silence])
    return whole[: len(whole) // FRAME * FRAME]


def theirs(version: str, sound: Samples) -> NDArray[np.float64]:
    """Return the package's score of each word after each frame."""
    with stock.imported(version) as package, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # 0.4.0 asks for a CUDA provider
        model = stock.model(package, WORDS)
        predicted = [model.predict(block) for block in blocks(sound, [FRAME])]
    return np.array([[each[f"{word}_v0.1"] for word in WORDS] for each in predicted])


def ours(sound: Samples, sizes: Sequence[int]) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Return the engine's scores after each block, and after how many frames that was; from frame 26 on."""
    engine = openwakeword.build(Settings(words=tuple(map(Word, WORDS))))
    scores, frames, fed = [], [], 0
    for block in blocks(sound, sizes):
        engine.detect(block)
        fed += len(block)
        if fed // FRAME > SETTLED:
            scores.append([engine.scores()[word] for word in WORDS])
            frames.append(fed // FRAME)
    engine.close()
    return np.array(scores), np.array(frames)


def main() -> int:
    """Print the table; return 1 if anything differs."""
    sound = everything()
    found = {"80 ms": ours(sound, (FRAME,)), "awkward": ours(sound, AWKWARD)}
    sys.stdout.write(f"{len(sound) / 16000 / 60:.1f} min of sound\n\n")
    sys.stdout.write(
        "| openwakeword | blocks | frames compared | of them over 0.5 | greatest difference | allowed |\n" + "|---" * 6 + "|\n"
    )
    worst = 0.0
    for version in stock.RELEASES:
        try:
            reference = theirs(version, sound)
        except stock.Unavailable as error:
            sys.stdout.write(f"| {version} | {error} | | | | |\n")
            return 1
        for blocks_, (scores, frames) in found.items():
            difference = float(np.max(np.abs(scores - reference[frames - 1])))
            seen = np.unique(frames)
            over = int(np.sum(reference[seen - 1].max(axis=1) > 0.5))
            sys.stdout.write(f"| {version} | {blocks_} | {len(seen)} | {over} | {difference:.1e} | {TOLERANCE:g} |\n")
            worst = max(worst, difference)
    return 0 if worst < TOLERANCE else 1


if __name__ == "__main__":
    sys.exit(main())
