from __future__ import annotations

import json

import pytest

from pipit.services.cascade.refusals import refusal


def told(status: int, body: object = None, secrets: tuple[str, ...] = ()) -> tuple[str, str]:
    error = refusal(status, json.dumps(body).encode(), "h", secrets, "service.think")
    return error.kind, error.reason


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        *((400, "config"), (401, "config"), (402, "config"), (403, "config"), (404, "config"), (408, "retryable"), (422, "config")),
        *((425, "retryable"), (429, "retryable"), (500, "retryable"), (503, "retryable"), (302, "config")),
    ],
)
def test_which_refusals_are_worth_another_try(status: int, kind: str) -> None:
    assert told(status)[0] == kind


@pytest.mark.parametrize(
    "body",
    [
        {"error": {"message": "Too bad.", "type": "x", "code": None}},
        {"message": "Too bad.", "status": 400},
        {"error": "Too bad."},
        {"detail": "Too bad."},
        [{"loc": ["body"], "msg": "Too bad.", "type": "x"}],
    ],
)
def test_the_servers_words_are_repeated(body: object) -> None:
    assert "(Too bad.)" in told(400, body)[1]


@pytest.mark.parametrize("body", [None, 5, [], {}, {"error": {}}, {"message": 3}, {"error": [1]}])
def test_answers_without_words(body: object) -> None:
    assert told(400, body) == ("config", "h refused the request: HTTP 400; check service.think")


def test_an_exhausted_account_is_not_tried_again() -> None:
    assert told(429, {"error": {"message": "m", "code": "insufficient_quota"}})[0] == "config"


def test_a_key_that_is_repeated_is_cut_out() -> None:
    assert "sk-123" not in told(401, {"error": {"message": "Incorrect API key: sk-123"}}, ("sk-123",))[1]
