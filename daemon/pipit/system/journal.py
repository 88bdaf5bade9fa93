"""Structured records, into systemd's journal, as text for a terminal, or as JSON lines.

Three formats share one shape, `Entry`; each has a pure function that writes an entry down and a sink that carries it away.
Nothing that is recorded can break the daemon (a terminal that was closed, a pipe nobody reads) or forge a second record (control
characters are escaped), and a `Secret` is recorded as its mask.
"""

from __future__ import annotations

import datetime
import json
import logging
import math
import os
import time
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from pipit.system import Record

PRIORITY = {"debug": 7, "info": 6, "warning": 4, "error": 3}
"""Level -> syslog priority, as the journal's PRIORITY field wants it (syslog(3))."""

JOURNAL_SOCKET = "/run/systemd/journal/socket"
"""Where journald takes structured records: https://systemd.io/JOURNAL_NATIVE_PROTOCOL/."""

_STDERR = 2


class Entry(NamedTuple):
    """One record before it is written down."""

    event: str
    message: str
    level: str
    fields: Mapping[str, Any]


class Records(list[Entry]):
    """A `Record` that keeps everything, at every level, in the order it came: for tests and for `pipit doctor`."""

    def __call__(self, event: str, message: str, *, level: str = "info", **fields: Any) -> None:
        """See `Record`."""
        self.append(_entry(event, message, level, fields))

    def of(self, event: str) -> list[Entry]:
        """Return the entries of one kind."""
        return [entry for entry in self if entry.event == event]


def recorder(level: str, format: str) -> Recorder:
    """Make the daemon's recorder, and send the libraries' own warnings through it.

    Args:
        level: "debug", "info", "warning" or "error"; what is below is dropped.
        format: "journal"; "text": one line on stderr, in local time; "json": one object a line on stderr; "auto": the journal when
            systemd connected stderr to it, otherwise text. Without a journal on this machine, "journal" is text too.

    Raises:
        ValueError: level or format is none of these.
    """
    if level not in PRIORITY:
        raise ValueError(f"log level {level!r} is unknown; use one of {', '.join(PRIORITY)}")
    record = Recorder(PRIORITY[level], _sink(format))
    _bridge(record)
    return record


def printable(text: str) -> str:
    r"""Return `text` as one line: what is not printable is escaped (a line feed becomes "\n", an escape character "\x1b").

    Besides control characters this holds for Unicode's line separators and for marks that reorder or hide text, which can make one
    line look like another (Unicode Technical Report 36).
    """
    if text.isprintable():
        return text
    return "".join(character if character.isprintable() else _escape(character) for character in text)


def as_text(entry: Entry, time_s: float) -> str:
    """Write an entry as a line for people: local time, level, event, message, then the fields as name=value."""
    stamp = datetime.datetime.fromtimestamp(time_s).isoformat(" ", "milliseconds")
    fields = "".join(f"  {name}={_quoted(value)}" for name, value in entry.fields.items() if value is not None)
    return f"{stamp} {entry.level:<7} {printable(entry.event)}: {printable(entry.message)}{fields}"


def as_json(entry: Entry, time_s: float) -> str:
    """Write an entry as one line of JSON; each field is a key beside event, message, level and time (ISO 8601, UTC)."""
    stamp = datetime.datetime.fromtimestamp(time_s, datetime.UTC).isoformat(timespec="milliseconds")
    head = {"time": stamp, "level": entry.level, "event": entry.event, "message": entry.message}
    return json.dumps(head | {name: _json_value(value) for name, value in entry.fields.items()})


def as_journal(entry: Entry) -> list[bytes]:
    """Write an entry as the journal's assignments, "FIELD=value".

    A value may hold any byte: the journal's protocol carries lengths, so a line feed cannot begin another field.
    """
    fields = {
        "MESSAGE": printable(entry.message),
        "PRIORITY": PRIORITY[entry.level],
        "SYSLOG_IDENTIFIER": "pipit",
        "PIPIT_EVENT": entry.event,
    }
    fields |= {f"PIPIT_{name.upper()}": value for name, value in entry.fields.items() if value is not None}
    return [f"{name}={_plain(value)}".encode("utf-8", "backslashreplace") for name, value in fields.items()]


