"""The dsp thread on a real engine and a file as microphone, faster than real time."""

from __future__ import annotations

import queue
import time
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from pipit.audio.file import Input, Output, Settings, build
from pipit.audio.wav import write_wav
from pipit.core.events import CaptureRunning, Event, VoiceEnded, VoiceHeard, WakeHeard
from pipit.core.pcm import HEARING_RATE_HZ
from pipit.echo import Through
from pipit.hearing import FRAME, Hearing
from pipit.wake import Wake, openwakeword
from tests import speech

HEY_AT_S = 3.0


def sound(rate_hz: int) -> NDArray[np.int16]:
    clips = [(HEY_AT_S, speech.say("hey jarvis", rate_hz=rate_hz)), (6.0, speech.say("what time is it", rate_hz=rate_hz))]
    return speech.timeline(clips, seconds=9, rate_hz=rate_hz, noise_dbfs=-60)


class Seen:
    """Notes what a witness is told."""

    def __init__(self) -> None:
        self.samples, self.wakes, self.near = 0, list[Wake](), list[Wake]()
        self.woke, self.missed = self.wakes.append, self.near.append

    def hear(self, ears: NDArray[np.int16]) -> None:
        self.samples += len(ears)


def listen(
    path: Path,
    *,
    conversing: bool = False,
    wake_counts: bool = True,
    interrupting: bool = False,
    word: openwakeword.Word | None = None,
    seen: Seen | None = None,
) -> tuple[Hearing, list[Event]]:
    """Run a file through to its end."""
    device = build(Settings(input=Input(path=str(path), at_end="stop"), output=Output(), pace="fast"))
    engine = openwakeword.build(openwakeword.Settings(words=(word or openwakeword.Word(),)))
    events: queue.Queue[Event] = queue.Queue()
    errors: list[BaseException] = []
    hearing = Hearing(device, engine, Through(full_duplex=False), events.put, errors.append, seen)
    hearing.wake_counts = wake_counts
    hearing.interrupting = interrupting
    hearing.on_frame = (lambda: None) if conversing else None
    hearing.start()
    device.open()
    while device.failure(0.0) is None:
        time.sleep(0.005)  # the tape runs as fast as it is heard
    hearing.stop()
    device.close()
    engine.close()
    assert errors == []
    return hearing, [events.get() for _ in range(events.qsize())]


@pytest.mark.parametrize("rate_hz", [16000, 44100, 48000])
def test_the_wake_word_is_heard_at_the_devices_rate_and_its_place_is_known(tmp_path: Path, rate_hz: int) -> None:
    write_wav(tmp_path / "heard.wav", sound(rate_hz), rate_hz)
    hearing, events = listen(tmp_path / "heard.wav")
    assert isinstance(events[0], CaptureRunning)
    [wake] = [event for event in events if isinstance(event, WakeHeard)]
    assert wake.word == "hey_jarvis"
    end_of_word_s = HEY_AT_S + len(speech.say("hey jarvis")) / 16000
    assert -0.3 < wake.position / HEARING_RATE_HZ - end_of_word_s < 0.5
    assert hearing.lost_samples == 0
    assert abs(hearing.heard.written / HEARING_RATE_HZ - 9) < 0.1


def test_what_was_heard_is_kept_as_it_was(tmp_path: Path) -> None:
    write_wav(tmp_path / "heard.wav", sound(16000), 16000)
    hearing, _ = listen(tmp_path / "heard.wav")
    end = hearing.heard.written
    assert np.array_equal(hearing.heard.read(0, end), sound(16000)[:end])


def test_voice_is_reported_only_during_a_conversation(tmp_path: Path) -> None:
    write_wav(tmp_path / "heard.wav", sound(16000), 16000)
    _, idle = listen(tmp_path / "heard.wav")
    assert not [event for event in idle if isinstance(event, VoiceHeard | VoiceEnded)]
    _, conversing = listen(tmp_path / "heard.wav", conversing=True)
    kinds = [type(event) for event in conversing if isinstance(event, VoiceHeard | VoiceEnded)]
    assert kinds.count(VoiceEnded) == 2  # the wake word and the question
    assert kinds.count(VoiceHeard) >= 2


