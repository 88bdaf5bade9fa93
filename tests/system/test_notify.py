"""What systemd hears, and when the watchdog may be fed."""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipit.system.notify import Notify, Pulse

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
    notify = Notify()
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


def test_reloading_carries_the_time_that_systemd_253_asks_for(systemd: socket.socket) -> None:
    Notify().reloading()
    state, time = systemd.recv(4096).decode().split("\n")
    assert state == "RELOADING=1"
    assert time.startswith("MONOTONIC_USEC=")
    assert int(time.partition("=")[2]) > 0


def test_a_status_cannot_smuggle_in_a_second_message(systemd: socket.socket) -> None:
    Notify().status("Idle\nWATCHDOG=1")
    assert systemd.recv(4096) == b"STATUS=Idle\\nWATCHDOG=1"


def test_a_systemd_that_went_away_does_not_end_the_speaker(systemd: socket.socket) -> None:
    notify = Notify()
    os.unlink(os.environ["NOTIFY_SOCKET"])
    notify.feed()


def test_without_systemd_every_message_is_silent(no_systemd: None) -> None:
    notify = Notify()
    notify.ready("Idle")
    notify.status("Idle")
    notify.reloading()
    notify.feed()
    notify.stopping()
    assert notify.watchdog_interval_s is None


@pytest.mark.parametrize(
    ("period_us", "pid", "interval_s"),
    [
        pytest.param("10000000", None, 5.0, id="watched"),
        pytest.param("10000000", str(os.getpid()), 5.0, id="watched-by-pid"),
        pytest.param("10000000", "1", None, id="another-process-is-watched"),
        pytest.param(None, None, None, id="not-watched"),
        pytest.param("0", None, None, id="switched-off"),
        pytest.param("soon", None, None, id="not-a-number"),
    ],
)
def test_the_watchdog_is_fed_twice_a_period(
    no_systemd: None, monkeypatch: pytest.MonkeyPatch, period_us: str | None, pid: str | None, interval_s: float | None
) -> None:
    if period_us is not None:
        monkeypatch.setenv("WATCHDOG_USEC", period_us)
    if pid is not None:
        monkeypatch.setenv("WATCHDOG_PID", pid)
    assert Notify().watchdog_interval_s == interval_s


# -- the rule ---------------------------------------------------------------------------------------------------------------------


def test_alive_while_sound_is_processed() -> None:
    pulse = Pulse(limit_s=3)
    assert all(pulse.alive(processed=50 * second, now=1000.0 + second, excused=False) for second in range(100))


def test_dead_once_no_sound_was_processed_for_the_limit() -> None:
    pulse = Pulse(limit_s=3)
    assert [pulse.alive(7, now, excused=False) for now in (10.0, 11.0, 12.9, 13.0, 14.0)] == [True, True, True, False, False]


def test_sound_that_comes_back_brings_it_back_to_life() -> None:
    pulse = Pulse(limit_s=3)
    assert [pulse.alive(blocks, now, excused=False) for blocks, now in ((7, 0.0), (7, 5.0), (8, 6.0))] == [True, False, True]


def test_a_muted_microphone_is_excused_for_as_long_as_it_is_muted() -> None:
    pulse = Pulse(limit_s=3)
    assert all(pulse.alive(7, now, excused=True) for now in (0.0, 100.0, 1000.0))


def test_after_an_excuse_the_sound_has_the_whole_limit_to_come_back() -> None:
    pulse = Pulse(limit_s=3)
    pulse.alive(7, 0.0, excused=True)
    pulse.alive(7, 100.0, excused=True)
    assert [pulse.alive(7, now, excused=False) for now in (101.0, 102.9, 103.0)] == [True, True, False]


def test_a_device_that_was_reopened_may_count_from_nought() -> None:
    pulse = Pulse(limit_s=3)
    pulse.alive(5000, 0.0, excused=False)
    assert pulse.alive(0, 10.0, excused=False)
    assert not pulse.alive(0, 13.0, excused=False)
