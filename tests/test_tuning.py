from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipit.tuning import HIGHEST, LOWEST, Scored, as_text, propose

WORD = "hey_jarvis"


def clips(wanted: list[float], unwanted: list[float], word: str = WORD) -> list[Scored]:
    heard = [Scored(f"heard {score}", "heard" if index % 2 else "missed", word, score) for index, score in enumerate(wanted)]
    return heard + [Scored(f"false {score}", "false", word, score) for score in unwanted]


@pytest.mark.parametrize(
    ("wanted", "unwanted", "threshold"),
    [
        pytest.param([0.9, 0.97], [], 0.5, id="all is well"),
        pytest.param([0.9, 0.97], [0.62], 0.76, id="a false wake below the wanted ones: in the middle"),
        pytest.param([0.9, 0.4], [], 0.24, id="a missed one"),
        pytest.param([0.9, 0.4], [0.3], 0.35, id="a missed one above a false one"),
        pytest.param([0.6, 0.9], [0.7, 0.72, 0.8], 0.85, id="they overlap: the fewest mistakes"),
        pytest.param([], [0.99], 0.5, id="nothing within the bounds helps"),
    ],
)
def test_the_proposal(wanted: list[float], unwanted: list[float], threshold: float) -> None:
    proposal = propose(WORD, 0.5, clips(wanted, unwanted))
    assert proposal is not None
    assert proposal.threshold == pytest.approx(threshold)


scores = st.lists(st.floats(0, 1), max_size=8)


@given(scores, scores, st.floats(LOWEST, HIGHEST))
def test_it_never_makes_more_mistakes_than_the_present_threshold_and_counts_them_right(
    wanted: list[float], unwanted: list[float], present: float
) -> None:
    proposal = propose(WORD, present, clips(wanted, unwanted))
    if proposal is None:
        assert wanted == unwanted == []
        return
    assert LOWEST <= proposal.threshold <= HIGHEST
    for column, threshold in enumerate((present, proposal.threshold)):
        assert proposal.missed[column] == sum(score < threshold for score in wanted)
        assert proposal.false[column] == sum(score >= threshold for score in unwanted)
    assert proposal.missed[1] + proposal.false[1] <= proposal.missed[0] + proposal.false[0]
    if proposal.missed[1] + proposal.false[1] == proposal.missed[0] + proposal.false[0]:
        assert proposal.threshold == present


def test_other_words_and_what_may_be_either_say_nothing() -> None:
    either = [Scored("a", "near", WORD, 0.4), Scored("b", "wake", WORD, 0.9)]
    assert propose(WORD, 0.5, [*either, *clips([0.3], [0.8], word="alexa")]) is None


def test_the_report() -> None:
    kept = [*clips([0.9, 0.95], [0.6]), Scored("near-x.wav", "near", WORD, 0.31)]
    assert list(as_text({WORD: 0.5, "alexa": 0.4}, kept)) == [
        "0.900  missed  heard 0.9",
        "0.950  heard   heard 0.95",
        "0.600  false   false 0.6",
        "0.310  near    near-x.wav",
        "",
        "hey_jarvis: now 0.5; 0 of 2 wanted wakes missed, 1 of 1 false wakes let through",
        "hey_jarvis: propose 0.75; 0 of 2 wanted wakes missed, 0 of 1 false wakes let through",
        "",
        "alexa: nothing was kept that tells whether 0.4 is too low or too high",
    ]
    assert list(as_text({WORD: 0.8}, kept))[-1] == (
        "hey_jarvis: keep 0.8; 0 of 2 wanted wakes missed, 0 of 1 false wakes let through"
    )
