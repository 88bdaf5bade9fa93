from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from hypothesis import example, given, strategies
from yaml.nodes import MappingNode, Node, ScalarNode

from pipit import config, plugins
from pipit.config import nodes
from pipit.config.credentials import fetch
from pipit.config.kinds import Entry, entries, kind_of
from pipit.config.printing import data
from pipit.config.reader import Reader, plain
from pipit.config.sections import SECTIONS, Selection
from pipit.core.options import Secret, option
from pipit.errors import ConfigError

CONFIG = Path(__file__).parents[1] / "config"
SELECTIONS = {name: section for name, section in SECTIONS.items() if isinstance(section, Selection)}
TOP = ", ".join(SECTIONS)


# -- one settings class ------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Part:
    """A part of it."""

    name: str = option(doc="What it is called.", example="rotor")
    weight_g: float = option(1.5, "How heavy.", unit="g", minimum=0)


@dataclass(frozen=True)
class Toy:
    """A toy."""

    moving: bool = option(True, "Whether it moves.")
    wheels: int = option(4, "How many.", minimum=0, maximum=18)
    speed: float = option(1.0, "How fast.", unit="m/s", maximum=3)
    height: float = option(1, "How high.", unit="m")
    colour: str = option("red", "Which.", choices=("red", "green", "blue"))
    owner: str | None = option(None, "Whose.")
    rate: int | str = option("auto", "How often.", unit="Hz", minimum=8, choices=("auto",))
    sound: bool | str = option(True, "Which noise.")
    gear: int = option(1, "Which.", choices=(1, 2, 3))
    key: Secret | None = option(None, "What winds it up.")
    body: Part = option(Part("body"), "The body.")
    parts: tuple[Part, ...] = option((), "More.")
    names: tuple[str, ...] = option((), "Nicknames.")
    sizes: tuple[float, ...] = option((), "Sizes.", unit="m", minimum=0)
    plan: bool | str = option(True, "How it is put together.", paths=(".pdf",))
    box: str | None = option(None, "Where it is kept.", paths=("",))
    extra: Mapping[str, Any] = option(factory=dict, doc="Whatever.")

    def __post_init__(self) -> None:
        if self.wheels == 3 and self.moving:
            raise ConfigError("wheels: 3 fall over", "a moving toy needs more wheels")


def read_toy(text: str) -> tuple[Any, tuple[str, ...]]:
    reader = Reader("f.yaml", Path("/nowhere"))
    root = nodes.compose(text, "f.yaml") or nodes.empty("f.yaml")
    pairs = reader.pairs(root, "toy")
    assert pairs is not None
    return reader.settings(Toy, root, pairs, "toy"), reader.problems()


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("", {}),
        ("moving: False", {"moving": False}),
        ("wheels: 0x10", {"wheels": 16}),
        ("wheels: 0o17", {"wheels": 15}),
        ("wheels: 017", {"wheels": 17}),
        ("wheels: +5", {"wheels": 5}),
        ("speed: 2", {"speed": 2.0}),
        ("speed: -1.5e1", {"speed": -15.0}),
        ("speed: .5", {"speed": 0.5}),
        ("colour: blue", {"colour": "blue"}),
        ("owner: null", {"owner": None}),
        ("owner: ~", {"owner": None}),
        ("owner:", {"owner": None}),
        ("owner: off", {"owner": "off"}),
        ("owner: 12:30", {"owner": "12:30"}),
        ("owner: 2024-01-31", {"owner": "2024-01-31"}),
        ("owner: 1_000", {"owner": "1_000"}),
        ("owner: '5'", {"owner": "5"}),
        ("owner: !!str 5", {"owner": "5"}),
        ("owner: |\n  two\n  lines", {"owner": "two\nlines"}),
        ("rate: 16000", {"rate": 16000}),
        ("rate: auto", {"rate": "auto"}),
        ("sound: moo.wav", {"sound": "moo.wav"}),
        ("sound: false", {"sound": False}),
        ("plan: drawing.PDF", {"plan": "/nowhere/drawing.PDF"}),
        ("plan: drawing", {"plan": "drawing"}),
        ("plan: false", {"plan": False}),
        ("box: ../attic", {"box": "/nowhere/../attic"}),
        ("box: /attic", {"box": "/attic"}),
        ("box: ~nobody-at-all/attic", {"box": "/nowhere/~nobody-at-all/attic"}),
        ("box: null", {"box": None}),
        ("gear: 3", {"gear": 3}),
        ("key: null", {"key": None}),
        ("body: {name: hull}", {"body": Part("hull")}),
        ("parts: [{name: a}, {name: b, weight_g: 2}]", {"parts": (Part("a"), Part("b", 2.0))}),
        ("names: [a, on]", {"names": ("a", "on")}),
        ("sizes: [1, 2.5]", {"sizes": (1.0, 2.5)}),
        ("extra: null", {"extra": {}}),
        ("extra: {a: [1, 2.5, true, null, no, {b: c}]}", {"extra": {"a": [1, 2.5, True, None, "no", {"b": "c"}]}}),
        ("moving: &yes true\nsound: *yes", {"moving": True, "sound": True}),
    ],
)
def test_what_is_accepted(text: str, values: dict[str, Any]) -> None:
    toy, problems = read_toy(text)
    assert problems == ()
    assert toy == Toy(**values)
    assert [type(getattr(toy, name)) for name in values] == [type(value) for value in values.values()]


