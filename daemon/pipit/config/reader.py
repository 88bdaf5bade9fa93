"""Nodes -> settings, checked against the declarations; every problem is collected, none stops the reading."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from pipit.config.credentials import TAGS, fetch
from pipit.config.kinds import Entry, Kind, entries
from pipit.config.nodes import TAG, is_null
from pipit.core.options import Option, Secret
from pipit.errors import ConfigError
from pipit.plugins import did_you_mean

Pairs = Mapping[str, tuple[Node, Node]]
"""A section's keys: name -> (node of the key, node of the value)."""


class _Wrong:
    """Stands for a value that had a problem."""


WRONG = _Wrong()


class Reader:
    """Reads nodes of one file.

    Args:
        file: its name in messages.
        folder: what relative paths in it are relative to; those of overrides are relative to the working directory.
    """

    def __init__(self, file: str, folder: Path) -> None:
        self._file = file
        self._folder = folder
        self._problems: list[tuple[bool, int, str]] = []
        self.where: dict[str, str] = {}
        """Path of what was read -> "FILE:LINE", or which override it came from."""
        self._nodes: dict[str, Node] = {}

    def note(self, path: str, node: Node) -> None:
        """Remember where something stands."""
        self.where[path] = self.locate(node)
        self._nodes[path] = node

    def problems(self) -> tuple[str, ...]:
        """Return what was found, in the order of the file; what overrides are to blame for comes last."""
        return tuple(text for *_, text in sorted(self._problems, key=lambda problem: problem[:2]))

    def report(self, node: Node, path: str, problem: str) -> _Wrong:
        """Note a problem; returns what stands for the value."""
        mark = node.start_mark
        named = f"{path}: " if path and mark.name != f"--set {path}" else ""
        self._problems.append((mark.name != self._file, mark.line, f"{self.locate(node)}: {named}{problem}"))
        return WRONG

    def locate(self, node: Node) -> str:
        """Return where a node stands, for messages."""
        mark = node.start_mark
        return f"{mark.name}:{mark.line + 1}" if mark.name == self._file else str(mark.name)

    def pairs(self, node: Node, path: str) -> Pairs | None:
        """Return the keys and values of a section, None when it is something else; null is an empty section."""
        if is_null(node):
            return {}
        if not isinstance(node, MappingNode) or not _is_plain(node):
            wrong = f"expected a section, found {found(node)}{colon_hint(node)}" if _is_plain(node) else _bad_tag(node, Kind())
            self.report(node, path, wrong)
            return None
        result: dict[str, tuple[Node, Node]] = {}
        for key, value in node.value:
            name = str(key.value) if isinstance(key, ScalarNode) else "?"
            if name in ("?", "<<"):
                self.report(key, path, f'"{name}" cannot be a key here; write the keys out')
            elif name in result:
                first = result[name][0].start_mark.line + 1
                self.report(key, join(path, name), f"written twice, first on line {first}; keep one of them")
            else:
                result[name] = (key, value)
                self.note(join(path, name), key)
        return result

    def settings(self, cls: type[Any], at: Node, pairs: Pairs, path: str, *, beside: Sequence[str] = ()) -> Any:
        """Make an instance of a settings class, or `WRONG`.

        Args:
            cls: a dataclass whose fields are made by `core.options.option`.
            at: where a missing option is reported.
            pairs: the section.
            path: what the section is called.
            beside: names that the section may also hold and that are not options of `cls`.
        """
        options = {entry.name: entry for entry in entries(cls)}
        known = [*beside, *options]
        for name, (key, _) in pairs.items():
            if name not in known:
                self.report(key, join(path, name), unknown(name, known))
        values = {name: self._entry(entry, at, pairs.get(name), join(path, name)) for name, entry in options.items()}
        if WRONG in values.values():
            return WRONG
        try:
            return cls(**values)
        except ConfigError as error:
            return self._refused(error, at, path)

    def _refused(self, error: ConfigError, at: Node, path: str) -> _Wrong:
        """Report what `__post_init__` of a settings class refused; "url: ..." is about its option `url`."""
        for problem in error.problems:
            name, colon, rest = problem.partition(": ")
            if colon and join(path, name) in self._nodes:
                self.report(self._nodes[join(path, name)], join(path, name), rest)
            else:
                self.report(at, path, problem)
        return WRONG

    def _entry(self, entry: Entry, at: Node, pair: tuple[Node, Node] | None, path: str) -> Any:
        if pair is not None:
            return self.value(pair[1], entry.kind, entry.option, path)
        if entry.required:
            return self.report(at, path, f"missing; expected {expected(entry.kind, entry.option)}{_example(entry)}")
        return entry.default

    def value(self, node: Node, kind: Kind, option: Option, path: str) -> Any:
        """Make the value of one option, or `WRONG`."""
        if isinstance(node, ScalarNode) and node.tag in TAGS and kind.secret:
            return self._secret(node, path)
        if not _is_plain(node):
            return self.report(node, path, _bad_tag(node, kind))
        if is_null(node) and kind.nullable:
            return None
        if kind.section is not None and (isinstance(node, MappingNode) or is_null(node)):
            pairs = self.pairs(node, path)
            return WRONG if pairs is None else self.settings(kind.section, node, pairs, path)
        if kind.mapping and (isinstance(node, MappingNode) or is_null(node)):
            return {} if is_null(node) else self._untouched(node, path)
        if kind.item is not None and isinstance(node, SequenceNode):
            return self._items(node, kind.item, option, path)
        if kind.secret and isinstance(node, ScalarNode) and not is_null(node):
            quoted = " without quotes" if node.value.startswith(tuple(TAGS)) else ""
            return self.report(node, path, f"a secret does not belong into this file; {_WHERE_SECRETS_GO}{quoted}")
        if isinstance(node, ScalarNode) and not is_null(node):
            return self._scalar(node, kind, option, path)
        return self.report(node, path, f"expected {expected(kind, option)}, found {found(node)}{_misplaced_hint(node, kind)}")

    def _items(self, node: SequenceNode, kind: Kind, option: Option, path: str) -> Any:
        for index, child in enumerate(node.value):
            self.note(f"{path}[{index}]", child)
        values = [self.value(child, kind, option, f"{path}[{index}]") for index, child in enumerate(node.value)]
        return WRONG if WRONG in values else tuple(values)

    def _secret(self, node: ScalarNode, path: str) -> Any:
        try:
            return fetch(node.tag, node.value, self._base(node))
        except ConfigError as error:
            self.report(node, path, str(error))
            return Secret("stand-in")  # so that what else is wrong with its section is found, too

    def _scalar(self, node: ScalarNode, kind: Kind, option: Option, path: str) -> Any:
        value = plain(node)
        if type(value) is int and int not in kind.scalars and float in kind.scalars:
            value = float(value)
        problem = None
        if type(value) not in kind.scalars or _not_chosen(value, option):
            problem = f"expected {expected(kind, option)}, found {found(node)}{_hint(node, value, kind, option)}"
        elif type(value) in (int, float):
            problem = _out_of_bounds(value, option)
        if problem is not None:
            return self.report(node, path, problem)
        is_path = isinstance(value, str) and value.lower().endswith(option.paths)
        return str(self._base(node) / os.path.expanduser(value)) if is_path else value

    def _base(self, node: Node) -> Path:
        """Return the folder that a relative path is relative to."""
        return self._folder if node.start_mark.name == self._file else Path()

    def _untouched(self, node: Node, path: str) -> Any:
        """Make plain Python of whatever stands there."""
        if not _is_plain(node):
            return self.report(node, path, _bad_tag(node, Kind()))
        if isinstance(node, ScalarNode):
            return plain(node)
        if isinstance(node, SequenceNode):
            values = [self._untouched(child, f"{path}[{index}]") for index, child in enumerate(node.value)]
            return WRONG if WRONG in values else values
        pairs = self.pairs(node, path) or {}
        inside = {name: self._untouched(child, join(path, name)) for name, (_, child) in pairs.items()}
        return WRONG if WRONG in inside.values() else inside