def test_a_drop_out_of_the_sound_card_is_nobody_speaking(tmp_path: Path) -> None:
    """Unguarded, the room's own noise is speech for six seconds after it, and the light and the end of a turn wait for it."""
    room = speech.timeline([(7.0, speech.say("what time is it"))], seconds=10, noise_dbfs=-45)
    room[2 * 16000 : 2 * 16000 + 5000] = 0
    write_wav(tmp_path / "heard.wav", room, 16000)
    hearing, events = listen(tmp_path / "heard.wav", conversing=True)
    assert [type(event) for event in events if isinstance(event, VoiceHeard | VoiceEnded)].count(VoiceEnded) == 1
    assert not any(hearing.voiced_since(50)[: 6 * 50 - 50])


def test_a_closed_gate_ignores_the_wake_word(tmp_path: Path) -> None:
    write_wav(tmp_path / "heard.wav", sound(16000), 16000)
    _, events = listen(tmp_path / "heard.wav", wake_counts=False)
    assert not [event for event in events if isinstance(event, WakeHeard)]


def test_a_near_miss_is_counted_and_the_witness_told(tmp_path: Path) -> None:
    write_wav(tmp_path / "heard.wav", sound(16000), 16000)
    seen = Seen()
    hearing, events = listen(tmp_path / "heard.wav", word=openwakeword.Word(threshold=1.0), seen=seen)
    assert not [event for event in events if isinstance(event, WakeHeard)]
    assert hearing.near_misses == 1
    [near] = seen.near
    assert near.word == "hey_jarvis"
    assert near.score > 0.5
    assert seen.wakes == []
    assert seen.samples == hearing.heard.written


@pytest.mark.parametrize("counts", [True, False])
def test_the_witness_sees_the_wakes_that_count(tmp_path: Path, counts: bool) -> None:
    write_wav(tmp_path / "heard.wav", sound(16000), 16000)
    seen = Seen()
    hearing, _ = listen(tmp_path / "heard.wav", wake_counts=counts, seen=seen)
    assert len(seen.wakes) == counts
    assert hearing.near_misses == 0


def test_what_interrupts_needs_less(tmp_path: Path) -> None:
    write_wav(tmp_path / "heard.wav", sound(16000), 16000)
    word = openwakeword.Word(threshold=1.0, interrupting=0.4)
    _, idle = listen(tmp_path / "heard.wav", word=word)
    _, speaking = listen(tmp_path / "heard.wav", word=word, interrupting=True)
    assert [type(event) for event in idle if isinstance(event, WakeHeard)] == []
    assert [type(event) for event in speaking if isinstance(event, WakeHeard)] == [WakeHeard]


def test_where_voice_was_is_known_frame_by_frame(tmp_path: Path) -> None:
    write_wav(tmp_path / "heard.wav", sound(16000), 16000)
    hearing, _ = listen(tmp_path / "heard.wav")
    voiced = hearing.voiced_since(0)
    assert len(voiced) == hearing.heard.written // FRAME
    assert all(voiced[155:175])  # in the wake word
    assert not any(voiced[60:140])  # before it
    assert hearing.voice_at / HEARING_RATE_HZ == pytest.approx(6.0 + len(speech.say("what time is it")) / 16000, abs=0.35)


def test_an_error_in_the_thread_is_handed_over(tmp_path: Path) -> None:
    write_wav(tmp_path / "heard.wav", sound(16000), 16000)
    device = build(Settings(input=Input(path=str(tmp_path / "heard.wav")), output=Output(), pace="fast"))
    errors: queue.Queue[BaseException] = queue.Queue()
    engine = openwakeword.build(openwakeword.Settings())
    engine.close()
    hearing = Hearing(device, engine, Through(full_duplex=False), lambda event: None, errors.put)
    hearing.start()
    device.open()
    assert isinstance(errors.get(timeout=10), Exception)
    hearing.stop()
    device.close()
