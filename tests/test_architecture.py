"""Who may import whom, and what only some files may do. Every rule is shown to bite on a small tree that breaks it."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

PROJECT = Path(__file__).parents[1]
PACKAGE = PROJECT / "daemon" / "pipit"

# -- the rules ---------------------------------------------------------------------------------------------------------------------

GROUND = {"core", "errors"}
PLUGIN_FOLDERS = {"audio", "buttons", "echo", "leds", "services", "tools", "wake"}
CONTRACTS = PLUGIN_FOLDERS | {"system"}

MAY_IMPORT: dict[str, set[str]] = {
    "errors": set(),
    "core": {"errors"},
    "vad": GROUND,
    "pins": GROUND,
    "tasks": set(),
    "dial": GROUND,
    "fetch": GROUND | {"dial"},
    "system": GROUND,
    **{folder: GROUND for folder in PLUGIN_FOLDERS},
    **{folder: GROUND | {"pins"} for folder in ("buttons", "leds")},
    "services": GROUND | {"dial", "fetch", "offline", "tasks"},
    "tools": GROUND | {"dial", "fetch"},
    "echo": GROUND | {"vad"},
    "plugins": GROUND,
    "config": GROUND | {"plugins", "tools"},
    "cues": GROUND | CONTRACTS,
    "lamp": GROUND | CONTRACTS,
    "clips": GROUND | {"audio", "wake"},
    "gate": GROUND | {"vad", "wake"},
    "hearing": GROUND | CONTRACTS | {"vad"},
    "conversation": GROUND | CONTRACTS | {"hearing", "tasks"},
    "conductor": GROUND | CONTRACTS | {"conversation", "cues", "hearing", "lamp", "tasks"},
    "remote": GROUND | CONTRACTS | {"conductor", "hearing"},
    "app": GROUND
    | CONTRACTS
    | {"clips", "conductor", "config", "conversation", "cues", "gate", "hearing", "lamp", "pins", "plugins", "remote", "vad"},
    "offline": GROUND | {"vad"},
    "rehearsal": GROUND | {"offline", "vad"},
    "demo": GROUND | CONTRACTS | {"app", "config", "offline", "rehearsal"},
    "curves": GROUND | {"audio", "wake"},
    "tuning": GROUND,
    "meter": GROUND | CONTRACTS | {"app", "config", "gate", "hearing", "plugins"},
    "doctor": GROUND | CONTRACTS | {"config", "hearing", "plugins"},
    "cli": GROUND | CONTRACTS | {"app", "clips", "config", "curves", "demo", "doctor", "meter", "plugins", "rehearsal", "tuning"},
}
"""A part of the package (a module or a folder) -> the other parts that it may import. A new part needs a line here."""

MAY_NAME_PLUGINS = {"cli", "demo"}
"""Everybody else gets plug-ins from `plugins`, by the name in the configuration."""

LIBRARIES: dict[str, set[str]] = {
    "gpiozero": {"buttons", "leds", "pins"},
    "h11": {"rehearsal"},
    "httpx2": {"tools"},
    "mcp": {"tools"},
    "lgpio": {"pins"},
    "msgpack": {"rehearsal", "services"},
    "numpy": set(MAY_IMPORT),
    "onnxruntime": {"wake"},
    "openwakeword": {"wake"},
    "pocketsphinx": {"offline", "wake"},
    "pyaudio": {"audio"},
    "pyopen_wakeword": {"wake"},
    "pywebrtc_audio": {"echo"},
    "systemd": {"system"},
    "_webrtcvad": {"vad"},
    "websockets": {"rehearsal", "services"},
    "yaml": {"config"},
}
"""What is not in the standard library -> the parts that may use it. A new dependency needs a line here."""

IMPORTED_WHEN_CHOSEN = {
    "gpiozero",
    "h11",
    "httpx2",
    "lgpio",
    "mcp",
    "msgpack",
    "onnxruntime",
    "openwakeword",
    "pocketsphinx",
    "pyaudio",
    "pyopen_wakeword",
    "pywebrtc_audio",
    "systemd",
    "websockets",
}
"""`pipit --help` and the daemon's start work without these. (websockets is loaded once Pipit listens.)"""

STANDARD = sys.stdlib_module_names | {"_typeshed"}
"""_typeshed exists for type checkers only."""

PURE = {
    *("__future__", "abc", "array", "bisect", "collections", "dataclasses", "enum", "fractions", "functools", "heapq", "itertools"),
    *("math", "numbers", "operator", "re", "statistics", "string", "struct", "textwrap", "types", "typing"),
    "numpy",
}
"""What core may import: nothing that reads a clock, touches a file or a socket, or starts a thread."""

READS_ENVIRONMENT = {
    "config": "secrets come from $CREDENTIALS_DIRECTORY and !env",
    "system": "systemd talks to its services through variables",
}

