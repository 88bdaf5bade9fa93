"""How long a conversation may last, and when that is announced."""

from __future__ import annotations

import pytest

from pipit.core.allowance import Allowance
from pipit.services.budget import GRACE_S, TOO_LONG, USED_UP, Budget, Caps


@pytest.mark.parametrize(("cap_s", "warned_s"), [(900, 840), (121, 61), (90, 45), (60, 30), (9, None)])
def test_when_the_end_is_announced(cap_s: float, warned_s: float | None) -> None:
    budget = Budget(Caps(cap_s))
    budget.begin(0)
    assert budget.warn_at == warned_s


@pytest.mark.parametrize(
    ("left_s", "words"), [(70, "a minute"), (60, "a minute"), (44, "45 seconds"), (31, "30 seconds"), (1, "5 seconds")]
)
def test_how_long_is_left_in_words(left_s: float, words: str) -> None:
    budget = Budget(Caps(900))
    budget.begin(0)
    assert budget.warn(900 - left_s) == (f"about {words}", TOO_LONG)
    assert budget.warn_at is None, "once"


def test_the_cap_that_bites_first_is_announced() -> None:
    budget = Budget(Caps(900, Allowance(300)))
    budget.begin(1000)
    assert budget.warn_at == 1240
    assert budget.warn(1240) == ("about a minute", USED_UP)


def test_a_reply_may_go_on_for_a_while_when_the_minutes_are_used_up() -> None:
    budget = Budget(Caps(allowance=Allowance(60)))
    budget.begin(0)
    assert not budget.ends(59, between_turns=True)
    assert not budget.ends(60, between_turns=False)
    assert budget.end_at == 60.5, "asked again soon"
    assert budget.ends(61, between_turns=True)
    assert not budget.ends(59 + GRACE_S, between_turns=False)
    assert budget.ends(60 + GRACE_S, between_turns=False)


def test_what_is_used_is_counted_once() -> None:
    allowance = Allowance(60, "today", 10)
    counted: list[float] = []
    budget = Budget(Caps(allowance=allowance, today=lambda: "today", spent=lambda: counted.append(allowance.used_s)))
    assert not budget.is_used_up
    budget.close(3)
    assert counted == [], "it never began"
    budget.begin(0)
    budget.close(50)
    budget.close(70)
    assert counted == [60]
    assert budget.is_used_up


def test_a_new_day_has_new_minutes() -> None:
    days = ["monday"]
    budget = Budget(Caps(allowance=Allowance(600, "monday", 560), today=lambda: days[-1]))
    budget.begin(0)
    assert budget.warn(20) == ("about 20 seconds", USED_UP)
    days.append("tuesday")
    assert not budget.ends(40, between_turns=True)
    assert budget.end_at == 600, "what began on the day before counts for the day on which it ends"
    assert budget.warn_at == 540
    assert budget.ends(600, between_turns=True)
