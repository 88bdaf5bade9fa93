"""What PortAudio finds: its devices, and the shape (rate and channels) in which each can be opened without conversion."""

from __future__ import annotations

import contextlib
import ctypes
import os
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import pyaudio

from pipit.audio.cards import WORD, Card, Direction, Listed, busy_message, card_of, describe, holders, read_cards
from pipit.errors import HardwareError

RATES_HZ = (48000, 44100, 32000, 16000, 96000, 24000, 22050, 8000)
"""In the order in which they are tried. PortAudio's own "default rate" is no help: it names the one nearest to 44.1 kHz."""

UNAVAILABLE = -9985
"""PortAudio's paDeviceUnavailable: somebody else has the device."""

_NOT_LIKE_THIS = (-9998, -9997, -9994)  # paInvalidChannelCount, paInvalidSampleRate, paSampleFormatNotSupported

_MOST_CHANNELS = 8


class FoundDevice(NamedTuple):
    """A line of `pipit devices`."""

    name: str
    card: Card | None
    inputs: int
    outputs: int
    rate_hz: int | None
    """The rate that `auto` takes; None where the device cannot be opened now."""

    def __str__(self) -> str:
        uses = [f"{word} ({count} ch)" for word, count in (("microphone", self.inputs), ("loudspeaker", self.outputs)) if count]
        rate = f"{self.rate_hz} Hz" if self.rate_hz else "cannot be opened now"
        return f"{describe(self.name, self.card)}: {' and '.join(uses)}, {rate}"


def list_devices() -> list[FoundDevice]:
    """List what can be named in the configuration; looks at the hardware, so it takes a moment."""
    with quiet_stderr():
        library = pyaudio.PyAudio()
        try:
            return [_found(library, device) for device in list_with(library, read_cards())]
        finally:
            library.terminate()


def _found(library: pyaudio.PyAudio, device: Listed) -> FoundDevice:
    direction: Direction = "input" if device.inputs else "output"
    try:
        shape = native_shape(library, device, direction, RATES_HZ, channels_to_try(device.channels(direction), 1))
    except HardwareError:
        shape = None
    return FoundDevice(device.name, device.card, device.inputs, device.outputs, shape[0] if shape else None)


def list_with(library: pyaudio.PyAudio, cards: Sequence[Card]) -> list[Listed]:
    """List the devices of this instance of PortAudio; they are those that were there when it was made."""
    listed = []
    for index in range(library.get_device_count()):
        info = library.get_device_info_by_index(index)
        name = str(info["name"])
        listed.append(Listed(index, name, int(info["maxInputChannels"]), int(info["maxOutputChannels"]), card_of(name, cards)))
    return [device for device in listed if device.inputs or device.outputs]


def default_device(library: pyaudio.PyAudio, direction: Direction, listed: Sequence[Listed]) -> Listed | None:
    """Return ALSA's device "default" if it goes in this direction, else PortAudio's choice, else None."""
    for device in listed:
        if device.name == "default" and device.channels(direction):
            return device
    ask = library.get_default_input_device_info if direction == "input" else library.get_default_output_device_info
    try:
        index = ask()["index"]
    except OSError:
        return None
    return next((device for device in listed if device.index == index), None)


def channels_to_try(most: int, fewest: int) -> tuple[int, ...]:
    """Return the numbers of channels to try on a device that has `most`, in this order."""
    return tuple(range(fewest, max(fewest, min(most, _MOST_CHANNELS)) + 1))


def native_shape(
    library: pyaudio.PyAudio, device: Listed, direction: Direction, rates_hz: Sequence[int], channels: Sequence[int]
) -> tuple[int, int] | None:
    """Return the first rate and number of channels that the device takes as they are, or None.

    Raises:
        HardwareError: the device cannot be opened at all.
    """
    for rate_hz in rates_hz:
        for count in channels:
            wanted = {f"{direction}_device": device.index, f"{direction}_channels": count, f"{direction}_format": pyaudio.paInt16}
            try:
                library.is_format_supported(rate_hz, **wanted)
            except ValueError as error:
                if error.args[-1] not in _NOT_LIKE_THIS:
                    raise HardwareError(why(direction, device, *error.args)) from error
            else:
                return rate_hz, count
    return None


def title(direction: Direction, device: Listed) -> str:
    """Name a device for a message."""
    return f"the {WORD[direction]} {describe(device.name, device.card)}"


def why(direction: Direction, device: Listed, text: str, code: int) -> str:
    """Say why a device cannot be opened, from PortAudio's error."""
    name = title(direction, device)
    if code == UNAVAILABLE:
        return busy_message(name, holders(device.card.number if device.card else None))
    return f"{name} cannot be opened: {text} (PortAudio error {code}); is it plugged in?"


def _silence_alsa() -> object:
    """Keep alsa-lib from writing its 65 lines about absent surround devices; return what must stay alive for that."""
    kind = ctypes.CFUNCTYPE(None, ctypes.c_char_p, ctypes.c_int, ctypes.c_char_p, ctypes.c_int, ctypes.c_char_p)
    handler = kind(lambda *_: None)
    with contextlib.suppress(OSError):  # no alsa-lib, no noise
        ctypes.CDLL("libasound.so.2").snd_lib_error_set_handler(handler)
    return handler


_ALSA_HANDLER = _silence_alsa()


@contextlib.contextmanager
def quiet_stderr() -> Iterator[None]:
    """Send what C libraries print while devices are looked for (JACK, PortAudio) to nowhere."""
    kept = os.dup(2)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    os.close(nowhere)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
