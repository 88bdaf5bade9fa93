from __future__ import annotations

from pathlib import Path

import pytest

from pipit.core.allowance import Allowance
from pipit.system import usage


def test_what_was_used_outlives_a_restart(tmp_path: Path) -> None:
    assert usage.save(tmp_path, Allowance(60, "monday", 45.04)) is None
    again = usage.load(tmp_path, 60)
    assert again.left_s("monday") == pytest.approx(15)
    assert again.left_s("tuesday") == 60
    assert sorted(path.name for path in tmp_path.iterdir()) == ["usage.json"]


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"day": "monday", "used_s": "x"}', '{"day": "monday", "used_s": null}', "\xff"])
def test_a_damaged_file_counts_as_nothing(tmp_path: Path, text: str) -> None:
    (tmp_path / "usage.json").write_bytes(text.encode("latin-1"))
    assert usage.load(tmp_path, 60).left_s("monday") == 60


def test_nowhere_to_keep_it(tmp_path: Path) -> None:
    assert usage.load(None, 60).left_s("monday") == 60
    assert usage.save(None, Allowance(60)) is None
    assert (
        usage.save(tmp_path / "absent", Allowance(60))
        == f"{tmp_path}/absent/usage.json cannot be written: No such file or directory"
    )
