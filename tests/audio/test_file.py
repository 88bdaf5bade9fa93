from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from pipit.audio.file import FileDevice, Input, Output, Settings, build
from pipit.audio.wav import read_wav, write_wav
from pipit.errors import ConfigError, HardwareError

RATE = 16000
BLOCK = RATE // 50
HEARD = np.arange(1, 10 * BLOCK + 101).astype(np.int16)  # 10 blocks and a piece


@pytest.fixture
def tape(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., FileDevice]]:
    """Make file devices in a folder of their own, and close them."""
    monkeypatch.chdir(tmp_path)
    write_wav("in.wav", HEARD, RATE)
    made = []

    def make(pace: str = "fast", at_end: str = "silence", **other: Any) -> FileDevice:
        settings = Settings(Input("in.wav", at_end=at_end), Output("out.wav", volume=100), pace=pace)
        made.append(build(replace(settings, **other)))
        return made[-1]

    yield make
    for device in made:
        device.close()


def hear(device: FileDevice, blocks: int, position: int = 0) -> NDArray[np.int16]:
    """Read block by block as the dsp thread does."""
    pieces = []
    for _ in range(blocks):
        while device.captured.written == position:
            assert device.wait(10), device.failure(0.0)
        pieces.append(device.captured.read(position, device.captured.written))
        position = device.captured.written
    return np.concatenate(pieces)


def until(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.002)


def test_the_recording_is_heard_and_then_silence(tape: Callable[..., FileDevice]) -> None:
    device = tape()
    assert device.input_rate_hz == RATE
    device.open()
    heard = hear(device, 15)
    np.testing.assert_array_equal(heard[: len(HEARD)], HEARD)
    assert not heard[len(HEARD) :].any()
    assert device.failure(0.0) is None


def test_the_recording_is_heard_again(tape: Callable[..., FileDevice]) -> None:
    device = tape(at_end="loop")
    device.open()
    np.testing.assert_array_equal(hear(device, 25), np.tile(HEARD, 3)[: 25 * BLOCK])


def test_the_end_of_the_recording_is_the_end_of_the_device(tape: Callable[..., FileDevice]) -> None:
    device = tape(at_end="stop")
    device.open()
    np.testing.assert_array_equal(hear(device, 11)[: len(HEARD)], HEARD)
    until(lambda: device.failure(0.0))
    assert device.failure(0.0) == "in.wav: the recording is over (audio.input.at_end: stop)"
    with pytest.raises(HardwareError, match=r"in\.wav: the recording is over"):
        device.open()


def test_fast_waits_for_the_reader(tape: Callable[..., FileDevice]) -> None:
    device = tape()
    device.open()
    assert device.wait(10)
    assert not device.wait(0.1), "a second block came before the first was read"
    assert device.counters.blocks_in == 1
    for blocks in range(1, 5):
        device.captured.read(0, device.captured.written)
        assert device.wait(10)
        assert device.counters.blocks_in == blocks + 1


def test_realtime_does_not_wait_for_anybody(tape: Callable[..., FileDevice]) -> None:
    device, start = tape(pace="realtime"), time.monotonic()
    device.open()
    until(lambda: device.counters.blocks_in >= 10)
    assert time.monotonic() - start > 0.17, "ten blocks of 20 ms take nine times 20 ms"
    assert device.captured.consumed == 0


def test_what_is_said_ends_up_in_the_file(tape: Callable[..., FileDevice], tmp_path: Path) -> None:
    device = tape()
    speech = (np.arange(9600) % 1000 + 1).astype(np.int16)
    position = device.mixer.write(speech)
    device.mixer.end()
    device.open()
    hear(device, 14)
    until(lambda: device.heard(0.0) == position)
    device.close()
    samples, rate_hz = read_wav("out.wav")
    assert rate_hz == device.output_rate_hz == 48000
    assert len(samples) % 960 == 0
    np.testing.assert_array_equal(samples[240:9600, 0], speech[240:])
    assert not samples[9600 + 240 :].any()


def test_block_lengths_that_are_no_whole_number_of_samples(tape: Callable[..., FileDevice]) -> None:
    write_wav("in.wav", np.arange(2000).astype(np.int16), 11025)
    device = tape(block_ms=5)
    device.open()
    heard = hear(device, 20)
    assert len(heard) == 20 * 5 * 11025 // 1000
    np.testing.assert_array_equal(heard, np.arange(len(heard)))


