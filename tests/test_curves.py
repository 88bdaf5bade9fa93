from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from pipit import cli, curves
from pipit.audio.wav import write_wav
from pipit.errors import ConfigError
from pipit.wake import openwakeword
from pipit.wake.openwakeword import Settings, Word
from tests.speech import missing_tools, noise, say, timeline

pytestmark = pytest.mark.skipif(missing_tools() is not None, reason=str(missing_tools()))

CLIP = say("hey jarvis", "flite:slt", rate_hz=48000)
SOUND = timeline([(1.0, CLIP)], 3.0, rate_hz=48000)


def test_the_curve_of_a_recording(tmp_path: Path) -> None:
    write_wav(tmp_path / "a.wav", SOUND, 48000)
    samples = curves.read(tmp_path / "a.wav")
    assert len(samples) == pytest.approx(3 * 16000, abs=100)
    engine = openwakeword.build(Settings(words=(Word("hey_jarvis"), Word("alexa"))))
    points = curves.curve(engine, samples)
    [heard] = [point for point in points if point.wake is not None]
    assert 1.0 < heard.at_s < 1.0 + len(CLIP) / 48000 + 0.6
    assert curves.peaks(points)["hey_jarvis"] > 0.9 > 0.1 > curves.peaks(points)["alexa"]
    assert curves.curve(engine, samples) == points, "nothing is left of what was heard before"
    engine.close()


def test_a_near_miss_is_shown() -> None:
    engine = openwakeword.build(Settings(words=(Word(threshold=1.0),)))
    points = curves.curve(engine, say("hey jarvis", "flite:slt"))
    text = list(curves.as_text("a.wav", points))
    assert "heard 0 times" in text[0]
    assert any("near miss, at most 0.9" in line for line in text)
    engine.close()


def test_the_text() -> None:
    wake = curves.Wake("a", 0.5)
    points = [
        curves.Point(0.08, {"a": 0.01, "b": 0.0}, None, None),
        curves.Point(0.16, {"a": 0.5, "b": 0.06}, wake, None),
        curves.Point(0.24, {"a": 0.0, "b": 0.0}, None, curves.Wake("b", 0.3)),
    ]
    assert list(curves.as_text("x.wav", points)) == [
        "x.wav: highest a 0.500, b 0.060; heard 1 time",
        "     0.16 s  a              0.500 ███████████████                 <- heard",
        "     0.16 s  b              0.060 ██",
        "     0.24 s  b              near miss, at most 0.300",
    ]


@pytest.mark.parametrize(("content", "problem"), [(None, "No such file"), (b"RIFF", "x.wav")])
def test_what_cannot_be_read_is_named(tmp_path: Path, content: bytes | None, problem: str) -> None:
    if content is not None:
        (tmp_path / "x.wav").write_bytes(content)
    with pytest.raises(ConfigError, match=problem):
        curves.read(tmp_path / "x.wav")


# -- the commands ------------------------------------------------------------------------------------------------------------------


def test_pipit_wake_test(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Without a configuration file, a service or a key."""
    write_wav(tmp_path / "a.wav", SOUND, 48000)
    write_wav(tmp_path / "b.wav", noise(2.0), 16000)
    assert cli.main(["wake", "test", str(tmp_path / "a.wav"), str(tmp_path / "b.wav"), "--set", "wake.words=[{model: alexa}]"]) == 0
    a, b = (line for line in capsys.readouterr().out.splitlines() if "highest" in line)
    assert a.startswith(f"{tmp_path}/a.wav: highest alexa 0.0")
    assert b.endswith("heard 0 times")
    assert cli.main(["wake", "test", str(tmp_path / "a.wav")]) == 0
    assert "<- heard" in capsys.readouterr().out
    assert cli.main(["wake", "test", str(tmp_path / "a.wav"), "--set", "wake={engine: off}"]) == 0
    assert capsys.readouterr().out == f"{tmp_path}/a.wav: highest nothing, since no word is listened for; heard 0 times\n"


def test_pipit_wake_tune(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    setting = ["--set", f"near_misses.folder={tmp_path}"]
    assert cli.main(["wake", "tune", *setting]) == 0
    assert f"{tmp_path} holds no clips" in capsys.readouterr().out
    write_wav(tmp_path / "false-hey_jarvis-0.62-20260101T000000.wav", say("hey jarvis", "flite:slt"), 16000)
    write_wav(tmp_path / "heard-alexa-0.62-20260101T000000.wav", np.zeros(16000, np.int16), 16000)
    assert cli.main(["wake", "tune", *setting]) == 0
    out = capsys.readouterr().out
    assert "false   false-hey_jarvis-0.62-20260101T000000.wav" in out
    assert "alexa" not in out, "a word that is not in use"
    assert "hey_jarvis: keep 0.5; 0 of 0 wanted wakes missed, 1 of 1 false wakes let through" in out
