from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from pipit.core.backoff import Backoff


def test_grows_to_the_limit_and_stays_there() -> None:
    backoff = Backoff(lambda: 0.0, first_s=1, limit_s=10, factor=3)
    assert [backoff.next_s() for _ in range(5)] == [1, 3, 9, 10, 10]


def test_reset_begins_anew() -> None:
    backoff = Backoff(lambda: 0.0, first_s=1, limit_s=10, factor=3)
    for _ in range(4):
        backoff.next_s()
    backoff.reset()
    assert backoff.next_s() == 1


def test_jitter_only_shortens_and_each_delay_draws_anew() -> None:
    draws = iter([0.0, 0.5, 0.75])
    backoff = Backoff(lambda: next(draws), first_s=8, limit_s=8, jitter=0.5)
    assert [backoff.next_s() for _ in range(3)] == [8, 6, 5]


@given(
    draws=st.lists(st.floats(0, 1, exclude_max=True), min_size=1, max_size=200),
    first_s=st.floats(0.01, 10),
    limit_s=st.floats(0.01, 100),
    factor=st.floats(1, 1e6),
    jitter=st.floats(0, 1),
)
def test_never_negative_never_above_the_limit(
    draws: list[float], first_s: float, limit_s: float, factor: float, jitter: float
) -> None:
    source = iter(draws)
    backoff = Backoff(lambda: next(source), first_s=first_s, limit_s=limit_s, factor=factor, jitter=jitter)
    delays = [backoff.next_s() for _ in draws]
    assert all(0 <= delay <= limit_s for delay in delays)
