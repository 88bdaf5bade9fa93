"""`make install` as far as it goes without a Raspberry Pi: the rest is in virtual_pi/."""

from __future__ import annotations

import os
import re
import subprocess
import tomllib
from pathlib import Path

CHECKOUT = Path(__file__).parents[2]
EXTRAS = tomllib.loads((CHECKOUT / "pyproject.toml").read_text())["project"]["optional-dependencies"]


def test_extras_that_do_not_exist_are_refused_before_anything_is_written(tmp_path: Path) -> None:
    environment = {**os.environ, "DESTDIR": str(tmp_path / "root"), "EXTRAS": "fish,fihs"}
    done = subprocess.run(
        [CHECKOUT / "systemd/install.sh"], env=environment, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 1
    assert done.stderr == f'EXTRAS: "fihs" is not one of {" ".join(EXTRAS)}\n'
    assert list(tmp_path.iterdir()) == []


def test_uninstalling_takes_away_what_installing_brings_but_for_the_configuration(tmp_path: Path) -> None:
    script = (CHECKOUT / "systemd/install.sh").read_text()
    brought = {"/opt/pipit", *re.findall(r"\$DESTDIR(/[\w./-]+)", script)} - {"/usr/local/bin"}
    assert brought >= {"/etc/pipit/pipit.yaml", "/usr/local/bin/pipit", "/usr/local/lib/systemd/system/pipit.service"}
    for path in brought:
        (tmp_path / path[1:]).mkdir(parents=True)
    subprocess.run(["make", "uninstall", f"DESTDIR={tmp_path}"], cwd=CHECKOUT, check=True, capture_output=True, timeout=60)
    kept = {path for path in brought if (tmp_path / path[1:]).exists()}
    assert kept == {"/etc/pipit/pipit.yaml", "/etc/credstore.encrypted"}


def test_extras_that_messages_name_exist() -> None:
    named = {
        (path.name, extra)
        for path in (CHECKOUT / "daemon/pipit").rglob("*.py")
        for extra in re.findall(r"make install EXTRAS=(\w+)", path.read_text())
    }
    assert {extra for _, extra in named} >= {"fish", "local", "mcp", "onnx", "stock"}
    assert [(file, extra) for file, extra in named if extra not in EXTRAS] == []