# -- the checker -------------------------------------------------------------------------------------------------------------------


def violations(package: Path) -> list[str]:
    """Return one line for each broken rule in a package called pipit: "FILE:LINE: what is wrong"."""
    trees = {path: ast.parse(path.read_text()) for path in sorted(package.rglob("*.py"))}
    names = {_name(path, package): path for path in trees}
    plugins = {name for name, path in names.items() if name.split(".")[0] in PLUGIN_FOLDERS and _is_plugin(trees[path])}
    found = []
    for name, path in names.items():
        broken = dict.fromkeys([*_broken_imports(name, trees[path], set(names), plugins), *_broken_uses(name, trees[path])])
        found += [f"{path.relative_to(package)}:{line}: {what}" for line, what in broken]
    return found


def _name(path: Path, package: Path) -> str:
    """Return "audio.mixer" for audio/mixer.py and "audio" for audio/__init__.py."""
    parts = path.relative_to(package).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def _is_plugin(tree: ast.Module) -> bool:
    return any(isinstance(node, ast.FunctionDef) and node.name == "build" for node in tree.body)


def _imports(tree: ast.AST) -> Iterator[tuple[int, str, str]]:
    """Yield (line, module, name): name is empty for a plain import; a relative import's module begins with a dot."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name, "") for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from ((node.lineno, "." * node.level + (node.module or ""), alias.name) for alias in node.names)


def _broken_imports(name: str, tree: ast.Module, modules: set[str], plugins: set[str]) -> Iterator[tuple[int, str]]:
    part = name.split(".")[0]
    if part and part not in MAY_IMPORT:
        yield 1, f"{part} is a new part: say in MAY_IMPORT what it may import"
        return
    for line, module, what in _imports(tree):
        top = module.split(".")[0]
        if top == "":
            yield line, "relative import; write the whole name"
        elif top == "pipit":
            inner = ".".join([*module.split(".")[1:], what]).strip(".")
            target = inner if inner in modules else inner.rpartition(".")[0]
            yield from ((line, problem) for problem in _broken_import(name, target, plugins))
        elif part == "core" and top not in PURE:
            yield line, f"core must stay pure and imports {top}"
        elif top not in STANDARD and part not in LIBRARIES.get(top, set()):
            yield line, f"{part} must not import the library {top}"


def _broken_import(importer: str, imported: str, plugins: set[str]) -> Iterator[str]:
    part, target = importer.split(".")[0], imported.split(".")[0]
    if target not in {"", part} | MAY_IMPORT.get(part, set()):
        yield f"{part} must not import {target}"
    elif imported in plugins and part not in MAY_NAME_PLUGINS and not _same_plugin(importer, imported):
        yield f"{importer} must not import the plug-in {imported}"


def _same_plugin(importer: str, imported: str) -> bool:
    """A plug-in may be a folder, whose files may import each other: services.cascade and services.cascade.speech."""
    return importer.split(".")[:2] == imported.split(".")[:2]


def _broken_uses(name: str, tree: ast.Module) -> Iterator[tuple[int, str]]:
    part = name.split(".")[0]
    for node in ast.walk(tree):
        match node:
            case ast.Call(func=ast.Name(id="print")) if part != "cli":
                yield node.lineno, "only cli prints"
            case ast.Call(func=ast.Name(id="open" | "input")) if part == "core":
                yield node.lineno, "core must stay pure and touches a file"
            case ast.Attribute(value=ast.Name(id="os"), attr="environ" | "environb" | "getenv") if part not in READS_ENVIRONMENT:
                yield node.lineno, "only config and system read the environment"
            case ast.ImportFrom(module="os") if {"environ", "environb", "getenv"} & {alias.name for alias in node.names}:
                yield node.lineno, "write os.environ, so that it is seen"


def mocks(folder: Path) -> list[str]:
    """Return where a folder's files import unittest.mock, or its like."""
    found = []
    for path in sorted(folder.rglob("*.py")):
        for line, module, name in _imports(ast.parse(path.read_text())):
            if f"{module}.{name}".startswith(("unittest.mock", "mock.", "pytest_mock")):
                found.append(f"{path.relative_to(folder)}:{line}: fakes are drivers that Pipit ships")
    return found


# -- the project -------------------------------------------------------------------------------------------------------------------


def test_the_package_keeps_the_rules() -> None:
    assert violations(PACKAGE) == []


@pytest.mark.parametrize("folder", ["daemon", "tests"])
def test_nothing_is_mocked(folder: str) -> None:
    assert mocks(PROJECT / folder) == []


