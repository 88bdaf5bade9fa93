"""What the canceller is told, and tells, at leisure: the journal, the state folder, and whether the person may talk over Pipit."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

from pipit.echo import Canceller
from pipit.echo.memory import Memory, load, save
from pipit.echo.proof import Proof, Verdict

_EVERY_S = 0.25


class Duplex:
    """Whether a person may talk over Pipit now.

    Args:
        canceller: what takes Pipit's voice out of the microphone's sound.
        policy: `conversation.voice_barge_in`.
    """

    def __init__(self, canceller: Canceller, policy: str) -> None:
        self._canceller = canceller
        self._policy = policy

    def __call__(self) -> bool:
        """Say whether the service hears the person while Pipit speaks."""
        if self._policy != "auto":
            return self._policy == "always"
        proof = self._canceller.proof
        return self._canceller.full_duplex and (proof is None or proof.verdict is Verdict.WORKS)

    def __str__(self) -> str:
        """Say it to the owner, in a sentence."""
        canceller, proof = self._canceller, self._canceller.proof
        if self._policy != "auto":
            return f"{'full' if self._policy == 'always' else 'half'} duplex, as conversation.voice_barge_in says"
        if not canceller.full_duplex:
            return "half duplex, because nothing cancels the echo (echo.engine): interrupt with the button or the wake word"
        if proof is None:
            return "full duplex: the device cancels its own echo; you may talk over Pipit"
        of_it = "" if proof.deciding_db is None else f", {proof.deciding_db:.0f} dB of Pipit's voice removed"
        match proof.verdict:
            case Verdict.WORKS:
                return f"full duplex: echo cancelling works{of_it}; you may talk over Pipit"
            case Verdict.FAILS:
                return (
                    f"half duplex, because echo cancelling does not work{of_it}, where {proof.floor_db:.0f} dB are needed "
                    "(echo.floor_db): interrupt with the button or the wake word; `pipit doctor echo` looks for the reason"
                )
            case Verdict.UNPROVEN:
                return "half duplex until Pipit has spoken for four seconds and echo cancelling is proven"


def remember(canceller: Canceller, folder: Path | None) -> None:
    """Give the canceller what was kept, before the first frame."""
    memory = None if folder is None else load(folder)
    if memory is not None and canceller.remember(memory) and canceller.proof is not None:
        canceller.proof.trust()


async def watch(canceller: Canceller, duplex: Duplex, folder: Path | None, record: Callable[..., None]) -> None:
    """Record each change of what is believed of the canceller, and keep what it learns. For ever."""
    proof = canceller.proof
    if proof is None:
        record("echo", str(duplex), full_duplex=duplex())
        return
    before, kept = Verdict.UNPROVEN, canceller.memory
    while True:
        verdict = proof.verdict
        if verdict is not before:
            before = verdict
            _tell(proof, duplex, verdict, record)
        if folder is not None and verdict is Verdict.WORKS and canceller.memory is not kept:
            kept = canceller.memory
            await _keep(kept, folder, record)
        await asyncio.sleep(_EVERY_S)


def _tell(proof: Proof, duplex: Duplex, verdict: Verdict, record: Callable[..., None]) -> None:
    removed_db = proof.deciding_db
    record(
        "echo",
        str(duplex),
        level="warning" if verdict is Verdict.FAILS else "info",
        verdict=verdict.value,
        removed_db=None if removed_db is None else round(removed_db, 1),
        full_duplex=duplex(),
    )


async def _keep(memory: Memory | None, folder: Path, record: Callable[..., None]) -> None:
    if memory is None:
        return
    try:
        await asyncio.to_thread(save, folder, memory)
    except OSError as error:
        record("echo", f"{folder}: what echo cancelling has learnt cannot be kept ({error.strerror})", level="warning")
