"""What systemd hears, and when the watchdog may be fed."""

from __future__ import annotations

import asyncio
import itertools
import os
import socket
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipit.system.journal import Records
from pipit.system.notify import Pulse, Vitals, keep_fed, notifier, watchdog_interval_s

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="systemd is Linux only")


@pytest.fixture
def no_systemd(monkeypatch: pytest.MonkeyPatch) -> None:
    """Take away what a systemd around this test run may have set."""
    for name in ("NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def systemd(no_systemd: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[socket.socket]:
    """Stand where systemd stands: a datagram socket named by $NOTIFY_SOCKET."""
    path = tmp_path / "notify"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as server:
        server.bind(str(path))
        server.settimeout(5)
        monkeypatch.setenv("NOTIFY_SOCKET", str(path))
        yield server


def test_systemd_hears_every_message(systemd: socket.socket) -> None:
    notify = notifier()
    notify.ready("Idle")
    notify.status("Listening")
    notify.feed()
    notify.stopping()
    assert [systemd.recv(4096).decode() for _ in range(4)] == [
        "READY=1\nSTATUS=Idle",
        "STATUS=Listening",
        "WATCHDOG=1",
        "STOPPING=1",
    ]


def test_a_status_cannot_smuggle_in_a_second_message(systemd: socket.socket) -> None:
    notifier().status("Idle\nWATCHDOG=1")
    assert systemd.recv(4096) == b"STATUS=Idle\\nWATCHDOG=1"


def test_a_systemd_that_went_away_does_not_end_the_speaker(systemd: socket.socket) -> None:
    notify = notifier()
    os.unlink(os.environ["NOTIFY_SOCKET"])
    notify.feed()


def test_without_systemd_every_message_is_silent(no_systemd: None) -> None:
    notify = notifier()
    notify.ready("Idle")
    notify.status("Idle")
    notify.feed()
    notify.stopping()
    assert notify.watchdog_interval_s is None


@pytest.mark.parametrize(
    ("environ", "interval_s"),
    [
        pytest.param({"WATCHDOG_USEC": "10000000"}, 5.0, id="watched"),
        pytest.param({"WATCHDOG_USEC": "10000000", "WATCHDOG_PID": "42"}, 5.0, id="watched-by-pid"),
        pytest.param({"WATCHDOG_USEC": "10000000", "WATCHDOG_PID": "1"}, None, id="another-process-is-watched"),
        pytest.param({}, None, id="not-watched"),
        pytest.param({"WATCHDOG_USEC": "0"}, None, id="switched-off"),
        pytest.param({"WATCHDOG_USEC": "soon"}, None, id="not-a-number"),
    ],
)
def test_the_watchdog_is_fed_twice_a_period(environ: dict[str, str], interval_s: float | None) -> None:
    assert watchdog_interval_s(environ, pid=42) == interval_s


def test_the_period_comes_from_systemd(systemd: socket.socket, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WATCHDOG_USEC", "3000000")
    assert notifier().watchdog_interval_s == 1.5


# -- the rule ----------------------------------------------------------------------------------------------------------------------


def playing(blocks: int) -> Vitals:
    return Vitals(blocks, expected=True)


MUTED = Vitals(7, expected=False)


def test_alive_while_sound_is_processed() -> None:
    pulse = Pulse(patience_s=3)
    assert all(pulse.beats(playing(50 * second), 1000.0 + second) for second in range(100))


def test_dead_once_no_sound_was_processed_for_the_limit() -> None:
    pulse = Pulse(patience_s=3)
    assert [pulse.beats(playing(7), now) for now in (10.0, 11.0, 12.9, 13.0, 14.0)] == [True, True, True, False, False]


def test_sound_that_comes_back_brings_it_back_to_life() -> None:
    pulse = Pulse(patience_s=3)
    assert [pulse.beats(playing(blocks), now) for blocks, now in ((7, 0.0), (7, 5.0), (8, 6.0))] == [True, False, True]


def test_a_muted_microphone_is_excused_for_as_long_as_it_is_muted() -> None:
    pulse = Pulse(patience_s=3)
    assert all(pulse.beats(MUTED, now) for now in (0.0, 100.0, 1000.0))


def test_after_an_excuse_the_sound_has_the_whole_limit_to_come_back() -> None:
    pulse = Pulse(patience_s=3)
    pulse.beats(MUTED, 0.0)
    pulse.beats(MUTED, 100.0)
    assert [pulse.beats(playing(7), now) for now in (101.0, 102.9, 103.0)] == [True, True, False]


def test_a_device_that_was_reopened_may_count_from_nought() -> None:
    pulse = Pulse(patience_s=3)
    pulse.beats(playing(5000), 0.0)
    assert pulse.beats(playing(0), 10.0)
    assert not pulse.beats(playing(0), 13.0)


# -- both together -----------------------------------------------------------------------------------------------------------------


async def test_systemd_is_fed_while_blocks_are_counted(systemd: socket.socket, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WATCHDOG_USEC", "2000")
    systemd.setblocking(False)
    blocks = itertools.count()
    record = Records()
    async with asyncio.timeout(10):
        feeding = asyncio.create_task(keep_fed(notifier(), Pulse(patience_s=5), lambda: playing(next(blocks)), record))
        for _ in range(3):
            assert await asyncio.get_running_loop().sock_recv(systemd, 4096) == b"WATCHDOG=1"
        feeding.cancel()
    assert record == []


async def test_systemd_is_left_hungry_and_the_journal_told_once_when_nothing_is_counted(
    systemd: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WATCHDOG_USEC", "2000")
    systemd.setblocking(False)
    looks = asyncio.Queue[int]()
    record = Records()

    def look() -> Vitals:
        looks.put_nowait(1)
        return playing(7)

    async with asyncio.timeout(10):
        feeding = asyncio.create_task(keep_fed(notifier(), Pulse(patience_s=0), look, record))
        for _ in range(3):
            await looks.get()
        feeding.cancel()
    with pytest.raises(BlockingIOError):
        systemd.recv(4096)
    assert [(entry.event, entry.level, entry.fields) for entry in record] == [("watchdog", "error", {"blocks": 7})]


async def test_nobody_is_fed_where_nobody_watches(no_systemd: None) -> None:
    async with asyncio.timeout(10):
        await keep_fed(notifier(), Pulse(patience_s=5), lambda: pytest.fail("looked"), Records())
