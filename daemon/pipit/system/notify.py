"""Readiness, status and watchdog: what Pipit tells systemd, and when it may claim to be alive.

The protocol is sd_notify(3). Outside systemd, where $NOTIFY_SOCKET is not set, the same object stays silent.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping

from pipit.system.journal import printable


class Notify:
    """Speaks to the systemd that started this process, or to nobody.

    Raises:
        ImportError: systemd waits for a message and systemd-python is missing; staying silent would make systemd kill us later.
    """

    def __init__(self) -> None:
        self._send = _sender() if os.environ.get("NOTIFY_SOCKET") else _silence
        self.watchdog_interval_s = _watchdog_interval_s(os.environ, os.getpid())
        """How often to `feed`, or None where nobody watches."""

    def ready(self, status: str) -> None:
        """Say that start-up, or a reload, is complete."""
        self._send(f"READY=1\nSTATUS={printable(status)}")

    def status(self, text: str) -> None:
        """Set the line that `systemctl status` shows."""
        self._send(f"STATUS={printable(text)}")

    def reloading(self) -> None:
        """Say that the configuration is being read again; `ready` ends it."""
        self._send(f"RELOADING=1\nMONOTONIC_USEC={time.monotonic_ns() // 1000}")  # systemd 253 wants the time as well

    def stopping(self) -> None:
        """Say that the shutdown has begun."""
        self._send("STOPPING=1")

    def feed(self) -> None:
        """Keep systemd from killing us for another watchdog period."""
        self._send("WATCHDOG=1")


class Pulse:
    """Decides whether the watchdog may be fed. Pure: time comes in as `now`.

    A process that runs proves nothing; what fails in the field is the sound: a stream that silently stopped, a thread that died.
    Asked on the event loop, it covers the loop too, because a loop that hangs asks no more.

    Args:
        limit_s: how long no sound may be processed before Pipit counts as dead.
    """

    def __init__(self, limit_s: float) -> None:
        self._limit_s = limit_s
        self._processed: int | None = None
        self._progress_at = 0.0

    def alive(self, processed: int, now: float, *, excused: bool) -> bool:
        """Take a look at what is going on.

        Args:
            processed: blocks or samples that went all the way through hearing (echo, gate, wake word) since the start.
            now: seconds of a monotonic clock.
            excused: there rightly is no sound: the microphone is muted, or known to be gone.
        """
        # Unequal, not greater: a device that was reopened may count from 0 again.
        if excused or processed != self._processed:
            self._processed = processed
            self._progress_at = now
        return now - self._progress_at < self._limit_s


def _silence(message: str) -> None:
    """Send nothing."""


def _sender() -> Callable[[str], None]:
    from systemd.daemon import notify

    def send(message: str) -> None:
        try:
            notify(message)
        except OSError:
            return  # systemd does not listen; if it meant to, its own time limit acts

    return send


def _watchdog_interval_s(environ: Mapping[str, str], pid: int) -> float | None:
    """Return half of the watchdog's period, as sd_watchdog_enabled(3) recommends, or None when nobody watches process `pid`."""
    if environ.get("WATCHDOG_PID", str(pid)) != str(pid):
        return None
    period_us = environ.get("WATCHDOG_USEC", "")
    return int(period_us) / 2e6 if period_us.isdecimal() and int(period_us) > 0 else None
