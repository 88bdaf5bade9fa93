"""The service as systemd reads it, with systemd's own tools."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from pipit import services

SYSTEMD = Path(__file__).parents[2] / "systemd"
UNIT = SYSTEMD / "pipit.service"


def run(*command: str | Path) -> subprocess.CompletedProcess[str]:
    if shutil.which(str(command[0])) is None:
        pytest.skip(f"needs {command[0]}")
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


def test_systemd_finds_nothing_wrong(tmp_path: Path) -> None:
    unit = tmp_path / UNIT.name
    unit.write_text(UNIT.read_text().replace("=/opt/pipit/bin/pipit", "=/bin/true"))
    done = run("systemd-analyze", "verify", "--recursive-errors=no", unit)
    assert (done.returncode, done.stderr) == (0, "")


def test_systemd_rates_the_exposure_low() -> None:
    done = run("systemd-analyze", "security", "--offline=true", UNIT)
    rated = re.search(r"Overall exposure level for pipit.service: ([0-9.]+)", done.stdout)
    assert rated is not None, done.stderr
    assert float(rated[1]) <= 1.5


def test_a_key_of_every_service_that_pipit_knows_is_passed_on() -> None:
    passed_on = re.findall(r"^LoadCredentialEncrypted=(.+)$", UNIT.read_text(), re.M)
    assert passed_on == [name for name in services.NAMES if name != "local"]


def test_the_user_and_its_groups_are_made(tmp_path: Path) -> None:
    etc = tmp_path / "etc"
    etc.mkdir()
    (etc / "group").write_text("root:x:0:\naudio:x:29:\n")
    (etc / "passwd").write_text("root:x:0:0:root:/root:/bin/sh\n")
    done = run("systemd-sysusers", f"--root={tmp_path}", SYSTEMD / "sysusers.conf")
    assert done.returncode == 0, done.stderr
    members = {line.split(":")[0]: line.split(":")[3] for line in (etc / "group").read_text().splitlines()}
    assert members == {"root": "", "audio": "pipit", "gpio": "pipit", "pipit": ""}
    assert re.search(r"^pipit:x:\d+:\d+:Pipit smart speaker:/var/lib/pipit:/usr/sbin/nologin$", (etc / "passwd").read_text(), re.M)