ALLOWED = ", ".join(entry.name for entry in entries(Toy))
RATE = 'a whole number of at least 8 Hz or the word "auto"'
MORE_DIGITS = "9" * 30


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("weels: 3", f'toy.weels: unknown key; did you mean "wheels"? allowed: {ALLOWED}'),
        ("zzz: 3", f"toy.zzz: unknown key; allowed: {ALLOWED}"),
        ("moving: yes", 'toy.moving: expected true or false, found the text "yes"; write true'),
        ("moving: OFF", 'toy.moving: expected true or false, found the text "OFF"; write false'),
        ("moving: 1", "toy.moving: expected true or false, found 1"),
        ("moving: null", "toy.moving: expected true or false, found nothing"),
        ("moving: [true]", "toy.moving: expected true or false, found a list"),
        ("moving: {a: b}", "toy.moving: expected true or false, found a section"),
        ("wheels: true", "toy.wheels: expected a whole number from 0 to 18, found true"),
        ("wheels: 4.0", "toy.wheels: expected a whole number from 0 to 18, found 4.0"),
        ("wheels: four", 'toy.wheels: expected a whole number from 0 to 18, found the text "four"'),
        ("wheels: '4'", 'toy.wheels: expected a whole number from 0 to 18, found the text "4"; write 4 without quotes'),
        ("wheels: !!int four", 'toy.wheels: expected a whole number from 0 to 18, found the text "four"'),
        ("wheels: 19", "toy.wheels: 19 is too high; expected a number from 0 to 18"),
        ("wheels: -1", "toy.wheels: -1 is too low; expected a number from 0 to 18"),
        (f"wheels: {MORE_DIGITS}", f"toy.wheels: expected a whole number from 0 to 18, found {MORE_DIGITS}"),
        ("speed: 3.5", "toy.speed: 3.5 is too high; expected a number of at most 3 m/s"),
        ("speed: 2 m/s", 'toy.speed: expected a number of at most 3 m/s, found the text "2 m/s"; write 2, the unit is m/s anyway'),
        ("speed: true", "toy.speed: expected a number of at most 3 m/s, found true"),
        ("speed: -.inf", "toy.speed: -inf is not a number that can be used here; expected a number of at most 3 m/s"),
        ("height: .NaN", "toy.height: nan is not a number that can be used here; expected a number in m"),
        ("height: tall", 'toy.height: expected a number in m, found the text "tall"'),
        ("colour: gren", 'toy.colour: expected one of red, green, blue, found the text "gren"; did you mean "green"?'),
        ("colour: 7", "toy.colour: expected one of red, green, blue, found 7"),
        ("owner: 7", 'toy.owner: expected text or null, found 7; write "7" with quotes'),
        ("owner: true", 'toy.owner: expected text or null, found true; write "true" with quotes'),
        ("rate: 7", "toy.rate: 7 is too low; expected a number of at least 8 Hz"),
        ("rate: '16'", f'toy.rate: expected {RATE}, found the text "16"; write 16 without quotes'),
        ("rate: 1.5", f"toy.rate: expected {RATE}, found 1.5"),
        ("sound: 5", 'toy.sound: expected true or false or text, found 5; write "5" with quotes'),
        ("gear: 4", "toy.gear: expected one of 1, 2, 3, found 4"),
        ("body: hull", 'toy.body: expected a section, found the text "hull"; write {name: hull}'),
        ("body: {weight_g: 1}", "toy.body.name: missing; expected text, for example name: rotor"),
        ("body:", "toy.body.name: missing; expected text, for example name: rotor"),
        ("body: {name: a, weigth_g: 1}", 'toy.body.weigth_g: unknown key; did you mean "weight_g"? allowed: name, weight_g'),
        (
            "parts: {name: a}",
            'toy.parts: expected a list, each item a section, found a section; put "- " before the first line of each item',
        ),
        ("parts: [{name: a}, {name: b, weight_g: -2}]", "toy.parts[1].weight_g: -2 is too low; expected a number of at least 0 g"),
        ("names: a", 'toy.names: expected a list, each item text, found the text "a"; write [a]'),
        ("names: no list", 'toy.names: expected a list, each item text, found the text "no list"'),
        ("parts: a", 'toy.parts: expected a list, each item a section, found the text "a"; write [{name: a}]'),
        ("moving: 'Off'", 'toy.moving: expected true or false, found the text "Off"; write false without quotes'),
        ("owner: false", "toy.owner: expected text or null, found false; write null"),
        ("names: [a, 5]", 'toy.names[1]: expected text, found 5; write "5" with quotes'),
        ("names: [null]", "toy.names[0]: expected text, found nothing"),
        ("sizes: [1, -1]", "toy.sizes[1]: -1 is too low; expected a number of at least 0 m"),
        ("extra: [1]", "toy.extra: expected a section, found a list"),
        ("extra: {a: {b: 1, b: 2}}", "toy.extra.a.b: written twice, first on line 1; keep one of them"),
        ("extra: {a: !env X}", "toy.extra.a: !env is for secrets only; write the value itself"),
        ("extra: {a: !weird [x]}", "toy.extra.a: unknown tag !weird; leave it out"),
        ("extra: {<<: {a: 1}}", 'toy.extra: "<<" cannot be a key here; write the keys out'),
        ("extra: {? [a] : 1}", 'toy.extra: "?" cannot be a key here; write the keys out'),
        ("owner: !!binary aGk=", "toy.owner: unknown tag !!binary; leave it out"),
        ("owner: !file x", "toy.owner: !file is for secrets only; write the value itself"),
        ("body: !weird {name: a}", "toy.body: unknown tag !weird; leave it out"),
        ("body: !!seq {name: a}", "toy.body: unknown tag !!seq; leave it out"),
        ("owner: !!map x", "toy.owner: unknown tag !!map; leave it out"),
        ("key: sesame", "toy.key: a secret does not belong into this file; write !credential NAME, !env NAME or !file PATH"),
        (
            "key: '!env KEY'",
            "toy.key: a secret does not belong into this file; write !credential NAME, !env NAME or !file PATH without quotes",
        ),
        ("colour: #ff0000", "toy.colour: expected one of red, green, blue, found nothing; a text that begins with # needs quotes"),
        ("colour: null", "toy.colour: expected one of red, green, blue, found nothing"),
        ("key: 12345", "toy.key: a secret does not belong into this file; write !credential NAME, !env NAME or !file PATH"),
        ("key: !vault x", "toy.key: unknown tag !vault; write !credential NAME, !env NAME or !file PATH"),
        ("key: !env [x]", "toy.key: unknown tag !env; write !credential NAME, !env NAME or !file PATH"),
        ("key: [x]", "toy.key: expected !credential NAME, !env NAME or !file PATH or null, found a list"),
        (f"names: [[{'x' * 50}]]", "toy.names[0]: expected text, found a list"),
        (f"wheels: {'x y ' * 20}", f'toy.wheels: expected a whole number from 0 to 18, found the text "{("x y " * 10)}…"'),
    ],
)
def test_what_is_refused(text: str, problem: str) -> None:
    assert read_toy(text)[1] == (f"f.yaml:1: {problem}",)


