from __future__ import annotations

import dataclasses
import importlib
import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType

import pytest

from pipit import plugins
from pipit.config.kinds import Entry, entries
from pipit.config.nodes import compose
from pipit.config.printing import data
from pipit.config.reader import Reader
from pipit.config.sections import SECTIONS, Selection
from pipit.errors import ConfigError
from pipit.plugins import Choice

PLUGIN = '''"""A {name}: it plays.

More about it.
"""
from dataclasses import dataclass

@dataclass(frozen=True)
class Settings:
    """Nothing to set."""

def build(settings):
    return "{name}"
'''

FOLDERS = {name: section for name, section in SECTIONS.items() if isinstance(section, Selection)}
EVERY = [(name, section, plugin) for name, section in FOLDERS.items() for plugin in plugins.every(section.folder)]
IDS = [f"{name}-{plugin.name}" for name, _, plugin in EVERY]

Toys = Callable[..., ModuleType]


@pytest.fixture
def toys(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Toys]:
    """Makes a folder of plug-ins, pipit.toys: module=source, and NAMES where there are any."""

    def make(names: dict[str, str] | None = None, /, **sources: str) -> ModuleType:
        package = ModuleType("pipit.toys")
        package.__path__ = [str(tmp_path)]
        if names is not None:
            package.__dict__["NAMES"] = names
        for module, source in sources.items():
            (tmp_path / f"{module}.py").write_text(source)
        importlib.invalidate_caches()
        monkeypatch.setitem(sys.modules, "pipit.toys", package)
        return package

    yield make
    for module in [module for module in sys.modules if module.startswith("pipit.toys.")]:
        del sys.modules[module]


def test_a_plugin_is_the_module_of_its_name(toys: Toys) -> None:
    toys(ball=PLUGIN.format(name="ball"), kite=PLUGIN.format(name="kite"))
    plugin = plugins.find("toys", "kite")
    assert (plugin.name, plugin.settings.__name__, plugin.doc) == ("kite", "Settings", "A kite: it plays.")
    assert plugin.build(plugin.settings()) == "kite"


def test_only_the_chosen_one_is_imported(toys: Toys) -> None:
    toys(ball=PLUGIN.format(name="ball"), bomb="raise RuntimeError('nobody chose me')")
    assert plugins.find("toys", "ball").name == "ball"


def test_a_dash_is_an_underscore(toys: Toys) -> None:
    toys(toy_car=PLUGIN.format(name="toy-car"))
    assert plugins.find("toys", "toy-car").name == "toy-car"
    with pytest.raises(ConfigError) as error:
        plugins.find("toys", "toy_car")
    assert error.value.problems == ('"toy_car" is not one of toy-car; did you mean "toy-car"?',)


def test_what_lacks_a_half_is_no_plugin(toys: Toys) -> None:
    toys(ball=PLUGIN.format(name="ball"), shared="", half="class Settings: ...", _hidden=PLUGIN.format(name="hidden"))
    assert plugins.names("toys") == ("ball",)
    assert [plugin.name for plugin in plugins.every("toys")] == ["ball"]
    for name in ("shared", "half", "-hidden", "_hidden", "os", ".ball", ""):
        with pytest.raises(ConfigError, match="is not one of ball"):
            plugins.find("toys", name)


def test_names_may_share_a_module_which_then_learns_the_name(toys: Toys) -> None:
    source = PLUGIN.format(name="ball").replace("build(settings)", "build(settings, name)").replace('"ball"', "name")
    toys({"red": "ball", "blue": "ball"}, ball=source, kite=PLUGIN.format(name="kite"))
    assert plugins.names("toys") == ("blue", "red")
    assert plugins.build("toys", Choice("blue", plugins.find("toys", "blue").settings())) == "blue"
    with pytest.raises(ConfigError, match='"ball" is not one of blue, red'):
        plugins.find("toys", "ball")


def test_a_missing_package_is_named(toys: Toys) -> None:
    toys(ball=PLUGIN.format(name="ball"), drone="import no_such_package.wings")
    assert plugins.names("toys") == ("ball", "drone")
    expected = "\"drone\" needs the Python package no_such_package, which cannot be imported: No module named 'no_such_package'"
    with pytest.raises(ConfigError) as error:
        plugins.find("toys", "drone")
    assert str(error.value) == expected
    with pytest.raises(ConfigError):
        plugins.every("toys")


