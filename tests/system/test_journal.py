"""Records: what they look like, where they go, and what cannot get into them."""

from __future__ import annotations

import json
import logging
import math
import os
import shutil
import subprocess
import sys
import time
import unicodedata
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipit.core.options import Secret
from pipit.system import journal
from pipit.system.journal import Entry, Records, as_journal, as_json, as_text, printable, recorder

DAEMON = Path(journal.__file__).parents[2]
ENVIRON = {**os.environ, "PYTHONPATH": str(DAEMON)}
NOON_S = 1_800_014_400.25  # 2027-01-15 12:00:00.250 UTC


@pytest.fixture(autouse=True)
def utc(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


@pytest.fixture(autouse=True)
def no_bridge_left_behind() -> Iterator[None]:
    root = logging.getLogger()
    before = list(root.handlers)
    yield
    root.handlers[:] = before


def run(script: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", script], env=ENVIRON, capture_output=True, text=True, timeout=60, check=False)


def wake(**fields: object) -> Entry:
    return Entry("wake", "Wake word heard", "info", fields)


# -- text -------------------------------------------------------------------------------------------------------------------------


def test_text_is_one_line_for_people() -> None:
    entry = wake(word="hey_jarvis", score=0.9321234567, retries=0, muted=False, session=None, agent="Ada Lovelace")
    assert as_text(entry, NOON_S) == (
        "2027-01-15 12:00:00.250 info    wake: Wake word heard"
        '  word=hey_jarvis  score=0.932123  retries=0  muted=false  agent="Ada Lovelace"'
    )


def test_text_is_in_local_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "CET-1")
    time.tzset()
    assert as_text(wake(), NOON_S).startswith("2027-01-15 13:00:00.250 ")


@pytest.mark.parametrize(
    ("value", "written"),
    [
        pytest.param("", '""', id="empty"),
        pytest.param("a=b", '"a=b"', id="equals-sign"),
        pytest.param('say "no"', r'"say \"no\""', id="quotes"),
        pytest.param("C:\\new", r'"C:\\new"', id="a-backslash-is-not-a-line-feed"),
        pytest.param("one\ntwo", r'"one\ntwo"', id="line-feed"),
        pytest.param("\x1b[2J", r'"\x1b[2J"', id="terminal-escape"),
        pytest.param("Zürich", "Zürich", id="letters-of-any-language"),
    ],
)
def test_text_quotes_what_could_be_misread(value: str, written: str) -> None:
    assert as_text(wake(value=value), NOON_S).endswith(f"  value={written}")


@given(st.text(), st.text())
def test_text_stays_one_printable_line_whatever_is_said(message: str, value: str) -> None:
    assert as_text(Entry("reply", message, "info", {"text": value}), NOON_S).isprintable()


@given(st.text())
def test_printable_changes_nothing_but_what_cannot_be_seen(text: str) -> None:
    if any(unicodedata.category(character)[0] in "CZ" and character != " " for character in text):
        assert printable(text) != text
    else:
        assert printable(text) == text


# -- JSON -------------------------------------------------------------------------------------------------------------------------


def test_json_has_fixed_keys_and_the_fields_beside_them() -> None:
    assert json.loads(as_json(wake(word="hey_jarvis", score=0.93, retries=0, muted=False, session=None), NOON_S)) == {
        "time": "2027-01-15T12:00:00.250+00:00",
        "level": "info",
        "event": "wake",
        "message": "Wake word heard",
        "word": "hey_jarvis",
        "score": 0.93,
        "retries": 0,
        "muted": False,
        "session": None,
    }


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_json_has_no_word_for_a_number_that_is_none(value: float) -> None:
    assert json.loads(as_json(wake(score=value), NOON_S), parse_constant=pytest.fail)["score"] is None


@given(st.text(), st.text())
def test_json_stays_one_line_whatever_is_said(message: str, value: str) -> None:
    line = as_json(Entry("reply", message, "info", {"text": value}), NOON_S)
    assert "\n" not in line
    assert (json.loads(line)["message"], json.loads(line)["text"]) == (message, value)


# -- the journal ------------------------------------------------------------------------------------------------------------------


def test_journal_fields_are_upper_case_with_a_prefix_of_our_own() -> None:
    assert as_journal(Entry("turn", "Turn over", "warning", {"latency_ms": 412.0, "cut": True, "session": None})) == [
        b"MESSAGE=Turn over",
        b"PRIORITY=4",
        b"SYSLOG_IDENTIFIER=pipit",
        b"PIPIT_EVENT=turn",
        b"PIPIT_LATENCY_MS=412",
        b"PIPIT_CUT=true",
    ]


@given(st.text())
def test_journal_values_can_always_be_encoded(value: str) -> None:
    assert as_journal(wake(text=value))[-1].startswith(b"PIPIT_TEXT=")


@pytest.mark.parametrize("level", ["debug", "info", "warning", "error"])
def test_journal_priorities_are_those_of_syslog(level: str) -> None:
    syslog = pytest.importorskip("syslog")
    names = {"debug": syslog.LOG_DEBUG, "info": syslog.LOG_INFO, "warning": syslog.LOG_WARNING, "error": syslog.LOG_ERR}
    assert f"PRIORITY={names[level]}".encode() in as_journal(Entry("wake", "", level, {}))


JOURNALD = Path("/lib/systemd/systemd-journald")

IN_A_JOURNAL_OF_ITS_OWN = f"""
set -e
mount -t tmpfs tmpfs /run
mount -t tmpfs tmpfs /var/log
mkdir -p /run/systemd/journal
{JOURNALD} &
journald=$!
until [ -S /run/systemd/journal/socket ]; do sleep 0.02; done
"$0" -c "$1"
until journalctl --identifier=pipit --quiet 2>/dev/null | grep -q LAST; do
    kill -0 $journald || exit 77
    sleep 0.02
done
journalctl --identifier=pipit --output=json
kill $journald
"""
"""Every process of it ends with its process namespace, however the test ends."""

UNSHARE = ("unshare", "--mount", "--propagation=private", "--pid", "--fork", "--kill-child")

TWO_RECORDS = """
from pipit.core.options import Secret
from pipit.system.journal import recorder
record = recorder("info", "journal")
record("wake", "Wake word\\nPRIORITY=0", word="hey_jarvis", score=0.93, text="one\\nPIPIT_EVENT=forged", key=Secret("sk-1234"))
record("debugging", "nobody asked for this", level="debug")
record("stop", "LAST", level="error")
"""


def can_unshare() -> bool:
    if shutil.which("unshare") is None or not JOURNALD.exists():
        return False
    return subprocess.run([*UNSHARE, "true"], capture_output=True, check=False).returncode == 0


@pytest.mark.skipif(not can_unshare(), reason="needs root and systemd-journald, to run a journal in a mount namespace of its own")
def test_a_real_journal_holds_the_fields() -> None:
    done = subprocess.run(
        [*UNSHARE, "sh", "-c", IN_A_JOURNAL_OF_ITS_OWN, sys.executable, TWO_RECORDS],
        env=ENVIRON,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    if done.returncode == 77:
        pytest.skip("systemd-journald does not run here, as in a container without cgroups")
    assert done.returncode == 0, done.stderr
    first, last = (json.loads(line) for line in done.stdout.splitlines())
    assert first["MESSAGE"] == "Wake word\\nPRIORITY=0"
    assert {name: first[name] for name in first if name.startswith("PIPIT_")} == {
        "PIPIT_EVENT": "wake",
        "PIPIT_WORD": "hey_jarvis",
        "PIPIT_SCORE": "0.93",
        "PIPIT_TEXT": "one\nPIPIT_EVENT=forged",
        "PIPIT_KEY": str(Secret("")),
    }
    assert (first["PRIORITY"], last["PRIORITY"], last["MESSAGE"]) == ("6", "3", "LAST")


# -- what must not be recorded ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "value", [Secret("sk-1234"), [Secret("sk-1234")], {"key": Secret("sk-1234")}], ids=["bare", "list", "dict"]
)
def test_a_secret_is_masked_in_every_format(value: object) -> None:
    entry = wake(key=value)
    written = as_text(entry, NOON_S) + as_json(entry, NOON_S) + b"".join(as_journal(entry)).decode()
    assert "sk-1234" not in written
    assert written.count("Secret") == 3


# -- where records go -------------------------------------------------------------------------------------------------------------


def test_text_and_json_go_to_stderr(capfd: pytest.CaptureFixture[str]) -> None:
    recorder("info", "text")("wake", "Wake word heard")
    recorder("info", "json")("wake", "Wake word heard")
    out, err = capfd.readouterr()
    text, line = err.splitlines()
    assert out == ""
    assert text.endswith("info    wake: Wake word heard")
    assert json.loads(line)["event"] == "wake"


@pytest.mark.parametrize(("level", "seen"), [("debug", 4), ("info", 3), ("warning", 2), ("error", 1)])
def test_records_below_the_level_are_dropped(capfd: pytest.CaptureFixture[str], level: str, seen: int) -> None:
    record = recorder(level, "text")
    for each in ("debug", "info", "warning", "error"):
        record("wake", "Wake word heard", level=each)
    assert len(capfd.readouterr().err.splitlines()) == seen


def test_auto_is_text_where_systemd_did_not_connect_stderr(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("JOURNAL_STREAM", "8:12345")  # as inherited by a shell that runs inside of somebody else's service
    recorder("info", "auto")("wake", "Wake word heard")
    assert "Wake word heard" in capfd.readouterr().err


def test_auto_looks_for_the_journal_where_systemd_connected_stderr(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    pytest.importorskip("systemd.journal", exc_type=ImportError)
    stderr = os.fstat(2)
    monkeypatch.setenv("JOURNAL_STREAM", f"{stderr.st_dev}:{stderr.st_ino}")
    socket = tmp_path / "socket"
    socket.touch()
    monkeypatch.setattr(journal, "JOURNAL_SOCKET", str(socket))
    recorder("info", "auto")("wake", "Wake word heard")  # libsystemd sends it to the machine's own journal, or drops it
    assert capfd.readouterr().err == ""


def test_without_a_journal_its_records_become_text(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(journal, "JOURNAL_SOCKET", str(tmp_path / "none"))
    recorder("info", "journal")("wake", "Wake word heard")
    assert "Wake word heard" in capfd.readouterr().err


LONG_RECORDS = """
from pipit.system.journal import recorder
record = recorder("info", "text")
for n in range(3):
    record("wake", "x" * 100000)
print("alive")
"""


def test_a_closed_terminal_does_not_end_the_speaker() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    done = subprocess.run(
        [sys.executable, "-c", LONG_RECORDS],
        env=ENVIRON,
        stdout=subprocess.PIPE,
        stderr=writing,
        timeout=60,
        check=False,
    )
    os.close(writing)
    assert (done.returncode, done.stdout) == (0, b"alive\n")


@pytest.mark.parametrize(
    ("level", "format", "named"), [("loud", "text", "'loud'"), ("info", "xml", "'xml'")], ids=["unknown-level", "unknown-format"]
)
def test_nonsense_is_refused_by_name(level: str, format: str, named: str) -> None:
    with pytest.raises(ValueError, match=named):
        recorder(level, format)


# -- libraries --------------------------------------------------------------------------------------------------------------------


def test_warnings_of_libraries_become_records(capfd: pytest.CaptureFixture[str]) -> None:
    recorder("info", "json")
    try:
        raise OSError("no route")
    except OSError:
        logging.getLogger("websockets.client").exception("connecting to %s failed", "example.org")
    line = json.loads(capfd.readouterr().err)
    assert (line["event"], line["level"], line["logger"]) == ("library", "error", "websockets.client")
    assert line["message"] == "connecting to example.org failed"
    assert line["traceback"].endswith("OSError: no route")


def test_chatter_of_libraries_is_left_out_even_when_debugging(capfd: pytest.CaptureFixture[str]) -> None:
    recorder("debug", "text")
    library = logging.getLogger("websockets.client")
    library.setLevel(logging.DEBUG)
    try:
        library.debug("> Authorization: Bearer sk-1234")
        library.info("connection open")
    finally:
        library.setLevel(logging.NOTSET)
    assert capfd.readouterr().err == ""


WRONG_FORMAT = """
import logging
from pipit.system.journal import recorder
recorder("info", "json")
logging.getLogger("asyncio").warning("took %d ms", "many")
"""


def test_a_library_that_formats_wrongly_is_still_recorded() -> None:
    done = run(WRONG_FORMAT)  # apart from pytest, whose own log handler would raise
    assert (done.returncode, json.loads(done.stderr)["message"]) == (0, "took %d ms")


def test_a_second_recorder_takes_the_first_ones_place(capfd: pytest.CaptureFixture[str]) -> None:
    recorder("info", "text")
    recorder("info", "text")
    logging.getLogger("asyncio").warning("slow")
    assert len(capfd.readouterr().err.splitlines()) == 1


# -- for tests --------------------------------------------------------------------------------------------------------------------


def test_records_keeps_what_was_recorded_in_order() -> None:
    record = Records()
    record("wake", "Wake word heard", word="hey_jarvis")
    record("turn", "Turn over", level="warning")
    assert record == [("wake", "Wake word heard", "info", {"word": "hey_jarvis"}), ("turn", "Turn over", "warning", {})]
    assert record.of("turn") == record[1:]


@pytest.mark.parametrize("format", ["text", "json", "memory"])
def test_mistakes_in_a_record_show_in_every_recorder(format: str) -> None:
    record = Records() if format == "memory" else recorder("error", format)
    with pytest.raises(ValueError, match="'loud'"):
        record("wake", "Wake word heard", level="loud")
    with pytest.raises(ValueError, match="time"):
        record("wake", "Wake word heard", time=3.0)


def test_importing_it_needs_no_systemd() -> None:
    done = run("import sys, pipit.system.journal, pipit.system.notify; sys.exit('systemd' in sys.modules)")
    assert done.returncode == 0, done.stderr
