"""YAML text -> tree of nodes that know their line; overrides from the command line are grafted into it.

Scalars are told apart as in YAML 1.2, so that `engine: off` is the word off (YAML 1.1 makes it false) and 12:30 is no number.
"""

from __future__ import annotations

import io
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml
from yaml.nodes import MappingNode, Node, ScalarNode

from pipit.errors import ConfigError

TAG = "tag:yaml.org,2002:"

# YAML 1.2.2, section 10.3.2 (core schema). Numbers of more digits than a number can hold stay text.
_NULL = r"~|null|Null|NULL|"
_BOOL = r"true|True|TRUE|false|False|FALSE"
_INT = r"[-+]?[0-9]{1,18}|0o[0-7]{1,20}|0x[0-9a-fA-F]{1,15}"
_FLOAT = r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]{1,3})?|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)"
SCALARS = {"null": _NULL, "bool": _BOOL, "int": _INT, "float": _FLOAT}


class _Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]  # the base class is chosen at run time
    """LibYAML's parser where PyYAML was built with it: ten times faster."""

    yaml_implicit_resolvers: dict[str, Any] = {}  # noqa: RUF012  # PyYAML's interface: filled below


class _WordyLoader(yaml.SafeLoader):
    """PyYAML's own parser, whose errors say more."""

    yaml_implicit_resolvers: dict[str, Any] = {}  # noqa: RUF012


def add_scalars(cls: Any) -> None:
    """Have a PyYAML loader or dumper know the scalars above, besides those that it knows already."""
    for kind, pattern in SCALARS.items():
        cls.add_implicit_resolver(TAG + kind, re.compile(f"(?:{pattern})$"), None)


add_scalars(_Loader)
add_scalars(_WordyLoader)


class _Named(io.StringIO):
    """Text with a name: PyYAML puts it into the marks of all nodes."""

    def __init__(self, text: str, name: str) -> None:
        super().__init__(text)
        self.name = name


def read(path: Path) -> Node:
    """Read a file into nodes; an empty one is an empty section.

    Raises:
        ConfigError: it cannot be read, or is not YAML.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        line = error.object.count(b"\n", 0, error.start) + 1
        raise ConfigError(f"{path}:{line}: not UTF-8 text; save the file as UTF-8") from error
    return compose(text, str(path)) or empty(str(path))


def compose(text: str, name: str) -> Node | None:
    """Parse YAML; `name` is what the marks of the nodes are called.

    Raises:
        ConfigError: it is not YAML.
    """
    try:
        return yaml.compose(_Named(text, name), Loader=_Loader)
    except yaml.YAMLError:
        pass
    try:
        return yaml.compose(_Named(text, name), Loader=_WordyLoader)
    except yaml.YAMLError as error:
        raise ConfigError(_say(error, text, name)) from error


def empty(name: str, line: int = 0) -> MappingNode:
    """Return a section with nothing in it."""
    mark = yaml.Mark(name, 0, line, 0, None, 0)
    return MappingNode(TAG + "map", [], mark, mark)


def override(root: Node, text: str) -> None:
    """Graft "PATH=VALUE" into the tree.

    Raises:
        ConfigError: it has another form, the value is not YAML, or the path leads through something that is no section.
    """
    path, equals, value = text.partition("=")
    keys = path.strip().split(".")
    name = f"--set {path.strip()}"  # without the value, which somebody might take for a place to put a secret
    if not equals or not all(keys):
        raise ConfigError(f"--set {path}: expected PATH=VALUE, as in --set audio.output.volume=40")
    new = compose(value, name) or ScalarNode(TAG + "null", "", *_marks(name))
    for key in keys[:-1]:
        root = _section(root, key, name)
    _put(_open(root, name), ScalarNode(TAG + "str", keys[-1], *_marks(name)), new)


def child(node: Node | None, key: str) -> Node | None:
    """Return the value of a key, None when there is nothing or `node` is no section."""
    found = (value for k, value in node.value if k.value == key) if isinstance(node, MappingNode) else iter(())
    value = next(found, None)
    return None if value is None or is_null(value) else value


def _section(node: Node, key: str, name: str) -> Node:
    parent = _open(node, name)
    below = child(parent, key)
    if below is None:
        below = empty(name)
        _put(parent, ScalarNode(TAG + "str", key, *_marks(name)), below)
    return below


def _open(node: Node, name: str) -> MappingNode:
    if not isinstance(node, MappingNode):
        raise ConfigError(f"{name}: leads through line {node.start_mark.line + 1} of the file, which is not a section")
    return node


def _put(parent: MappingNode, key: Node, value: Node) -> None:
    for index, (k, _) in enumerate(parent.value):
        if k.value == key.value:
            parent.value[index] = (key, value)
            return
    parent.value.append((key, value))


def is_null(node: Node) -> bool:
    """Say whether the node is YAML's null, or nothing at all."""
    return bool(node.tag == TAG + "null")


def _marks(name: str) -> tuple[yaml.Mark, yaml.Mark]:
    mark = yaml.Mark(name, 0, 0, 0, None, 0)
    return mark, mark


_REMEDIES: tuple[tuple[str, str], ...] = (
    (r"character '\\t'", "indent with spaces, not with tabs"),
    (r"mapping values are not allowed", 'a text that holds ": " needs quotes, and a key must stand below the one above it'),
    (r"expected <block end>", "the line is indented differently from those that it belongs to"),
    (r"could not find expected ':'", 'a line must be "key: value"'),
    (r"expected ',' or '[\]}]'", "a bracket is not closed"),
)


def _say(error: yaml.YAMLError, text: str, name: str) -> str:
    where: Callable[[int], str] = lambda line: name if name.startswith("--set ") else f"{name}:{line + 1}"  # noqa: E731
    if isinstance(error, yaml.MarkedYAMLError) and error.problem_mark is not None:
        problem = f"{error.problem}"
        remedy = next((f"; {words}" for pattern, words in _REMEDIES if re.search(pattern, problem)), "")
        return f"{where(error.problem_mark.line)}: not YAML: {problem}{remedy}"
    if isinstance(error, yaml.reader.ReaderError):
        line = text.count("\n", 0, error.position)
        return f"{where(line)}: not YAML: the character U+{ord(error.character):04X} is not allowed"
    return f"{where(0)}: not YAML: {error}"
