"""What the documents say must be what the code does."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from pipit import app, config
from pipit.core import machine
from tests.services import test_capabilities

ROOT = Path(__file__).parent.parent


def test_the_architecture_page_shows_the_machine_as_it_is() -> None:
    page = (ROOT / "daemon/ARCHITECTURE.md").read_text()
    drawn = re.search(r"<!-- diagram:.*?-->\n```mermaid\n(.*?)```", page, re.DOTALL)
    assert drawn is not None
    assert drawn[1].strip() == machine.diagram(), "put the output of `pipit diagram` into daemon/ARCHITECTURE.md"


def test_the_readme_shows_what_the_services_can_do() -> None:
    page = (ROOT / "README.md").read_text()
    shown = re.search(r"<!-- services:.*?-->\n(.*?)\n<!-- end of services -->", page, re.DOTALL)
    assert shown is not None
    assert shown[1] == test_capabilities.table(), "put the output of `python -m tests.services.test_capabilities` into README.md"


EXAMPLES = re.findall(r"```yaml\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)


@pytest.mark.parametrize("example", EXAMPLES)
def test_the_configurations_in_the_readme_are_right(example: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    for name in ("openai", "assemblyai", "fish", "azure", "yandex", "hub-token"):
        (tmp_path / name).write_text("secret")
        (tmp_path / name).chmod(0o600)
    written = tmp_path / "pipit.yaml"
    written.write_text(example)
    app.check(config.peruse(written, [] if "service:" in example else ["service.url=ws://127.0.0.1:1/"]))


def test_the_commands_in_the_readme_are_there() -> None:
    page = (ROOT / "README.md").read_text()
    help_text = subprocess.run([sys.executable, "-m", "pipit.cli", "--help"], capture_output=True, text=True, check=True).stdout
    used = set(re.findall(r"`pipit (\w+)", page))
    assert used
    assert {name for name in used if not re.search(rf"\b{name}\b", help_text)} == set()
