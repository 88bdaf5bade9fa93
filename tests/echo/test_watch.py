from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipit.core.distortion import BENDS
from pipit.echo import Canceller, Through
from pipit.echo.kalman import Kalman
from pipit.echo.memory import Memory, load, save
from pipit.echo.watch import Duplex, remember, watch
from pipit.echo.webrtc import WebRtc
from tests.echo.test_proof import rest, speak

KNOWN = Memory(np.zeros(3200, np.float32), 1e-5, 0.0, np.zeros(BENDS, np.float32))


def proven(removed_db: float, seconds: float = 3) -> Kalman:
    """Return a canceller that has been measured."""
    canceller = Kalman(20)
    measure(canceller, removed_db, seconds)
    return canceller


def measure(canceller: Canceller, removed_db: float, seconds: float = 3) -> None:
    assert canceller.proof is not None
    rest(canceller.proof)
    speak(canceller.proof, seconds, -26, -26 - removed_db)


@pytest.mark.parametrize(
    ("canceller", "policy", "full", "words"),
    [
        (lambda: Through(full_duplex=False), "auto", False, "half duplex, because nothing cancels the echo"),
        (lambda: Through(full_duplex=True), "auto", True, "full duplex: the device cancels its own echo"),
        (lambda: Kalman(20), "auto", False, "half duplex until Pipit has spoken for four seconds"),
        (lambda: proven(30), "auto", True, "full duplex: echo cancelling works, 30 dB of Pipit's voice removed"),
        (lambda: proven(12), "auto", False, "half duplex, because echo cancelling does not work, 12 dB of Pipit's voice removed"),
        (lambda: proven(12), "always", True, "full duplex, as conversation.voice_barge_in says"),
        (lambda: proven(30), "never", False, "half duplex, as conversation.voice_barge_in says"),
    ],
)
def test_who_may_talk_over_whom_and_what_the_owner_is_told(
    canceller: Callable[[], Canceller], policy: str, full: bool, words: str
) -> None:
    duplex = Duplex(canceller(), policy)
    assert duplex() is full
    assert str(duplex).startswith(words)


def test_what_was_kept_is_given_and_believed(tmp_path: Path) -> None:
    save(tmp_path, KNOWN)
    canceller = Kalman(20)
    remember(canceller, tmp_path)
    assert canceller.drift == KNOWN.drift
    assert Duplex(canceller, "auto")()


@pytest.mark.parametrize("folder", [None, "empty"])
def test_where_nothing_was_kept_nothing_is_believed(tmp_path: Path, folder: str | None) -> None:
    canceller = Kalman(20)
    remember(canceller, tmp_path if folder else None)
    assert not Duplex(canceller, "auto")()


@pytest.mark.parametrize(
    ("make", "kept"),
    [
        pytest.param(lambda: Kalman(20), KNOWN._replace(response=np.zeros(9, np.float32)), id="another shape"),
        pytest.param(lambda: WebRtc(20), KNOWN, id="an engine that has no use for it"),
    ],
)
def test_who_cannot_use_what_was_kept_is_not_believed(tmp_path: Path, make: Callable[[], Canceller], kept: Memory) -> None:
    save(tmp_path, kept)
    canceller = make()
    remember(canceller, tmp_path)
    assert not Duplex(canceller, "auto")()


class Journal:
    def __init__(self) -> None:
        self.records: list[dict[str, Any]] = []

    def __call__(self, event: str, text: str, level: str = "info", **fields: Any) -> None:
        self.records.append({"event": event, "text": text, "level": level, **fields})

    async def until(self, count: int) -> None:
        while len(self.records) < count:  # noqa: ASYNC110 (what is watched is polled)
            await asyncio.sleep(0.01)


@asynccontextmanager
async def watching(canceller: Canceller, folder: Path | None = None) -> AsyncIterator[Journal]:
    journal = Journal()
    task = asyncio.create_task(watch(canceller, Duplex(canceller, "auto"), folder, journal))
    async with asyncio.timeout(20):
        yield journal
    task.cancel()
    await asyncio.wait([task])


async def test_each_change_of_what_is_believed_is_recorded_once_and_it_comes_back() -> None:
    canceller = proven(30)
    async with watching(canceller) as journal:
        await journal.until(1)
        measure(canceller, 10)
        await journal.until(2)
        measure(canceller, 10)  # goes on failing: nothing more is said
        measure(canceller, 30)
        await journal.until(3)
    told = [(r["event"], r["verdict"], r["level"], r["full_duplex"]) for r in journal.records]
    assert told == [("echo", "works", "info", True), ("echo", "fails", "warning", False), ("echo", "works", "info", True)]
    assert journal.records[1]["removed_db"] == pytest.approx(10, abs=1)
    assert "`pipit doctor echo`" in journal.records[1]["text"]


async def test_where_nothing_can_change_it_is_said_once() -> None:
    async with watching(Through(full_duplex=False)) as journal:
        await journal.until(1)
    assert journal.records[0]["full_duplex"] is False


async def test_what_is_learnt_is_kept_once_it_works(tmp_path: Path) -> None:
    canceller = proven(10)
    async with watching(canceller, tmp_path) as journal:
        await journal.until(1)
        canceller.memory = KNOWN
        measure(canceller, 30)
        await journal.until(2)
        while load(tmp_path) is None:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    kept = load(tmp_path)
    assert kept is not None
    assert kept.drift == KNOWN.drift


async def test_a_folder_that_cannot_be_written_is_complained_of_and_nothing_ends(tmp_path: Path) -> None:
    canceller = proven(30)
    async with watching(canceller, tmp_path / "gone") as journal:
        await journal.until(1)
        canceller.memory = KNOWN
        await journal.until(2)
        measure(canceller, 10)
        await journal.until(3)
    assert "cannot be kept (No such file or directory)" in journal.records[1]["text"]
    assert journal.records[1]["level"] == "warning"
