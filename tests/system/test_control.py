"""The control socket, on real sockets; that it steers a daemon is shown in tests/test_remote.py."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from pipit.errors import PipitError
from pipit.system import control
from pipit.system.journal import Records


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("RUNTIME_DIRECTORY", str(tmp_path))
    monkeypatch.setattr(control, "SERVICE_FOLDER", tmp_path / "none")
    return tmp_path


async def double(value: Any) -> Mapping[str, Any]:
    return {"value": 2 * value}


async def refuse(value: Any) -> Mapping[str, Any]:
    raise PipitError(f"{value} is too much")


@asynccontextmanager
async def serving(folder: Path) -> AsyncIterator[Records]:
    records = Records()
    server = await control.serve(folder, {"double": double, "refuse": refuse}, records)
    assert server is not None
    async with server:
        yield records


async def ask(*words: Any) -> Mapping[str, Any]:
    return await asyncio.to_thread(control.ask, *words)


async def test_a_command_is_answered(folder: Path) -> None:
    async with serving(folder):
        assert await ask("double", 21) == {"value": 42}


async def test_what_is_refused_becomes_the_callers_error(folder: Path) -> None:
    async with serving(folder):
        with pytest.raises(PipitError, match=r"^9 is too much$"):
            await ask("refuse", 9)
        with pytest.raises(PipitError, match="known are double, refuse"):
            await ask("nonsense")


@pytest.mark.parametrize("line", [b"\n", b"\xff\n", b"[]\n", b'"x"\n', b'{"command": 3}\n', b"{" * 70_000 + b"\n"])
async def test_rubbish_is_survived(folder: Path, line: bytes) -> None:
    async with serving(folder):
        reader, writer = await asyncio.open_unix_connection(folder / "control")
        writer.write(line)
        answer = await reader.readline()
        assert answer == b"" or "error" in json.loads(answer)
        writer.close()
        assert await ask("double", 1) == {"value": 2}


async def test_only_owner_and_group_may_use_it(folder: Path) -> None:
    async with serving(folder):
        assert (folder / "control").stat().st_mode & 0o777 == 0o660


async def test_the_socket_of_a_daemon_that_was_killed_is_replaced(folder: Path) -> None:
    left = socket.socket(socket.AF_UNIX)
    left.bind(str(folder / "control"))
    left.close()
    with pytest.raises(PipitError, match="not running: nobody listens"):
        await ask("double", 1)
    async with serving(folder):
        assert await ask("double", 1) == {"value": 2}


async def test_a_daemon_that_hangs_is_not_waited_for(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(control, "_ANSWER_S", 0.1)
    with socket.socket(socket.AF_UNIX) as deaf:
        deaf.bind(str(folder / "control"))
        deaf.listen()
        with pytest.raises(PipitError, match=r"/control: Pipit has not answered within 0.1 s; `systemctl status pipit` says more"):
            await ask("status")


async def test_a_socket_in_a_folder_of_somebody_else(closed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(control, "SERVICE_FOLDER", closed)
    with pytest.raises(PipitError, match=f"{closed}/control: only root and the group pipit may talk to the service; try sudo"):
        await ask("status")


async def test_the_socket_of_a_daemon_that_lives_is_left_alone(folder: Path) -> None:
    async with serving(folder):
        records = Records()
        assert await control.serve(folder, {}, records) is None
        assert "another Pipit" in records.of("control")[0].message
        assert await ask("double", 1) == {"value": 2}


async def test_where_no_socket_can_be_made_the_speaker_works_without(folder: Path) -> None:
    records = Records()
    (folder / "file").write_text("")
    assert await control.serve(folder / "file", {}, records) is None
    assert [entry.level for entry in records.of("control")] == ["warning"]


def test_no_daemon_is_said_to_the_caller(folder: Path) -> None:
    with pytest.raises(PipitError, match=f"not running: there is no {folder}/none/control nor {folder}/control"):
        control.ask("status")


def test_a_users_daemon_has_its_socket_in_the_users_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RUNTIME_DIRECTORY")
    monkeypatch.setenv("XDG_RUNTIME_DIR", "/run/user/1000")
    assert control.folder() == Path("/run/user/1000/pipit")
    monkeypatch.delenv("XDG_RUNTIME_DIR")
    assert control.folder() is None


async def test_that_there_is_no_place_for_a_socket_is_told_to_both(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RUNTIME_DIRECTORY")
    monkeypatch.delenv("XDG_RUNTIME_DIR", raising=False)
    records = Records()
    assert await control.serve(control.folder(), {}, records) is None
    [said] = records.of("control")
    assert said.level == "warning"
    assert "XDG_RUNTIME_DIR is not set" in said.message
    with pytest.raises(PipitError, match=r"not running: .*/none/control \(.*XDG_RUNTIME_DIR is not set"):
        control.ask("status")
