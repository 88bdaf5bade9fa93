"""Which sound device is meant: cards as the kernel lists them, devices as PortAudio lists them, and who holds one that is busy.

A device is never chosen by its number: that changes with the order in which cards are plugged in.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple

from pipit.errors import HardwareError

Direction = Literal["input", "output"]

WORD = {"input": "microphone", "output": "loudspeaker"}

_PROC = Path("/proc")
_SYSFS = Path("/sys/class/sound")

_CARD = re.compile(r"^\s*(\d+) \[(\S+)\s*\]: (.*)$", re.MULTILINE)
_USB_PORT = re.compile(r"^\d+-\d+(\.\d+)*$")  # the kernel's name of a USB port: bus, then the hubs' ports
_HARDWARE = re.compile(r"\(hw:(\d+),\d+\)$")
_SOUND_SERVERS = ("pipewire", "wireplumber", "pulseaudio")


class Card(NamedTuple):
    """A sound card of the kernel."""

    number: int
    """Changes with the order of plugging in; valid for this moment only."""
    id: str
    """The kernel's short name: "Device", "seeed2micvoicec"."""
    name: str
    usb: str | None = None
    """The USB port that it is plugged into: "1-1.3"."""


@dataclass(frozen=True)
class Listed:
    """A device that PortAudio offers: a part of a card, or a definition in asound.conf."""

    index: int
    """Valid for one PyAudio instance only."""
    name: str
    inputs: int
    """Channels that can be recorded; 0 means that it is no microphone."""
    outputs: int
    card: Card | None = None

    def channels(self, direction: Direction) -> int:
        """Return the number of channels in a direction."""
        return self.inputs if direction == "input" else self.outputs


def read_cards(proc: Path = _PROC, sysfs: Path = _SYSFS) -> tuple[Card, ...]:
    """List the kernel's sound cards; empty where it has none.

    Args:
        proc: where the process file system is.
        sysfs: where the kernel shows sound devices.
    """
    try:
        text = (proc / "asound" / "cards").read_text()
    except OSError:
        return ()
    return tuple(
        Card(int(number), name, title.strip(), _usb_port(sysfs / f"card{number}" / "device"))
        for number, name, title in _CARD.findall(text)
    )


def _usb_port(device: Path) -> str | None:
    ports = [part for part in Path(os.path.realpath(device)).parts if _USB_PORT.match(part)]
    return ports[-1] if ports else None


def card_of(name: str, cards: Sequence[Card]) -> Card | None:
    """Return the card that a PortAudio device name such as "USB Audio: - (hw:1,0)" belongs to."""
    found = _HARDWARE.search(name)
    return next((card for card in cards if found and card.number == int(found[1])), None)


def choose(wanted: str, direction: Direction, listed: Sequence[Listed], cards: Sequence[Card]) -> Listed:
    """Return the device that the owner means.

    Args:
        wanted: a card's id, a USB port ("1-1.3"), a device's name or a part of it; upper and lower case are the same.
        direction: what it is needed for.
        listed: what PortAudio offers.
        cards: what the kernel has; a card that PortAudio does not offer is in use.

    Raises:
        HardwareError: there is none, it is in use, or several fit.
    """
    able = [device for device in listed if device.channels(direction) > 0]
    fitting = _fitting(wanted, able)
    if not fitting:
        card = next((card for card in cards if wanted.lower() in (card.id.lower(), card.usb)), None)
        if card is not None and not any(device.card == card for device in listed):
            raise HardwareError(busy_message(f"the sound card {card.id}", holders(card.number)))
        raise HardwareError(
            f'no {WORD[direction]} "{wanted}" (audio.{direction}.device): plug it in or name another; there is {_names(able)}'
        )
    if len({device.card or device.name for device in fitting}) > 1:
        raise HardwareError(
            f'"{wanted}" (audio.{direction}.device) fits several devices: {_names(fitting)}; use a card id or a USB port'
        )
    return fitting[0]


def _fitting(wanted: str, devices: Sequence[Listed]) -> list[Listed]:
    """Return the devices that fit best: by exact name, by card, else by a part of the name."""
    word = wanted.lower()
    exact = [device for device in devices if word == device.name.lower()]
    by_card = [device for device in devices if device.card and word in (device.card.id.lower(), device.card.usb)]
    return exact or by_card or [device for device in devices if word in _without_number(device.name).lower()]


def _without_number(name: str) -> str:
    return _HARDWARE.sub("", name)


def _names(devices: Sequence[Listed]) -> str:
    return ", ".join(describe(device.name, device.card) for device in devices) or "none at all"


def describe(name: str, card: Card | None) -> str:
    """Name a device in all the ways that the configuration takes."""
    if card is None:
        return f'"{name}"'
    port = f", USB port {card.usb}" if card.usb else ""
    return f'"{_without_number(name).strip()}" (card {card.id}{port})'


def busy_message(what: str, by: Sequence[str]) -> str:
    """Say that something is in use, by whom, and what to do."""
    if not by:
        return f"{what} is in use by another program; find it with: sudo fuser -v /dev/snd/*"
    remedy = "stop it"
    if any(name.startswith(_SOUND_SERVERS) for name in by):
        remedy = "stop it: systemctl --user mask --now pipewire.socket pipewire wireplumber pulseaudio.socket pulseaudio"
    return f"{what} is in use by {', '.join(by)}; {remedy}"


def holders(number: int | None, proc: Path = _PROC) -> tuple[str, ...]:
    """Name the other processes that have a card open: "pulseaudio (pid 812)".

    Args:
        number: the card; None means any.
        proc: where the process file system is.
    """
    pids = {*_owners(number, proc), *_openers(number, proc)} - {os.getpid()}
    return tuple(f"{_process_name(pid, proc)} (pid {pid})" for pid in sorted(pids))


def _owners(number: int | None, proc: Path) -> Iterator[int]:
    """Ask the sound system, which tells everybody."""
    for status in proc.glob(f"asound/card{'*' if number is None else number}/pcm*/sub*/status"):
        found = re.search(r"^owner_pid\s*:\s*(\d+)", _text(status), re.MULTILINE)
        if found:
            yield int(found[1])


def _openers(number: int | None, proc: Path) -> Iterator[int]:
    """Look at what processes have open, as far as this user may."""
    start = "/dev/snd/pcm" + ("" if number is None else f"C{number}D")
    for descriptor in proc.glob("[0-9]*/fd/*"):
        try:
            target = os.readlink(descriptor)
        except OSError:
            continue  # gone, or another user's
        if target.startswith(start):
            yield int(descriptor.parts[-3])


def _process_name(pid: int, proc: Path) -> str:
    return _text(proc / str(pid) / "comm").strip() or "a process"


def _text(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""
