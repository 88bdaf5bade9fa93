from __future__ import annotations

import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from pipit.errors import ConfigError
from pipit.wake import Engine, Wake, openwakeword
from pipit.wake.openwakeword import Settings, Word
from tests.speech import Samples, blocks, missing_tools, noise, say, timeline
from tests.wake.conftest import SENTENCES, VOICES

BLOCK = 320
BEFORE_S = 2.0

needs_speech = pytest.mark.skipif(missing_tools() is not None, reason=str(missing_tools()))


def hear(engine: Engine, sound: Samples) -> list[tuple[float, Wake]]:
    """Feed blocks of 20 ms; list each wake word with the time at which it was recognised, in seconds."""
    found = []
    for count, block in enumerate(blocks(sound, [BLOCK]), 1):
        wake = engine.detect(block)
        if wake is not None:
            found.append((count * BLOCK / 16000, wake))
    return found


@pytest.fixture(scope="module")
def jarvis() -> Engine:
    return openwakeword.build(Settings())


@needs_speech
@pytest.mark.parametrize(
    ("voice", "speed", "pitch"),
    [
        *((voice, speed, pitch) for voice in ("en-gb", "en-gb-x-rp") for speed, pitch in ((140, 20), (160, 50), (180, 80))),
        *(("en-us-nyc", speed, 50) for speed in (140, 160, 180)),
        *((f"flite:{voice}", speed, 50) for voice in ("slt", "rms", "kal16", "kal") for speed in (130, 160)),
    ],
)
def test_hears_its_name(jarvis: Engine, voice: str, speed: int, pitch: int) -> None:
    """Once, and not later than 0.6 s after the last sound; the slowest of 359 voices was 0.5 s late."""
    clip = say("hey jarvis", voice, speed, pitch)
    jarvis.reset()
    ((at, wake),) = hear(jarvis, timeline([(BEFORE_S, clip)], BEFORE_S + len(clip) / 16000 + 2))
    assert wake.word == "hey_jarvis"
    assert 0.5 <= wake.score <= 1
    assert BEFORE_S < at < BEFORE_S + len(clip) / 16000 + 0.6


@needs_speech
def test_hears_nothing_else(jarvis: Engine) -> None:
    """Three minutes of other speech, other names, and noise."""
    others = ("hey there", "good morning", "alexa", "computer", "okay nabu", "happy birthday", "hey Marvin", "the harvest")
    texts = list(zip((*SENTENCES, *others), range(120, 230, 10), strict=True))
    clips = [say(text, voice, speed) for voice in VOICES for text, speed in texts]
    speech = np.concatenate([part for clip in clips for part in (clip, noise(0.3, dbfs=-50))])
    assert len(speech) > 150 * 16000
    jarvis.reset()
    assert hear(jarvis, speech) == []
    for kind in ("room", "pink", "white"):
        for dbfs in (-60, -30, -6):
            assert hear(jarvis, noise(5, dbfs=dbfs, kind=kind)) == []
    assert hear(jarvis, np.zeros(5 * 16000, np.int16)) == []


@needs_speech
def test_hears_each_of_two_words() -> None:
    engine = openwakeword.build(Settings(words=(Word("hey_jarvis"), Word("alexa"))))
    sound = timeline([(2, say("alexa", "flite:rms")), (6, say("hey jarvis", "flite:rms")), (10, say("alexa", "en-gb"))], 13)
    assert engine.words == ("hey_jarvis", "alexa")
    assert [wake.word for _, wake in hear(engine, sound)] == ["alexa", "hey_jarvis", "alexa"]
    engine.close()


@needs_speech
def test_words_of_both_feature_models_at_once() -> None:
    engine = openwakeword.build(Settings(words=(Word("hey_jarvis"), Word("okay_nabu"))))
    sound = timeline([(2, say("okay nabu", "flite:kal16")), (6, say("hey jarvis", "flite:rms"))], 9)
    assert [wake.word for _, wake in hear(engine, sound)] == ["okay_nabu", "hey_jarvis"]
    engine.close()


@needs_speech
def test_twice_in_a_row_is_reported_twice_and_within_the_refractory_time_once() -> None:
    clip = say("hey jarvis", "flite:slt")
    sound = timeline([(2.0, clip), (4.2, clip)], 7)
    assert len(hear(openwakeword.build(Settings()), sound)) == 2
    assert len(hear(openwakeword.build(Settings(refractory_s=4.0)), sound)) == 1


@needs_speech
def test_patience_and_threshold() -> None:
    sound = timeline([(2.0, say("hey jarvis", "flite:slt"))], 5)
    ((first, wake),) = hear(openwakeword.build(Settings()), sound)
    ((second, _),) = hear(openwakeword.build(Settings(patience=3)), sound)
    assert second == pytest.approx(first + 0.16)
    assert hear(openwakeword.build(Settings(words=(Word(threshold=1.0),))), sound) == []
    ((_, strong),) = hear(openwakeword.build(Settings(words=(Word(threshold=0.9),))), sound)
    assert strong.score >= 0.9
    assert wake.score >= 0.5


