"""YAML text -> tree of nodes that know their line; overrides from the command line are grafted into it.

Scalars are told apart as in YAML 1.2, so that `engine: off` is the word off (YAML 1.1 makes it false) and 12:30 is no number.
"""

from __future__ import annotations

import io
import re
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
    except FileNotFoundError as error:
        raise ConfigError(f"{path}: there is no such file; 'pipit config template' prints one to start from") from error
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        line = error.object.count(b"\n", 0, error.start) + 1
        raise ConfigError(f"{path}:{line}: not UTF-8 text; save the file as UTF-8") from error
    return compose(text, str(path)) or empty(str(path))


def compose(text: str, name: str) -> Node | None:
    """Parse YAML.

    Args:
        text: one document.
        name: what the marks of the nodes call it.

    Returns:
        The root, None when there is nothing in the text. No node holds itself.

    Raises:
        ConfigError: it is not YAML.
    """
    try:
        root = _parse(text, name)
        if root is not None:
            _refuse_loops(root, (), set())
    except yaml.YAMLError as error:
        raise ConfigError(_say(error, text, name)) from error
    except RecursionError as error:
        raise ConfigError(f"{name}: sections and lists are nested too deeply") from error
    return root


def _parse(text: str, name: str) -> Node | None:
    try:
        return yaml.compose(_Named(text, name), Loader=_Loader)
    except (yaml.YAMLError, UnicodeEncodeError):
        return yaml.compose(_Named(text, name), Loader=_WordyLoader)


def _refuse_loops(node: Node, above: tuple[Node, ...], seen: set[Node]) -> None:
    """Raise ConfigError where an alias stands inside its own anchor, RecursionError where sections are nested absurdly deep."""
    if len(above) > _DEEPEST:
        raise RecursionError
    if node in above:
        place = _place(node.start_mark.name, node.start_mark.line)
        raise ConfigError(f"{place}: this holds itself, by an alias (*) inside its anchor (&)")
    if isinstance(node, ScalarNode) or node in seen:
        return
    seen.add(node)
    for part in node.value:
        for inner in part if isinstance(part, tuple) else (part,):
            _refuse_loops(inner, (*above, node), seen)


def empty(name: str) -> MappingNode:
    """Return a section with nothing in it."""
    return MappingNode(TAG + "map", [], *_marks(name))


def override(root: Node, text: str) -> None:
    """Graft "PATH=VALUE" into the tree.

    Raises:
        ConfigError: it has another form, the value is not YAML, or the path leads through something that is no section.
    """
    path, equals, value = text.partition("=")
    keys = path.strip().split(".")
    name = f"--set {' '.join(path.split())}"  # without the value, which somebody might take for a place to put a secret
    if not equals or not all(keys):
        raise ConfigError(f"{name}: expected PATH=VALUE, as in --set audio.output.volume=40")
    if "[" in path:
        raise ConfigError(
            f"{name}: what is in a list cannot be set by itself; set the list, as in --set 'wake.words=[{{model: alexa}}]'"
        )
    new = compose(value, name) or ScalarNode(TAG + "null", "", *_marks(name))
    for depth, key in enumerate(keys):
        if not isinstance(root, MappingNode):
            raise ConfigError(f"{name}: {'.'.join(keys[:depth]) or 'the file'} is not a section")
        if depth == len(keys) - 1:
            _put(root, key, name, new)
        else:
            root = child(root, key) or _put(root, key, name, empty(name))


def child(node: Node | None, key: str) -> Node | None:
    """Return the value of a key, None when there is nothing or `node` is no section."""
    found = (value for k, value in node.value if k.value == key) if isinstance(node, MappingNode) else iter(())
    value = next(found, None)
    return None if value is None or is_null(value) else value


def _put(parent: MappingNode, key: str, name: str, value: Node) -> Node:
    pair = ScalarNode(TAG + "str", key, *_marks(name)), value
    for index, (k, _) in enumerate(parent.value):
        if k.value == key:
            parent.value[index] = pair
            return value
    parent.value.append(pair)
    return value


def is_null(node: Node) -> bool:
    """Say whether the node is YAML's null, or nothing at all."""
    return bool(node.tag == TAG + "null")


def _marks(name: str) -> tuple[yaml.Mark, yaml.Mark]:
    mark = yaml.Mark(name, 0, 0, 0, None, 0)
    return mark, mark


_DEEPEST = 50
"""Sections inside each other; a tenth of what Python's stack holds of their reading."""

_REMEDIES: tuple[tuple[str, str], ...] = (
    (r"character '\\t'", "indent with spaces, not with tabs"),
    (r"character '[@`%]'|undefined alias|expected alphabetic", "a text that begins with this character needs quotes"),
    (r"unexpected end of stream", "a quote is not closed"),
    (r"expected the node content", "a value is missing here; one that holds a # needs quotes"),
    (r"another document", "only one can be read: remove the line ---"),
    (r"mapping values are not allowed", 'a text that holds ": " needs quotes, and a key must stand below the one above it'),
    (r"expected <block end>", "the line is indented differently from those that it belongs to"),
    (r"could not find expected ':'", 'a line must be "key: value"'),
    (r"expected ',' or '[\]}]'", "a bracket is not closed"),
)

_UNFINISHED = r"could not find expected ':'|unexpected end of stream|, but got '<stream end>'"
"""Problems that are seen only where something else begins: the mark of their context is where what they speak of began."""


def _place(name: str, line: int) -> str:
    return name if name.startswith("--set ") else f"{name}:{line + 1}"


def _say(error: yaml.YAMLError, text: str, name: str) -> str:
    if isinstance(error, yaml.reader.ReaderError):
        line = text.count("\n", 0, error.position)
        return f"{_place(name, line)}: not YAML: the character U+{error.character:04X} is not allowed"
    problem = str(getattr(error, "problem", error))
    mark = getattr(error, "context_mark" if re.search(_UNFINISHED, problem) else "problem_mark", None)
    remedy = next((f"; {words}" for pattern, words in _REMEDIES if re.search(pattern, problem)), "")
    line = min(mark.line, text.rstrip().count("\n")) if mark else 0  # what is missing at the end is missed in the last line
    return f"{_place(name, line)}: not YAML: {problem}{remedy}"