def test_what_a_settings_class_refuses_itself_is_about_one_option_or_the_section() -> None:
    assert read_toy("moving: true\nwheels: 3")[1] == (
        "f.yaml:1: toy: a moving toy needs more wheels",
        "f.yaml:2: toy.wheels: 3 fall over",
    )


def test_an_unusable_annotation_is_a_mistake_in_the_program() -> None:
    for annotation in (list[int], bytes, tuple[int, int], dict[str, int], int | bytes):
        with pytest.raises(TypeError, match="is not an annotation that an option may have"):
            kind_of(annotation)


# -- a whole file ------------------------------------------------------------------------------------------------------------------

QUIET = (
    "service: {url: 'ws://localhost/'}\naudio: {backend: file}\necho: {engine: off}\nwake: {engine: off}\n"
    "leds: {driver: off}\nbutton: {driver: off}\n"
)
"""Needs neither hardware nor secrets."""


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Writes a configuration file into the working directory, under a short name."""
    monkeypatch.chdir(tmp_path)

    def write(text: str | bytes) -> Path:
        path = Path("p.yaml")
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return path

    return write


def problems_of(path: Path, *overrides: str) -> tuple[str, ...]:
    with pytest.raises(ConfigError) as error:
        config.load(path, overrides)
    return error.value.problems


def test_an_empty_file_is_all_defaults(write: Any) -> None:
    loaded = config.load(write("# nothing\n"))
    for name, section in SELECTIONS.items():
        choice = getattr(loaded, name)
        assert choice.name == section.default
        assert choice.settings == plugins.find(section.folder, section.default).settings()
    assert (loaded.conversation, loaded.sounds, loaded.log) == (config.Conversation(), config.Sounds(), config.Log())
    assert config.load(write("leds:\nlog:\nbutton: {driver: }\n")) == loaded


def test_a_choice_brings_its_own_options(write: Any) -> None:
    loaded = config.load(write("leds:\n  driver: rgb\n  red: 5\n"))
    assert loaded.leds.name == "rgb"
    assert loaded.leds.settings.red == 5
    assert loaded.leds.settings == plugins.find("leds", "rgb").settings(red=5)


@pytest.mark.parametrize(
    ("text", "problems"),
    [
        ("sund: {}", [f'p.yaml:1: sund: unknown key; did you mean "sounds"? allowed: {TOP}']),
        ("\n\n3: {}", [f"p.yaml:3: 3: unknown key; allowed: {TOP}"]),
        ("- a", ["p.yaml:1: expected a section, found a list"]),
        ("log:\n  level: info\n  level: debug", ["p.yaml:3: log.level: written twice, first on line 2; keep one of them"]),
        ("log: {}\nleds:\nlog: {}", ["p.yaml:3: log: written twice, first on line 1; keep one of them"]),
        ("log: info", ['p.yaml:1: log: expected a section, found the text "info"']),
        ("leds: off", ['p.yaml:1: leds: expected a section, found the text "off"; write "leds: {driver: off}"']),
        ("leds: !mine {}", ["p.yaml:1: leds: unknown tag !mine; leave it out"]),
        ("leds: [gpio]", ["p.yaml:1: leds: expected a section, found a list"]),
        ("leds: {driver: gpoi}", ['p.yaml:1: leds.driver: "gpoi" is not one of gpio, off, rgb, terminal; did you mean "gpio"?']),
        (
            "leds: {driver: gpoi, x: 1}",
            ['p.yaml:1: leds.driver: "gpoi" is not one of gpio, off, rgb, terminal; did you mean "gpio"?'],
        ),
        ("leds: {driver: false}", ["p.yaml:1: leds.driver: expected one of gpio, off, rgb, terminal, found false"]),
        ("leds: {driver: [rgb]}", ["p.yaml:1: leds.driver: expected one of gpio, off, rgb, terminal, found a list"]),
        (
            "leds:\n  driver: terminal\n  red: 17",
            ["p.yaml:3: leds.red: an option of driver rgb, not of terminal; put a # in front of it"],
        ),
        ("leds: {driver: off, zzz: 1}", ["p.yaml:1: leds.zzz: unknown key; allowed: driver"]),
        (
            "sounds:\n  wake: ping.mp3\n  done: on",
            [
                'p.yaml:2: sounds.wake: expected true, false or the path of a .wav file, found "ping.mp3"',
                'p.yaml:3: sounds.done: expected true, false or the path of a .wav file, found "on"',
            ],
        ),
        ("log: {level: info", ["p.yaml:1: not YAML: expected ',' or '}', but got '<stream end>'; a bracket is not closed"]),
        (
            "log:\n\tlevel: info",
            ["p.yaml:2: not YAML: found character '\\t' that cannot start any token; indent with spaces, not with tabs"],
        ),
        (
            "log:\n  level: info\n format: json",
            [
                "p.yaml:3: not YAML: expected <block end>, but found '<block mapping start>'; "
                "the line is indented differently from those that it belongs to"
            ],
        ),
        ("log\nleds", ['p.yaml:1: expected a section, found the text "log leds"']),
        ("log: x\nleds\n\n", ["p.yaml:2: not YAML: could not find expected ':'; a line must be \"key: value\""]),
        (
            "log: a: b",
            [
                "p.yaml:1: not YAML: mapping values are not allowed here; "
                'a text that holds ": " needs quotes, and a key must stand below the one above it'
            ],
        ),
        (
            "log: *nothing",
            ["p.yaml:1: not YAML: found undefined alias 'nothing'; a text that begins with this character needs quotes"],
        ),
        (
            "log: {level: @info}",
            [
                "p.yaml:1: not YAML: found character '@' that cannot start any token; "
                "a text that begins with this character needs quotes"
            ],
        ),
        (
            "leds: {driver: rgb, muted: #ff0000}\n\n\n",
            [
                "p.yaml:1: not YAML: expected the node content, but found '<stream end>'; "
                "a value is missing here; one that holds a # needs quotes"
            ],
        ),
        ("log: {level: info\n\n", ["p.yaml:1: not YAML: expected ',' or '}', but got '<stream end>'; a bracket is not closed"]),
        ('log:\n  level: "info\n\n', ["p.yaml:2: not YAML: found unexpected end of stream; a quote is not closed"]),
        ("log:info", ['p.yaml:1: expected a section, found the text "log:info"; a space belongs after the colon of "log:"']),
        (
            "leds:\n  driver:off",
            ['p.yaml:2: leds: expected a section, found the text "driver:off"; a space belongs after the colon of "driver:"'],
        ),
        ("[" * 2000 + "]" * 2000, ["p.yaml: sections and lists are nested too deeply"]),
        ("service: {extra: " + "[" * 60 + "]" * 60 + "}", ["p.yaml: sections and lists are nested too deeply"]),
        ("a: 1\n---\nb: 2", ["p.yaml:2: not YAML: but found another document; only one can be read: remove the line ---"]),
        ("service:\n  extra: &a\n    b: [*a]", ["p.yaml:2: this holds itself, by an alias (*) inside its anchor (&)"]),
        ("log: {}\nname: \x07", ["p.yaml:2: not YAML: the character U+0007 is not allowed"]),
        (b"log: {}\nname: \xff", ["p.yaml:2: not UTF-8 text; save the file as UTF-8"]),
    ],
)
def test_problems_of_a_file(write: Any, text: str | bytes, problems: list[str]) -> None:
    assert list(problems_of(write(text))) == problems


def test_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    missing = tmp_path / "p.yaml"
    assert problems_of(missing) == (f"{missing}: there is no such file; 'pipit config template' prints one to start from",)
    assert problems_of(tmp_path) == (f"{tmp_path}: cannot be read: Is a directory",)


def test_everything_at_once(write: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NO_KEY", raising=False)
    path = write(
        "conversation: {idle_s: 500}\n"
        "service:\n"
        "  api_key: !env NO_KEY\n"
        "  modle: x\n"
        "  keyterms: [a, 3]\n"
        "leds: {driver: rbg}\n"
        "log: {level: loud, format: jsn}\n"
    )
    service = "provider, " + ", ".join(entry.name for entry in entries(plugins.find("services", "openai").settings))
    assert problems_of(path, "log.format=xml", "button.pin=x", "nonsense", "sounds.wake=[") == (
        "p.yaml:1: conversation.idle_s: 500 is too high; expected a number from 1 to 120 s",
        "p.yaml:3: service.api_key: environment variable NO_KEY: not set, or empty; "
        "give it to the service with EnvironmentFile= ('systemctl edit pipit')",
        f'p.yaml:4: service.modle: unknown key; did you mean "model"? allowed: {service}',
        'p.yaml:5: service.keyterms[1]: expected text, found 3; write "3" with quotes',
        'p.yaml:6: leds.driver: "rbg" is not one of gpio, off, rgb, terminal; did you mean "rgb"?',
        'p.yaml:7: log.level: expected one of debug, info, warning, error, found the text "loud"',
        '--set button.pin: expected a whole number from 0 to 27, found the text "x"',
        '--set log.format: expected one of auto, journal, text, json, found the text "xml"',
        "--set nonsense: expected PATH=VALUE, as in --set audio.output.volume=40",
        "--set sounds.wake: not YAML: expected the node content, but found '<stream end>'; "
        "a value is missing here; one that holds a # needs quotes",
    )


def test_parts_can_say_where_something_stands(write: Any) -> None:
    loaded = config.load(write("log: {}\nwake:\n  words:\n    - model: hey_jarvis\n    - model: alexa\n"), ["wake.patience=2"])
    assert loaded.wake.locate("wake.words[1].model: deaf") == "p.yaml:5: wake.words[1].model: deaf"
    assert loaded.wake.locate("wake.patience: thin") == "--set wake.patience: wake.patience: thin"
    assert loaded.wake.locate("wake.refractory_s: odd") == "p.yaml:2: wake.refractory_s: odd"
    assert loaded.wake.locate("no ears") == "p.yaml:2: wake: no ears"
    assert loaded.leds.locate("leds.listening: dark") == "p.yaml: leds.listening: dark"
    assert loaded.leds.locate("dark") == "p.yaml: leds: dark"


# -- overrides ---------------------------------------------------------------------------------------------------------------------


def test_paths_are_relative_to_the_file_and_those_of_overrides_to_the_working_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", "/home/wren")
    Path("here").mkdir()
    Path("here/key").write_text("of the file")
    Path("key").write_text("of the override")
    for key in (Path("here/key"), Path("key")):
        key.chmod(0o600)
    file = Path("here/p.yaml")
    file.write_text(
        QUIET.replace("{backend: file}", "{backend: file, input: {path: in.wav}}").replace("{url:", "{api_key: !file key, url:")
        + "sounds: {wake: ~/wake.wav, done: done.wav}\nnear_misses: {folder: kept}\n"
    )
    loaded = config.load(file)
    assert loaded.audio.settings.input.path == "here/in.wav"
    assert loaded.sounds == config.Sounds(wake="/home/wren/wake.wav", done="here/done.wav")
    assert loaded.near_misses.folder == "here/kept"
    assert loaded.service.settings.api_key.reveal() == "of the file"
    loaded = config.load(file, ["audio.input.path=in.wav", "service.api_key=!file key"])
    assert loaded.audio.settings.input.path == "in.wav"
    assert loaded.service.settings.api_key.reveal() == "of the override"


def test_overrides_win_over_the_file(write: Any) -> None:
    path = write(QUIET + "log: {level: debug}\n")
    loaded = config.load(
        path, ["log.level=error", "log.format=json", "sounds.wake=false", "service.extra={a: {b: 1}}", "conversation.idle_s= 9 "]
    )
    assert loaded.log == config.Log("error", "json")
    assert loaded.sounds.wake is False
    assert loaded.service.settings.extra == {"a": {"b": 1}}
    assert loaded.conversation.idle_s == 9
    assert config.load(path, ["log.level=error", "log.level=info"]).log.level == "info"
    assert config.load(path, ["log="]).log == config.Log()
    assert config.load(path, ["service.extra.a.b=1"]).service.settings.extra == {"a": {"b": 1}}


@pytest.mark.parametrize(
    ("override", "problem"),
    [
        ("log", "--set log: expected PATH=VALUE, as in --set audio.output.volume=40"),
        ("=5", "--set : expected PATH=VALUE, as in --set audio.output.volume=40"),
        ("log..level=5", "--set log..level: expected PATH=VALUE, as in --set audio.output.volume=40"),
        ("log.level.x=5", "--set log.level.x: log.level is not a section"),
        ("log.level=5", "--set log.level: expected one of debug, info, warning, error, found 5"),
        ("log.levle=5", '--set log.levle: unknown key; did you mean "level"? allowed: level, format'),
        ("log={levle: 5}", '--set log: log.levle: unknown key; did you mean "level"? allowed: level, format'),
        ("lgo.level=5", f'--set lgo.level: lgo: unknown key; did you mean "log"? allowed: {TOP}'),
        (
            "log.level=a: b: c",
            '--set log.level: not YAML: mapping values are not allowed here; a text that holds ": " needs quotes, '
            "and a key must stand below the one above it",
        ),
        ("log.level=\udcff", "--set log.level: not YAML: the character U+DCFF is not allowed"),
        (
            "wake.words[0].threshold=0.3",
            "--set wake.words[0].threshold: what is in a list cannot be set by itself; "
            "set the list, as in --set 'wake.words=[{model: alexa}]'",
        ),
        ("service.extra=&a [*a]", "--set service.extra: this holds itself, by an alias (*) inside its anchor (&)"),
        (
            "service.api_key=sesame",
            "--set service.api_key: a secret does not belong into this file; write !credential NAME, !env NAME or !file PATH",
        ),
    ],
)
def test_problems_of_an_override(write: Any, override: str, problem: str) -> None:
    assert problems_of(write(QUIET + "log: {level: info}"), override) == (problem,)


def test_the_file_itself_may_be_what_is_no_section(write: Any) -> None:
    assert problems_of(write("- a"), "log.level=info")[-1] == "--set log.level: the file is not a section"


def test_an_override_may_choose_another_plugin_than_the_file(write: Any) -> None:
    path = write(
        "leds: {driver: gpio, listening: 5}\nservice: {instructions: Be kind., keyterms: [tea]}\nbutton: {pin: 7, hold_s: 2}\n"
    )
    loaded = config.load(path, ["leds.driver=rgb", "leds.red=9", "service.provider=assemblyai", "button.driver=keyboard"])
    assert loaded.leds == config.Choice("rgb", plugins.find("leds", "rgb").settings(red=9))
    assert loaded.service.settings.instructions == "Be kind."
    assert loaded.service.settings.keyterms == ("tea",)
    assert loaded.button.settings.hold_s == 2
    assert config.load(path, ["leds.driver=gpio"]).leds.settings.listening == 5


def test_such_an_override_keeps_other_overrides_inside_sections_of_the_file(write: Any) -> None:
    path = write("audio:\n  input: {device: card, rate: auto}\n  output: {device: card, volume: 20}\n")
    loaded = config.load(path, ["audio.backend=file", "audio.input.path=in.wav"])
    file = plugins.find("audio", "file").settings()
    assert loaded.audio.settings.input.path == "in.wav"
    assert loaded.audio.settings.output == file.output


def test_an_override_mends_a_wrong_choice(write: Any) -> None:
    assert config.load(write("leds: {driver: gpoi, listening: 5}"), ["leds.driver=off"]).leds.name == "off"


# -- secrets -----------------------------------------------------------------------------------------------------------------------


@pytest.fixture
def credentials(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "credentials"
    folder.mkdir()
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(folder))
    return folder


def test_a_credential(write: Any, credentials: Path) -> None:
    (credentials / "openai").write_text("sk-1234\n")
    key = config.load(write("service: {api_key: !credential openai}")).service.settings.api_key
    assert (key.reveal(), key.source) == ("sk-1234", "credential openai")


def test_an_environment_variable(write: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SPEAKER_KEY", "sk-1234")
    key = config.load(write(""), ["service.api_key=!env SPEAKER_KEY"]).service.settings.api_key
    assert (key.reveal(), key.source) == ("sk-1234", "environment variable SPEAKER_KEY")


def test_a_file_relative_to_the_configuration(tmp_path: Path) -> None:
    (tmp_path / "key").write_text("\ufeffsk-1234\r\n", encoding="utf-8")
    (tmp_path / "key").chmod(0o640)
    (tmp_path / "p.yaml").write_text("service: {api_key: !file key}")
    key = config.load(tmp_path / "p.yaml").service.settings.api_key
    assert (key.reveal(), key.source) == ("sk-1234", f"file {tmp_path / 'key'}")


@pytest.mark.parametrize(
    ("secret", "problem"),
    [
        ("!credential", "!credential needs a NAME after it"),
        ("!file ''", "!file needs a PATH after it"),
        (
            "!credential opnai",
            'credential opnai: systemd passed on no such credential; did you mean "openai"?; store it with '
            "'systemd-creds encrypt --name=opnai - /etc/credstore.encrypted/opnai' and have "
            "LoadCredentialEncrypted=opnai in the service ('systemctl edit pipit')",
        ),
        ("!credential ../key", "credential ../key: not a name that a credential can have; letters, digits and _ . : - are allowed"),
        ("!credential empty", "credential empty: empty; put the key in it"),
        ("!credential folder", "credential folder: cannot be read: Is a directory"),
        (
            "!env EMPTY",
            "environment variable EMPTY: not set, or empty; give it to the service with EnvironmentFile= ('systemctl edit pipit')",
        ),
        ("!env $EMPTY", "environment variable $EMPTY: not a name that a variable can have; write it without $, quotes and blanks"),
        ("!file nothing", "file nothing: cannot be read: No such file or directory"),
        (
            "!file public",
            "file public: everybody on this machine can read it; 'sudo chgrp pipit public' and 'sudo chmod 640 public' "
            "let the service read it, and nobody else, or use !credential NAME",
        ),
        ("!file rubbish", "file rubbish: not text"),
    ],
)
def test_secrets_that_cannot_be_had(
    write: Any, credentials: Path, monkeypatch: pytest.MonkeyPatch, secret: str, problem: str
) -> None:
    (credentials / "openai").write_text("sk-1234")
    (credentials / "empty").write_text("\n")
    (credentials / "folder").mkdir()
    monkeypatch.setenv("EMPTY", "")
    path = write(f"service:\n  api_key: {secret}\n")
    Path("public").write_text("sk-1234")
    Path("public").chmod(0o644)
    Path("rubbish").write_bytes(b"\xff\xfe")
    assert problems_of(path) == (f"p.yaml:2: service.api_key: {problem}",)


BY_HAND = "or use !file PATH or !env NAME, or set CREDENTIALS_DIRECTORY to a folder with a file openai in it"


def test_without_systemd_the_message_says_how_to_go_on(write: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write("service: {api_key: !credential openai}")
    monkeypatch.delenv("CREDENTIALS_DIRECTORY", raising=False)
    monkeypatch.setattr("pipit.config.credentials.STORE", str(tmp_path / "store"))
    assert problems_of(path) == (
        f"p.yaml:1: service.api_key: credential openai: there is no {tmp_path}/store/openai; "
        f"store the key with 'sudo systemd-creds encrypt --name=openai - {tmp_path}/store/openai', {BY_HAND}",
    )
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", "/nowhere/at/all")
    assert "systemd passed on no such credential" in problems_of(path)[0]


def test_the_store_of_keys_is_for_root_alone(closed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CREDENTIALS_DIRECTORY", raising=False)
    monkeypatch.setattr("pipit.config.credentials.STORE", str(closed))
    with pytest.raises(ConfigError) as error:
        fetch("!credential", "openai", Path())
    assert error.value.problems == (f"credential openai: only root can read {closed}; run this with sudo, {BY_HAND}",)


def test_by_hand_root_gets_the_key_that_systemd_would_pass_on(write: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CREDENTIALS_DIRECTORY", raising=False)
    monkeypatch.setattr("pipit.config.credentials.STORE", str(tmp_path))
    encrypt = ["systemd-creds", "encrypt", "--name=openai", "-", str(tmp_path / "openai")]
    done = subprocess.run(encrypt, input=b"sk-1234\n", capture_output=True)
    if done.returncode:
        pytest.skip(f"systemd-creds cannot encrypt here: {done.stderr.decode()}")
    path = write("service: {api_key: !credential openai}")
    assert config.load(path).service.settings.api_key.reveal() == "sk-1234"
    (tmp_path / "openai").write_text("not encrypted")
    [problem] = problems_of(path)
    assert "cannot be decrypted" in problem
    assert "sudo" in problem


# -- what is printed ---------------------------------------------------------------------------------------------------------------


def test_the_effective_configuration_hides_secrets(write: Any, credentials: Path) -> None:
    (credentials / "openai").write_text("sk-1234")
    printed = config.masked(config.load(write("service: {api_key: !credential openai}")))
    assert "sk-1234" not in printed
    assert "  api_key: '*** (credential openai)'\n" in printed


TRICKY = strategies.one_of(
    strategies.text(),
    strategies.sampled_from(
        ["off", "1e3", "0o7", "12:30", "null", "~", "", "#x", "!env X", "2024-01-01", "a: b", "\x85", "é😀", "- a"]
    ),
    strategies.integers(-(10**17), 10**17),
    strategies.floats(allow_nan=False, allow_infinity=False),
    strategies.booleans(),
    strategies.none(),
)


def quoted(value: Any) -> str:
    """Return YAML that leaves no doubt: every scalar with its type, in double quotes."""
    return str(yaml.safe_dump(value, default_style='"'))


@given(
    strategies.dictionaries(strategies.text(), TRICKY | strategies.lists(TRICKY, max_size=3), max_size=4),
    strategies.text(),
    strategies.floats(1, 120),
)
@example({"rate": 1e22}, "off", 1.0000000000000002)
def test_what_is_printed_reads_as_what_was_read(tmp_path_factory: Any, extra: Any, instructions: str, idle_s: float) -> None:
    extra = {name: value for name, value in extra.items() if name not in ("?", "<<")}
    path = tmp_path_factory.getbasetemp() / "printed.yaml"
    path.write_text(QUIET)
    written = (f"service.extra={quoted(extra)}", f"service.instructions={quoted(instructions)}")
    loaded = config.load(path, [*written, f"conversation.idle_s={idle_s!r}"])
    assert (loaded.service.settings.extra, loaded.service.settings.instructions) == (extra, instructions)
    assert loaded.conversation.idle_s == idle_s
    path.write_text(config.masked(loaded))
    assert config.load(path) == loaded


# -- the commented file ------------------------------------------------------------------------------------------------------------


def test_the_commented_file_is_the_generated_one() -> None:
    assert (CONFIG / "pipit.yaml").read_text() == config.template(), "pipit config template > config/pipit.yaml"


def test_the_commented_file_points_editors_at_the_schema() -> None:
    first = config.template().splitlines()[0]
    assert first == "# yaml-language-server: $schema=schema.json"
    assert (CONFIG / first.partition("=")[2]).is_file()


def test_the_commented_file_is_the_default_given_its_credential(write: Any, credentials: Path) -> None:
    (credentials / "openai").write_text("sk-1234")
    loaded = config.load(CONFIG / "pipit.yaml")
    key = loaded.service.settings.api_key
    assert key == Secret("sk-1234")
    (credentials / "x").write_text("sk-1234")
    assert loaded == config.load(write("service: {api_key: !credential x}"))


def test_the_commented_file_names_every_section_in_order() -> None:
    shown = [line.rstrip(":") for line in config.template().splitlines() if line and line[0].isalpha()]
    assert shown == list(SECTIONS)
    assert shown == [name for name in config.Config.__dataclass_fields__ if name != "where"]


def sections_of(text: str) -> dict[str, list[str]]:
    """Return the lines of each section, without its headline."""
    found: dict[str, list[str]] = {}
    current: list[str] = []
    for line in text.splitlines():
        if line and line[0].isalpha():
            current = found.setdefault(line.rstrip(":"), [])
        elif line.startswith(" "):
            current.append(line)
    return found


def as_tree(lines: list[str]) -> Any:
    root = nodes.compose("\n".join(lines), "lines")
    return {} if root is None else tree(root)


def tree(node: Node) -> Any:
    """Return nodes as plain Python, with what a tag stands for as text."""
    if isinstance(node, MappingNode):
        return {key.value: tree(value) for key, value in node.value}
    if isinstance(node, ScalarNode):
        return plain(node) if node.tag.startswith(nodes.TAG) else node.value
    return [tree(child) for child in node.value]


def defaults_of(options: tuple[Entry, ...]) -> dict[str, Any]:
    return {entry.name: data(entry.default) for entry in options if not entry.kind.secret}


def alternatives(lines: list[str]) -> dict[str, Any]:
    """Return what stands behind # in a section, as if it did not: name of the plug-in -> its options."""
    found: dict[str, list[str]] = {}
    current: list[str] = []
    for line in lines:
        words = line.split()
        if words[:2] == ["#", "With"]:
            current = found.setdefault(words[3].rstrip(",:"), [])
        elif words and words[0].startswith("#") and words[0] != "#":
            current.append(line.replace("#", "", 1))
    return {name: as_tree(uncommented) for name, uncommented in found.items()}


