from __future__ import annotations

import dataclasses

import pytest

from pipit.core.options import Secret, describe
from pipit.errors import ConfigError
from pipit.services import NAMES, assemblyai, openai_realtime
from pipit.services.settings import ServiceSettings, check, is_loopback

KEY = Secret("sk-test-0123456789", "environment variable X")


def problems(settings: ServiceSettings) -> tuple[str, ...]:
    try:
        check(settings, "Svc", "svc")
    except ConfigError as error:
        return error.problems
    return ()


@pytest.mark.parametrize(
    "url",
    [
        "wss://api.example.com/v1/realtime?model=x",
        "wss://[2001:db8::1]:8443/",
        "wss://bücher.example/",
        "ws://localhost:1/x",
        "ws://127.9.9.9/",
        "ws://[::1]:8000/x",
    ],
)
def test_good_urls(url: str) -> None:
    assert problems(ServiceSettings(api_key=KEY, url=url)) == ()


@pytest.mark.parametrize(
    ("url", "problem"),
    [
        ("", "service.url: this is no address; it must look like wss://HOST/PATH"),
        ("api.example.com", "service.url: this is no address; it must look like wss://HOST/PATH"),
        ("wss://", "service.url: this is no address; it must look like wss://HOST/PATH"),
        ("wss://h:port/", "service.url: this is no address; it must look like wss://HOST/PATH"),
        ("wss://h:99999/", "service.url: this is no address; it must look like wss://HOST/PATH"),
        ("wss://[::1/", "service.url: this is no address; it must look like wss://HOST/PATH"),
        (f"wss://{'a' * 64}.example/", "service.url: this is no address; it must look like wss://HOST/PATH"),
        (f"wss://{'ä' * 64}.example/", "service.url: this is no address; it must look like wss://HOST/PATH"),
        ("https://h/", "service.url: begins with https://, must be wss:// (or ws:// on this host)"),
        ("wss://h/#x", "service.url: holds a #; write %23 where it belongs to a name"),
        (
            "ws://192.168.1.5:8000/",
            "service.url: ws:// sends key and voice unencrypted to 192.168.1.5; use wss://, or service.insecure: true",
        ),
    ],
)
def test_bad_urls(url: str, problem: str) -> None:
    assert problems(ServiceSettings(api_key=KEY, url=url)) == (problem,)


def test_insecure_allows_ws_to_other_hosts() -> None:
    assert problems(ServiceSettings(api_key=KEY, url="ws://192.168.1.5:8000/", insecure=True)) == ()


@pytest.mark.parametrize(
    ("key", "problem"),
    [
        (None, "service.api_key: Svc needs a key; for example `api_key: !credential svc`"),
        (Secret("", "file P"), "service.api_key: the key is empty (file P)"),
        (Secret("a\n"), "service.api_key: the key holds a blank, a line break or a character that no key has"),
        (Secret("ä", "file P"), "service.api_key: the key holds a blank, a line break or a character that no key has (file P)"),
    ],
)
def test_keys(key: Secret | None, problem: str) -> None:
    assert problems(ServiceSettings(api_key=key)) == (problem,)


def test_all_problems_at_once() -> None:
    assert len(problems(ServiceSettings(url="http://h/"))) == 2


def test_a_server_on_this_host_needs_no_key() -> None:
    assert problems(ServiceSettings(url="ws://localhost:1/")) == ()
    assert is_loopback("ws://LOCALHOST:1/")
    assert not is_loopback("ws://localhost.example:1/")


@pytest.mark.parametrize("settings", [openai_realtime.Settings, assemblyai.Settings])
def test_every_option_is_described(settings: type[ServiceSettings]) -> None:
    assert all(describe(field).doc for field in dataclasses.fields(settings))


def test_names_are_modules() -> None:
    assert dict(NAMES)["openai"] == "openai_realtime"
    assert dict(NAMES)["assemblyai"] == "assemblyai"
