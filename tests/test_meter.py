from __future__ import annotations

import re
from pathlib import Path

import pytest

from pipit import cli, config, meter
from pipit.audio.wav import write_wav
from pipit.errors import HardwareError
from pipit.meter import Reading, as_bars, as_text
from tests.speech import missing_tools, say, timeline

READING = Reading(-40.2, True, True, {"hey_jarvis": 0.5, "alexa": 0.0}, 2, 0.0123)


def test_in_words() -> None:
    assert as_text(READING) == "-40 dBFS, voice, gate open, hey_jarvis 0.50, alexa 0.00, near misses 2, processor 1.2 %"
    assert as_text(Reading()) == "-120 dBFS, no voice, gate closed, no wake word, near misses 0, processor 0.0 %"


def test_as_bars() -> None:
    assert as_bars(READING) == (
        "████████████░░░░░░░░░░░░  -40 dBFS  voice  gate open    "
        "hey_jarvis █████░░░░░ 0.50  alexa ░░░░░░░░░░ 0.00  near 2  cpu  1.2 %"
    )
    assert as_bars(Reading(level_dbfs=3.0)).startswith("█" * 24)


@pytest.fixture
def heard(tmp_path: Path) -> Path:
    if reason := missing_tools():
        pytest.skip(reason)
    path = tmp_path / "heard.wav"
    write_wav(path, timeline([(3.0, say("hey jarvis", "flite:slt"))], 8.0), 16000)
    return path


def settings(heard: Path, at_end: str) -> list[str]:
    audio = f"{{backend: file, pace: fast, input: {{path: {heard}, at_end: {at_end}}}}}"
    return [f"audio={audio}", "service={provider: openai, url: ws://127.0.0.1:9}"]


def test_what_is_heard_is_shown_line_by_line_where_there_is_no_terminal(heard: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["meter", "--seconds", "2", *(part for each in settings(heard, "silence") for part in ("--set", each))]) == 0
    out = capsys.readouterr().out
    assert re.search(r"^heard hey_jarvis \(score 0\.\d\d\)$", out, re.MULTILINE)
    assert "\x1b" not in out
    line = r"^-(\d+) dBFS, voice, gate open, hey_jarvis ([01]\.\d\d), near misses 0, processor (\d+\.\d) %$"
    shown = re.findall(line, out, re.MULTILINE)
    assert any(int(level) < 30 and float(score) > 0.5 and float(cpu) > 0 for level, score, cpu in shown), out


def test_on_a_terminal_one_line_is_drawn_again(heard: Path) -> None:
    written: list[str] = []
    made = config.load("/dev/null", settings(heard, "silence"))
    meter.run(made, written.append, terminal=True, seconds=0.5)
    assert "".join(written).count("\n") <= 3
    assert any(text.startswith("\r\x1b[K█") for text in written)
    assert written[-1] == "\n"


def test_a_lost_microphone_ends_it_and_is_named(heard: Path) -> None:
    made = config.load("/dev/null", settings(heard, "stop"))
    with pytest.raises(HardwareError, match=r"heard\.wav"):
        meter.run(made, lambda text: None, terminal=True, seconds=60)
