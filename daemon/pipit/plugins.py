"""Plug-ins: a name in the configuration is a module in a folder of the package.

`leds: {driver: rgb}` is `pipit/leds/rgb.py`: its `Settings` say what the section may hold, its `build` makes the thing. A dash in a
name is an underscore in the file's name. A module without both `Settings` and `build` is no plug-in.

A folder where several names may share a module lists them as `NAMES` in its `__init__`, name -> module; there `build` also takes
the `name` that was chosen, and the module may describe each name in `DOCS`.

Only what is chosen is imported; `names` and `every` import a whole folder and are for error messages, the schema and tests.
"""

from __future__ import annotations

import difflib
import functools
import importlib
import pkgutil
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from types import ModuleType
from typing import Any, NamedTuple

from pipit.errors import ConfigError


@dataclass(frozen=True)
class Choice:
    """What the owner chose in one section: a plug-in and its options."""

    name: str
    settings: Any
    """An instance of the plug-in's `Settings`."""
    where: Mapping[str, str] = field(default_factory=dict, compare=False, repr=False)
    """Path of an option -> "FILE:LINE"; under "" what to put in front of a problem that begins with no such path."""
    alternatives: tuple[Choice, ...] = ()
    """What takes over where this one fails, in this order; only where the section may be a list."""
    path: str = field(default="", compare=False, repr=False)
    """The section, or which of its list: "service[1]"."""

    def locate(self, problem: str) -> str:
        """Put "FILE:LINE: " in front of "PATH: what is wrong": that of the nearest thing that stands in the file.

        A problem that does not begin with a path gets that of the section, and its name. A part does not know that it is one of a
        list: its "service.url" becomes "service[1].url".
        """
        section = self.path.partition("[")[0]
        inside = problem.removeprefix(section)
        return located(self.path + inside if section and inside != problem and inside[:1] in (".", ":") else problem, self.where)


def located(problem: str, where: Mapping[str, str]) -> str:
    """Put "FILE:LINE: " in front of "PATH: what is wrong", where that or what is around it is known to stand."""
    path = problem.partition(": ")[0]
    while path not in where and path:
        path = path[: max(path.rfind("."), path.rfind("["), 0)]
    return f"{where[path]}: {problem}" if path in where else problem


class Plugin(NamedTuple):
    """A plug-in's two halves."""

    name: str
    """As in the configuration."""
    settings: type[Any]
    """A frozen dataclass whose fields are made by `core.options.option`."""
    build: Callable[..., Any]
    """Takes an instance of `settings` and returns what the folder's contract says."""
    doc: str
    """What it is: the first line of the module's docstring."""


def build(folder: str, choice: Choice) -> Any:
    """Make the thing that was chosen.

    Raises:
        ConfigError: its settings cannot be used together or on this machine; problems say where they are in the file.
        HardwareError: as the plug-in's `build` says.
    """
    try:
        return find(folder, choice.name).build(choice.settings)
    except ConfigError as error:
        raise ConfigError(*(choice.locate(problem) for problem in error.problems)) from error


def find(folder: str, name: str) -> Plugin:
    """Import one plug-in: `find("leds", "rgb")`.

    Raises:
        ConfigError: there is none of this name (lists those that exist), or a Python package that it needs is missing.
    """
    plugin = _load(folder, name, _modules(folder).get(name))
    if plugin is None:
        known = names(folder)
        raise ConfigError(f'"{name}" is not one of {", ".join(known)}{did_you_mean(name, known)}')
    return plugin


def names(folder: str) -> tuple[str, ...]:
    """List the names that a folder knows, sorted. Imports all of them."""
    return tuple(sorted(name for name, module in _modules(folder).items() if _exists(folder, name, module)))


def every(folder: str) -> tuple[Plugin, ...]:
    """Import all plug-ins of a folder, sorted by name.

    Raises:
        ConfigError: one of them needs a Python package that is missing.
    """
    found = (_load(folder, name, module) for name, module in sorted(_modules(folder).items()))
    return tuple(plugin for plugin in found if plugin is not None)


def did_you_mean(word: str, words: Iterable[str]) -> str:
    """Return '; did you mean "rgb"?', or nothing where no word is close."""
    plain = {w.lower().replace("_", "-"): w for w in words}
    close = difflib.get_close_matches(word.lower().replace("_", "-"), plain, n=1)
    return f'; did you mean "{plain[close[0]]}"?' if close else ""


def _modules(folder: str) -> Mapping[str, str]:
    package = importlib.import_module(f"pipit.{folder}")
    listed: Mapping[str, str] | None = getattr(package, "NAMES", None)
    if listed is not None:
        return listed
    found = (module.name for module in pkgutil.iter_modules(package.__path__))
    return {name.replace("_", "-"): name for name in found if not name.startswith("_")}


def _load(folder: str, name: str, module: str | None) -> Plugin | None:
    if module is None:
        return None
    loaded = _import(folder, name, module)
    settings, build = getattr(loaded, "Settings", None), getattr(loaded, "build", None)
    if settings is None or build is None:
        return None
    if hasattr(importlib.import_module(f"pipit.{folder}"), "NAMES"):
        build = functools.partial(build, name=name)
    docs: Mapping[str, str] = getattr(loaded, "DOCS", {})
    return Plugin(name, settings, build, docs.get(name) or (loaded.__doc__ or "").partition("\n")[0])


def _exists(folder: str, name: str, module: str) -> bool:
    try:
        return _load(folder, name, module) is not None
    except ConfigError:
        return True  # it only lacks a package here


def _import(folder: str, name: str, module: str) -> ModuleType:
    try:
        return importlib.import_module(f"pipit.{folder}.{module}")
    except ImportError as error:
        missing = error.name or ""
        if missing.split(".")[0] in ("", "pipit"):
            raise  # our own mistake
        raise ConfigError(f'"{name}" needs the Python package {missing}, which cannot be imported: {error}') from error