@needs_speech
@pytest.mark.parametrize("voices", [("en-gb", "flite:slt"), ("flite:slt", "en-gb")])
def test_of_several_words_within_one_big_block_the_strongest_is_reported(jarvis: Engine, voices: tuple[str, str]) -> None:
    sound = timeline([(2.0, say("hey jarvis", voices[0])), (6.0, say("hey jarvis", voices[1]))], 9)
    jarvis.reset()
    weaker, stronger = sorted(wake.score for _, wake in hear(jarvis, sound))
    assert weaker < stronger
    jarvis.reset()
    assert jarvis.detect(sound) == Wake("hey_jarvis", stronger)


@needs_speech
def test_reset_ends_the_refractory_time() -> None:
    engine = openwakeword.build(Settings(refractory_s=10))
    sound = timeline([(2.0, say("hey jarvis", "flite:slt"))], 4)
    first = hear(engine, sound)
    assert len(first) == 1
    assert hear(engine, sound) == []
    engine.reset()
    assert hear(engine, sound) == first


def test_reset_gives_the_same_scores_again(sounds: Samples) -> None:
    engine, other = openwakeword.build(Settings()), openwakeword.build(Settings())
    sound = sounds[16000 * 8 : 16000 * 14]

    def scores(engine: Engine) -> list[float]:
        found = []
        for block in blocks(sound, [BLOCK]):
            engine.detect(block)
            found.append(engine.scores()["hey_jarvis"])
        return found

    first = scores(engine)
    assert max(first) > 0.5
    engine.detect(sounds[:1000])
    engine.reset()
    assert engine.scores() == {"hey_jarvis": 0.0}
    assert scores(engine) == first
    assert scores(other) == first


def test_starts_as_after_a_long_silence(sounds: Samples) -> None:
    """Not as after whatever happened to be in memory: ten seconds of silence more or less change no score."""
    fresh, silent = openwakeword.build(Settings()), openwakeword.build(Settings())
    silent.detect(np.zeros(125 * 1280, np.int16))
    for block in blocks(sounds[16000 * 8 : 16000 * 12], [1280]):
        fresh.detect(block)
        silent.detect(block)
        assert fresh.scores() == silent.scores()


def test_other_threads_run_while_it_computes() -> None:
    """Nobody is made to hand the interpreter lock on here, so another thread gets it only because the models let go of it."""
    engine = openwakeword.build(Settings())
    turns, over = 0, threading.Event()

    def other() -> None:
        nonlocal turns
        while not over.is_set():
            turns += 1
            time.sleep(0)

    frame = np.zeros(1280, np.int16)
    before = sys.getswitchinterval()
    thread = threading.Thread(target=other)
    try:
        sys.setswitchinterval(60)
        thread.start()
        begun = turns
        for _ in range(500):
            engine.detect(frame)
        seen = turns - begun
    finally:
        sys.setswitchinterval(before)
        over.set()
        thread.join()
    engine.close()
    assert seen > 10


def test_neither_numpy_nor_onnxruntime_is_needed_nor_is_there_a_second_thread() -> None:
    script = (
        "import sys; from pathlib import Path; from pipit.wake import openwakeword as o\n"
        "engine = o.build(o.Settings(words=(o.Word('hey_jarvis'), o.Word('alexa'))))\n"
        "engine.detect(bytes(2 * 1280 * 30))\n"
        "print(*({'numpy', 'onnxruntime', 'openwakeword', 'pyopen_wakeword'} & set(sys.modules)))\n"
        "print(len(list(Path('/proc/self/task').iterdir())))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.split() == ["1"]


def test_close_frees_and_may_be_called_twice() -> None:
    engine = openwakeword.build(Settings())
    engine.close()
    engine.close()
    with pytest.raises(ValueError, match="released"):
        engine.detect(np.zeros(1280, np.int16))


def test_a_model_given_by_path(tmp_path: Path) -> None:
    source = openwakeword.models()[1].path
    assert source.name == "hey_jarvis.tflite"
    copy = tmp_path / "my_butler_v3.tflite"
    copy.write_bytes(source.read_bytes())
    engine = openwakeword.build(Settings(words=(Word(str(copy)),)))
    assert engine.words == ("my_butler",)
    engine.close()


@pytest.mark.parametrize(
    ("name", "features", "flavour"),
    [
        ("hey_jarvis", "auto", "onnx"),
        ("okay_nabu", "auto", "tflite"),
        ("okay_nabu", "onnx", "onnx"),
        ("mine", "tflite", "tflite"),
    ],
)
def test_flavour_of_the_features(name: str, features: str, flavour: str) -> None:
    assert Word(features=features).flavour(name) == flavour


def test_every_wrong_word_is_reported_at_once() -> None:
    words = (Word("hey_jarvs"), Word("alexa"), Word("/none/hey_pipit.tflite"))
    with pytest.raises(ConfigError) as caught:
        openwakeword.build(Settings(words=words))
    first, second = caught.value.problems
    assert first.startswith('wake.words[0].model: no model "hey_jarvs"; did you mean "hey_jarvis"? installed are alexa, ')
    assert second == "wake.words[2].model: /none/hey_pipit.tflite does not exist, nor does the folder /none"


def test_a_broken_model_is_named(tmp_path: Path) -> None:
    broken = tmp_path / "mine.tflite"
    broken.write_bytes(b"\x1c\0\0\0TFL3 and no more")
    with pytest.raises(ConfigError, match=rf"{broken} is no wake word model: it is damaged"):
        openwakeword.build(Settings(words=(Word("alexa"), Word(str(broken)))))