@pytest.mark.parametrize("name", SECTIONS)
def test_the_commented_file_shows_every_option_at_its_default(name: str) -> None:
    section = SECTIONS[name]
    lines = sections_of(config.template())[name]
    live = as_tree(lines)
    if not isinstance(section, Selection):
        assert live == defaults_of(entries(section))
        return
    assert live.pop(section.key) == section.default
    chosen = entries(plugins.find(section.folder, section.default).settings)
    assert live.keys() == {entry.name for entry in chosen}
    assert {**live, **defaults_of(chosen)} == live
    others = alternatives(lines)
    shown = list(chosen)
    for plugin in plugins.every(section.folder):
        rest = others.pop(plugin.name, {})
        assert plugin.name in " ".join(lines)
        assert {entry for entry in map(str, rest)} == {entry.name for entry in entries(plugin.settings) if entry not in shown}
        assert {**rest, **{k: v for k, v in defaults_of(entries(plugin.settings)).items() if k in rest}} == rest
        shown += entries(plugin.settings)
    assert others == {}


def test_the_commented_file_explains_every_option() -> None:
    text = " ".join(line.strip().lstrip("# ") for line in config.template().splitlines())
    for section in SECTIONS.values():
        classes = [plugin.settings for plugin in plugins.every(section.folder)] if isinstance(section, Selection) else [section]
        for entry in (entry for cls in classes for entry in entries(cls)):
            assert entry.option.doc in text
            for bound in (entry.option.minimum, entry.option.maximum):
                assert bound is None or f"{bound:g}" in text


