"""The tests on the virtual Pi run when they are asked for by name (make test-system), not with all others: they need minutes."""

from __future__ import annotations

from pathlib import Path

import pytest

_FOLDER = "virtual_pi"


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    asked_for = any(_FOLDER in argument for argument in config.args)
    return True if collection_path.name == _FOLDER and not asked_for else None
