"""From a file and overrides to a `Config`."""

from __future__ import annotations

import dataclasses
import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from pipit import plugins
from pipit.config.kinds import Entry, entries
from pipit.config.nodes import child, empty, is_null, override, read
from pipit.config.reader import WRONG, Pairs, Reader, colon_hint, found, join, plain, unknown
from pipit.config.sections import SECTIONS, Config, Selection
from pipit.errors import ConfigError
from pipit.plugins import Choice, Plugin, located


def load(path: str | Path, overrides: Sequence[str] = ()) -> Config:
    """Read a configuration file and fetch the secrets that it names. Imports the plug-ins that are chosen, and no others.

    Args:
        path: the YAML file.
        overrides: "PATH=VALUE" each, as in "audio.output.volume=40"; they win over the file. VALUE is YAML.

    Raises:
        ConfigError: `problems` holds all of them, in the order of the file.
    """
    reading = peruse(path, overrides)
    if reading.problems:
        raise ConfigError(*reading.problems)
    return Config(**reading.sections, where=reading.where)


def peruse(path: str | Path, overrides: Sequence[str] = ()) -> Reading:
    """Read what can be read of a configuration that may be wrong; arguments as of `load`.

    Raises:
        ConfigError: the file cannot be read, or is not YAML.
    """
    root = read(Path(path))
    written = _written(root)
    misfits = _graft(root, overrides)
    loading = _Loading(str(path), Path(path).parent, written)
    values = {name: value for name, value in loading.sections(root).items() if value is not WRONG}
    problems = (*loading.reader.problems(), *misfits)
    return Reading(str(path), values, tuple(loading.choices), problems, loading.reader.where)


class Reading(NamedTuple):
    """What could be read of a configuration, and what was wrong."""

    file: str
    sections: Mapping[str, Any]
    """Those without problems; a secret that cannot be had leaves a stand-in."""
    choices: tuple[Choice, ...]
    """Those without problems, each of a list by itself."""
    problems: tuple[str, ...]
    where: Mapping[str, str]
    """As in `Config`."""

    def locate(self, problem: str) -> str:
        """See `Config.locate`."""
        return located(problem, self.where)

    def merged(self, found: Sequence[str]) -> tuple[str, ...]:
        """Return the problems of reading and what was found later, in the order of the file; what stands on no line comes last."""
        return tuple(sorted(dict.fromkeys((*self.problems, *found)), key=self._line))

    def _line(self, problem: str) -> float:
        numbered = re.match(rf"{re.escape(self.file)}:(\d+): ", problem)
        return int(numbered[1]) if numbered else math.inf


def _written(root: Node) -> dict[str, str]:
    """Return what the file chooses in each section, right or wrong."""
    written = {}
    for name, section in SECTIONS.items():
        if isinstance(section, Selection):
            chosen = child(child(root, name), section.key)
            written[name] = section.default if chosen is None else str(chosen.value)
    return written


def _graft(root: Node, overrides: Sequence[str]) -> list[str]:
    """Apply the overrides; return what is wrong with them."""
    problems: list[str] = []
    for text in overrides:
        try:
            override(root, text)
        except ConfigError as error:
            problems += error.problems
    return problems


