"""What the rehearsal can do wrong, so that a client can be seen to bear it."""

from __future__ import annotations

import dataclasses
import http
import re
import types
import typing
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Self

from pipit.core.options import describe, option
from pipit.errors import ConfigError

_CLOSE_CODES = {1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014}

Stage = typing.Literal["hear", "think", "speak"]
"""What the endpoints of a cascade do."""

MID_REPLY_S = 0.5
"""After so much sound of a reply happens what is to happen in the middle of it. Of whole HTTP answers: half way through."""


@dataclass(frozen=True)
class Misbehaviour:
    """Faults, none by default; each field says what happens. They may be combined.

    On the command line `--misbehave NAME` or `--misbehave NAME=VALUE` sets one, with dashes or underscores.

    Raises:
        ConfigError: a number that is no HTTP status or no close code.
    """

    sessions: int | None = option(None, "Only the first so many connections suffer; the later ones find a healthy service.")
    refuse_key: bool = option(False, "Whatever the key, it is wrong.")
    refuse_upgrade: int | None = option(None, "The WebSocket, or the HTTP request, is refused with this HTTP status, such as 503.")
    connect_delay_s: float = option(0.0, "The upgrade, or the HTTP request, is answered so many seconds late.")
    stall_after_accept: bool = option(
        False,
        "The TCP connection is accepted, and the upgrade, or the HTTP request, never answered.",
    )
    stall_at_ready: bool = option(
        False,
        "The WebSocket opens, or the head of the HTTP answer is sent, and then the service says nothing.",
    )
    stall_mid_reply: bool = option(False, "Half a second into a reply the service falls silent for ever.")
    drop_mid_reply: bool = option(False, "Half a second into a reply the TCP connection is reset.")
    cut_mid_reply: bool = option(
        False,
        "Half a second into a reply the TCP connection is closed in good order, but not the WebSocket or the HTTP answer.",
    )
    error_mid_reply: bool = option(
        False,
        "Half a second into a reply the service says that it has failed, and closes if it does so after that error. "
        "Chat/completions: its stream ends.",
    )
    error_at_ready: bool = option(
        False,
        "The service reports an error instead of becoming ready, and closes if it does so after that error: voice agents.",
    )
    error_code: str | None = option(
        None,
        "Which error: at_capacity, rate_limit_exceeded, insufficient_quota …; by default server_error: voice agents.",
    )
    failed_reply: bool = option(False, "Instead of being spoken each reply fails, with error_code: voice agents.")
    incomplete_reply: bool = option(False, "Half a second into a reply it is over, because it has become too long: OpenAI.")
    close_at_ready: int | None = option(None, "The service closes with this code instead of becoming ready.")
    close_mid_reply: int | None = option(None, "Half a second into a reply the service closes with this code.")
    close_mid_turn: int | None = option(None, "When the person begins to speak the service closes with this code: voice agents.")
    drop_mid_turn: bool = option(False, "When the person begins to speak the TCP connection is reset: voice agents.")
    stall_mid_turn: bool = option(False, "When the person begins to speak the service falls silent for ever: voice agents.")
    expire_s: float | None = option(
        None,
        "The session ends after so many seconds, as sessions do that have become too old: voice agents.",
    )
    rubbish_text: bool = option(False, "Text messages that are no JSON are strewn in; whole HTTP answers are none.")
    rubbish_binary: bool = option(False, "Binary messages are strewn in.")
    malformed_json: bool = option(
        False,
        "JSON of the wrong shape is strewn in: known events with missing fields or fields of another type, lists, null. "
        "Whole HTTP answers are such.",
    )
    unknown_events: bool = option(False, "Events of unknown types are strewn in.")
    duplicate_events: bool = option(False, "Every event is sent twice.")
    out_of_order: bool = option(False, "Every third event is overtaken by the next, if there is one soon.")
    omit: str | None = option(None, "Events of this type are never sent, or of these: session.updated,transcript.agent.")
    event_delay_s: float = option(0.0, "Every event is sent so much later than the one before it, at least.")
    ignore_pings: bool = option(False, "WebSocket pings stay without an answer. Yandex never answers any.")
    flood: bool = option(False, "A whole reply is sent as fast as it can be made, whatever the protocol says of pace.")
    huge_message_mb: int | None = option(None, "As soon as it is ready, the service sends one message of so many megabytes.")
    odd_bytes: bool = option(False, "Each piece of a reply's sound holds an odd number of bytes: samples are cut in two.")
    late_chunks: int = option(0, "After a reply was cancelled, so many more pieces of its sound follow.")
    bad_arguments: bool = option(False, "The arguments of the tools that the agent calls are broken JSON: OpenAI, AssemblyAI.")
    text_arguments: bool = option(False, "The arguments of tools come as a text instead of an object: AssemblyAI.")
    unknown_tool: bool = option(False, "The agent calls a tool that nobody declared: OpenAI, AssemblyAI.")
    transcription_fails: bool = option(False, "What the person said cannot be written down: OpenAI.")
    older_errors: bool = option(False, "Errors are called error and their codes are in capitals, as they were once: AssemblyAI.")
    reply_cancel: bool = option(False, "reply.cancel is taken, which the public documentation does not know: AssemblyAI.")
    stage: Stage | None = option(None, "Only this stage of a cascade suffers: hear, think or speak.")
    spared: int = option(0, "The first so many connections find a healthy service; sessions counts from there.")

    def __post_init__(self) -> None:
        problems = []
        if self.refuse_upgrade is not None and self.refuse_upgrade not in set(http.HTTPStatus) - {
            http.HTTPStatus.SWITCHING_PROTOCOLS
        }:
            problems.append(f"misbehaviour refuse-upgrade: {self.refuse_upgrade} is no HTTP status that refuses, such as 503")
        for name in ("close_at_ready", "close_mid_turn", "close_mid_reply"):
            code = getattr(self, name)
            if code is not None and not (code in _CLOSE_CODES or 3000 <= code <= 4999):
                problems.append(
                    f"misbehaviour {_written(name)}: {code} is no WebSocket close code, such as 1011 (RFC 6455, section 7.4)"
                )
        for name, example in (("error_code", "at_capacity"), ("omit", "session.updated,transcript.agent")):
            given = getattr(self, name)
            if given is not None and not re.fullmatch(r"[a-z_.,]+", given):
                problems.append(f"misbehaviour {_written(name)}: {given!r} is no name, such as {example}")
        if problems:
            raise ConfigError(*problems)

    @property
    def code(self) -> str:
        """Which error is reported."""
        return self.error_code or "server_error"

    @property
    def omitted(self) -> Collection[str]:
        """Which types of events are never sent."""
        return self.omit.split(",") if self.omit else ()

    def of(self, stage: Stage | None) -> Misbehaviour:
        """Return what an endpoint shows that is this stage of a cascade, or none."""
        return self if self.stage in (None, stage) else Misbehaviour()

    @classmethod
    def parse(cls, words: Iterable[str]) -> Self:
        """Read "NAME" and "NAME=VALUE".

        Raises:
            ConfigError: with one line for each unknown name and unusable value.
        """
        kinds = typing.get_type_hints(cls)
        values: dict[str, Any] = {}
        problems = []
        for word in words:
            name, equals, text = word.partition("=")
            name = name.replace("-", "_")
            if name not in kinds:
                problems.append(f"misbehaviour {_written(name)!r} is unknown: choose from {', '.join(map(_written, kinds))}")
                continue
            try:
                values[name] = _value(kinds[name], text if equals else None)
            except ValueError as error:
                problems.append(f"misbehaviour {_written(name)}: {error}")
        if problems:
            raise ConfigError(*problems)
        return cls(**values)

    @classmethod
    def faults(cls) -> Iterator[tuple[str, str]]:
        """Yield each fault as it is written on the command line, and what happens then."""
        kinds = typing.get_type_hints(cls)
        for field in dataclasses.fields(cls):
            name = _written(field.name)
            yield name if kinds[field.name] is bool else f"{name}={_example(kinds[field.name])}", describe(field).doc

    def __str__(self) -> str:
        changed = {_written(field.name): getattr(self, field.name) for field in dataclasses.fields(self)}
        chosen = [(name, value) for name, value in changed.items() if value not in (None, False, 0)]
        return ", ".join(name if value is True else f"{name}={value}" for name, value in chosen) or "none"


