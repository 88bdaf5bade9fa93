"""The demonstration where it cannot be given: one clear line, at once. That it works is what `make demo` shows."""

from __future__ import annotations

import asyncio
import fcntl
import os
from pathlib import Path

import pytest

from pipit import demo
from pipit.errors import PipitError
from tests import speech

pytestmark = pytest.mark.skipif(speech.missing_tools() is not None, reason=str(speech.missing_tools()))


async def shown(config: Path, folder: Path) -> tuple[str, list[str]]:
    """Return what a demonstration that must fail ends with, and the lines before."""
    lines: list[str] = []
    async with asyncio.timeout(60):
        with pytest.raises(PipitError) as failed:
            await demo.run(config, folder, provider="local", live=False, say=lines.append)
    return str(failed.value), lines


@pytest.fixture
def broken(tmp_path: Path) -> Path:
    """A configuration that no daemon starts with."""
    path = tmp_path / "broken.yaml"
    path.write_text("audio: [\n")
    return path


async def test_a_daemon_that_does_not_start_ends_it_with_the_reason(tmp_path: Path, broken: Path) -> None:
    said, lines = await shown(broken, tmp_path / "demo")
    assert said == "the daemon has ended; see above"
    assert any(str(broken) in line for line in lines), lines


@pytest.mark.parametrize("live", [False, True])
async def test_a_configuration_that_is_not_there_is_refused_before_anything_is_made(tmp_path: Path, live: bool) -> None:
    async with asyncio.timeout(60):
        with pytest.raises(PipitError, match=r"no\.yaml: there is no such file; .* --config"):
            await demo.run(tmp_path / "no.yaml", tmp_path / "demo", provider="openai", live=live, say=lambda line: None)
    assert not (tmp_path / "demo").exists()


async def test_a_folder_in_which_another_one_runs_is_refused(tmp_path: Path, broken: Path) -> None:
    other = os.open(tmp_path, os.O_RDONLY)
    fcntl.flock(other, fcntl.LOCK_EX)
    said, lines = await shown(broken, tmp_path)
    assert said == f"{tmp_path}: another demonstration is running here; give --folder another folder"
    assert lines == []
    os.close(other)
    said, _ = await shown(broken, tmp_path)
    assert said.startswith("the daemon has ended")


async def test_a_file_for_a_folder_is_refused(tmp_path: Path, broken: Path) -> None:
    for folder in (broken, broken / "inside"):
        said, lines = await shown(broken, folder)
        assert said.startswith(f"{folder}: the demonstration cannot write there (")
        assert lines == []


async def test_a_folder_that_cannot_be_written_to_is_told(tmp_path: Path, broken: Path) -> None:
    (tmp_path / "heard.wav").mkdir()  # root may write to what is read-only, but to nobody is a folder a file
    said, _ = await shown(broken, tmp_path)
    assert said == f"{tmp_path}/heard.wav: the demonstration cannot write there (Is a directory); give --folder another folder"