# -- the schema --------------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def validator() -> jsonschema.Draft202012Validator:
    return jsonschema.Draft202012Validator(config.schema())


def test_the_schema_is_the_generated_one() -> None:
    assert (CONFIG / "schema.json").read_text() == json.dumps(config.schema(), indent=2) + "\n", (
        "pipit config schema > config/schema.json"
    )


def test_the_schema_is_one() -> None:
    jsonschema.Draft202012Validator.check_schema(config.schema())


@pytest.mark.parametrize(
    "file", [*sorted(CONFIG.glob("*.yaml")), *sorted(CONFIG.glob("boards/*.yaml"))], ids=lambda path: path.name
)
def test_files_of_ours_keep_to_the_schema(validator: jsonschema.Draft202012Validator, file: Path) -> None:
    assert list(validator.iter_errors(tree(nodes.read(file)))) == []


def every_option() -> Iterator[tuple[str, str, Entry]]:
    """Iterate over what leads to each option: text before it, text after it, and the option."""
    for name, section in SECTIONS.items():
        if not isinstance(section, Selection):
            yield from ((f"{name}: {{", "}", entry) for entry in entries(section))
            continue
        for plugin in plugins.every(section.folder):
            chosen = f"{name}: {{{section.key}: {plugin.name}, "
            for entry in entries(plugin.settings):
                yield chosen, "}", entry
                inner = entry.kind.section
                yield from ((f"{chosen}{entry.name}: {{", "}}", below) for below in (entries(inner) if inner else ()))


