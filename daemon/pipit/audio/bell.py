"""How a callback wakes the thread that works on its sound."""

from __future__ import annotations

import os
import select
import weakref


class Bell:
    """Rung by one thread, waited for by another. Ringing is one system call that never waits; several rings may count as one."""

    def __init__(self) -> None:
        # An eventfd, not threading.Event: that one takes a lock, and a callback must not wait for whoever holds it.
        self._fd = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._poll = select.poll()
        self._poll.register(self._fd, select.POLLIN)
        weakref.finalize(self, os.close, self._fd)

    def ring(self) -> None:
        """Wake the other thread, now or when it next waits."""
        os.eventfd_write(self._fd, 1)

    def wait(self, timeout_s: float) -> bool:
        """Sleep until the bell rings; False when it did not within `timeout_s`."""
        if not self._poll.poll(timeout_s * 1000):
            return False
        os.eventfd_read(self._fd)
        return True
