"""A virtual Raspberry Pi with Pipit on it: the guest, with helpers that read as sentences. `../README.md` shows how to use them.

All times are the guest's CLOCK_MONOTONIC, in seconds, so that what the journal, the lights, the loudspeaker and the wire say can be
compared.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple, Self, TypeVar

import numpy as np
import yaml
from numpy.typing import NDArray

from pipit.audio.wav import write_wav
from tests import speech
from tests.system.rig.install import OFFLINE, PIECES, PYTHON, REHEARSAL, bring
from tests.system.rig.machine import Disk, Machine, wait_until
from tests.system.rig.slowness import pace

CARD = "Speakerphone"
LEDS = {"listening": 17, "thinking": 27, "speaking": 22}
BUTTON = 23
RATE_HZ = 48000
VOICE = "flite:slt"
"""Whose "hey jarvis" scores over 0.97 wherever it falls in the wake word engine's frames of 80 ms; espeak-ng's voices do not."""
KEY = "rehearsal-key-0123456789"

REHEARSAL_PORT = 8137
_WIRE_PORT = 8138
_SILENT_DBFS = -70.0
_SHINING = 0.02
"""Part of 20 ms for which a line must be high to count as lit; below is the last breath of a light that is dimmed."""

Entry = TypeVar("Entry")

CONFIGURATION: Mapping[str, Mapping[str, Any]] = {
    "service": {"provider": "openai", "url": f"ws://127.0.0.1:{_WIRE_PORT}/v1/realtime", "api_key": "!credential openai"},
    "audio": {"input": {"device": CARD}, "output": {"device": CARD, "volume": 60}},
    "conversation": {"idle_s": 4},
    "log": {"level": "debug"},
}
"""What differs from config/pipit.yaml, whose LEDs and button are those of the simulated chip."""


class Shown(NamedTuple):
    """What the LEDs began to show."""

    at: float
    lights: str
    """"listening", "thinking", "speaking", several of them joined by "+", or "dark"."""


class Level(NamedTuple):
    """How loud 20 ms of what Pipit plays are."""

    at: float
    dbfs: float


class Wired(NamedTuple):
    """A message between Pipit and the service."""

    at: float
    to: str
    """"service" or "pipit"."""
    message: Mapping[str, Any]

    @property
    def type(self) -> str:
        """Return the message's type, in the words of the service's protocol."""
        return str(self.message.get("type"))


class Record(dict[str, str]):
    """A journal entry: its fields, and when it was written."""

    @property
    def at(self) -> float:
        """Return when it was written."""
        return int(self["__MONOTONIC_TIMESTAMP"]) / 1e6


class Pi:
    """The guest with Pipit installed, a rehearsal server, and witnesses at the LEDs, the loudspeaker, the journal and the wire.

    Args:
        disk: what `install.with_pipit` made.
        folder: for what this boot needs.
        root: boot from this folder in virtual time, see `Machine`. Nobody looks at the lights then: that would keep it from idling.
    """

    def __init__(self, disk: Disk, folder: Path, root: Path | None = None) -> None:
        self._machine = Machine(disk, folder, root=root)
        self.run = self._machine.run
        self.now = self._machine.now
        self.boot_s = self._machine.boot_s
        self._changed = threading.Condition()
        self._lights: list[Shown] = []
        self._levels: list[Level] = []
        self._wire: list[Wired] = []
        self._records: list[Record] = []
        self._listens = False
        self._wheels = disk.wheels
        self.slowness, self._stretch = pace(self._machine)
        self.store_key()
        self._witness(f"{PYTHON} {PIECES}/relay.py {_WIRE_PORT} {REHEARSAL_PORT}", self._take_wire)
        if root is None:
            self._witness(f"/usr/bin/python3 {PIECES}/lights.py {' '.join(map(str, LEDS.values()))}", self._take_light)
        self._witness("journalctl --follow --lines=0 --output=json --unit=pipit", self._take_record)
        self._await_port(_WIRE_PORT)
        self.rehearse()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._machine.kill()

    # -- doing ------------------------------------------------------------------------------------------------------------------

    def rehearse(self, *faults: str) -> None:
        """Start the rehearsal server, anew if it runs; `faults` are its own: rehearse("stall")."""
        misbehave = " ".join(f"--misbehave {fault}" for fault in faults)
        self.run("systemctl stop rehearsal 2>/dev/null; exit 0")
        rehearse = f"{REHEARSAL}/bin/pipit rehearse --port {REHEARSAL_PORT} {misbehave}"
        self.run(f"systemd-run --quiet --collect --unit=rehearsal {rehearse}")
        self._await_port(REHEARSAL_PORT)

    def install(self, *arguments: str) -> str:
        """Run `make install` in the guest, with these arguments: install("EXTRAS=fish"); return what it says."""
        bring(self._machine.share, self._wheels)
        return self.run(
            f"{OFFLINE}; cd /share/checkout && make --no-print-directory install {' '.join(arguments)}", timeout_s=300
        ).output

    def configure(self, **sections: Mapping[str, Any]) -> None:
        """Write /etc/pipit/pipit.yaml: CONFIGURATION with these sections laid over it, or, with a `provider`, in its place."""
        base = {name: {} if "provider" in sections.get(name, {}) else section for name, section in CONFIGURATION.items()}
        merged = {name: _laid_over(base.get(name, {}), sections.get(name, {})) for name in {*base, *sections}}
        text = re.sub(r"'(!credential \w+)'", r"\1", yaml.safe_dump(merged))
        (self._machine.share / "pipit.yaml").write_text(text)
        self.run("install -m 644 /share/pipit.yaml /etc/pipit/pipit.yaml")

    def store_key(self) -> None:
        """Store the credential that CONFIGURATION names."""
        self.run(f"printf %s {KEY} | systemd-creds encrypt --name=openai - /etc/credstore.encrypted/openai")

    def start(self, **sections: Mapping[str, Any]) -> float:
        """Start Pipit anew with this configuration, and listen to it; return when that began."""
        self.run("systemctl stop pipit; systemctl reset-failed pipit 2>/dev/null; exit 0")
        self.configure(**sections)
        began = self.now()
        self.run("systemctl start pipit")
        self.listen()
        return began

    def listen(self) -> None:
        """Listen to Pipit's loudspeaker, from now on and until the sound card is unplugged. `start` does it by itself."""
        if not self._listens:  # and not before Pipit runs: the first to open a loopback cable decides on its format
            self._listens = True
            self._witness(f"/usr/bin/python3 {PIECES}/ears.py plughw:{CARD},1,0 /run/rig/played.raw", self._take_level)

    def say(self, text: str, *, voice: str = VOICE, wait: bool = True) -> float:
        """Speak to Pipit's microphone, over a quiet room; return when that began. `wait`: until it has been said."""
        samples = speech.say(text, voice=voice, rate_hz=RATE_HZ)
        room = speech.timeline([(0.3, samples)], seconds=len(samples) / RATE_HZ + 0.5, rate_hz=RATE_HZ)
        return self.sound(room, wait=wait) + 0.3

    def sound(self, samples: NDArray[np.int16], *, times: int = 1, wait: bool = True) -> float:
        """Let Pipit's microphone hear a sound (48 kHz, mono), several times in a row; return when that began."""
        name = hashlib.sha256(samples.tobytes()).hexdigest()[:12]
        path = self._machine.share / f"{name}.wav"
        if not path.exists():
            write_wav(path, samples, RATE_HZ)
        began = self.now()
        play = f"aplay -q -D plughw:{CARD},1,0 {f'/share/{name}.wav ' * times}"
        self.run(play if wait else f"systemd-run --quiet --collect {play}", timeout_s=60 + times * len(samples) / RATE_HZ)
        return began

    def press(self, seconds: float = 0.1) -> float:
        """Press the button; return when it went down."""
        pull = f"/run/rig/gpio/sim_gpio{BUTTON}/pull"
        done = self.run(f"cut -d' ' -f1 /proc/uptime; echo pull-down > {pull}; sleep {seconds}; echo pull-up > {pull}")
        return float(done.output)

    @contextmanager
    def without_sound_card(self) -> Iterator[None]:
        """Pull the sound card's plug, and plug it in again."""
        driver = "/sys/bus/platform/drivers/snd_aloop"
        self.run(f"systemd-run --quiet --collect --unit=unplug bash -c 'echo snd_aloop.0 > {driver}/unbind'")
        gone = self.comes_true(lambda: self.run("grep -q . /proc/asound/card0/id", check=False).status != 0, 10)
        assert gone, "the sound card is still there"
        self._listens = False
        try:
            yield
        finally:
            # The driver lets go when the last program has closed the card, and takes it back only then.
            self.run("for i in $(seq 100); do systemctl -q is-active unplug || break; sleep 0.1; done")
            self.run(f"echo snd_aloop.0 > {driver}/bind")
            self.run("udevadm settle -t 10")

    def wait(self, seconds: float) -> None:
        """Let the guest's time pass."""
        self.run(f"sleep {seconds}", timeout_s=seconds + 60)

    # -- looking ----------------------------------------------------------------------------------------------------------------

    def within(self, seconds: float) -> float:
        """Return how long something may take here that may take so long on a machine of its own."""
        return seconds * self.slowness

    def lights(self, since: float = 0.0) -> list[Shown]:
        """Return what the LEDs began to show, in order; how bright they are does not matter, and blinking is not dark."""
        with self._changed:
            return _steady([shown for shown in self._lights if shown.at >= since])

    def levels(self, since: float = 0.0) -> list[Level]:
        """Return how loud Pipit was: 20 ms an entry, without those of digital silence."""
        with self._changed:
            return [level for level in self._levels if level.at >= since]

    def loud(self, since: float = 0.0) -> list[Level]:
        """Return those 20 ms in which Pipit could be heard."""
        return [level for level in self.levels(since) if level.dbfs > _SILENT_DBFS]

    def wire(self, since: float = 0.0, *, to: str = "service") -> list[Wired]:
        """Return the messages in one direction."""
        with self._changed:
            return [wired for wired in self._wire if wired.at >= since and wired.to == to]

    def journal(self, since: float = 0.0, **fields: str) -> list[Record]:
        """Return Pipit's records with these fields: journal(PIPIT_EVENT="wake")."""
        with self._changed:
            return [r for r in self._records if r.at >= since and all(r.get(k) == v for k, v in fields.items())]

    def until(self, found: Callable[[], Sequence[Entry]], timeout_s: float = 20.0) -> Entry:
        """Return the first entry of what `found` returns as soon as there is one: until(lambda: pi.journal(PIPIT_EVENT="wake")).

        Raises:
            AssertionError: there was none within timeout_s, widened by the guest's slowness.
        """
        entries: Sequence[Entry] = ()

        def there() -> bool:
            nonlocal entries
            entries = found()
            return bool(entries)

        came = self.comes_true(there, timeout_s)
        assert came, f"nothing came within {self.within(timeout_s):.1f} s;\n{self.story()}"
        return entries[0]

    def comes_true(self, condition: Callable[[], bool], timeout_s: float) -> bool:
        """Wait for something; return whether it came true within timeout_s, widened by the guest's slowness."""
        return wait_until(condition, self.within(timeout_s) * self._stretch, 0.02)

    def until_state(self, state: str, since: float = 0.0, timeout_s: float = 20.0) -> Record:
        """Return the record of Pipit entering a state after `since`; wait for it."""
        return self.until(lambda: self.journal(since, PIPIT_EVENT="state", PIPIT_STATE=state), timeout_s)

    def status_text(self) -> str:
        """Return what the service says of itself in `systemctl status`."""
        return self.run("systemctl show pipit --property=StatusText --value").output.strip()

    def main_pid(self) -> int:
        """Return the process of the daemon; 0: there is none."""
        return int(self.run("systemctl show pipit --property=MainPID --value").output)

    def story(self, records: int = 40) -> str:
        """Return what happened of late, for messages."""
        with self._changed:
            latest = self._records[-records:]
            lines = [f"{r.at:9.3f} {r.get('PIPIT_EVENT') or r.get('_COMM', ''):12} {r.get('MESSAGE')}" for r in latest]
            lines += [f"{wired.at:9.3f} to {wired.to:9} {wired.type}" for wired in self._wire if "audio" not in wired.type][-20:]
            lines += [f"{shown.at:9.3f} LEDs         {shown.lights}" for shown in _steady(self._lights)[-20:]]
        return "\n".join(sorted(lines))

    # -- witnesses ----------------------------------------------------------------------------------------------------------------

    def _await_port(self, port: int) -> None:
        look = f"for i in $(seq 100); do ss -Hltn sport = :{port} | grep -q . && exit; sleep 0.1; done; exit 1"
        if self.run(look, check=False).status != 0:
            raise AssertionError(f"nothing listens on {port}:\n{self.run('journalctl -b -n 30 --no-pager').output}")

    def _witness(self, command: str, take: Callable[[str], None]) -> None:
        self._machine.follow(f"{command} 2>&1", take)

    def _take(self, entries: list[Entry], entry: Entry) -> None:
        with self._changed:
            entries.append(entry)

    def _take_light(self, line: str) -> None:
        at, *duties = map(float, line.split())
        lit = [name for name, duty in zip(LEDS, duties, strict=True) if duty > _SHINING]
        self._take(self._lights, Shown(at, "+".join(lit) or "dark"))

    def _take_level(self, line: str) -> None:
        if re.fullmatch(r"[\d.]+ -?[\d.]+", line):
            self._take(self._levels, Level(*map(float, line.split())))

    def _take_wire(self, line: str) -> None:
        if line.startswith("{"):
            entry = json.loads(line)
            self._take(self._wire, Wired(entry["at"], entry["to"], entry["message"]))

    def _take_record(self, line: str) -> None:
        if line.startswith("{"):
            self._take(self._records, Record(json.loads(line)))


def _laid_over(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    def value(name: str) -> Any:
        below, above = base.get(name), over.get(name, base.get(name))
        return _laid_over(below, above) if isinstance(below, Mapping) and isinstance(above, Mapping) else above

    return {name: value(name) for name in {**base, **over}}


_DARK_S = 1.5
"""Longer than the darkness in any rhythm of core.lights."""
_CHANGE_S = 0.05
"""In a window of 20 ms in which one light goes out and another on, both were on."""


def _steady(shown: Sequence[Shown]) -> list[Shown]:
    """Join what is one thing to the eye: the same lights with only short darkness between."""
    steady: list[Shown] = []
    for number, now in enumerate(shown):
        lasts_s = shown[number + 1].at - now.at if number + 1 < len(shown) else math.inf
        if (now.lights == "dark" and lasts_s < _DARK_S) or ("+" in now.lights and lasts_s < _CHANGE_S):
            continue
        if not steady or steady[-1].lights != now.lights:
            steady.append(now)
    return steady
