"""PortAudio over ALSA, on a virtual sound card (tests/room.py): the real library, the real threads, real time."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from pipit.audio import Counters
from pipit.audio.bell import Bell
from pipit.audio.cards import Card
from pipit.audio.discovery import FoundDevice, channels_to_try, list_devices
from pipit.audio.mixer import Mixer
from pipit.audio.portaudio import Input, Output, PortAudioDevice, Settings, _Player, _Recorder, build
from pipit.core.align import Line
from pipit.core.pcm import dbfs
from pipit.core.playhead import Playhead
from pipit.core.ring import Ring
from pipit.errors import ConfigError, HardwareError
from tests import speech
from tests.room import Room

LIMIT_S = 10.0


@pytest.fixture
def device(room: Room, monkeypatch: pytest.MonkeyPatch) -> Iterator[PortAudioDevice]:
    """The device in the room, closed; at the room's rate."""
    for name, value in room.environment.items():
        monkeypatch.setenv(name, value)
    made = build(Settings(Input(rate=room.rate_hz), Output(rate=room.rate_hz, volume=100)))
    yield made
    made.close()


def until(condition: Callable[[], Any]) -> Any:
    deadline = time.monotonic() + LIMIT_S
    while not (value := condition()):
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.005)
    return value


def failure(device: PortAudioDevice) -> str | None:
    return device.failure(time.monotonic())


def tone(hz: float, rate_hz: int, seconds: float) -> NDArray[np.int16]:
    return np.round(8000 * np.sin(2 * np.pi * hz * np.arange(round(seconds * rate_hz)) / rate_hz)).astype(np.int16)


