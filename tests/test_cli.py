"""The command line as a process: what a shell sees of it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

CTRL_C_AT_A_SLOW_IMPORT = """
import os, signal, sys
class Finder:
    def find_spec(self, name, path=None, target=None):
        if name == "asyncio":
            os.kill(os.getpid(), signal.SIGINT)
sys.meta_path.insert(0, Finder())
from pipit import cli
sys.exit(cli.main(["run"]))
"""


def test_a_reader_that_has_seen_enough_is_no_error() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    command = (sys.executable, "-m", "pipit.cli", "config", "schema")
    ran = subprocess.run(command, stdout=writing, stderr=subprocess.PIPE, timeout=60, check=False)
    os.close(writing)
    assert (ran.returncode, ran.stderr) == (128 + signal.SIGPIPE, b"")


def test_nothing_is_printed_where_standard_output_is_closed() -> None:
    command = ("sh", "-c", f"exec {sys.executable} -m pipit.cli config template >&-")
    ran = subprocess.run(command, stderr=subprocess.PIPE, timeout=60, check=False)
    assert (ran.returncode, ran.stderr) == (0, b"")


def test_a_terminal_that_does_not_know_a_character_gets_its_number() -> None:
    command = (sys.executable, "-m", "pipit.cli", "rehearse", "--faults")
    ran = subprocess.run(command, env={**os.environ, "PYTHONIOENCODING": "ascii"}, capture_output=True, timeout=60, check=False)
    assert (ran.returncode, ran.stderr) == (0, b"")
    assert b"\\u2026" in ran.stdout


def test_a_full_disk_is_said() -> None:
    with Path("/dev/full").open("wb") as full:
        command = (sys.executable, "-m", "pipit.cli", "config", "schema")
        ran = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, timeout=60, check=False)
    assert ran.returncode == 1
    assert ran.stderr == b"pipit: No space left on device: what is printed goes to a full disk\n"


def test_ctrl_c_while_a_command_is_being_imported_ends_it_without_a_traceback() -> None:
    ran = subprocess.run((sys.executable, "-c", CTRL_C_AT_A_SLOW_IMPORT), capture_output=True, timeout=60, check=False)
    assert (ran.returncode, ran.stderr) == (128 + signal.SIGINT, b"")
