"""Which stages a provider has, and what is wrong with settings, without a network."""

from __future__ import annotations

import dataclasses
import importlib
import re
from pathlib import Path
from typing import Any

import pytest

from pipit import config
from pipit.core.options import Secret, describe
from pipit.errors import ConfigError
from pipit.services import NAMES
from pipit.services.cascade.provider import DOCS, ENGINES, PRESETS, build
from pipit.services.cascade.settings import HearSettings, Settings, SpeakSettings, ThinkSettings, TurnSettings

KEY = Secret("key-key-key")


def problems(name: str, **options: Any) -> tuple[str, ...]:
    try:
        build(Settings(**options), name)
    except ConfigError as error:
        return error.problems
    return ()


def test_every_name_is_described_and_has_its_stages() -> None:
    names = [name for name, module in NAMES.items() if module == "cascade.provider"]
    assert sorted(names) == sorted(PRESETS) == sorted(DOCS)


@pytest.mark.parametrize("stage", ["hear", "think", "speak"])
def test_every_engine_in_the_settings_is_a_module_and_the_other_way_round(stage: Any) -> None:
    [field] = [field for field in dataclasses.fields(Settings) if field.name == stage]
    kind: Any = field.default_factory
    choices = describe(next(inner for inner in dataclasses.fields(kind) if inner.name == "engine")).choices
    assert set(choices) == {"auto", *ENGINES[stage]}
    for module in ENGINES[stage].values():
        assert callable(importlib.import_module(f"pipit.services.cascade.{module}").build)


@pytest.mark.parametrize("settings", [Settings, HearSettings, ThinkSettings, SpeakSettings, TurnSettings])
def test_every_option_is_described(settings: type[Any]) -> None:
    assert all(describe(field).doc for field in dataclasses.fields(settings))


def test_the_local_service_needs_nothing() -> None:
    assert problems("local") == ()


def test_a_cascade_of_ones_own_has_to_be_chosen() -> None:
    found = problems("cascade")
    assert [problem.partition(":")[0] for problem in found] == [
        "service.hear.engine",
        "service.think.engine",
        "service.speak.engine",
    ]
    assert "one of fish, openai, pocketsphinx, wyoming" in found[0]


def test_problems_of_all_stages_are_told_together() -> None:
    found = problems("fish", turn=TurnSettings(silence_ms=300, pause_ms=300))
    assert [problem.partition(":")[0] for problem in found] == [
        *("service.api_key", "service.think.api_key", "service.turn.pause_ms"),
    ]


def test_stages_of_different_providers_can_be_mixed() -> None:
    hear = HearSettings(engine="openai", api_key=KEY)
    assert problems("local", hear=hear, think=ThinkSettings(engine="chat", url="http://localhost:11434/v1")) == ()


def test_the_yaml_chooses_the_stages(tmp_path: Path) -> None:
    file = tmp_path / "pipit.yaml"
    file.write_text("""
service:
  - provider: cascade
    hear: {engine: wyoming, url: tcp://127.0.0.1:10300}
    think: {engine: chat, url: http://127.0.0.1:11434/v1, model: qwen3}
    speak: {engine: espeak-ng}
    turn: {silence_ms: 500}
    pronunciation: {nginx: engine x}
  - {provider: local}
""")
    service = config.load(file).service
    assert (service.name, service.settings.hear.engine, service.settings.turn.silence_ms) == ("cascade", "wyoming", 500)
    assert [choice.name for choice in service.alternatives] == ["local"]
    assert build(service.settings, service.name) is not None
    file.write_text("service: {provider: local, hear: {engin: wyoming}}\n")
    with pytest.raises(ConfigError, match=re.escape('service.hear.engin: unknown key; did you mean "engine"?')):
        config.load(file)
