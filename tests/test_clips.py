from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from pipit.audio.wav import read_wav
from pipit.clips import AGAIN_S, CLIP_S, Clips, read
from pipit.core.events import (
    Event,
    Pressed,
    ReplyAudible,
    SessionEnded,
    SessionFailed,
    SessionReady,
    TimePassed,
    UserStarted,
    UserStopped,
    WakeHeard,
)
from pipit.core.machine import State
from pipit.wake import Wake
from tests.speech import blocks, noise

NEAR, WAKE = Wake("hey_jarvis", 0.314), Wake("hey_jarvis", 0.999)
SOUND = noise(12.0, dbfs=-40)


class Box:
    """Clips with a clock that the test moves, and sound that goes on."""

    def __init__(self, folder: Path, most: int = 100) -> None:
        self.now = 0.0
        self.complaints: list[str] = []
        self.clips = Clips(folder, most, self.complaints.append, lambda: self.now)
        self.heard = 0

    def pass_s(self, seconds: float) -> None:
        """Let time pass, and 20 ms blocks be heard."""
        for block in blocks(SOUND[: round(seconds * 16000)], [320]):
            self.now += 0.02
            self.clips.hear(block)


@pytest.fixture
def box(tmp_path: Path) -> Iterator[Box]:
    made = Box(tmp_path / "kept")
    yield made
    made.clips.close()


def kinds(box: Box, folder: Path) -> list[str]:
    box.clips.close()
    return [clip.kind for clip in read(folder / "kept")]


def test_a_near_miss_becomes_a_file_with_the_sound_around_it(box: Box, tmp_path: Path) -> None:
    box.pass_s(8.0)
    box.clips.missed(NEAR)
    box.pass_s(1.0)
    box.clips.close()
    [clip] = read(tmp_path / "kept")
    assert (clip.kind, clip.word, clip.score) == ("near", "hey_jarvis", 0.31)
    samples, rate_hz = read_wav(clip.path)
    assert (len(samples), rate_hz) == (CLIP_S * 16000, 16000)
    assert np.array_equal(samples[:, 0], np.concatenate([SOUND[round(3.5 * 16000) : 8 * 16000], SOUND[:8000]]))


WOKEN = WakeHeard("hey_jarvis", 0.999, 0)


@pytest.mark.parametrize(
    ("course", "kind"),
    [
        pytest.param([(State.LISTENING, SessionReady()), (State.HEARING, UserStarted())], "heard", id="spoken"),
        pytest.param([(State.LISTENING, SessionReady()), (State.THINKING, UserStopped())], "heard", id="spoken, told afterwards"),
        pytest.param([(State.LISTENING, SessionReady()), (State.IDLE, TimePassed())], "false", id="nobody spoke"),
        pytest.param([(State.IDLE, Pressed())], "false", id="sent away by the button"),
        pytest.param([(State.FAULT, SessionFailed("", retryable=True)), (State.IDLE, TimePassed())], "wake", id="no service"),
        pytest.param([(State.SPEAKING, ReplyAudible()), (State.IDLE, SessionEnded())], "false", id="only Pipit spoke"),
    ],
)
def test_what_came_of_a_wake_is_in_its_name(box: Box, tmp_path: Path, course: list[tuple[State, Event]], kind: str) -> None:
    box.clips.woke(WAKE)
    box.clips.changed(State.CONNECTING, WOKEN)
    box.pass_s(1.0)
    for state, event in course:
        box.clips.changed(state, event)
    assert kinds(box, tmp_path) == [kind]


def test_a_conversation_begun_by_the_button_says_nothing_about_an_earlier_wake(box: Box, tmp_path: Path) -> None:
    box.clips.woke(WAKE)
    box.clips.changed(State.CONNECTING, WOKEN)
    box.pass_s(1.0)
    box.clips.changed(State.FAULT, SessionFailed("", retryable=True))
    box.clips.changed(State.CONNECTING, Pressed())
    box.clips.changed(State.HEARING, UserStarted())
    assert kinds(box, tmp_path) == ["wake"]


@pytest.mark.parametrize(("pause_s", "kind"), [(3.0, "missed"), (AGAIN_S + 1, "near")])
def test_a_near_miss_before_a_wake_was_probably_the_first_attempt(box: Box, tmp_path: Path, pause_s: float, kind: str) -> None:
    box.clips.missed(NEAR)
    box.pass_s(pause_s)
    box.clips.woke(WAKE)
    box.pass_s(1.0)
    assert sorted(kinds(box, tmp_path)) == sorted([kind, "wake"])


def test_the_oldest_go_first_and_what_is_not_ours_stays(tmp_path: Path) -> None:
    folder = tmp_path / "kept"
    folder.mkdir()
    old = folder / "near-hey_jarvis-0.30-20200101T000000.wav"
    for name in (old.name, "false-alexa-0.61-20210101T000000.wav", "notes.txt", "my own recording.wav"):
        (folder / name).write_bytes(b"")
    box = Box(folder, most=2)
    box.clips.missed(NEAR)
    box.pass_s(1.0)
    box.clips.close()
    assert [clip.kind for clip in read(folder)] == ["false", "near"]
    assert not old.exists()
    assert {"notes.txt", "my own recording.wav"} < {path.name for path in folder.iterdir()}


def test_a_folder_that_is_closed_to_this_user_is_not_taken_for_an_empty_one(closed: Path) -> None:
    with pytest.raises(PermissionError):
        read(closed)


def test_two_in_one_second_have_names_of_their_own(box: Box, tmp_path: Path) -> None:
    for _ in range(2):
        box.clips.missed(NEAR)
        box.pass_s(0.6)
    assert kinds(box, tmp_path) == ["near", "near"]


def test_a_folder_that_cannot_be_made_is_complained_of_once(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    box = Box(tmp_path / "file" / "kept")
    for _ in range(2):
        box.clips.missed(NEAR)
        box.pass_s(1.0)
    box.clips.close()
    assert box.complaints == [f"near misses cannot be kept in {tmp_path}/file/kept: Not a directory"]
