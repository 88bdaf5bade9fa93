"""How much slower the guest is than this machine: measured, so that time limits widen by a fact."""

from __future__ import annotations

import subprocess
import sys
import time
from typing import NamedTuple

from tests.system.rig.machine import Machine

_WORK = """
import os, threading, time
def work():
    began = time.perf_counter()
    (to_a, a), (to_b, b) = os.pipe(), os.pipe()
    def answer():
        for _ in range(2000): os.read(to_a, 1); os.write(b, b"x")
    other = threading.Thread(target=answer); other.start()
    for _ in range(2000): os.write(a, b"x"); os.read(to_b, 1)
    other.join()
    sum(i * i for i in range(300_000))
    return time.perf_counter() - began
print(min(work() for _ in range(3)))
"""
"""What the daemon does, in small: threads that wake each other by system calls, and arithmetic."""


class Pace(NamedTuple):
    """How fast a guest is."""

    slowness: float
    """How many times longer the daemon's kind of work takes in the guest, by its clock, than on this machine; at least 1."""
    stretch: float
    """How many times longer than by the guest's clock it takes by this machine's; at least 1, and more only in QEMU."""


def pace(machine: Machine) -> Pace:
    """Measure it."""
    (machine.share / "work.py").write_text(_WORK)
    here = subprocess.run([sys.executable, machine.share / "work.py"], capture_output=True, check=True, text=True)
    uptime = "cut -d' ' -f1 /proc/uptime"
    began = time.monotonic()
    start, there, end = map(float, machine.run(f"{uptime}; python3 /share/work.py; {uptime}").output.split())
    stretch = (time.monotonic() - began) / (end - start)
    return Pace(max(1.0, there / float(here.stdout)), max(1.0, stretch))
