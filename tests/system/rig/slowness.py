"""How much slower the guest is than this machine: measured, so that time limits widen by a fact."""

from __future__ import annotations

import subprocess
import sys

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


def slowness(machine: Machine) -> float:
    """Measure how many times longer the daemon's kind of work takes in the guest than on this machine, at least 1."""
    (machine.share / "work.py").write_text(_WORK)
    here = subprocess.run([sys.executable, machine.share / "work.py"], capture_output=True, check=True, text=True)
    there = machine.run("python3 /share/work.py")
    return max(1.0, float(there.output) / float(here.stdout))
