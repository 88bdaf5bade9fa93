from __future__ import annotations

import threading

from pipit.audio.bell import Bell


def test_several_rings_wake_once() -> None:
    bell = Bell()
    bell.ring()
    bell.ring()
    assert bell.wait(0)
    assert not bell.wait(0)


def test_wakes_another_thread() -> None:
    bell, woken = Bell(), threading.Event()
    waiter = threading.Thread(target=lambda: woken.set() if bell.wait(10) else None)
    waiter.start()
    bell.ring()
    waiter.join()
    assert woken.is_set()
