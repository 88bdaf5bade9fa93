"""What each dependency costs: disk, memory and time, for what the daemon imports of it and nothing else.

Run: python -m tests.bench.bench_dependencies

Each is imported in a fresh interpreter, several times, after what it needs itself (numpy, asyncio); figures are medians of what it
adds.
"""

from __future__ import annotations

import importlib.metadata
import statistics
import subprocess
import sys
from pathlib import Path

ROUNDS = 5

PROBE = """
import sys, time
def kb(key):
    return int(next(line for line in open("/proc/self/status") if line.startswith(key)).split()[1])
exec(sys.argv[1])
resident, private, began = kb("VmRSS"), kb("RssAnon"), time.perf_counter()
exec(sys.argv[2])
print((kb("VmRSS") - resident) / 1024, (kb("RssAnon") - private) / 1024, 1000 * (time.perf_counter() - began))
"""

WAKE = "from pipit.wake import openwakeword as o"
DEPENDENCIES = (  # distribution, what is there already, what the daemon does with it
    ("numpy", "", "import numpy"),
    ("webrtcvad-wheels", "", "import _webrtcvad; _webrtcvad.create()"),
    ("pyopen-wakeword", WAKE, "e = o.build(o.Settings()); e.detect(bytes(320000))"),
    ("onnxruntime", "import numpy", "import onnxruntime"),
    ("PyAudio", "", "import pyaudio"),
    ("pywebrtc-audio", "import numpy", "import pywebrtc_audio"),
    ("websockets", "import asyncio", "import websockets.asyncio.client"),
    ("PyYAML", "", "import yaml"),
    ("gpiozero", "", "import gpiozero"),
    ("systemd-python", "import logging", "import systemd.daemon, systemd.journal"),
    ("mcp", "import asyncio", "import mcp.client.streamable_http"),
)


def disk_mb(distribution: str) -> float:
    """Return how much a distribution's own files take."""
    files = importlib.metadata.files(distribution) or ()
    paths = (Path(str(file.locate())) for file in files)
    return sum(path.stat().st_size for path in paths if path.is_file()) / 1e6


def main() -> None:
    """Print the table."""
    sys.stdout.write("| | MB on disk | MB resident | of it private | ms |\n|---|---|---|---|---|\n")
    for distribution, before, use in DEPENDENCIES:
        runs = [subprocess.run([sys.executable, "-c", PROBE, before, use], capture_output=True, text=True) for _ in range(ROUNDS)]
        if any(run.returncode for run in runs):
            sys.stdout.write(f"| {distribution} | not installed | | | |\n")
            continue
        rows = [[float(figure) for figure in run.stdout.split()] for run in runs]
        resident, private, ms = (statistics.median(column) for column in zip(*rows, strict=True))
        sys.stdout.write(f"| {distribution} | {disk_mb(distribution):.1f} | {resident:.1f} | {private:.1f} | {ms:.0f} |\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
