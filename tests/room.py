"""A room with a microphone and a loudspeaker for the tests: a PulseAudio server of our own that plays the sound card.

What a test plays into the room comes out of the microphone; what the program under test plays is recorded. ALSA programs find both
as their device "default", and as "speakerphone". Nothing of it touches the machine's own sound.

    with Room(folder) as room:
        daemon = subprocess.Popen([...], env={**os.environ, **room.environment})
        room.say("hey jarvis").wait()
        assert room.hears_speech_within(5)

Needs the Debian packages pulseaudio, pulseaudio-utils, libasound2-plugins and espeak-ng.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import threading
import time
import wave
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np
from numpy.typing import NDArray

from pipit.vad import FRAME, RATE_HZ, Vad
from tests import speech
from tests.bench.room import responses

_PACKAGES = {"pulseaudio": "pulseaudio", "pactl": "pulseaudio-utils", "pacat": "pulseaudio-utils", "espeak-ng": "espeak-ng"}

_SURROUND_DB = -7.96
"""PulseAudio's module-virtual-surround-sink scales a response with two equal sides to a peak of 0.4: measured with five of them."""

_VOICED_FRAMES = 8  # of ten: what pipit.core.speech takes for a start of talking

_ASOUND = """\
</usr/share/alsa/alsa.conf>
pcm.!default {{ type pulse server "unix:{socket}" hint {{ show on description "Room" }} }}
ctl.!default {{ type pulse server "unix:{socket}" }}
pcm.speakerphone {{ type pulse server "unix:{socket}" hint {{ show on description "Room, by name" }} }}
"""

# The formats are pinned so that a program that asks for the room's rate hears every bit. Small fragments keep the room's own share
# of the latency near 10 ms.
_DAEMON = """\
daemonize = no
exit-idle-time = -1
realtime-scheduling = no
flat-volumes = no
resample-method = speex-float-1
avoid-resampling = yes
default-sample-format = s16le
default-sample-rate = {rate_hz}
default-sample-channels = 2
default-fragments = 4
default-fragment-size-msec = 10
log-target = stderr
"""

_STARTUP = """\
.fail
load-module module-native-protocol-unix socket={socket} auth-anonymous=1
"""


class Playing:
    """A sound on its way into the room."""

    def __init__(self, process: subprocess.Popen[bytes], data: bytes) -> None:
        self._process = process
        self._feeder = threading.Thread(target=self._feed, args=(data,), daemon=True)
        self._feeder.start()

    def _feed(self, data: bytes) -> None:
        with contextlib.suppress(BrokenPipeError):  # it was stopped
            self._process.communicate(data)

    def wait(self, timeout_s: float = 30.0) -> None:
        """Return when the last sample has been played."""
        self._feeder.join(timeout_s)
        if self._feeder.is_alive():
            raise TimeoutError(f"the sound is still playing after {timeout_s} s")

    def stop(self) -> None:
        """Cut the sound short."""
        self._process.terminate()
        self._feeder.join()