PLACES = [(before, after, entry) for before, after, entry in every_option() if not entry.kind.secret]
VALUES = strategies.one_of(
    strategies.sampled_from(
        ["true", "null", "auto", "off", "'5'", "[]", "{}", "[a]", "[5]", "[{model: a}]", "[{}]", "{a: 1}", "x.wav"]
    ),
    strategies.integers(-5, 50000).map(str),
    strategies.floats(-5, 5000).filter(lambda value: not value.is_integer()).map(repr),
    strategies.sampled_from(
        [bound for _, _, e in PLACES for bound in (e.option.minimum, e.option.maximum) if bound is not None]
    ).map(lambda bound: f"{bound:g}"),
    strategies.sampled_from([choice for _, _, e in PLACES for choice in e.option.choices]).map(str),
)


BEYOND_A_SCHEMA = (
    "path of a .wav file",
    "which is no text",
    "is no word that can be written",
    "is the same word as",
    "is not a colour",
)
"""Rules about the contents of a text or of a free mapping."""


@given(strategies.sampled_from(PLACES), VALUES)
def test_the_schema_allows_what_the_reader_allows(
    validator: jsonschema.Draft202012Validator, tmp_path_factory: Any, place: tuple[str, str, Entry], value: str
) -> None:
    before, after, entry = place
    text = f"{before}{entry.name}: {value}{after}"
    path = tmp_path_factory.getbasetemp() / "drawn.yaml"
    path.write_text(text)
    try:
        config.load(path)
    except ConfigError as error:
        refused = not all(any(rule in problem for rule in BEYOND_A_SCHEMA) for problem in error.problems)
    else:
        refused = False
    assert refused == (not validator.is_valid(tree(nodes.read(path)))), text