def _written(name: str) -> str:
    """Return a fault's name as it is written on the command line."""
    return name.replace("_", "-")


def _example(kind: Any) -> str:
    """Return what stands for a value."""
    inner = typing.get_args(kind)[0] if type(None) in typing.get_args(kind) else kind
    if inner == Stage:
        return "|".join(typing.get_args(Stage))
    return {int: "NUMBER", float: "SECONDS", str: "NAME"}[inner]


def _value(kind: Any, text: str | None) -> Any:
    if typing.get_args(kind)[:1] == (Stage,):
        if text not in (allowed := typing.get_args(Stage)):
            raise ValueError(f"{text!r} is none of {', '.join(allowed)}")
        return text
    if kind is bool:
        if text is not None:
            raise ValueError(f"takes no value, not {text!r}")
        return True
    number = typing.get_args(kind)[0] if isinstance(kind, types.UnionType) else kind
    if number is str:
        if not text:
            raise ValueError("needs a value: NAME=WORD")
        return text
    if text is None:
        raise ValueError("needs a value: NAME=NUMBER")
    try:
        value = number(text)
    except ValueError:
        raise ValueError(f"{text!r} is not a number") from None
    if not 0 <= value < float("inf"):
        raise ValueError(f"{text} is out of range; it must not be negative")
    return value