def join(path: str, name: str) -> str:
    """Return "audio.input" for "audio" and "input"."""
    return f"{path}.{name}" if path else name


def plain(node: ScalarNode) -> Any:
    """Return the value of a scalar: None, bool, int, float or str."""
    kind, text = node.tag[len(TAG) :], str(node.value)
    try:
        return _READ[kind](text)
    except ValueError:
        return text  # "!!int abc"


def expected(kind: Kind, option: Option) -> str:
    """Say what an option may be: "a whole number from 0 to 100 %"."""
    scalars = [scalar for scalar in _WORDS if scalar in kind.scalars and not (scalar is int and float in kind.scalars)]
    ways = [_choices(scalar, option) or _WORDS[scalar] + (bounds(option) if scalar in (int, float) else "") for scalar in scalars]
    ways += ["a section"] * (kind.section is not None or kind.mapping)
    ways += ["!credential NAME, !env NAME or !file PATH"] * kind.secret
    if kind.item is not None:
        ways.append(f"a list, each item {expected(kind.item, option)}")
    return " or ".join([*ways, *["null"] * kind.nullable])


def _choices(scalar: type, option: Option) -> str:
    choices = [str(choice) for choice in option.choices if type(choice) is scalar]
    return f"one of {', '.join(choices)}" if len(choices) > 1 else "".join(f'the word "{choice}"' for choice in choices)


def bounds(option: Option) -> str:
    """Say what a number may be: " from 0 to 100 %", " of at least 1 s", " in Hz", or nothing."""
    unit = f" {option.unit}" if option.unit else ""
    if option.minimum is not None and option.maximum is not None:
        return f" from {option.minimum:g} to {option.maximum:g}{unit}"
    if option.minimum is not None:
        return f" of at least {option.minimum:g}{unit}"
    if option.maximum is not None:
        return f" of at most {option.maximum:g}{unit}"
    return f" in{unit}" if unit else ""