@pytest.mark.parametrize(
    "text", ["zzz: 1", "leds: {zzz: 1}", "leds: {driver: gpoi}", "leds: {driver: off, red: 1}", "log: {zzz: 1}", "- a"]
)
def test_the_schema_refuses_what_is_unknown(validator: jsonschema.Draft202012Validator, text: str) -> None:
    root = nodes.compose(text, "text")
    assert root is not None
    assert not validator.is_valid(tree(root))


# -- anything at all ---------------------------------------------------------------------------------------------------------------

BITS = strategies.sampled_from(
    [
        *"\n :-[]{}?&*!|>'\"%@`#,~<\t",
        "  ",
        "a",
        "*a",
        "&a ",
        "1",
        "log",
        "leds",
        ": ",
        "- ",
        "driver",
        "service",
        "extra",
        "null",
        "---",
    ]
)


@given(
    strategies.lists(BITS, max_size=30).map("".join) | strategies.text(max_size=30), strategies.lists(BITS, max_size=8).map("".join)
)
def test_no_text_makes_anything_but_a_configuration_or_its_problems(tmp_path_factory: Any, text: str, value: str) -> None:
    path = tmp_path_factory.getbasetemp() / "any.yaml"
    path.write_text(text)
    for overrides in ([], [f"service.extra.a={value}"], [value]):
        try:
            config.load(path, overrides)
            problems: tuple[str, ...] = ()
        except ConfigError as error:
            problems = error.problems
        assert [problem for problem in problems if "\n" in problem or not problem.startswith((str(path), "--set "))] == []


