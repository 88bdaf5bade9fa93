from __future__ import annotations

import pytest

from pipit.services.persistence import ALONE_S, LOSSES, LOSSES_S, STEADY_S, TRIES, Persistence


def made() -> Persistence:
    return Persistence(lambda: 0.0)


def test_a_steady_session_is_replaced_at_once_however_often() -> None:
    persistence = made()
    for hour in range(2 * LOSSES):
        persistence.lost(3600.0 * hour, STEADY_S + 1)
        assert persistence.again(3600.0 * hour, alone=False)
        assert persistence.delay_s() == 0
        assert not persistence.hopeless


def test_each_failure_in_a_row_is_followed_by_a_longer_wait_until_another_provider_is_better() -> None:
    persistence, delays = made(), []
    for second in range(TRIES):
        persistence.lost(second, 0.0)
        delays.append(persistence.delay_s())
    assert delays == [0.0, 0.3, 0.6]
    assert not persistence.again(TRIES, alone=False)
    persistence.change()
    persistence.lost(TRIES, 0.0)
    assert persistence.again(TRIES, alone=False)
    assert persistence.delay_s() == 0


@pytest.mark.parametrize(("alone", "expected"), [(False, TRIES), (True, int(ALONE_S) + 1)])
def test_the_only_provider_is_waited_for(alone: bool, expected: int) -> None:
    persistence = made()
    for second in range(100):
        persistence.lost(1000 + second, 0.0)
        if not persistence.again(1000 + second, alone=alone):
            break
    assert second + 1 == expected


def test_providers_that_drop_everything_are_given_up_and_old_losses_forgotten() -> None:
    persistence = made()
    for _ in range(LOSSES):
        persistence.lost(0.0, 0.0)
    assert not persistence.hopeless
    persistence.lost(LOSSES_S - 1, 0.0)
    assert persistence.hopeless
    persistence.lost(LOSSES_S + 1, 0.0)
    assert not persistence.hopeless