def seconds_of(hz: float, sound: NDArray[np.int16], rate_hz: int) -> float:
    """Return for how long a tone is the loudest thing in a recording, in steps of 50 ms."""
    window = rate_hz // 20
    frames = sound[: len(sound) // window * window].reshape(-1, window).astype(np.float64)
    spectrum = np.abs(np.fft.rfft(frames * np.hanning(window)))
    loudest = spectrum.argmax(axis=1) * rate_hz / window
    level = np.sqrt((frames**2).mean(axis=1))
    return float(((np.abs(loudest - hz) < 30) & (level > 3000)).sum() * 0.05)


@pytest.mark.parametrize("room", [48000, 16000], indirect=True)
def test_a_tone_in_the_room_is_captured(room: Room, device: PortAudioDevice) -> None:
    device.open()
    assert device.input_rate_hz == room.rate_hz
    assert device.wait(LIMIT_S)
    room.play(tone(1000, room.rate_hz, 1.0), room.rate_hz)

    def captured() -> float:
        ring = device.captured
        return seconds_of(1000, ring.read(ring.oldest, ring.written), room.rate_hz)

    until(lambda: captured() >= 0.85)
    assert device.captured.written == device.counters.blocks_in * room.rate_hz // 50
    assert failure(device) is None


@pytest.mark.parametrize("room", [48000, 16000], indirect=True)
def test_what_is_written_to_the_mixer_is_played(room: Room, device: PortAudioDevice) -> None:
    device.open()
    until(lambda: device.counters.blocks_out)
    sound = tone(700, room.rate_hz, 1.0)
    end = device.mixer.write(sound)
    device.mixer.end()
    until(lambda: seconds_of(700, room.record(), room.rate_hz) >= 0.85)
    until(lambda: device.heard(time.monotonic()) == end)
    assert failure(device) is None


def test_what_was_heard_runs_behind_what_was_handed_over(room: Room, device: PortAudioDevice) -> None:
    device.open()
    until(lambda: device.counters.blocks_out)
    device.mixer.write(tone(700, room.rate_hz, 1.0))
    seen = []
    while device.mixer.played < device.mixer.written:
        heard, played = device.heard(time.monotonic()), device.mixer.played
        assert heard <= played
        seen.append((played, heard))
        time.sleep(0.002)
    assert [heard for _, heard in seen] == sorted(heard for _, heard in seen)
    assert any(a[0] == b[0] and a[1] < b[1] for a, b in pairwise(seen)), "it moves between blocks as well"
    assert 0.01 < device.output_latency_s < 0.2


def test_discard_makes_it_silent(room: Room, device: PortAudioDevice) -> None:
    device.open()
    device.mixer.write(tone(700, room.rate_hz, 4.0)[: device.mixer.free])
    until(lambda: seconds_of(700, room.record(), room.rate_hz) >= 0.3)
    device.mixer.discard()
    until(lambda: device.mixer.played == device.mixer.written)
    length = len(room.record())
    until(lambda: len(room.record()) >= length + room.rate_hz)
    after = room.record()[length:]
    assert dbfs(after[room.rate_hz // 2 :]) == -120
    assert seconds_of(700, room.record(), room.rate_hz) < 2


def test_speech_goes_round(room: Room, device: PortAudioDevice) -> None:
    """Through the whole room: mixer, loudspeaker, echo, microphone."""
    device.open()
    room.echo(-6)
    device.mixer.write(speech.say("the quick brown fox jumps over the lazy dog", rate_hz=room.rate_hz))
    device.mixer.end()
    assert room.hears_speech_within(LIMIT_S)
    ring = device.captured
    until(lambda: dbfs(ring.read(max(0, ring.written - 9600), ring.written)) > -50)
    room.echo(None)
    until(lambda: dbfs(ring.read(max(0, ring.written - 9600), ring.written)) == -120)
    device.mixer.discard()
    until(lambda: not room.hears_speech_within(0.3))
    spoken = room.say("hello", dbfs=-20)
    until(lambda: dbfs(ring.read(max(0, ring.written - 9600), ring.written)) > -40)
    spoken.wait()


@pytest.mark.parametrize(
    ("room", "gain_db", "reverberation_s"), [(48000, -20, 0), (48000, -20, 0.6), (16000, -6, 0.3)], indirect=["room"]
)
def test_the_echo_is_as_loud_as_it_was_asked_to_be(
    room: Room, device: PortAudioDevice, gain_db: float, reverberation_s: float
) -> None:
    device.open()
    room.echo(gain_db, reverberation_s=reverberation_s)
    device.mixer.write(speech.noise(3, room.rate_hz, -20, kind="white"))
    second = room.rate_hz

    def echoed() -> float:
        ring = device.captured
        return dbfs(ring.read(max(ring.oldest, ring.written - second), ring.written)) if ring.written > second else -120.0

    until(lambda: abs(echoed() - (gain_db - 20)) < 1)
    device.mixer.discard()


def test_mute_really_stops_the_microphone(room: Room, device: PortAudioDevice) -> None:
    device.open()
    until(lambda: device.counters.blocks_in)
    device.stop_capture()
    captured, played = device.captured.written, device.counters.blocks_out
    until(lambda: device.counters.blocks_out >= played + 50)
    assert device.captured.written == captured
    assert failure(device) is None
    device.start_capture()
    until(lambda: device.captured.written > captured)
    assert failure(device) is None


def test_mute_outlasts_the_device(room: Room, device: PortAudioDevice) -> None:
    device.open()
    device.stop_capture()
    device.open()
    captured = device.captured.written
    until(lambda: device.counters.blocks_out >= 25)
    assert device.captured.written == captured
    device.start_capture()
    until(lambda: device.captured.written > captured)


def test_unplugged_and_plugged_in_again(room: Room, device: PortAudioDevice) -> None:
    device.open()
    until(lambda: device.counters.blocks_in and device.counters.blocks_out)
    room.unplug()
    assert "has stopped" in until(lambda: failure(device))
    device.close()
    assert failure(device) == "the sound device is not open"
    with pytest.raises(HardwareError, match=r'the loudspeaker "default" cannot be opened: .*; is it plugged in'):
        device.open()
    room.plug()
    captured = device.captured.written
    device.open()
    until(lambda: device.captured.written > captured and device.counters.blocks_out)
    assert failure(device) is None


def test_a_card_that_hangs_without_a_word(room: Room, device: PortAudioDevice) -> None:
    device.open()
    until(lambda: device.counters.blocks_in and device.counters.blocks_out)
    room.freeze()
    assert "no block for" in until(lambda: failure(device))
    room.thaw()


def test_a_process_that_stood_still_lets_the_callbacks_come_first(room: Room, device: PortAudioDevice) -> None:
    device.open()
    until(lambda: device.counters.blocks_in and device.counters.blocks_out)
    later = time.monotonic() + 60.0
    assert device.failure(later) is None  # whoever asks is a minute late
    assert failure(device) is None  # and sound has come since
    assert device.failure(later) is None
    assert device.failure(later + 0.05) is None
    assert "no block for" in str(device.failure(later + 0.2))  # it has not


def test_a_microphone_that_is_lost_while_it_is_muted(room: Room, device: PortAudioDevice) -> None:
    device.open()
    until(lambda: device.counters.blocks_in)
    device.stop_capture()
    room.unplug()
    until(lambda: failure(device))
    device.close()
    with pytest.raises(HardwareError, match='the microphone "default" is not open'):
        device.start_capture()


def test_a_sound_system_that_dies(room: Room, device: PortAudioDevice) -> None:
    device.open()
    until(lambda: device.counters.blocks_in)
    room.vanish()
    assert "has stopped" in until(lambda: failure(device))
    device.close()
    with pytest.raises(HardwareError, match="there is none at all"):
        device.open()


def test_devices_are_listed_and_found_by_name(room: Room, device: PortAudioDevice, capfd: pytest.CaptureFixture[str]) -> None:
    listed = {found.name: found for found in list_devices()}
    assert str(listed["speakerphone"]) == '"speakerphone": microphone (32 ch) and loudspeaker (32 ch), 48000 Hz'
    by_name = build(Settings(Input("speakerph"), Output("SPEAKERPHONE")))
    by_name.open()
    until(lambda: by_name.counters.blocks_in and by_name.counters.blocks_out)
    by_name.close()
    assert by_name.input_rate_hz == 48000
    assert capfd.readouterr().err == "", "the C libraries were told to be quiet"


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (Settings(Input("jabra")), r'no microphone "jabra" \(audio.input.device\): .* there is "speakerphone"'),
        (Settings(output=Output("jabra")), r'no loudspeaker "jabra" \(audio.output.device\)'),
        (Settings(output=Output(rate=12345)), r'the loudspeaker "default" takes none of .*audio.output.rate'),
        (Settings(Input(channels=31, rate=8007)), r'the microphone "default" takes none of .*audio.input.rate'),
    ],
    ids=["no such microphone", "no such loudspeaker", "rate without whole blocks", "rate and channels"],
)
def test_what_cannot_be_opened_is_explained(room: Room, device: PortAudioDevice, settings: Settings, message: str) -> None:
    with pytest.raises(HardwareError, match=message):
        build(settings).open()


# -- without a sound card ----------------------------------------------------------------------------------------------------------


def test_settings_that_contradict_each_other() -> None:
    with pytest.raises(ConfigError, match=r"audio\.input\.channel: 2, but only 2 channels are recorded"):
        build(Settings(Input(channels=2, channel=2)))
    with pytest.raises(ConfigError, match=r'audio\.output\.rate: "fast" is neither a number nor auto'):
        build(Settings(output=Output(rate="fast")))


def test_as_few_channels_as_hold_the_one_that_is_listened_to() -> None:
    assert channels_to_try(2, 1) == (1, 2)
    assert channels_to_try(6, 5) == (5, 6)
    assert channels_to_try(128, 1) == (1, 2, 3, 4, 5, 6, 7, 8)
    assert channels_to_try(128, 12) == (12,)


def test_a_device_says_how_it_is_called() -> None:
    card = Card(1, "Device", "USB-Audio", "1-1.3")
    assert str(FoundDevice("Mic: USB (hw:1,0)", card, 1, 0, None)) == (
        '"Mic: USB" (card Device, USB port 1-1.3): microphone (1 ch), cannot be opened now'
    )


STAMPS = {"current_time": 5.0, "output_buffer_dac_time": 5.05, "input_buffer_adc_time": 0.0}
CONTINUE = 0  # paContinue


def test_one_channel_is_listened_to() -> None:
    ring, counters, bell = Ring(1000), Counters(), Bell()
    recorder = _Recorder(ring, Line(48000), counters, bell, channels=3, channel=1)
    block = np.arange(30, dtype=np.int16)
    assert recorder(block.tobytes(), 10, STAMPS, 0) == (None, CONTINUE)
    assert recorder(block.tobytes(), 10, STAMPS, 2) == (None, CONTINUE)
    assert ring.read(0, 10).tolist() == list(range(1, 30, 3))
    assert counters == Counters(blocks_in=2, overruns=1)
    assert bell.wait(0)


@pytest.mark.parametrize(("rate_hz", "channels"), [(48000, 1), (48000, 2), (44100, 2), (16000, 1)])
def test_the_mixer_is_played_on_every_channel_at_the_rate_of_the_device(rate_hz: int, channels: int) -> None:
    mixer, counters, playhead = Mixer(48000, volume=100), Counters(), Playhead(48000)
    mixer.write(tone(1000, 48000, 1.0))
    player, frames = _Player(mixer, Line(48000), counters, playhead, rate_hz, channels, 20), rate_hz // 50
    blocks = []
    for _ in range(40):
        data, verdict = player(None, frames, STAMPS, 0)
        assert verdict == CONTINUE
        assert data is not None
        blocks.append(np.frombuffer(data, np.int16).reshape(frames, channels))
    sound = np.concatenate(blocks)
    assert seconds_of(1000, sound[:, 0], rate_hz) == pytest.approx(0.8, abs=0.051)
    assert (sound == sound[:, :1]).all()
    assert playhead.heard(time.monotonic() + 1) == mixer.played == 40 * 960
    player(None, frames, STAMPS, 4)
    assert counters == Counters(blocks_out=41, underruns=1)


class Broken(Mixer):
    """Fails when it is pulled."""

    def pull(self, frames: int) -> NDArray[np.int16]:
        raise RuntimeError("a mistake")


@pytest.mark.parametrize(("mixer", "frames"), [(Broken(48000), 960), (Mixer(48000), 512)], ids=["error", "other length"])
def test_nothing_gets_out_of_a_callback_but_a_full_block(mixer: Mixer, frames: int) -> None:
    player = _Player(mixer, Line(48000), Counters(), Playhead(48000), 48000, 2, 20)
    assert player(None, frames, STAMPS, 0) == (bytes(4 * frames), CONTINUE)
    assert player.broken in ("RuntimeError: a mistake", "ValueError: PortAudio asked for 512 frames in place of 960")


@pytest.mark.parametrize(("dac_time", "delay_s"), [(5.05, 0.05), (0.0, 0.04), (1e9, 0.04)], ids=["stamp", "none", "other clock"])
def test_a_time_stamp_that_makes_no_sense_is_not_used(dac_time: float, delay_s: float) -> None:
    mixer, playhead = Mixer(48000, prebuffer_ms=0), Playhead(48000)
    mixer.write(tone(1000, 48000, 0.5))
    player = _Player(mixer, Line(48000), Counters(), playhead, 48000, 1, 20)
    player.latency_s = 0.04
    player(None, 960, {**STAMPS, "output_buffer_dac_time": dac_time}, 0)
    assert playhead.heard(player.last_at + delay_s + 0.01) == 480
