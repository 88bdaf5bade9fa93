"""What `pipit check` says: the mistakes of all sections at once, each with its line."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from pipit import cli

Check = Callable[[str], list[str]]
"""Takes a configuration, returns what is said of it without the file's name."""

FITS = """\
service: {provider: realtime, url: 'ws://127.0.0.1:1/'}
audio: {backend: file}
wake: {engine: off}
"""


@pytest.fixture
def check(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Check:
    def said(text: str) -> list[str]:
        monkeypatch.chdir(tmp_path)
        Path("p.yaml").write_text(text)
        status = cli.main(["check", "--config", "p.yaml"])
        lines = [line.removeprefix("p.yaml:") for line in capsys.readouterr().err.splitlines()]
        assert status == (2 if lines else 0)
        return lines

    return said


def begin(lines: list[str], *beginnings: str) -> None:
    assert len(lines) == len(beginnings), lines
    for line, beginning in zip(lines, beginnings, strict=True):
        assert line.startswith(beginning)


def test_a_section_that_cannot_be_read_hides_no_part_that_cannot_be_made(check: Check) -> None:
    begin(
        check(
            "sounds: {wake: /nope.wav}\n"
            "service: {provider: opnai}\n"
            "wake: {words: [{model: hey_jarvs}]}\n"
            "audio:\n  backend: file\n  input:\n    path: nope.wav\n"
            "tools: {command: [{name: get_time, description: d, argv: [/bin/date]}]}\n"
        ),
        "1: sounds.wake: /nope.wav: cannot be read",
        '2: service.provider: "opnai" is not one of',
        '3: wake.words[0].model: no model "hey_jarvs"',
        "7: audio.input.path: nope.wav: cannot be read",
        '8: tools.command[0].name: "get_time" is the name of the built-in tool',
    )


def test_keys_that_cannot_be_had_hide_nothing_of_their_services(check: Check, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NO_KEY", raising=False)
    lines = check(
        FITS.partition("\n")[2] + "service:\n"
        "- {provider: openai, api_key: !env NO_KEY}\n"
        "- {provider: realtime, api_key: !env NO_KEY}\n"
        "- {provider: realtime, url: 'ws://example.com/'}\n"
    )
    begin(
        lines,
        "4: service[0].api_key: environment variable NO_KEY",
        "5: service[1].api_key: environment variable NO_KEY",
        "5: service[1].url: the server has no address of its own",
        "6: service[2].url: ws:// sends key and voice unencrypted",
    )


def test_a_list_gets_the_remedy_of_a_list(check: Check) -> None:
    text = FITS.partition("\n")[2] + "service: [local]\n"
    assert check(text) == ['3: service[0]: expected a section, found the text "local"; write "- {provider: local}"']


def test_null_for_a_section_is_not_taken_for_its_defaults(check: Check) -> None:
    begin(
        check(FITS.replace("{engine: off}", "null") + "log: ~\n"),
        '3: wake: expected a section, found null; write "wake: {engine: off}" to go without, or remove the line for the defaults',
        "4: log: expected a section, found ~; remove the line for the defaults",
    )
    assert check(FITS + "log:\n  # level: debug\n") == []


def test_the_program_of_a_tool_that_is_on_must_be_there_and_may_be_run(check: Check, tmp_path: Path) -> None:
    (tmp_path / "script").write_text("#!/bin/sh\n")
    tool = "  - {{name: {}, description: d, argv: [{}, x], enabled: {}}}\n"
    text = (
        FITS + "tools:\n  command:\n" + tool.format("a", tmp_path / "script", "true") + tool.format("b", "/usr/bin/no-such", "true")
    )
    begin(
        check(text + tool.format("c", "/usr/bin/no-such", "false") + tool.format("d", "/bin/date", "true")),
        f"6: tools.command[0].argv: {tmp_path}/script may not be run; chmod +x",
        "7: tools.command[1].argv: there is no program /usr/bin/no-such; `command -v NAME` prints",
    )