class Recorder:
    """A `Record` that writes what is important enough.

    Args:
        priority: the least important that is written; see `PRIORITY`.
        sink: takes the entries.
    """

    def __init__(self, priority: int, sink: Callable[[Entry], None]) -> None:
        self._priority = priority
        self._sink = sink

    def keep(self, level: str) -> None:
        """Change the least important level that is written."""
        self._priority = PRIORITY[level]

    def __call__(self, event: str, message: str, *, level: str = "info", **fields: Any) -> None:
        """See `Record`."""
        entry = _entry(event, message, level, fields)
        if PRIORITY[level] <= self._priority:
            self._sink(entry)


def _entry(event: str, message: str, level: str, fields: Mapping[str, Any]) -> Entry:
    if level not in PRIORITY:
        raise ValueError(f"record {event!r} has the unknown level {level!r}; use one of {', '.join(PRIORITY)}")
    if "time" in fields:
        raise ValueError(f"record {event!r} has a field called time, which every record has already; name what happened then")
    return Entry(event, message, level, fields)


# -- values ------------------------------------------------------------------------------------------------------------------------


def _escape(character: str) -> str:
    return character.encode("unicode_escape").decode("ascii")


def _plain(value: Any) -> str:
    match value:
        case bool():
            return "true" if value else "false"
        case float():
            return f"{value:.6g}"
        case _:
            return str(value)


def _quoted(value: Any) -> str:
    plain = _plain(value)
    if plain and plain.isprintable() and not set(plain) & set(" \"'\\="):
        return plain
    return '"' + printable(plain.replace("\\", "\\\\").replace('"', '\\"')) + '"'


def _json_value(value: Any) -> Any:
    match value:
        case float() if not math.isfinite(value):  # JSON has no such number (RFC 8259, section 6)
            return None
        case None | bool() | int() | float():
            return value
        case _:
            return str(value)


# -- where records go --------------------------------------------------------------------------------------------------------------


def _sink(format: str) -> Callable[[Entry], None]:
    match format:
        case "auto":
            return _sink("journal" if _stderr_is_journal() else "text")
        case "journal":
            return _journal_sink() or _sink("text")
        case "text":
            return lambda entry: _write_line(as_text(entry, time.time()))
        case "json":
            return lambda entry: _write_line(as_json(entry, time.time()))
    raise ValueError(f"log format {format!r} is unknown; use auto, journal, text or json")


def _stderr_is_journal() -> bool:
    """Compare stderr with $JOURNAL_STREAM (systemd.exec(5)); the variable alone may be inherited by a shell inside a service."""
    try:
        status = os.fstat(_STDERR)
    except OSError:
        return False
    return os.environ.get("JOURNAL_STREAM") == f"{status.st_dev}:{status.st_ino}"


def _journal_sink() -> Callable[[Entry], None] | None:
    if not os.path.exists(JOURNAL_SOCKET):  # libsystemd drops records silently where there is no journal
        return None
    try:
        from systemd.journal import sendv
    except ImportError:
        return None

    def send(entry: Entry) -> None:
        try:
            sendv(*as_journal(entry))
        except OSError:
            _write_line(as_text(entry, time.time()))

    return send


def _write_line(line: str) -> None:
    """Write to stderr past Python's buffers: those keep what a broken pipe refused, and fail with it once more at exit."""
    rest = line.encode("utf-8", "backslashreplace") + b"\n"
    try:
        while rest:
            rest = rest[os.write(_STDERR, rest) :]
    except OSError:
        return  # nobody reads this any more; the speaker goes on


# -- the libraries' own messages ---------------------------------------------------------------------------------------------------


class _Bridge(logging.Handler):
    """Turns what libraries log into records.

    Warnings and errors only, even at level "debug": websockets logs request headers at its debug level, and those carry the key.
    """

    def __init__(self, record: Record) -> None:
        super().__init__(logging.WARNING)
        self._record = record

    def emit(self, record: logging.LogRecord) -> None:
        level = "error" if record.levelno >= logging.ERROR else "warning"
        try:
            message = record.getMessage()
        except (TypeError, ValueError, KeyError):  # the library's template and arguments do not fit together
            message = str(record.msg)
        trace = logging.Formatter().formatException(record.exc_info) if record.exc_info else None
        self._record("library", message, level=level, logger=record.name, traceback=trace)


def _bridge(record: Record) -> None:
    root = logging.getLogger()
    for handler in [handler for handler in root.handlers if isinstance(handler, _Bridge)]:
        root.removeHandler(handler)
    root.addHandler(_Bridge(record))
