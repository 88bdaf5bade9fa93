"""The control socket: how `pipit status`, `pipit volume` and `systemctl reload` reach the running daemon.

A Unix socket, so that nothing of it can be reached from the network, and the file's permissions say who may use it. A request is
one line of JSON, {"command": "volume", "value": 40}; so is the answer, which has "error" where something was wrong.
"""

from __future__ import annotations

import asyncio
import errno
import json
import os
import socket
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from pipit.errors import PipitError
from pipit.system import Record

Command = Callable[[Any], Awaitable[Mapping[str, Any]]]
"""Takes the request's "value" and returns the answer; a PipitError of its own becomes the answer's "error"."""

SERVICE_FOLDER = Path("/run/pipit")
"""What RuntimeDirectory= in the unit makes."""

_NO_PLACE = "XDG_RUNTIME_DIR is not set; log in, or set it to a folder of yours such as /run/user/1000"
"""Said of a user's own daemon: the unit of the service sets RUNTIME_DIRECTORY."""

_PATIENCE_S = 5.0
"""How long a client may take to send its line, and the daemon to answer; reloading waits for a disk at the most."""

_ANSWER_S = 2.0
"""How long whoever asks waits for anything but reloading: the daemon answers between two blocks of sound, unless it hangs."""

_ASK_SYSTEMD = "`systemctl status pipit` says more"


def folder() -> Path | None:
    """Return where the daemon makes its socket: systemd's runtime folder for it, or the user's; None: there is neither."""
    if made := os.environ.get("RUNTIME_DIRECTORY", "").partition(":")[0]:
        return Path(made)
    users = os.environ.get("XDG_RUNTIME_DIR")
    return Path(users) / "pipit" if users else None


async def serve(folder: Path | None, commands: Mapping[str, Command], record: Record) -> asyncio.Server | None:
    """Listen in this folder, which is made if it is missing.

    Args:
        folder: see `folder`; None: there is none, which is recorded.
        commands: by name.
        record: the journal.

    Returns:
        The server; None where a socket cannot be made, which is recorded: the speaker works without.
    """
    if folder is None:
        record("control", f"there is no place for the control socket: {_NO_PLACE}; `pipit status` will not work", level="warning")
        return None
    path = folder / "control"

    async def client(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError, TimeoutError, ValueError):  # a client that went away, or sends no line, is nobody's trouble
            async with asyncio.timeout(_PATIENCE_S):
                answer = await _answer(await reader.readline(), commands)
                writer.write(json.dumps(answer).encode() + b"\n")
                await writer.drain()
        writer.close()

    try:
        return await asyncio.start_unix_server(client, sock=_listening(path))
    except OSError as error:
        record("control", f"{path}: cannot listen there ({error.strerror or error}); `pipit status` will not work", level="warning")
        return None


def _listening(path: Path) -> socket.socket:
    """Return a socket that only its owner and group may connect to."""
    path.parent.mkdir(mode=0o700, exist_ok=True)
    if _answers(path):
        raise OSError(errno.EADDRINUSE, "another Pipit does")
    path.unlink(missing_ok=True)  # of one that was killed
    listening = socket.socket(socket.AF_UNIX)
    try:
        listening.bind(str(path))
        path.chmod(0o660)
    except BaseException:
        listening.close()
        raise
    return listening


async def _answer(line: bytes, commands: Mapping[str, Command]) -> Mapping[str, Any]:
    try:
        request = json.loads(line)
        name, value = request["command"], request.get("value")
        command = commands[name]
    except (ValueError, TypeError, KeyError):
        return {"error": f"no such command; known are {', '.join(sorted(commands))}"}
    try:
        return await command(value)
    except PipitError as error:
        return {"error": str(error)}


def _answers(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as probe:
        probe.settimeout(1.0)
        try:
            probe.connect(str(path))
        except OSError:
            return False
    return True


def ask(command: str, value: Any = None) -> Mapping[str, Any]:
    """Send a request to the running daemon and return its answer: the service's, or else one that this user started.

    Raises:
        PipitError: no daemon answers, or it refused.
    """
    own = folder()
    paths = list(dict.fromkeys(place / "control" for place in (SERVICE_FOLDER, own) if place is not None))
    patience_s = 2 * _PATIENCE_S if command == "reload" else _ANSWER_S
    for path in paths:
        try:
            answer = _exchange(path, {"command": command, "value": value}, patience_s)
        except FileNotFoundError:
            continue
        except PermissionError:
            raise PipitError(f"{path}: only root and the group pipit may talk to the service; try sudo") from None
        except ConnectionRefusedError:
            raise PipitError(f"Pipit is not running: nobody listens at {path}; {_ASK_SYSTEMD}") from None
        except TimeoutError:
            raise PipitError(f"{path}: Pipit has not answered within {patience_s:g} s; {_ASK_SYSTEMD}") from None
        except OSError as error:
            raise PipitError(f"{path}: Pipit does not answer ({error}); {_ASK_SYSTEMD}") from error
        if "error" in answer:
            raise PipitError(str(answer["error"]))
        return answer
    hint = "" if own is not None else f" (one that you started yourself is not found: {_NO_PLACE})"
    raise PipitError(f"Pipit is not running: there is no {' nor '.join(map(str, paths))}{hint}; {_ASK_SYSTEMD}")


def _exchange(path: Path, request: Mapping[str, Any], patience_s: float) -> Mapping[str, Any]:
    with socket.socket(socket.AF_UNIX) as line:
        line.settimeout(patience_s)
        line.connect(str(path))
        line.sendall(json.dumps(request).encode() + b"\n")
        with line.makefile("rb") as answers:
            answer = answers.readline()
    if not answer:
        raise ConnectionError("it hung up")
    parsed: Mapping[str, Any] = json.loads(answer)
    return parsed
