from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from pipit.core import events
from pipit.core.machine import Machine, State
from tests.core.test_machine import FED, names

STORIES = sorted((Path(__file__).parent.parent / "scenarios").glob("*.yaml"))


def test_there_are_stories() -> None:
    assert STORIES


@pytest.mark.parametrize("path", STORIES, ids=lambda path: path.stem)
def test_story(path: Path) -> None:
    machine = Machine()
    steps: list[dict[str, Any]] = yaml.safe_load(path.read_text())
    for step in steps:
        where = f"{path.name}: at {step['at']} on {step['event']}"
        due = machine.deadline
        kind = getattr(events, step["event"])
        assert due is None or due > step["at"] or kind is events.TimePassed, f"{where}: the time limit of {due} s passed unnoticed"
        commands = machine.feed(FED[kind], step["at"])
        assert machine.state is State(step["state"]), where
        assert names(commands) == step.get("do", []), where
