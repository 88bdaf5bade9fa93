from __future__ import annotations

import sys

import numpy as np
import pytest

from pipit.core.speech import Endpointer
from pipit.errors import ConfigError
from pipit.vad import FRAME, Vad
from tests.speech import Samples, missing_tools, noise, say, timeline

needs_speech = pytest.mark.skipif(missing_tools() is not None, reason=str(missing_tools()))


def flags(vad: Vad, samples: Samples) -> list[bool]:
    return [vad.is_speech(samples[start : start + FRAME]) for start in range(0, len(samples) - FRAME + 1, FRAME)]


@needs_speech
@pytest.mark.parametrize("mode", [0, 1, 2, 3])
def test_tells_speech_from_quiet_noise(mode: int) -> None:
    sentence = say("what is the weather like in London tomorrow morning")
    quiet, talking = noise(5.0, dbfs=-55), timeline([(0, sentence)], len(sentence) / 16000, noise_dbfs=-55)
    vad = Vad(mode)
    assert np.mean(flags(vad, quiet)) < 0.03
    assert np.mean(flags(vad, talking)) > 0.8


@needs_speech
def test_higher_modes_let_less_pass() -> None:
    loud = noise(3.0, dbfs=-30, kind="white")
    assert np.mean(flags(Vad(0), loud)) > 0.9
    assert np.mean(flags(Vad(3), loud)) < 0.1


def test_takes_arrays_bytes_and_views_alike() -> None:
    samples = noise(0.4, dbfs=-20, kind="white")
    frames = [samples[start : start + FRAME] for start in range(0, len(samples), FRAME)]
    as_arrays, as_bytes, as_views = Vad(1), Vad(1), Vad(1)
    heard = [as_arrays.is_speech(frame) for frame in frames]
    assert any(heard)
    assert [as_bytes.is_speech(frame.tobytes()) for frame in frames] == heard
    assert [as_views.is_speech(memoryview(frame.tobytes())) for frame in frames] == heard


def test_reset_forgets_the_background() -> None:
    vad = Vad(1)
    sound = np.concatenate([noise(4.0, dbfs=-25, kind="white"), noise(1.0, dbfs=-40, kind="white")])
    first = flags(vad, sound)
    vad.reset()
    assert flags(vad, sound) == first


@pytest.mark.parametrize("dbfs", [-60, -50, -40])
@pytest.mark.parametrize(
    "silent",
    [pytest.param(FRAME, id="a frame"), pytest.param(5 * FRAME + 77, id="off the grid"), pytest.param(500 * FRAME, id="10 s")],
)
def test_digital_silence_is_no_background(dbfs: float, silent: int) -> None:
    """A starved or muted sound card: the room's noise afterwards is still the room's noise; unguarded it is speech for seconds."""
    room = noise(20, dbfs=dbfs, seed=3)
    sound = np.concatenate([room[: 4 * 16000], np.zeros(silent, np.int16), room[4 * 16000 :]])
    vad = Vad(1)
    assert np.mean(flags(vad, sound)[50:]) < 0.01
    assert not vad.is_speech(np.zeros(FRAME, np.int16))


@pytest.mark.parametrize("samples", [0, 160, 319, 321, 480])
def test_a_wrong_frame_is_refused(samples: int) -> None:
    with pytest.raises(ValueError, match=rf"a frame of {2 * samples} bytes: .* 320 samples"):
        Vad().is_speech(np.zeros(samples, np.int16))


def test_a_wrong_type_of_samples_is_refused() -> None:
    with pytest.raises(ValueError, match="1280 bytes"):
        Vad().is_speech(np.zeros(FRAME, np.float32))


@pytest.mark.parametrize("mode", [-1, 4])
def test_a_wrong_mode_is_refused(mode: int) -> None:
    with pytest.raises(ValueError, match=f"mode {mode}: must be 0 to 3"):
        Vad(mode)


def test_a_missing_module_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "_webrtcvad", None)
    with pytest.raises(ConfigError, match=r"needs the C module _webrtcvad .*: pip install webrtcvad-wheels"):
        Vad()


@needs_speech
@pytest.mark.parametrize("silent_s", [0.1, 1.0])
def test_a_gap_in_the_sound_does_not_start_a_turn(silent_s: float) -> None:
    """Nobody speaks after a drop-out, so no turn begins; the person who then does is noticed, and when they have finished."""
    said = say("what is the weather like in London tomorrow")
    room = timeline([(5.0, said)], 5.0 + len(said) / 16000 + 2, noise_dbfs=-45)
    sound = np.concatenate([room[: 3 * 16000], np.zeros(int(silent_s * 16000), np.int16), room[3 * 16000 :]])
    vad, endpointer = Vad(1), Endpointer()
    changes = [(change, index) for index, voiced in enumerate(flags(vad, sound)) if (change := endpointer.feed(voiced))]
    assert [change for change, _ in changes] == ["started", "stopped"]
    assert changes[0][1] * 0.02 > 5.0 + silent_s


@needs_speech
def test_with_the_endpointer_it_follows_a_conversation() -> None:
    """Two turns and a slammed door: two starts and two stops, none of them far off."""
    question, answer = say("what is the weather like in London tomorrow"), say("yes please", voice="flite:slt")
    door = (8000 * np.exp(-np.arange(400) / 60) * np.random.default_rng(5).standard_normal(400)).astype(np.int16)
    sound = timeline([(1.0, question), (5.5, door), (7.0, answer)], 10.0, noise_dbfs=-55)
    vad, endpointer = Vad(1), Endpointer()
    turns = []
    for index, voiced in enumerate(flags(vad, sound), 1):
        change = endpointer.feed(voiced)
        if change:
            turns.append((change, index * 0.02))
    ends = [1.0 + len(question) / 16000, 7.0 + len(answer) / 16000]
    assert [change for change, _ in turns] == ["started", "stopped", "started", "stopped"]
    assert [at for _, at in turns] == pytest.approx([1.2, ends[0] + 0.8, 7.2, ends[1] + 0.8], abs=0.15)
