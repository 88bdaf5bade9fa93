"""The section `tools`."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from pipit.core.options import Secret, option
from pipit.errors import ConfigError
from pipit.tools.arguments import contradictions, flaws, plain

SECRET = "secret"
"""The placeholder `{secret}`."""

_PLACEHOLDER = re.compile(r"\{([A-Za-z_][A-Za-z0-9_]*)\}")


def placeholders(template: Any) -> set[str]:
    """Return the names that stand in braces anywhere in a template."""
    if isinstance(template, str):
        return set(_PLACEHOLDER.findall(template))
    if isinstance(template, Mapping):
        return {name for value in template.values() for name in placeholders(value)}
    if isinstance(template, (list, tuple)):
        return {name for value in template for name in placeholders(value)}
    return set()


def fill(template: str, values: Mapping[str, str]) -> str:
    """Put values where their names stand in braces; what is filled in is not looked at again."""
    return _PLACEHOLDER.sub(lambda found: values.get(found[1], found[0]), template)


@dataclass(frozen=True)
class Http:
    """A tool that is an HTTP request."""

    name: str = option(doc="What the agent calls it.", example="lamp")
    description: str = option(doc="What it does and when to use it, for the agent.", example="Switches the kitchen lamp.")
    url: str = option(
        doc="http:// or https://; {NAME} becomes an argument, {secret} the secret.", example="http://hub.local/{state}"
    )
    enabled: bool = option(False, "Whether the agent may use it.")
    parameters: Mapping[str, Any] = option(factory=dict, doc="JSON Schema of its arguments: an object with properties.")
    method: str = option("GET", "Of the request.", choices=("GET", "POST", "PUT", "PATCH", "DELETE"))
    headers: Mapping[str, Any] = option(factory=dict, doc="Of the request; {NAME} and {secret} as in the url.")
    body: Mapping[str, Any] = option(
        factory=dict, doc="JSON that is sent; {NAME} becomes an argument. Empty: all arguments, except with GET and DELETE."
    )
    secret: Secret | None = option(None, "What {secret} stands for: !credential NAME, !env NAME or !file PATH.")
    timeout_s: float = option(5.0, "Longest time that it may take.", unit="s", minimum=0.5, maximum=60)
    limit_bytes: int = option(16384, "Longest answer that is read.", unit="bytes", minimum=100, maximum=1000000)

    def __post_init__(self) -> None:
        problems = _naming(self.name) + _schema(self.parameters) + _address(self.url) + _as_json(self.body)
        if not all(isinstance(value, str) for value in self.headers.values()):
            problems.append("headers: every one needs a text; put numbers in quotes")
        problems += _unknown("url", placeholders(self.url), self.parameters, secret=self.secret is not None)
        problems += _unknown("headers", placeholders(self.headers), self.parameters, secret=self.secret is not None)
        problems += _unknown("body", placeholders(self.body), self.parameters, secret=False)
        _raise(problems)


@dataclass(frozen=True)
class Command:
    """A tool that is a program on this device."""

    name: str = option(doc="What the agent calls it.", example="uptime")
    description: str = option(
        doc="What it does and when to use it, for the agent.", example="Says for how long this device has run."
    )
    argv: tuple[str, ...] = option(
        doc="The program with its full path, and its arguments; {NAME} becomes an argument of the call. There is no shell.",
        example=["/usr/bin/uptime", "--pretty"],
    )
    enabled: bool = option(False, "Whether the agent may use it.")
    parameters: Mapping[str, Any] = option(factory=dict, doc="JSON Schema of its arguments: an object with properties.")
    timeout_s: float = option(5.0, "Longest time that it may take; then it is killed.", unit="s", minimum=0.5, maximum=60)
    limit_bytes: int = option(4096, "Longest output that is read; then it is killed.", unit="bytes", minimum=100, maximum=65536)

    def __post_init__(self) -> None:
        problems = _naming(self.name) + _schema(self.parameters)
        if not self.argv or not self.argv[0].startswith("/"):
            problems.append("argv: the first is the program with its full path, like /usr/bin/uptime")
        elif placeholders(self.argv[0]):
            problems.append("argv: the program cannot be an argument; write it out")
        problems += _unknown("argv", placeholders(self.argv), self.parameters, secret=False)
        _raise(problems)


@dataclass(frozen=True)
class McpServer:
    """A server of the Model Context Protocol on the local network."""

    name: str = option(doc="What it is called in the journal.", example="home")
    url: str = option(doc="Its address (streamable HTTP).", example="http://hub.local:8123/mcp")
    allow: tuple[str, ...] = option((), "The tools of it that the agent may use; no others are offered.", example=["turn_on_light"])
    headers: Mapping[str, Any] = option(factory=dict, doc="Of every request; {secret} becomes the secret.")
    secret: Secret | None = option(None, "What {secret} stands for: !credential NAME, !env NAME or !file PATH.")
    timeout_s: float = option(10.0, "Longest time that a call may take.", unit="s", minimum=0.5, maximum=60)

    def __post_init__(self) -> None:
        problems = _naming(self.name) + _address(self.url)
        if not all(isinstance(value, str) for value in self.headers.values()):
            problems.append("headers: every one needs a text; put numbers in quotes")
        problems += _unknown("headers", placeholders(self.headers), {}, secret=self.secret is not None)
        _raise(problems)


@dataclass(frozen=True)
class Settings:
    """What the agent may do on this device: whatever reaches beyond the speaker itself is off until you turn it on."""

    volume: bool = option(True, "Ask for the volume and set it: get_volume, set_volume.")
    timers: bool = option(True, "Timers that ring: set_timer, list_timers, cancel_timer. They do not survive a restart.")
    clock: bool = option(True, "Tell time and date: get_time.")
    stop: bool = option(True, "End the conversation when you ask for it: end_conversation.")
    http: tuple[Http, ...] = option((), "Tools that are HTTP requests.")
    command: tuple[Command, ...] = option((), "Tools that are programs on this device, run as the service's user.")
    mcp: tuple[McpServer, ...] = option(
        (), "Servers of the Model Context Protocol; need the extra `mcp`. Asked when Pipit is called."
    )

    def __post_init__(self) -> None:
        builtin = {name: f"the built-in tool that tools.{group} turns on" for name, group in builtin_names(self).items()}
        tools = [*_places("http", self.http), *_places("command", self.command)]
        _raise([*_taken(tools, builtin, "tool"), *_taken(_places("mcp", self.mcp), {}, "server")])


def _places(group: str, entries: Sequence[Http | Command | McpServer]) -> list[tuple[str, str]]:
    """Return where each of a list is, and its name."""
    return [(f"{group}[{index}]", entry.name) for index, entry in enumerate(entries)]


def _taken(places: Sequence[tuple[str, str]], owners: Mapping[str, str], what: str) -> list[str]:
    """Say which names belong to somebody already."""
    owned = dict(owners)
    problems = []
    for place, name in places:
        if name in owned:
            problems.append(f'{place}.name: "{name}" is the name of {owned[name]}; give each {what} its own')
        owned.setdefault(name, f"tools.{place}")
    return problems


def builtin_names(settings: Settings) -> dict[str, str]:
    """Return the names of the built-in tools that are on, each with the option that turned it on."""
    groups = {
        "volume": ("get_volume", "set_volume"),
        "timers": ("set_timer", "list_timers", "cancel_timer"),
        "clock": ("get_time",),
        "stop": ("end_conversation",),
    }
    return {name: group for group, names in groups.items() if getattr(settings, group) for name in names}


def _naming(name: str) -> list[str]:
    fits = re.fullmatch(r"[A-Za-z0-9_-]{1,64}", name)
    return [] if fits else ["name: letters, digits, _ and - are allowed, 64 at most"]


def _schema(parameters: Mapping[str, Any]) -> list[str]:
    if not parameters:
        return []
    return [f"parameters: {flaw}" for flaw in list(flaws(parameters)) or contradictions(parameters)]


def _address(url: str) -> list[str]:
    try:
        parts = urlsplit(url)
        if parts.scheme in ("http", "https") and parts.hostname and parts.port != 0:
            return ["url: the host cannot be an argument; write it out"] if placeholders(parts.netloc) else []
    except ValueError:  # half an IPv6 address, or a port that is none
        pass
    return ["url: this is no address; it must look like http://HOST/PATH"]


def _as_json(body: Mapping[str, Any]) -> list[str]:
    try:
        plain(body)
    except ValueError as error:
        return [f"body: it {error}"]
    return []


def _unknown(where: str, used: set[str], parameters: Mapping[str, Any], *, secret: bool) -> list[str]:
    declared = parameters.get("properties")
    known = set(declared if isinstance(declared, Mapping) else ()) | ({SECRET} if secret else set())
    return [f"{where}: {{{name}}} is neither in parameters.properties nor the secret" for name in sorted(used - known)]


def _raise(problems: list[str]) -> None:
    if problems:
        raise ConfigError(*problems)
