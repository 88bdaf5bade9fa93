"""Tools that are programs: an argument vector, never a shell."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
from collections.abc import Mapping, Sequence
from typing import Any

from pipit.core.tool import Declaration
from pipit.tools import Tool, ToolError
from pipit.tools.settings import Command, fill, placeholders

ENVIRONMENT = {"PATH": "/usr/local/bin:/usr/bin:/bin", "LANG": "C.UTF-8"}
"""What a program is started with: the daemon's own environment may hold keys."""


def command_tool(settings: Command) -> Tool:
    """Return the tool that runs this program."""

    async def run(arguments: Mapping[str, Any]) -> str:
        return await _execute(settings, _argv(settings, arguments))

    parameters = settings.parameters or {"type": "object", "properties": {}}
    return Tool(Declaration(settings.name, settings.description, parameters), run)


def unusable(commands: Sequence[Command]) -> list[str]:
    """Say of which tools that are on the program cannot be run by whoever asks."""
    problems = []
    for index, program in [(index, tool.argv[0]) for index, tool in enumerate(commands) if tool.enabled]:
        if not os.path.isfile(program):
            problems.append(f"tools.command[{index}].argv: there is no program {program}; `command -v NAME` prints where one is")
        elif not os.access(program, os.X_OK):
            problems.append(f"tools.command[{index}].argv: {program} may not be run; chmod +x {program}")
    return problems


def _argv(settings: Command, arguments: Mapping[str, Any]) -> list[str]:
    values = {name: value if isinstance(value, str) else json.dumps(value) for name, value in arguments.items()}
    if missing := placeholders(settings.argv) - set(values):
        raise ToolError(f"{', '.join(sorted(missing))} is missing")
    argv = []
    for part in settings.argv:
        filled = fill(part, values)
        # What the agent says must not become an option of the program; numbers may be negative.
        if filled.startswith("-") and part.startswith("{") and not isinstance(arguments.get(part[1:-1]), (int, float)):
            raise ToolError("an argument may not begin with -")
        if "\0" in filled:
            raise ToolError("an argument may not hold a null character")
        argv.append(filled)
    return argv


async def _start(argv: list[str]) -> asyncio.subprocess.Process:
    """Start a program. Being cancelled ends it; asyncio itself would then wait for ever for one that is starting."""
    starting = asyncio.create_task(
        asyncio.create_subprocess_exec(
            *argv,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            env=ENVIRONMENT,
            cwd="/",
            start_new_session=True,
        )
    )
    try:
        return await asyncio.shield(starting)
    except asyncio.CancelledError:
        await asyncio.wait([starting])
        with contextlib.suppress(OSError):
            await _end(starting.result())
        raise


async def _execute(settings: Command, argv: list[str]) -> str:
    try:
        process = await _start(argv)
    except OSError as error:
        raise ToolError(f"{settings.argv[0]} cannot be run: {error.strerror}") from None
    assert process.stdout is not None
    output = b""
    try:
        async with asyncio.timeout(settings.timeout_s):
            while len(output) <= settings.limit_bytes and (piece := await process.stdout.read(4096)):
                output += piece
            if len(output) <= settings.limit_bytes:
                await process.wait()
    except TimeoutError:
        raise ToolError(f"{settings.name} took longer than {settings.timeout_s:g} s and was ended") from None
    finally:
        await _end(process)
    words = output[: settings.limit_bytes].decode("utf-8", "replace").strip()
    if len(output) > settings.limit_bytes:
        raise ToolError(f"{settings.name} said more than {settings.limit_bytes} bytes and was ended; it began: {words[:300]}")
    if process.returncode:
        raise ToolError(f"{settings.name} failed with status {process.returncode}: {words[-300:]}")
    return json.dumps({"output": words}, ensure_ascii=False)


async def _end(process: asyncio.subprocess.Process) -> None:
    """Kill the program and its children, and take its status."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    # Before waiting: a child that left the group may hold the pipe open, and asyncio does not see its end while it is full.
    process._transport.close()  # type: ignore[attr-defined]
    await asyncio.shield(process.wait())