class _Loading:
    """Reads the sections of one file.

    Args:
        file: its name in messages.
        folder: what relative paths are relative to.
        written: what the file chooses in each section, before overrides.
    """

    def __init__(self, file: str, folder: Path, written: Mapping[str, str]) -> None:
        self.reader = Reader(file, folder)
        self.choices: list[Choice] = []
        self._file = file
        self._written = written

    def sections(self, root: Node) -> dict[str, Any]:
        """Read all of them; those with problems are of no use."""
        pairs = self.reader.pairs(root, "")
        if pairs is None:
            return {}
        for name, (key, _) in pairs.items():
            if name not in SECTIONS:
                self.reader.report(key, name, unknown(name, tuple(SECTIONS)))
        absent = empty(self._file)
        return {name: self._section(name, *pairs.get(name, (absent, absent))) for name in SECTIONS}

    def _section(self, name: str, at: Node, node: Node) -> Any:
        section = SECTIONS[name]
        if isinstance(node, ScalarNode) and is_null(node) and node.value:  # an empty section is all defaults; this may mean: none
            without = isinstance(section, Selection) and "off" in plugins.names(section.folder)
            remedy = (
                f'write "{name}: {{{section.key}: off}}" to go without, or ' if without and isinstance(section, Selection) else ""
            )
            return self.reader.report(
                node, name, f"expected a section, found {node.value}; {remedy}remove the line for the defaults"
            )
        if isinstance(section, Selection) and section.many and isinstance(node, SequenceNode):
            return self._choices(name, section, node)
        if isinstance(section, Selection):
            return self._choice(name, section, at, node)
        pairs = self.reader.pairs(node, name)
        return WRONG if pairs is None else self.reader.settings(section, at, pairs, name)

    def _choices(self, name: str, section: Selection, node: SequenceNode) -> Any:
        """Read a list of choices: the first, with the others as its alternatives."""
        if not node.value:
            return self.reader.report(node, name, "an empty list; name at least one")
        for index, item in enumerate(node.value):
            self.reader.note(f"{name}[{index}]", item)
        made = [self._choice(f"{name}[{index}]", section, item, item) for index, item in enumerate(node.value)]
        if WRONG in made:
            return WRONG
        return dataclasses.replace(made[0], alternatives=tuple(made[1:]))

    def _choice(self, name: str, section: Selection, at: Node, node: Node) -> Any:
        if isinstance(node, ScalarNode) and not is_null(node):
            entry = f"{{{section.key}: {node.value}}}"
            remedy = f'; write "- {entry}"' if name.endswith("]") else f'; write "{name}: {entry}"'
            return self.reader.report(node, name, f"expected a section, found {found(node)}{colon_hint(node) or remedy}")
        pairs = self.reader.pairs(node, name)
        plugin = None if pairs is None else self._plugin(name, section, pairs)
        if pairs is None or plugin is None:
            return WRONG
        if plugin.name != self._written.get(name, plugin.name) and self._is_overridden(pairs[section.key][0]):
            pairs = self._shared(section, plugin, self._written[name], pairs)
        pairs = self._without_strays(name, section, plugin, pairs)
        settings = self.reader.settings(plugin.settings, at, pairs, name, beside=(section.key,))
        if settings is WRONG:
            return WRONG
        choice = Choice(plugin.name, settings, self._places(name), path=name)
        self.choices.append(choice)
        return choice

    def _places(self, section: str) -> dict[str, str]:
        """Return where the options of a section are; under "" what to put before a problem that names none of them."""
        below = (f"{section}.", f"{section}[")
        inside = {path: where for path, where in self.reader.where.items() if path == section or path.startswith(below)}
        place = inside.setdefault(section, self._file)
        return {**inside, "": f"{place}: {section}"}

    def _plugin(self, name: str, section: Selection, pairs: Pairs) -> Plugin | None:
        """Find the plug-in that a section names."""
        key, node = pairs.get(section.key, (None, None))
        if key is None or node is None or is_null(node):
            return plugins.find(section.folder, section.default)
        path = join(name, section.key)
        if not isinstance(node, ScalarNode) or not isinstance(plain(node), str):
            known = ", ".join(plugins.names(section.folder))
            self.reader.report(node, path, f"expected one of {known}, found {found(node)}")
            return None
        try:
            return plugins.find(section.folder, node.value)
        except ConfigError as error:
            self.reader.report(node, path, str(error))
            return None

    def _is_overridden(self, node: Node) -> bool:
        return bool(node.start_mark.name != self._file)

    def _shared(self, section: Selection, plugin: Plugin, before: str, pairs: Pairs) -> Pairs:
        """Where an override chose another plug-in than the file: what the file says counts as far as both declare it alike."""
        ours, theirs = _declared(section.folder, plugin.name), _declared(section.folder, before)
        alike = {section.key, *(entry.name for entry in ours if entry in theirs)}
        kept = {name: pair if name in alike else self._overridden(pair) for name, pair in pairs.items()}
        return {name: pair for name, pair in kept.items() if pair is not None}

    def _overridden(self, pair: tuple[Node, Node]) -> tuple[Node, Node] | None:
        """Return what overrides say of a key and what is below it."""
        key, value = pair
        if self._is_overridden(key):
            return pair
        inside = [self._overridden(inner) for inner in value.value] if isinstance(value, MappingNode) else []
        kept = [inner for inner in inside if inner is not None]
        return (key, MappingNode(value.tag, kept, value.start_mark, value.end_mark)) if kept else None

    def _without_strays(self, name: str, section: Selection, plugin: Plugin, pairs: Pairs) -> Pairs:
        """Report options of the section's other plug-ins as such; return the rest."""
        known = {section.key, *(entry.name for entry in entries(plugin.settings))}
        rest = dict(pairs)
        for option in [option for option in pairs if option not in known]:
            owners = _owners(section.folder, option)
            if owners:
                key, _ = rest.pop(option)
                theirs = f"an option of {section.key} {', '.join(owners)}, not of {plugin.name}"
                self.reader.report(key, join(name, option), f"{theirs}; put a # in front of it")
        return rest


def _declared(folder: str, name: str) -> tuple[Entry, ...]:
    try:
        return entries(plugins.find(folder, name).settings)
    except ConfigError:
        return ()  # the file named none that there is, and an override put that right


def _owners(folder: str, option: str) -> list[str]:
    """List the plug-ins that have an option of this name."""
    return [plugin.name for plugin in plugins.every(folder) if option in {entry.name for entry in entries(plugin.settings)}]
