from __future__ import annotations

from pathlib import Path

import pytest

from pipit import config
from pipit.errors import ConfigError


def load(tmp_path: Path, tools: str) -> config.Config:
    path = tmp_path / "p.yaml"
    path.write_text(f"service: {{provider: realtime, url: 'ws://127.0.0.1:1/'}}\ntools:\n  {tools}\n")
    return config.load(path)


@pytest.mark.parametrize(
    ("written", "problem"),
    [
        ("http: [{name: 'a b', description: d, url: 'http://h/'}]", "name: letters, digits, _ and - are allowed, 64 at most"),
        ("http: [{name: a, description: d, url: 'ftp://h/'}]", "url: this is no address; it must look like http://HOST/PATH"),
        ("http: [{name: a, description: d, url: 'http://{host}/'}]", "url: the host cannot be an argument; write it out"),
        ("http: [{name: a, description: d, url: 'http://h/{x}'}]", "url: {x} is neither in parameters.properties nor the secret"),
        ("http: [{name: a, description: d, url: 'http://h/', headers: {X: 5}}]", "headers: every one needs a text"),
        ("http: [{name: a, description: d, url: 'http://h/', headers: {X: '{secret}'}}]", "headers: {secret} is neither"),
        ("http: [{name: a, description: d, url: 'http://h/', body: {x: ['{y}']}}]", "body: {y} is neither"),
        (
            "http: [{name: a, description: d, url: 'http://h/', parameters: {type: array}}]",
            "parameters: it must be the schema of an object",
        ),
        (
            "http: [{name: a, description: d, url: 'http://h/', parameters: {type: object, properties: {x: {minimum: '0'}}}}]",
            "parameters: properties.x.minimum must be a number",
        ),
        ("http: [{name: a, description: d, url: 'http://h/', body: {x: .nan}}]", "body: it Out of range float values"),
        ("http: [{name: a, description: d, url: 'http://[h/'}]", "url: this is no address"),
        ("http: [{name: a, description: d, url: 'http://h:99999/'}]", "url: this is no address"),
        ("mcp: [{name: a, url: 'http://h:x/'}]", "url: this is no address"),
        (
            "mcp: [{name: a, url: 'http://h/'}, {name: a, url: 'http://i/'}]",
            'tools.mcp[1].name: "a" is the name of tools.mcp[0]; give each server its own',
        ),
        ("command: [{name: a, description: d, argv: [ls]}]", "argv: the first is the program with its full path"),
        ("command: [{name: a, description: d, argv: []}]", "argv: the first is the program with its full path"),
        ("command: [{name: a, description: d, argv: ['/bin/{x}']}]", "argv: the program cannot be an argument"),
        ("command: [{name: a, description: d, argv: [/bin/ls, '{x}']}]", "argv: {x} is neither"),
        ("mcp: [{name: a, url: h}]", "url: this is no address"),
        ("mcp: [{name: a, url: 'http://h/', headers: {X: '{key}'}}]", "headers: {key} is neither"),
        (
            "command:\n  - {name: a, description: d, argv: [/bin/date]}\n  - {name: get_time, description: d, argv: [/bin/date]}",
            'p.yaml:5: tools.command[1].name: "get_time" is the name of the built-in tool that tools.clock turns on',
        ),
        (
            "http: [{name: a, description: d, url: 'http://h/'}]\n  command: [{name: a, description: d, argv: [/bin/date]}]",
            'p.yaml:4: tools.command[0].name: "a" is the name of tools.http[0]; give each tool its own',
        ),
        (
            "http: [{name: a, description: d, url: 'http://h/', parameters: {type: object, properties: {}, required: [room]}}]",
            "parameters: required: 'room' is not in properties; describe it there, or leave it out",
        ),
        (
            "http: [{name: a, description: d, url: 'http://h/', "
            "parameters: {type: object, properties: {x: {type: string, enum: [true, on]}}}}]",
            'parameters: properties.x.enum: true can never be given, for it must be string; write "true" with quotes',
        ),
        ("http: [{description: d, url: 'http://h/'}]", "name: missing"),
        ("http: [{name: a, description: d, url: 'http://h/', secret: plain}]", "secret: a secret does not belong into this file"),
    ],
)
def test_what_cannot_be_meant_is_refused_with_its_line(tmp_path: Path, written: str, problem: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load(tmp_path, written)
    assert any(problem in line and "p.yaml:" in line for line in caught.value.problems), caught.value.problems


def test_everything_that_reaches_beyond_the_speaker_is_off_until_it_is_turned_on(tmp_path: Path) -> None:
    tools = load(
        tmp_path,
        "http: [{name: a, description: d, url: 'http://h/'}]\n"
        "  command: [{name: b, description: d, argv: [/bin/date]}]\n"
        "  mcp: [{name: c, url: 'http://h/'}]",
    ).tools
    assert not tools.http[0].enabled
    assert not tools.command[0].enabled
    assert tools.mcp[0].allow == ()
