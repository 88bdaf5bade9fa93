"""Readiness, status and watchdog: what Pipit tells systemd, and when it may claim to be alive.

The protocol is sd_notify(3). Outside systemd, where $NOTIFY_SOCKET is not set, the same object stays silent.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable, Mapping
from typing import NamedTuple

from pipit.system import Record
from pipit.system.journal import printable


class Notifier:
    """Speaks to systemd.

    Args:
        send: takes one sd_notify message.
        watchdog_interval_s: how often `feed` must be called, or None where systemd does not watch.
    """

    def __init__(self, send: Callable[[str], None], watchdog_interval_s: float | None) -> None:
        self._send = send
        self.watchdog_interval_s = watchdog_interval_s

    def ready(self, status: str) -> None:
        """Say that start-up is complete."""
        self._send(f"READY=1\nSTATUS={printable(status)}")

    def status(self, text: str) -> None:
        """Set the line that `systemctl status` shows."""
        self._send(f"STATUS={printable(text)}")

    def stopping(self) -> None:
        """Say that the shutdown has begun."""
        self._send("STOPPING=1")

    def feed(self) -> None:
        """Keep systemd from killing us for another watchdog period."""
        self._send("WATCHDOG=1")


def notifier() -> Notifier:
    """Return what speaks to the systemd that started this process, or a silent one.

    Raises:
        ImportError: $NOTIFY_SOCKET is set and systemd-python is missing; staying silent then would make systemd kill us later.
    """
    if not os.environ.get("NOTIFY_SOCKET"):
        return Notifier(_silence, None)
    from systemd.daemon import notify

    def send(message: str) -> None:
        try:
            notify(message)
        except OSError:
            return  # systemd does not listen; if it meant to, its own time limit acts

    return Notifier(send, watchdog_interval_s(os.environ, os.getpid()))


def watchdog_interval_s(environ: Mapping[str, str], pid: int) -> float | None:
    """Return half of the watchdog's period, as sd_watchdog_enabled(3) recommends, or None when nobody watches process `pid`."""
    if environ.get("WATCHDOG_PID", str(pid)) != str(pid):
        return None
    period_us = environ.get("WATCHDOG_USEC", "")
    return int(period_us) / 2e6 if period_us.isdecimal() and int(period_us) > 0 else None


def _silence(message: str) -> None:
    """Send nothing."""


class Vitals(NamedTuple):
    """What tells a speaker that works from one that merely runs."""

    blocks: int
    """Capture blocks that went all the way through hearing (echo, gate, wake word), counted since the start."""
    expected: bool
    """Whether there should be any: not while muted, nor while the microphone is known to be gone."""


class Pulse:
    """Decides whether the watchdog may be fed. Pure: time comes in as `now`.

    A process that runs proves nothing; what fails in the field is the sound: a stream that silently stopped, a thread that died.

    Args:
        patience_s: how long no block may come before Pipit counts as dead.
    """

    def __init__(self, patience_s: float) -> None:
        self._patience_s = patience_s
        self._blocks: int | None = None
        self._progress_at = 0.0

    def beats(self, vitals: Vitals, now: float) -> bool:
        """Take a look at time `now` (seconds of a monotonic clock) and say whether all is well."""
        # Unequal, not greater: a device that was reopened may count from 0 again.
        if not vitals.expected or vitals.blocks != self._blocks:
            self._blocks = vitals.blocks
            self._progress_at = now
        return now - self._progress_at < self._patience_s


async def keep_fed(notifier: Notifier, pulse: Pulse, look: Callable[[], Vitals], record: Record) -> None:
    """Feed the watchdog for as long as the pulse beats; returns at once where systemd does not watch, otherwise never.

    Being a task of the event loop, it stops by itself when the loop does. `look` is called on the loop.
    """
    if notifier.watchdog_interval_s is None:
        return
    alive = True
    while True:
        vitals = look()
        was_alive, alive = alive, pulse.beats(vitals, time.monotonic())
        if alive:
            notifier.feed()
        elif was_alive:
            record("watchdog", "No sound is being processed: systemd will restart Pipit", level="error", blocks=vitals.blocks)
        await asyncio.sleep(notifier.watchdog_interval_s)
