"""The options that all voice services share, and the checks on them that need no network."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import SplitResult, urlsplit

from pipit.core.options import Secret, option
from pipit.core.pronunciation import hint
from pipit.errors import ConfigError


@dataclass(frozen=True)
class CommonSettings:
    """What every service has, one socket or a cascade."""

    api_key: Secret | None = option(
        None,
        "Key of your account. Keep it out of this file: !credential NAME (systemd), !env NAME or !file PATH.",
    )
    insecure: bool = option(False, "Accept ws:// and http:// to other hosts than this one: key and voice can be read on the way.")
    instructions: str = option("You live in a kitchen speaker. Answer briefly.", "What the agent is told about itself.")
    greeting: str | None = option(None, "What the agent says when a conversation begins. Null: it listens first.")
    voice: str | None = option(None, "Voice, in the provider's words. Null: the provider's default.")
    keyterms: tuple[str, ...] = option((), "Names and words that the service should expect to hear.", example=["Sonos", "Hue"])
    pronunciation: Mapping[str, Any] = option(
        factory=dict,
        doc="How words are said: as they are written, and as they sound. Agents that speak for themselves are asked for it, which "
        "they may forget.",
        example={"nginx": "engine x", "SQL": "sequel"},
    )
    connect_s: float = option(10.0, "From the wake word until the service must be ready.", unit="s", minimum=1, maximum=120)
    read_s: float = option(30.0, "Longest silence of the service while a reply is due.", unit="s", minimum=1, maximum=600)
    write_s: float = option(10.0, "Longest time that the network may refuse what Pipit sends.", unit="s", minimum=1, maximum=120)

    def __post_init__(self) -> None:
        try:
            hint(self.pronunciation)
        except ValueError as error:
            raise ConfigError(f"pronunciation: {error}") from None


@dataclass(frozen=True)
class ServiceSettings(CommonSettings):
    """The section `service` of a service with one socket, whichever provider it names."""

    url: str | None = option(
        None,
        "WebSocket address in place of the provider's own, for a region, a proxy or a server at home.",
        example="ws://127.0.0.1:8137/v1/realtime",
    )
    model: str | None = option(None, "Model, in the provider's words. Null: the preset's.")
    turn_detection: Mapping[str, Any] = option(
        factory=dict,
        doc="How the service finds the end of what you say, in the provider's own terms. Empty: as the provider does by default.",
    )
    extra: Mapping[str, Any] = option(factory=dict, doc="Merged into the provider's session object as it is, last.")


def check(settings: ServiceSettings, title: str, name: str, *, key_needed: bool = True) -> None:
    """Check what can be known without a network.

    Args:
        settings: the section.
        title: name of the service, for messages.
        name: the same as in `service.provider`; its credential is called so.
        key_needed: whether the service refuses callers without a key. One on this host never needs it.

    Raises:
        ConfigError: with everything that is wrong.
    """
    problems = [] if settings.url is None else _url_problems(settings.url, settings.insecure)
    loopback = settings.url is not None and is_loopback(settings.url)
    if settings.api_key is not None:
        problems += _key_problems(settings.api_key)
    elif key_needed and not loopback:
        problems.append(f"service.api_key: {title} needs a key; for example `api_key: !credential {name}`")
    if problems:
        raise ConfigError(*problems)


def is_loopback(url: str) -> bool:
    """Return whether a URL names this host."""
    host = _split(url).hostname or ""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _split(url: str) -> SplitResult:
    try:
        parts = urlsplit(url)
        _ = parts.port  # raises where the port is no number
    except ValueError:
        return urlsplit("")
    return parts


def _url_problems(url: str, insecure: bool) -> list[str]:
    # The URL itself is not repeated: it may hold a key.
    parts = _split(url)
    if not parts.hostname or not _is_host(parts.hostname):
        return ["service.url: this is no address; it must look like wss://HOST/PATH"]
    if parts.scheme not in ("ws", "wss"):
        return [f"service.url: begins with {parts.scheme}://, must be wss:// (or ws:// on this host)"]
    if parts.fragment:
        return ["service.url: holds a #; write %23 where it belongs to a name"]
    if parts.scheme == "ws" and not insecure and not is_loopback(url):
        return [f"service.url: ws:// sends key and voice unencrypted to {parts.hostname}; use wss://, or service.insecure: true"]
    return []


def _is_host(host: str) -> bool:
    if not host.isascii():
        try:
            host = host.encode("idna").decode("ascii")
        except UnicodeError:
            return False
    return len(host) <= 253 and all(len(label) <= 63 for label in host.split(".")) and host.isprintable() and " " not in host


def _key_problems(key: Secret) -> list[str]:
    value = key.reveal()
    where = f" ({key.source})" if key.source else ""
    if not value:
        return [f"service.api_key: the key is empty{where}"]
    if not (value.isascii() and value.isprintable() and " " not in value):
        return [f"service.api_key: the key holds a blank, a line break or a character that no key has{where}"]
    return []