def found(node: Node) -> str:
    """Say what stands there: "the text "loud"", "a list", "nothing"."""
    if isinstance(node, SequenceNode):
        return "a list"
    if isinstance(node, MappingNode):
        return "a section"
    if not isinstance(node, ScalarNode) or is_null(node):
        return "nothing"
    text = " ".join(node.value.split())
    text = text if len(text) <= _LONGEST else text[:_LONGEST] + "…"
    return f'the text "{text}"' if isinstance(plain(node), str) else str(text)


def unknown(name: str, known: Sequence[str]) -> str:
    """Say that there is no such key, and which there are."""
    suggestion = did_you_mean(name, known) or ";"
    return f"unknown key{suggestion} allowed: {', '.join(known)}" if known else "unknown key; nothing can be set here"


def _not_chosen(value: Any, option: Option) -> bool:
    """Say whether the choices leave this value out; they speak of values of their own type only, as in `8000` or `auto`."""
    return type(value) in {type(choice) for choice in option.choices} and value not in option.choices


def _out_of_bounds(value: float, option: Option) -> str | None:
    if not math.isfinite(value):
        return f"{value} is not a number that can be used here; expected a number{bounds(option)}"
    if option.minimum is not None and value < option.minimum:
        return f"{value:.15g} is too low; expected a number{bounds(option)}"
    if option.maximum is not None and value > option.maximum:
        return f"{value:.15g} is too high; expected a number{bounds(option)}"
    return None


def _hint(node: ScalarNode, value: Any, kind: Kind, option: Option) -> str:
    numbers = kind.scalars & {int, float}
    if isinstance(value, str) and numbers:
        number = re.fullmatch(rf"([-+]?[0-9]+(?:\.[0-9]+)?)\s*({re.escape(option.unit)})?", value)
        if number and (number[2] or node.style):
            return f"; write {number[1]}" + (f", the unit is {option.unit} anyway" if number[2] else " without quotes")
    if isinstance(value, str) and bool in kind.scalars and value.lower() in _SPOKEN:
        return f"; write {_SPOKEN[value.lower()]}" + (" without quotes" if node.style else "")
    if value is False and kind.nullable:
        return "; write null"
    if isinstance(value, str) and (meant := _wrapped(value, kind)):
        return f"; write {meant}"
    if not isinstance(value, str) and str in kind.scalars and not option.choices:
        return f'; write "{node.value}" with quotes'
    return did_you_mean(node.value, map(str, option.choices))


def _wrapped(text: str, kind: Kind) -> str | None:
    """Return what may have been meant by a text in the place of a section or a list: "[Sonos]", "{device: Jabra}"."""
    if str in kind.scalars or ("," not in text and " " in text):
        return None
    if kind.item is not None:
        inner = text if str in kind.item.scalars else _wrapped(text, kind.item)
        return None if inner is None else f"[{inner}]"
    first = entries(kind.section)[0] if kind.section is not None else None
    if first is None or str not in first.kind.scalars or first.option.choices:
        return None
    return f"{{{first.name}: {text}}}"


def _misplaced_hint(node: Node, kind: Kind) -> str:
    if isinstance(node, MappingNode) and kind.item is not None and kind.item.section is not None:
        return '; put "- " before the first line of each item'
    hidden = isinstance(node, ScalarNode) and not node.value and not node.style and str in kind.scalars
    return "; a text that begins with # needs quotes" if hidden else ""


def colon_hint(node: Node) -> str:
    """Say what is wrong where a key and its value became one text."""
    joined = re.match(r"(\w+):\S", node.value) if isinstance(node, ScalarNode) else None
    return f'; a space belongs after the colon of "{joined[1]}:"' if joined else ""


def _is_plain(node: Node) -> bool:
    """Say whether a node has one of YAML's own tags, and one that fits."""
    fitting = ("seq",) if isinstance(node, SequenceNode) else ("map",) if isinstance(node, MappingNode) else tuple(_READ)
    return node.tag in [TAG + kind for kind in fitting]


def _bad_tag(node: Node, kind: Kind) -> str:
    if node.tag in TAGS and not kind.secret:
        return f"{node.tag} is for secrets only; write the value itself"
    return f"unknown tag {node.tag.replace(TAG, '!!')}" + (f"; {_WHERE_SECRETS_GO}" if kind.secret else "; leave it out")


def _example(entry: Entry) -> str:
    return "" if entry.option.example is None else f", for example {entry.name}: {entry.option.example}"


_READ: Mapping[str, Any] = {
    "null": lambda text: None,
    "bool": lambda text: text.lower() == "true",
    "int": lambda text: int(text, 0) if text[:2] in ("0o", "0x") else int(text),
    "float": lambda text: float(text.lower().replace(".inf", "inf").replace(".nan", "nan")),
    "str": str,
}
_WORDS = {bool: "true or false", int: "a whole number", float: "a number", str: "text"}
_SPOKEN = {"yes": "true", "on": "true", "true": "true", "no": "false", "off": "false", "false": "false"}
_LONGEST = 40
_WHERE_SECRETS_GO = "write !credential NAME, !env NAME or !file PATH"
