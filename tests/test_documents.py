"""What the documents say must be what the code does."""

from __future__ import annotations

import re
from pathlib import Path

from pipit.core import machine

ROOT = Path(__file__).parent.parent


def test_the_architecture_page_shows_the_machine_as_it_is() -> None:
    page = (ROOT / "daemon/ARCHITECTURE.md").read_text()
    drawn = re.search(r"<!-- diagram:.*?-->\n```mermaid\n(.*?)```", page, re.DOTALL)
    assert drawn is not None
    assert drawn[1].strip() == machine.diagram(), "put the output of `pipit diagram` into daemon/ARCHITECTURE.md"
