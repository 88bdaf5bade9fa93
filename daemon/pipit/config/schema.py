"""The configuration as a JSON Schema (draft 2020-12), for editors that complete and check while one types."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from pipit import plugins
from pipit.config.kinds import Entry, Kind, entries
from pipit.config.printing import data
from pipit.config.sections import SECTIONS, Selection
from pipit.core.options import Option
from pipit.plugins import Plugin

Schema = dict[str, Any]


def schema() -> Schema:
    """Make the schema of the whole file; `config/schema.json` is this as JSON, indented by two."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Configuration of Pipit",
        "type": "object",
        "properties": {name: _section(name, section) for name, section in SECTIONS.items()},
        "required": [name for name, section in SECTIONS.items() if _is_required(section)],
        "additionalProperties": False,
        "$defs": {name: _choice(section) for name, section in SECTIONS.items() if isinstance(section, Selection) and section.many},
    }


def _section(name: str, section: Selection | type[Any]) -> Schema:
    if not isinstance(section, Selection):
        return {"description": section.__doc__, **_settings(section)}
    if not section.many:
        return {"description": section.doc, **_choice(section)}
    one = {"$ref": f"#/$defs/{name}"}
    many = {"type": "array", "items": one, "minItems": 1}
    # An editor that shows one reason shows that of the branch whose type fits.
    return {"description": section.doc, "if": {"type": "array"}, "then": many, "else": one}


def _choice(section: Selection) -> Schema:
    known = plugins.every(section.folder)
    return {
        "type": ["object", "null"],
        "properties": {section.key: {"enum": [plugin.name for plugin in known], "default": section.default}},
        "allOf": [{"if": _is_chosen(section, plugin), "then": _settings(plugin.settings, section.key)} for plugin in known],
    }


def _is_required(section: Selection | type[Any]) -> bool:
    settings = plugins.find(section.folder, section.default).settings if isinstance(section, Selection) else section
    return any(entry.required for entry in entries(settings))


def _is_chosen(section: Selection, plugin: Plugin) -> Schema:
    named = {"properties": {section.key: {"const": plugin.name}}}
    return named if plugin.name == section.default else {**named, "required": [section.key]}


def _settings(cls: type[Any], *beside: str) -> Schema:
    """Describe a settings class; `beside` are names that the section also holds, described elsewhere."""
    described = {entry.name: _entry(entry) for entry in entries(cls)}
    required = [entry.name for entry in entries(cls) if entry.required]
    return {
        "type": ["object", "null"],
        "properties": {**dict.fromkeys(beside, True), **described},
        **({"required": required} if required else {}),
        "additionalProperties": False,
    }


def _entry(entry: Entry) -> Schema:
    unit = f" In {entry.option.unit}." if entry.option.unit else ""
    described = {"description": entry.option.doc + unit, **_value(entry.kind, entry.option)}
    if not entry.required and not entry.kind.secret:
        described["default"] = data(entry.default)
    if entry.option.example is not None and not entry.kind.secret:
        described["examples"] = [data(entry.option.example)]
    return described


def _value(kind: Kind, option: Option) -> Schema:
    variants = list(_variants(kind, option))
    if len(variants) == 1:
        return variants[0]
    if all(variant.keys() == {"type"} for variant in variants):
        return {"type": [variant["type"] for variant in variants]}
    return {"anyOf": variants}


def _variants(kind: Kind, option: Option) -> Iterator[Schema]:
    for scalar, name in _NAMES.items():
        choices = [choice for choice in option.choices if type(choice) is scalar]
        if scalar not in kind.scalars or (scalar is int and float in kind.scalars):
            continue
        elif choices:
            yield {"enum": choices}
        else:
            yield {"type": name, **(_bounds(option) if scalar in (int, float) else {})}
    if kind.secret:
        yield {"type": "string"}
    if kind.item is not None:
        yield {"type": "array", "items": _value(kind.item, option)}
    if kind.section is not None:
        yield _settings(kind.section)
    if kind.mapping:
        yield {"type": ["object", "null"]}
    if kind.nullable:
        yield {"type": "null"}


def _bounds(option: Option) -> Schema:
    limits = {"minimum": option.minimum, "maximum": option.maximum}
    return {name: limit for name, limit in limits.items() if limit is not None}


_NAMES = {bool: "boolean", int: "integer", float: "number", str: "string"}
