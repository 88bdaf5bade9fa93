from __future__ import annotations

from pipit.core.allowance import Allowance


def test_minutes_of_a_day() -> None:
    allowance = Allowance(60.0)
    assert allowance.left_s("monday") == 60
    allowance.spend("monday", 50)
    allowance.spend("monday", 20)
    assert allowance.left_s("monday") == 0
    assert allowance.left_s("tuesday") == 60
    allowance.spend("tuesday", 15)
    assert allowance.left_s("tuesday") == 45