def test_a_mistake_of_our_own_is_no_missing_package(toys: Toys) -> None:
    toys(ball="import pipit.no_such_module")
    with pytest.raises(ModuleNotFoundError):
        plugins.find("toys", "ball")


WHERE = {"": "f.yaml:3: toys", "toys": "f.yaml:3", "toys.size": "f.yaml:4", "toys.parts": "f.yaml:5", "toys.parts[0]": "f.yaml:6"}


@pytest.mark.parametrize(
    ("problem", "located"),
    [
        ("toys.size: too big", "f.yaml:4: toys.size: too big"),
        ("toys.colour: ugly", "f.yaml:3: toys.colour: ugly"),
        ("toys.parts[0].shape: odd", "f.yaml:6: toys.parts[0].shape: odd"),
        ("toys.parts[1].shape: odd", "f.yaml:5: toys.parts[1].shape: odd"),
        ("ball.wav: silent", "f.yaml:3: toys: ball.wav: silent"),
        ("it does not roll", "f.yaml:3: toys: it does not roll"),
    ],
)
def test_what_building_finds_wrong_is_located_in_the_file(toys: Toys, problem: str, located: str) -> None:
    complain = f"    from pipit.errors import ConfigError\n    raise ConfigError({problem!r})\n"
    toys(ball=PLUGIN.format(name="ball").replace('    return "ball"\n', complain))
    with pytest.raises(ConfigError) as error:
        plugins.build("toys", Choice("ball", plugins.find("toys", "ball").settings(), WHERE))
    assert error.value.problems == (located,)


def test_without_a_file_problems_stay_as_they_are() -> None:
    assert Choice("ball", None).locate("toys.size: too big") == "toys.size: too big"


@pytest.mark.parametrize(
    ("word", "suggestion"),
    [("gpoi", '; did you mean "gpio"?'), ("IDLE-S", '; did you mean "idle_s"?'), ("zebra", ""), ("", "")],
)
def test_did_you_mean(word: str, suggestion: str) -> None:
    assert plugins.did_you_mean(word, ["gpio", "idle_s", "rgb"]) == suggestion


# -- every plug-in that there is ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", FOLDERS)
def test_the_default_of_a_section_exists(name: str) -> None:
    assert FOLDERS[name].default in plugins.names(FOLDERS[name].folder)


@pytest.mark.parametrize(("name", "section", "plugin"), EVERY, ids=IDS)
def test_a_plugin_declares_its_options(name: str, section: Selection, plugin: plugins.Plugin) -> None:
    assert plugin.doc.endswith("."), "the first line of the module's docstring goes into the configuration file"
    assert dataclasses.is_dataclass(plugin.settings)
    assert plugin.settings.__dataclass_params__.frozen  # type: ignore[attr-defined]  # exists at run time
    options = entries(plugin.settings)
    assert section.key not in {entry.name for entry in options}
    for entry in options:
        _is_described(entry)


@pytest.mark.parametrize(("name", "section", "plugin"), EVERY, ids=IDS)
def test_defaults_and_examples_keep_to_their_own_bounds(name: str, section: Selection, plugin: plugins.Plugin) -> None:
    reader = Reader("defaults", Path())
    for entry in entries(plugin.settings):
        for value in [entry.default] * (not entry.required) + [entry.option.example] * (entry.option.example is not None):
            node = compose(json.dumps(data(value)), "defaults")
            assert node is not None
            reader.value(node, entry.kind, entry.option, f"{name}.{entry.name}")
    assert reader.problems() == ()


def _is_described(entry: Entry) -> None:
    assert entry.option.doc.endswith("."), f"{entry.name}: the description is a sentence"
    for inner in (entry.kind.section, entry.kind.item and entry.kind.item.section):
        for below in entries(inner) if inner else ():
            _is_described(below)


EXTRAS = ("lgpio", "onnxruntime", "openwakeword", "pocketsphinx", "spidev")
"""What an installation without extras lacks."""


def test_the_schema_can_be_made_without_extras() -> None:
    folders = sorted({section.folder for section in FOLDERS.values()})
    script = (
        "import sys; from pipit import plugins\n"
        f"for folder in {folders}: plugins.every(folder)\n"
        f"print(*[name for name in {EXTRAS} if name in sys.modules])"
    )
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert run.stdout.split() == []