class Recording:
    """What is taken from a source, from the start of this object on."""

    def __init__(self, command: list[str], environment: dict[str, str]) -> None:
        self._data = bytearray()
        self._arrived = threading.Condition()
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=environment)
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self._process.stdout is not None
        while data := os.read(self._process.stdout.fileno(), 65536):
            with self._arrived:
                self._data += data
                self._arrived.notify_all()

    def samples(self) -> NDArray[np.int16]:
        """Return everything that was recorded up to now."""
        with self._arrived:
            return np.frombuffer(bytes(self._data[: len(self._data) // 2 * 2]), "<i2")

    def wait_for(self, count: int, deadline: float) -> NDArray[np.int16]:
        """Return the recording once it holds `count` samples, or what there is at `deadline` (time.monotonic)."""
        with self._arrived:
            self._arrived.wait_for(lambda: len(self._data) >= 2 * count, max(0.0, deadline - time.monotonic()))
        return self.samples()

    def stop(self) -> None:
        """End the recording."""
        self._process.terminate()
        self._process.wait()
        self._reader.join()
        assert self._process.stdout is not None
        self._process.stdout.close()


class Room:
    """The server and its two devices.

    Args:
        folder: where its socket and files go; its path must be short enough for a socket (under 90 characters).
        rate_hz: rate of the sound card.
    """

    def __init__(self, folder: Path, rate_hz: int = 48000) -> None:
        self.rate_hz = rate_hz
        self._folder = folder
        self._socket = folder / "sound"
        self.environment = {
            "PULSE_SERVER": f"unix:{self._socket}",
            "PULSE_COOKIE": str(folder / "cookie"),
            "PULSE_RUNTIME_PATH": str(folder / "run"),
            "PULSE_STATE_PATH": str(folder / "state"),
            "ALSA_CONFIG_PATH": str(folder / "asound.conf"),
        }
        """What a program's environment needs so that it finds this sound card."""
        self._server: subprocess.Popen[bytes] | None = None
        self._loudspeaker: Recording | None = None
        # norewinds: the sinks render 50 ms ahead in place of two seconds, and so begin at once.
        self._form = f"rate={rate_hz}", "format=s16le", "norewinds=1"
        self._echo: list[str] = []
        """The modules that are the echo's path."""

    def __enter__(self) -> Self:
        missing = sorted({package for program, package in _PACKAGES.items() if shutil.which(program) is None})
        if missing:
            raise RuntimeError(f"the virtual sound card needs: apt install {' '.join(missing)}")
        for name in ("run", "state"):
            (self._folder / name).mkdir(mode=0o700, parents=True, exist_ok=True)
        words = {"socket": self._socket, "rate_hz": self.rate_hz}
        (self._folder / "asound.conf").write_text(_ASOUND.format(**words))
        (self._folder / "daemon.conf").write_text(_DAEMON.format(**words))
        (self._folder / "startup.pa").write_text(_STARTUP.format(**words))
        with (self._folder / "server.log").open("wb") as log:
            self._server = subprocess.Popen(
                ["pulseaudio", "-n", "-F", str(self._folder / "startup.pa"), "--use-pid-file=no", "--disallow-exit=no"],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env={**self._environment(), "PULSE_CONFIG": str(self._folder / "daemon.conf"), "HOME": str(self._folder)},
            )
        try:
            self._await_server()
            self.plug()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Shut the room down."""
        if self._loudspeaker is not None:
            self._loudspeaker.stop()
            self._loudspeaker = None
        if self._server is not None:
            self._server.terminate()
            self._server.send_signal(signal.SIGCONT)  # in case it is frozen
            self._server.wait(10)
            self._server = None

    # -- into the microphone ----------------------------------------------------------------------------------------------------

    def say(self, text: str, voice: str = "en-us", speed: int = 160, dbfs: float = speech.SPEECH_DBFS) -> Playing:
        """Speak in the room; returns at once."""
        return self.play(speech.say(text, voice, speed, rate_hz=self.rate_hz, dbfs=dbfs), self.rate_hz)

    def play(self, samples: NDArray[np.int16], rate_hz: int) -> Playing:
        """Play mono samples in the room; returns at once."""
        # 200 ms in hand: with 40 a loaded machine put holes into the sound, which looked like blocks that Pipit had lost.
        command = ["pacat", "--playback", "--raw", "--device=microphone", "--format=s16le", "--channels=1"]
        process = subprocess.Popen(
            [*command, f"--rate={rate_hz}", "--latency-msec=200"], stdin=subprocess.PIPE, env=self._environment()
        )
        return Playing(process, samples.astype("<i2").tobytes())

    def echo(self, gain_db: float | None, delay_ms: int = 20, reverberation_s: float = 0.0) -> None:
        """Let the microphone hear the loudspeaker.

        Args:
            gain_db: how much louder than it is played, walls included; None ends the echo.
            delay_ms: how much later; about, since PulseAudio works in blocks of 10 ms.
            reverberation_s: in what time the room's sound falls by 60 dB, with the loudspeaker beside the microphone; 0: no walls.
        """
        for module in reversed(self._echo):
            self._pactl("unload-module", module)
        self._echo = []
        if gain_db is None:
            return
        heard_by = "microphone"
        if reverberation_s > 0:
            gain_db -= self._build_walls(reverberation_s)
            heard_by = "walls"
        path = self._pactl(
            *("load-module", "module-loopback", "source=loudspeaker.monitor", f"sink={heard_by}", f"latency_msec={delay_ms}"),
            *("adjust_time=0", "source_dont_move=true", "sink_dont_move=true"),
        ).strip()
        self._echo.append(path)
        owner = next(fields[0] for fields in self._listed("sink-inputs") if self._owner(fields[0]) == path)
        self._pactl("set-sink-input-volume", owner, f"{gain_db}dB")

    def _build_walls(self, reverberation_s: float) -> float:
        """Put the room's response in front of the microphone, as a device "walls"; return how much louder it makes a sound (dB)."""
        at_16_khz, _ = responses(reverberation_s)
        response = speech.resample(at_16_khz, RATE_HZ, self.rate_hz)
        response /= np.max(np.abs(response))
        path = self._folder / "walls.wav"
        both = np.repeat(np.round(response * 32767).astype(np.int16), 2)  # a "head" that hears the same on either side
        with wave.open(str(path), "wb") as file:
            file.setnchannels(2)
            file.setsampwidth(2)
            file.setframerate(self.rate_hz)
            file.writeframes(both.astype("<i2").tobytes())
        form = "sink_name=walls", "sink_master=microphone", "channels=2"
        self._echo.append(self._pactl("load-module", "module-virtual-surround-sink", *form, f"hrir={path}").strip())
        return 10 * float(np.log10(np.sum(response**2))) + _SURROUND_DB

    # -- out of the loudspeaker ---------------------------------------------------------------------------------------------------

    def record(self) -> NDArray[np.int16]:
        """Return what the loudspeaker has played since the room was opened or plugged in: mono, at `rate_hz`."""
        return self._recording().samples()

    def hears_speech_within(self, seconds: float) -> bool:
        """Say whether somebody talks out of the loudspeaker within a time from now."""
        recording, deadline = self._recording(), time.monotonic() + seconds
        vad, at, recent = Vad(mode=1), len(recording.samples()), 0
        step = self.rate_hz // RATE_HZ * FRAME
        voiced: list[bool] = []
        while recent < _VOICED_FRAMES:
            samples = recording.wait_for(at + step, deadline)
            if len(samples) < at + step:
                return False
            frame = speech.resample(samples[at : at + step], self.rate_hz, RATE_HZ)[:FRAME]
            voiced.append(vad.is_speech(np.clip(frame, -32768, 32767).astype(np.int16)))
            recent = sum(voiced[-10:])
            at += step
        return True

    # -- the cable ----------------------------------------------------------------------------------------------------------------

    def plug(self) -> None:
        """Put the sound card in."""
        self._pactl("load-module", "module-null-sink", "sink_name=loudspeaker", "channels=2", *self._form)
        self._pactl("load-module", "module-null-sink", "sink_name=microphone", "channels=1", *self._form)
        self._pactl("set-default-sink", "loudspeaker")
        self._pactl("set-default-source", "microphone.monitor")
        self._loudspeaker = self._listen("loudspeaker.monitor")

    def unplug(self) -> None:
        """Pull the sound card out while it is in use."""
        self.echo(None)
        if self._loudspeaker is not None:
            self._loudspeaker.stop()
            self._loudspeaker = None
        self._unload("microphone", "loudspeaker")

    def _unload(self, *sinks: str) -> None:
        for module in self._listed("modules"):
            if any(f"sink_name={sink}" in module[2].split() for sink in sinks):
                self._pactl("unload-module", module[0])

    def freeze(self) -> None:
        """Let the sound card hang: nothing moves, and nobody is told."""
        assert self._server is not None
        self._server.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Let it go on."""
        assert self._server is not None
        self._server.send_signal(signal.SIGCONT)

    def vanish(self) -> None:
        """Take the whole sound system away, as when a driver dies. Nothing works afterwards."""
        assert self._server is not None
        self._server.kill()
        self._server.wait()

    # -- the server ---------------------------------------------------------------------------------------------------------------

    def _environment(self) -> dict[str, str]:
        return {**os.environ, **self.environment}

    def _listen(self, source: str) -> Recording:
        # The low latency also makes a null sink ask its players often; without it, a stream that only plays stalls.
        form = "--format=s16le", "--channels=1", f"--rate={self.rate_hz}", "--latency-msec=3"
        return Recording(["parec", "--raw", f"--device={source}", *form], self._environment())

    def _recording(self) -> Recording:
        if self._loudspeaker is None:
            raise RuntimeError("the sound card is unplugged")
        return self._loudspeaker

    def _owner(self, sink_input: str) -> str | None:
        """Return the number of the module that plays a stream."""
        text = self._pactl("list", "sink-inputs")
        for block in text.split("Sink Input #")[1:]:
            number, _, rest = block.partition("\n")
            if number.strip() == sink_input:
                return rest.partition("Owner Module: ")[2].partition("\n")[0].strip()
        return None

    def _pactl(self, *arguments: str) -> str:
        done = subprocess.run(["pactl", *arguments], env=self._environment(), capture_output=True, text=True, timeout=10)
        if done.returncode:
            raise RuntimeError(f"pactl {' '.join(arguments)}: {done.stderr.strip()}; see {self._folder / 'server.log'}")
        return done.stdout

    def _listed(self, kind: str) -> list[list[str]]:
        return [line.split("\t") for line in self._pactl("list", "short", kind).splitlines()]

    def _await_server(self) -> None:
        deadline = time.monotonic() + 10
        while time.monotonic() < deadline:
            assert self._server is not None
            if self._server.poll() is not None:
                break
            if (
                self._socket.exists()
                and not subprocess.run(["pactl", "info"], env=self._environment(), capture_output=True).returncode
            ):
                return
            time.sleep(0.02)
        raise RuntimeError(f"PulseAudio did not start: {(self._folder / 'server.log').read_text()}")
