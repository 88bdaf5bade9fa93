"""The configuration as YAML: the one in effect, and the commented file that an owner starts from."""

from __future__ import annotations

import dataclasses
import textwrap
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import yaml

from pipit import plugins
from pipit.config.kinds import Entry, entries
from pipit.config.nodes import add_scalars
from pipit.config.reader import bounds
from pipit.config.sections import SECTIONS, Config, Selection
from pipit.core.options import Secret
from pipit.plugins import Plugin

_WIDTH = 120


class _Dumper(yaml.SafeDumper):
    """Quotes every text that YAML 1.1 or 1.2 would take for something else, and escapes what cannot be seen."""

    def represent_text(self, text: str) -> yaml.ScalarNode:
        """Return the node of a text."""
        return self.represent_scalar("tag:yaml.org,2002:str", text, style=None if text.isprintable() else '"')


add_scalars(_Dumper)
_Dumper.add_representer(str, _Dumper.represent_text)


def masked(config: Config) -> str:
    """Print the configuration in effect, defaults included, as YAML; of a secret only where it came from."""
    return yaml.dump(_tree(config), Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=_WIDTH)


def _tree(config: Config) -> dict[str, Any]:
    result: dict[str, Any] = {}
    for name, section in SECTIONS.items():
        value = getattr(config, name)
        if isinstance(section, Selection):
            made = [{section.key: one.name, **data(one.settings)} for one in (value, *value.alternatives)]
            result[name] = made if value.alternatives else made[0]
        else:
            result[name] = data(value)
    return result


def data(value: Any) -> Any:
    """Return settings as what YAML and JSON are made of, without secrets."""
    if isinstance(value, Secret):
        return f"*** ({value.source})"
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {entry.name: data(getattr(value, entry.name)) for entry in entries(type(value))}
    if isinstance(value, Mapping):
        return {name: data(inner) for name, inner in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [data(inner) for inner in value]
    whole = isinstance(value, float) and value.is_integer() and abs(value) < 1e15
    return int(value) if whole else value


# -- the commented file ------------------------------------------------------------------------------------------------------------

_HEADER = """\
# yaml-language-server: $schema=schema.json
#
# The configuration of Pipit. Every option stands here at its default, below a line that says what it means and, in brackets,
# what it may be. What you delete keeps its default. An option right behind a # belongs to a choice that is not made here: to make
# it, delete the # in front of it, and put one in front of what it replaces.
#
#   pipit check       every error in this file, with its line and what is allowed
#   pipit config      what is in effect, secrets masked
#
# Secrets do not belong into this file. Say where they are instead:
#   !credential NAME    a systemd credential, for which the service needs LoadCredentialEncrypted=NAME
#   !env NAME           an environment variable
#   !file PATH          a file that not everybody can read
#
# Paths may be relative to the folder of this file. The service sees nothing below /home: keep them here, in /etc/pipit.
"""


def template() -> str:
    """Write `config/pipit.yaml`: every option of every plug-in, those of the default plug-ins in effect."""
    return "\n".join([_HEADER, *(line.rstrip() for name in SECTIONS for line in _section(name))]).rstrip() + "\n"


def _section(name: str) -> Iterator[str]:
    section = SECTIONS[name]
    if isinstance(section, Selection):
        yield from _comment(section.doc, "")
        yield f"{name}:"
        yield from _choice(section)
    else:
        yield from _comment(_summary(section), "")
        yield f"{name}:"
        yield from _options(entries(section), "  ", "")
    yield ""


def _choice(section: Selection) -> Iterator[str]:
    known = plugins.every(section.folder)
    default = plugins.find(section.folder, section.default)
    yield "  # One of:"
    for plugin in known:
        yield from _comment(f"{plugin.name}: {plugin.doc}", "  ", "  ")
    yield f"  {section.key}: {default.name}"
    yield from _options((_with_credential(entry, default) for entry in entries(default.settings)), "  ", "")
    shown = list(entries(default.settings))
    for plugin in known:
        if plugin.name != default.name:
            yield from _alternative(section, plugin, shown)


def _with_credential(entry: Entry, plugin: Plugin) -> Entry:
    """Have the key of the default service come from a credential that is called like the service."""
    if not entry.kind.secret or entry.option.example is not None:
        return entry
    return entry._replace(option=entry.option._replace(example=f"!credential {plugin.name}"))


def _alternative(section: Selection, plugin: Plugin, shown: list[Entry]) -> Iterator[str]:
    """Describe what a plug-in that is not the default has and that is not among `shown`; adds it to them."""
    new = [entry for entry in entries(plugin.settings) if entry not in shown]
    same = [entry.name for entry in entries(plugin.settings) if entry in shown]
    everything = len(same) == len(shown)
    shown += new
    if new:
        yield ""
        besides = f", besides {'all of the above' if everything else ', '.join(same)}" if same else ""
        yield from _comment(f"With {section.key}: {plugin.name}{besides}:", "  ")
        yield from _options(new, "  ", "#")


def _options(shown: Iterable[Entry], indent: str, mark: str) -> Iterator[str]:
    for entry in shown:
        yield from _option(entry, indent, mark)


def _option(entry: Entry, indent: str, mark: str) -> Iterator[str]:
    section, item = entry.kind.section, entry.kind.item
    key = f"{indent}{mark}{entry.name}:"
    if section is not None and entry.default is not None:
        yield from _comment(entry.option.doc, indent)
        yield key
        yield from _options(_with_defaults(section, entry.default), indent + "  ", mark)
        return
    yield from _comment(f"{entry.option.doc}{_facts(entry)}", indent)
    if item is None or item.section is None:
        yield f"{key} {_value(entry)}"
        return
    for inner in entries(item.section):
        yield from _comment(f"{inner.name}: {inner.option.doc}{_facts(inner)}", indent, "  ")
    yield key if entry.default else f"{key} []"
    yield from (f"{indent}  {mark}- {_flow(data(one))}" for one in entry.default)


def _with_defaults(section: type[Any], instance: Any) -> Iterator[Entry]:
    """Return the options of an inner section with the defaults that the outer one gives them."""
    return (entry._replace(default=getattr(instance, entry.name)) for entry in entries(section))


def _value(entry: Entry) -> str:
    if entry.kind.secret or entry.required:
        return "null" if entry.option.example is None else str(entry.option.example)
    return _flow(data(entry.default))


def _facts(entry: Entry) -> str:
    """Say in brackets what the default does not show: bounds, choices, an example."""
    kind, option = entry.kind, entry.option
    facts = []
    if kind.scalars & {int, float} and bounds(option):
        facts.append(bounds(option).strip().removeprefix("from "))
    facts += [str(choice) for choice in option.choices]
    allowed = ", ".join([*facts, *["null"] * (kind.nullable and bool(facts))])
    example = "" if option.example is None or kind.secret else f"for example {_flow(data(option.example))}"
    said = "; ".join(filter(None, (allowed, example)))
    return f" [{said}]" if said else ""


def _flow(value: Any) -> str:
    """Return YAML on one line."""
    text = yaml.dump(value, Dumper=_Dumper, sort_keys=False, allow_unicode=True, default_flow_style=True, width=10**6)
    return text.removesuffix("...\n").strip()


def _comment(text: str, indent: str, hanging: str = "") -> Iterator[str]:
    """Wrap a comment; lines are # and a space, so that a # without one marks an option."""
    lines = textwrap.wrap(" ".join(text.split()), _WIDTH - len(indent) - len(hanging))
    return (f"{indent}# {hanging}{line}" for line in lines)


def _summary(cls: type[Any]) -> str:
    return (cls.__doc__ or "").strip().splitlines()[0]
