from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipit.core.distortion import BENDS
from pipit.echo.memory import FILE, Memory, load, save

KNOWN = Memory(np.linspace(-1, 1, 3200, dtype=np.float32), 42e-6, 0.013, np.linspace(-0.9, 0.3, BENDS, dtype=np.float32))


def test_what_is_kept_is_found_again(tmp_path: Path) -> None:
    save(tmp_path, KNOWN)
    found = load(tmp_path)
    assert found is not None
    assert np.array_equal(found.response, KNOWN.response)
    assert np.array_equal(found.bends, KNOWN.bends)
    assert (found.drift, found.lag_s) == (KNOWN.drift, KNOWN.lag_s)
    assert [path.name for path in tmp_path.iterdir()] == [FILE]


def test_nobody_else_may_read_it(tmp_path: Path) -> None:
    before = os.umask(0o022)
    try:
        save(tmp_path, KNOWN)
    finally:
        os.umask(before)
    assert (tmp_path / FILE).stat().st_mode & 0o777 == 0o600


def test_the_newest_replaces_the_one_before(tmp_path: Path) -> None:
    save(tmp_path, KNOWN)
    save(tmp_path, KNOWN._replace(drift=7e-6))
    found = load(tmp_path)
    assert found is not None
    assert found.drift == 7e-6


def test_nothing_kept_is_nothing_known(tmp_path: Path) -> None:
    assert load(tmp_path) is None
    assert load(tmp_path / "no such folder") is None


@pytest.mark.parametrize("keep", [0.0, 0.3, 0.9, 0.999])
def test_a_file_that_was_cut_off_is_not_believed(tmp_path: Path, keep: float) -> None:
    save(tmp_path, KNOWN)
    whole = (tmp_path / FILE).read_bytes()
    (tmp_path / FILE).write_bytes(whole[: int(keep * len(whole))])
    assert load(tmp_path) is None


@given(at=st.integers(0, 20_000), bit=st.integers(0, 7))
@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_damaged_bit_is_noticed(tmp_path: Path, at: int, bit: int) -> None:
    save(tmp_path, KNOWN)
    data = bytearray((tmp_path / FILE).read_bytes())
    data[at % len(data)] ^= 1 << bit
    (tmp_path / FILE).write_bytes(data)
    assert load(tmp_path) is None


@given(st.binary(max_size=200))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_what_is_something_else_is_not_believed(tmp_path: Path, data: bytes) -> None:
    (tmp_path / FILE).write_bytes(data)
    assert load(tmp_path) is None


@pytest.mark.parametrize("wrong", [{"response": np.full(10, np.nan, np.float32)}, {"drift": np.inf}, {"lag_s": np.nan}])
def test_what_is_no_number_is_not_believed(tmp_path: Path, wrong: dict[str, Any]) -> None:
    save(tmp_path, KNOWN._replace(**wrong))
    assert load(tmp_path) is None


def test_a_folder_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="No such file"):
        save(tmp_path / "gone", KNOWN)