def test_starting_needs_no_library_that_was_not_chosen() -> None:
    script = f"import sys, pipit.cli, pipit.app; print(*sorted({IMPORTED_WHEN_CHOSEN!r} & set(sys.modules)))"
    done = subprocess.run(
        [sys.executable, "-c", script],
        env={**os.environ, "PYTHONPATH": str(PACKAGE.parent)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stdout.split()) == (0, []), done.stderr


# -- the checker bites -------------------------------------------------------------------------------------------------------------

PLUGIN = "def build(settings):\n    return settings\n"


@pytest.fixture
def package(tmp_path: Path) -> Path:
    """Write a small package that keeps every rule."""
    root = tmp_path / "pipit"
    for name, source in {
        "__init__.py": "__version__ = '0'\n",
        "errors.py": "",
        "core/__init__.py": "",
        "core/machine.py": "import math\nimport numpy as np\nfrom pipit.errors import PipitError\n",
        "leds/__init__.py": "from pipit.core import machine\n",
        "leds/animation.py": "",
        "leds/gpio.py": "from pipit import errors, leds\nfrom pipit.leds.animation import blink\n" + PLUGIN,
        "leds/rgb.py": PLUGIN,
        "services/__init__.py": "",
        "services/websocket.py": "import websockets\nfrom pipit import __version__\n",
        "services/cascade/__init__.py": "from pipit.services.cascade import speech\n" + PLUGIN,
        "services/cascade/speech.py": "from pipit.services import cascade\n",
        "config/__init__.py": "import os\nimport yaml\nos.environ\n",
        "app.py": "from pipit import config, leds\n",
        "cli.py": "from pipit import app\nfrom pipit.leds.rgb import build\nprint()\n",
    }.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(source)
    return root


def test_a_package_that_keeps_the_rules_is_left_in_peace(package: Path) -> None:
    assert violations(package) == []


@pytest.mark.parametrize(
    ("file", "line", "problem"),
    [
        pytest.param("core/machine.py", "import asyncio", "core must stay pure and imports asyncio", id="core-waits"),
        pytest.param(
            "core/machine.py", "from time import monotonic", "core must stay pure and imports time", id="core-reads-a-clock"
        ),
        pytest.param("core/machine.py", "import os.path", "core must stay pure and imports os", id="core-touches-the-system"),
        pytest.param(
            "core/machine.py", "def f():\n    import threading", "core must stay pure and imports threading", id="core-hides-it"
        ),
        pytest.param("core/machine.py", "open('x')", "core must stay pure and touches a file", id="core-opens-a-file"),
        pytest.param("core/machine.py", "from pipit import leds", "core must not import leds", id="core-imports-a-contract"),
        pytest.param("errors.py", "from pipit import core", "errors must not import core", id="errors-import-core"),
        pytest.param(
            "leds/gpio.py", "from pipit.leds import rgb", "leds.gpio must not import the plug-in leds.rgb", id="plug-in-plug-in"
        ),
        pytest.param("leds/gpio.py", "import pipit.services.websocket", "leds must not import services", id="plug-in-other-folder"),
        pytest.param("leds/gpio.py", "from pipit.config import Config", "leds must not import config", id="plug-in-imports-config"),
        pytest.param("leds/gpio.py", "from pipit import app", "leds must not import app", id="plug-in-imports-app"),
        pytest.param("leds/gpio.py", "from . import animation", "relative import; write the whole name", id="relative"),
        pytest.param("app.py", "from pipit import cli", "app must not import cli", id="app-imports-cli"),
        pytest.param(
            "app.py", "from pipit.leds.gpio import build", "app must not import the plug-in leds.gpio", id="app-names-a-plug-in"
        ),
        pytest.param("app.py", "import yaml", "app must not import the library yaml", id="yaml"),
        pytest.param(
            "leds/gpio.py", "import systemd.journal", "leds must not import the library systemd", id="somebody-elses-library"
        ),
        pytest.param("leds/gpio.py", "import requests", "leds must not import the library requests", id="unknown-library"),
        pytest.param("app.py", "print('ready')", "only cli prints", id="print"),
        pytest.param("app.py", "os.environ['HOME']", "only config and system read the environment", id="environ"),
        pytest.param("app.py", "os.getenv('HOME')", "only config and system read the environment", id="getenv"),
        pytest.param("config/__init__.py", "from os import environ", "write os.environ, so that it is seen", id="environ-by-name"),
        pytest.param("radio.py", "", "radio is a new part: say in MAY_IMPORT what it may import", id="new-part"),
    ],
)
def test_a_broken_rule_is_found(package: Path, file: str, line: str, problem: str) -> None:
    with (package / file).open("a") as source:
        source.write(line + "\n")
    [found] = violations(package)
    assert found.startswith(f"{file}:")
    assert found.endswith(f": {problem}")


@pytest.mark.parametrize(
    "line",
    ["import unittest.mock", "from unittest import mock", "from unittest.mock import Mock", "import mock", "import pytest_mock"],
)
def test_a_mock_is_found(package: Path, line: str) -> None:
    (package / "app.py").write_text("def test():\n    " + line + "\n")
    assert mocks(package) == ["app.py:2: fakes are drivers that Pipit ships"]