# -- light enough for the start of the daemon --------------------------------------------------------------------------------------


def test_loading_imports_only_what_is_chosen(write: Any) -> None:
    path = write(QUIET)
    script = (
        "import sys; from pipit import config\n"
        f"config.load({str(path)!r}); print(*[m for m in sys.modules if m.startswith('pipit.')])"
    )
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, env={**os.environ})
    imported = set(run.stdout.split())
    folders = {section.folder for section in SELECTIONS.values()}
    candidates = {f"pipit.{f}.{m}" for f in folders for m in [p.name.replace("-", "_") for p in plugins.every(f)]}
    assert imported & candidates == {"pipit.audio.file", "pipit.wake.off", "pipit.leds.off", "pipit.buttons.off", "pipit.echo.off"}


# -- a section that may be a list ------------------------------------------------------------------------------------------------

TWO = """\
service:
- provider: realtime
  url: ws://127.0.0.1:1/a
- provider: realtime
  url: ws://127.0.0.1:1/b
  voice: alloy
"""


def test_services_may_be_a_list(tmp_path: Path) -> None:
    path = tmp_path / "p.yaml"
    path.write_text(TWO)
    loaded = config.load(path)
    assert loaded.service.settings.url == "ws://127.0.0.1:1/a"
    (second,) = loaded.service.alternatives
    assert (second.name, second.settings.voice) == ("realtime", "alloy")
    assert second.locate("service.voice: no") == f"{path}:6: service[1].voice: no"
    printed = nodes.compose(config.masked(loaded), "printed")
    assert [entry["url"] for entry in tree(printed)["service"]] == ["ws://127.0.0.1:1/a", "ws://127.0.0.1:1/b"]


def test_the_schema_allows_a_list_of_services(validator: jsonschema.Draft202012Validator) -> None:
    assert validator.is_valid(tree(nodes.compose(TWO, "text")))
    assert not validator.is_valid({"service": []})
    assert not validator.is_valid({"service": [{"provider": "nobody"}]})
    assert not validator.is_valid({"service": [{"provider": "openai", "modle": "x"}]})


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("service: []", "1: service: an empty list; name at least one"),
        ("service: [{provider: realtime}, {provider: nobody}]", '1: service[1].provider: "nobody" is not one of'),
        ("service:\n- provider: realtime\n  modle: x", '3: service[0].modle: unknown key; did you mean "model"?'),
        ("service: [realtime]", '1: service[0]: expected a section, found the text "realtime"; write'),
        ("leds: [{driver: off}]", "1: leds: expected a section, found a list"),
    ],
)
def test_what_is_wrong_in_a_list_of_services(tmp_path: Path, text: str, problem: str) -> None:
    path = tmp_path / "p.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError) as caught:
        config.load(path)
    assert any(line.startswith(f"{path}:{problem}") for line in caught.value.problems), caught.value.problems


def test_an_override_does_not_reach_into_a_list(tmp_path: Path) -> None:
    path = tmp_path / "p.yaml"
    path.write_text(TWO)
    with pytest.raises(ConfigError, match=r"--set service\.voice: service is not a section"):
        config.load(path, ["service.voice=x"])


# -- what differs between two configurations ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "paths"),
    [
        ("", ()),
        ("audio: {output: {volume: 20}}", ("audio.output.volume",)),
        ("log: {level: debug}\nsounds: {wake: false}", ("sounds.wake", "log.level")),
        ("leds: {driver: off}", ("leds.driver",)),
    ],
)
def test_changes_are_told_by_their_paths(tmp_path: Path, text: str, paths: tuple[str, ...]) -> None:
    base = "service: {url: 'ws://127.0.0.1:1/v1/realtime'}\n"
    (tmp_path / "old.yaml").write_text(base)
    (tmp_path / "new.yaml").write_text(base + text)
    found = config.changes(config.load(tmp_path / "old.yaml"), config.load(tmp_path / "new.yaml"))
    assert set(paths) <= set(found)
    assert {path.split(".")[0] for path in found} == {path.split(".")[0] for path in paths}