def test_mute_captures_nothing_while_the_tape_runs_on(tape: Callable[..., FileDevice]) -> None:
    device = tape(pace="realtime")
    device.open()
    until(lambda: device.captured.written)
    device.stop_capture()
    muted_at, played = device.captured.written, device.counters.blocks_out
    until(lambda: device.counters.blocks_out >= played + 3)
    assert device.captured.written == muted_at
    assert device.failure(0.0) is None
    device.start_capture()
    until(lambda: device.captured.written > muted_at)
    first = device.captured.read(muted_at, muted_at + 1)[0]
    assert first >= HEARD[muted_at] + 3 * BLOCK, "what was said meanwhile is not heard later"


def test_mute_lasts_when_the_device_is_opened_again(tape: Callable[..., FileDevice]) -> None:
    device = tape(pace="realtime")
    device.stop_capture()
    device.open()
    until(lambda: device.counters.blocks_out >= 3)
    device.close()
    device.open()
    until(lambda: device.counters.blocks_out >= 3)
    assert device.captured.written == 0


def test_close_and_open_go_on_with_both_tapes(tape: Callable[..., FileDevice]) -> None:
    device = tape()
    assert device.failure(0.0) == "the sound files are not open"
    device.open()
    first = hear(device, 3)
    device.close()
    device.close()
    played = len(read_wav("out.wav")[0])
    device.open()
    until(lambda: device.captured.written > len(first))
    second = device.captured.read(len(first), device.captured.written)
    np.testing.assert_array_equal(np.concatenate((first, second)), HEARD[: len(first) + len(second)])
    device.close()
    assert len(read_wav("out.wav")[0]) > played


def test_neither_file_is_needed() -> None:
    device = build(Settings(pace="fast"))
    device.open()
    try:
        assert not hear(device, 5).any()
    finally:
        device.close()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (Input("missing.wav"), r"missing\.wav: cannot be read"),
        (Input("in.wav", channel=1), r"^audio\.input\.channel: in\.wav has 1 channels, so 1 is not there"),
        (Input("slow.wav"), r"slow\.wav: a sample rate of 4000 Hz"),
    ],
    ids=["missing", "channel", "rate"],
)
def test_an_unusable_recording_is_an_error_of_the_configuration(
    settings: Input, message: str, tape: Callable[..., FileDevice]
) -> None:
    write_wav("slow.wav", HEARD, 4000)
    with pytest.raises(ConfigError, match=message):
        tape(input=settings)


def test_a_channel_of_the_recording(tape: Callable[..., FileDevice], tmp_path: Path) -> None:
    subprocess.run(["sox", "in.wav", "stereo.wav", "remix", "0", "1"], check=True, cwd=tmp_path)
    device = tape(input=Input("stereo.wav", channel=1))
    device.open()
    np.testing.assert_array_equal(hear(device, 3), HEARD[: 3 * BLOCK])


def test_an_output_that_cannot_be_written(tape: Callable[..., FileDevice]) -> None:
    with pytest.raises(HardwareError, match=r"nowhere/out\.wav: cannot be written \(No such file"):
        tape(output=Output("nowhere/out.wav")).open()


def test_a_full_disk_from_the_beginning(tape: Callable[..., FileDevice]) -> None:
    with pytest.raises(HardwareError, match=r"/dev/full: cannot be written \(No space left"):
        tape(output=Output("/dev/full")).open()


def test_a_disk_that_fills_up_is_a_failure(tape: Callable[..., FileDevice]) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (5000, hard))
    try:
        device = tape(pace="realtime")
        device.open()
        until(lambda: device.failure(0.0))
        assert device.failure(0.0) == "out.wav: cannot be written (File too large); look at the space on its disk"
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_killing_the_process_leaves_a_file_that_can_be_played(tmp_path: Path) -> None:
    program = (
        "import numpy as np, time\n"
        "from pipit.audio.file import *\n"
        "device = build(Settings(output=Output('out.wav', volume=100), pace='realtime'))\n"
        "device.mixer.write(np.full(96000, 1000, np.int16))\n"
        "device.open()\n"
        "while device.counters.blocks_out < 20: time.sleep(0.001)\n"
        "print('now', flush=True)\n"
        "time.sleep(60)\n"
    )
    process = subprocess.Popen([sys.executable, "-c", program], cwd=tmp_path, stdout=subprocess.PIPE)
    assert process.stdout is not None
    with process.stdout:
        assert process.stdout.readline() == b"now\n"
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
    samples, rate_hz = read_wav(tmp_path / "out.wav")
    assert rate_hz == 48000
    assert len(samples) >= 19 * 960
    assert (samples[240:] == 1000).all()
