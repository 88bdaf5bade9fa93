"""The cascade: a voice service of three stages, chained on this device: speech to text, a language model, text to speech.

Each stage is a small contract below. A stage is a module of this folder with `build(settings) -> stage`, where `settings` are those
of the whole service (`cascade.settings.Settings`); `cascade.provider` says which module an engine in the YAML is. A stage is built
once, serves all sessions, one after the other, and touches no network before the first `open`.

What a stage cannot do it says with `StageError`, and with nothing else: network trouble is its business, deadlines included
(`connect_s` for `open`, `read_s` for silence while something is due). A generator that is closed early (`contextlib.aclosing`)
gives up at once what it was doing: that is how a reply is interrupted.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from pipit.core.tool import Declaration
from pipit.errors import ServiceError


class StageError(ServiceError):
    """A stage cannot do what it was asked for.

    Args:
        kind: as in `services.Failed`: "benign" (this turn is lost, the next may work), "retryable", "config" or "fatal".
        reason: for the owner: who refused what, and the remedy. Never a key, an address's path, or a traceback.
    """

    def __init__(self, kind: str, reason: str) -> None:
        super().__init__(reason, retryable=kind == "retryable")
        self.kind = kind
        self.reason = reason


class Stage(Protocol):
    """What all three have in common."""

    async def open(self) -> None:
        """Open what the next call needs: a connection, a model. Does nothing where it is open already.

        Called when a session begins, which is ready only when all stages are, and again, in the background, while the person talks
        or the stage before is still at work, so that nobody waits for a handshake. Cancelling it leaves nothing behind.

        Raises:
            StageError: it cannot be reached, or refuses us.
        """

    async def release(self) -> None:
        """Let go of what is open: the conversation is over. `open` may follow. Never raises."""


# -- hear --------------------------------------------------------------------------------------------------------------------------


class Hear(Stage, Protocol):
    """Speech to text: one utterance at a time."""

    async def hear(self, samples: NDArray[np.int16]) -> str | None:
        """Return what was said; empty where nobody spoke, None where somebody did and was not understood.

        May be called again before it has returned (an utterance that was heard at its first pause and went on); cancelling it drops
        the request.

        Args:
            samples: one utterance with a little silence around it, shape (n,), mono, 16 kHz, of any length.

        Raises:
            StageError: no answer.
        """


# -- think -------------------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class User:
    """What the person said."""

    text: str


@dataclass(frozen=True, slots=True)
class Call:
    """A tool that the model wants to be run."""

    id: str
    """Never empty, and unlike all others of the conversation."""
    name: str
    arguments: str
    """JSON text of an object, as the model wrote it; may be malformed."""


@dataclass(frozen=True, slots=True)
class Agent:
    """What the agent said, as far as it was heard, and the tools that it called then."""

    text: str
    calls: tuple[Call, ...] = ()


@dataclass(frozen=True, slots=True)
class Result:
    """What a tool answered."""

    call: str
    text: str
    """JSON text."""


@dataclass(frozen=True, slots=True)
class Instruction:
    """What the agent is told by Pipit, not by the person; counts for the next reply only."""

    text: str


Item = User | Agent | Result | Instruction


@dataclass(frozen=True, slots=True)
class Text:
    """The next words of the answer, with the blanks between them. Never reasoning."""

    text: str


class Think(Stage, Protocol):
    """The language model."""

    stands_in: str
    """What is said first where it answers in place of a provider that cannot be reached; empty: nothing."""

    def think(self, items: Sequence[Item], tools: Sequence[Declaration]) -> AsyncGenerator[Text | Call, None]:
        """Yield the answer to a conversation. Calls are whole and come when their arguments are complete.

        Args:
            items: what was said so far, oldest first; each call is followed by its result. The instructions of the settings are the
                stage's own business.
            tools: what may be called.

        Raises:
            StageError: no answer, or not to the end.
        """


# -- speak -------------------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Sample:
    """How somebody sounds."""

    samples: NDArray[np.int16]
    """Shape (n,), mono, 16 kHz."""
    text: str
    """What is said in it."""


@dataclass(frozen=True, slots=True)
class Sound:
    """The next sound of a reply."""

    pcm: bytes
    """16-bit little-endian mono at the stage's `rate_hz`; may hold an odd byte."""
    spoken: int | None = None
    """How many characters of all text taken so far have been said at the end of this piece, where the stage knows; None: unknown.
    At the end of a sentence, and in it where the service tells."""


class Speak(Stage, Protocol):
    """Text to speech: one reply at a time."""

    rate_hz: int
    """Sample rate of the sound."""

    def speak(self, text: AsyncIterator[str], like: Sample | None = None) -> AsyncGenerator[Sound, None]:
        """Yield the sound of a reply while its text is still being written.

        Takes from `text` as fast as it comes, and speaks each piece at once: the pieces are whole sentences, already made speakable
        (`core.speakable`), with the blanks between them. The sound ends when the text does; empty text makes no sound.

        Args:
            text: the sentences. What it raises is passed on.
            like: the utterance that is being answered, for stages that clone the caller's voice where the owner wants it.

        Raises:
            StageError: no sound, or not to the end.
        """
