from __future__ import annotations

import os
from pathlib import Path

import pytest

from pipit.audio.cards import Card, Listed, busy_message, card_of, choose, describe, holders, read_cards
from pipit.errors import HardwareError

CARDS = """\
 0 [vc4hdmi        ]: vc4-hdmi - vc4-hdmi
                      vc4-hdmi
 1 [Device         ]: USB-Audio - USB PnP Sound Device
                      C-Media Electronics Inc. USB PnP Sound Device at usb-0000:01:00.0-1.3, full speed
 2 [Device_1       ]: USB-Audio - USB PnP Sound Device
                      C-Media Electronics Inc. USB PnP Sound Device at usb-0000:01:00.0-1.4, full speed
"""

HDMI = Card(0, "vc4hdmi", "vc4-hdmi - vc4-hdmi")
USB = Card(1, "Device", "USB-Audio - USB PnP Sound Device", "1-1.3")
USB_2 = Card(2, "Device_1", "USB-Audio - USB PnP Sound Device", "1-1.4")
ALL = (HDMI, USB, USB_2)

LISTED = (
    Listed(0, "vc4-hdmi: MAI PCM i2s-hifi-0 (hw:0,0)", 0, 2, HDMI),
    Listed(1, "USB PnP Sound Device: Audio (hw:1,0)", 1, 2, USB),
    Listed(2, "USB PnP Sound Device: Audio (hw:2,0)", 1, 2, USB_2),
    Listed(3, "sysdefault", 128, 128),
    Listed(4, "default", 128, 128),
)


@pytest.fixture
def kernel(tmp_path: Path) -> Path:
    """A /proc and a /sys with three cards, the first built in, the others on USB ports."""
    (tmp_path / "asound").mkdir()
    (tmp_path / "asound" / "cards").write_text(CARDS)
    usb = tmp_path / "devices/platform/scb/fd500000.pcie/pci0000:00/0000:01:00.0/usb1/1-1"
    places = {0: "devices/platform/soc/fef00700.hdmi", 1: usb / "1-1.3/1-1.3:1.0", 2: usb / "1-1.4/1-1.4:1.0"}
    for number, place in places.items():
        (tmp_path / place).mkdir(parents=True)
        card = tmp_path / "sound" / f"card{number}"
        card.mkdir(parents=True)
        (card / "device").symlink_to(tmp_path / place)
    return tmp_path


def test_reads_the_cards_of_the_kernel(kernel: Path) -> None:
    assert read_cards(kernel, kernel / "sound") == ALL


def test_a_kernel_without_sound_has_no_cards(tmp_path: Path) -> None:
    assert read_cards(tmp_path, tmp_path) == ()


def test_portaudio_names_the_number_of_the_card() -> None:
    assert card_of("USB PnP Sound Device: Audio (hw:2,0)", ALL) is USB_2
    assert card_of("default", ALL) is None
    assert card_of("New one (hw:7,0)", ALL) is None


@pytest.mark.parametrize(
    ("wanted", "index"),
    [
        ("Device", 1),
        ("device_1", 2),
        ("1-1.4", 2),
        ("vc4", 0),
        ("mai pcm", 0),
        ("sysdefault", 3),
        ("default", 4),
        ("USB PnP Sound Device: Audio (hw:2,0)", 2),
    ],
)
def test_finds_a_loudspeaker_by(wanted: str, index: int) -> None:
    assert choose(wanted, "output", LISTED, ALL).index == index


def test_survives_another_order_of_plugging_in() -> None:
    card = Card(0, "Device", USB.name, "1-1.3")
    assert choose("Device", "input", [Listed(9, "USB PnP Sound Device: Audio (hw:0,0)", 1, 2, card)], [card]).index == 9


def test_says_what_there_is_in_place_of_what_is_missing() -> None:
    with pytest.raises(HardwareError) as raised:
        choose("jabra", "input", LISTED, ALL)
    message = str(raised.value)
    assert message.startswith('no microphone "jabra" (audio.input.device): plug it in or name another; there is ')
    assert '"USB PnP Sound Device: Audio" (card Device, USB port 1-1.3)' in message
    assert "hdmi" not in message, "it is no microphone"
    with pytest.raises(HardwareError, match="there is none at all"):
        choose("jabra", "input", LISTED[:1], ALL)


def test_a_name_that_fits_two_cards_is_refused() -> None:
    with pytest.raises(
        HardwareError, match=r'"usb pnp" \(audio.input.device\) fits several devices: .*use a card id or a USB port'
    ):
        choose("usb pnp", "input", LISTED, ALL)


def test_a_number_is_no_name() -> None:
    with pytest.raises(HardwareError, match='no microphone "hw:1,0"'):
        choose("hw:1,0", "input", LISTED, ALL)


def test_a_card_that_portaudio_does_not_offer_is_in_use() -> None:
    with pytest.raises(HardwareError, match="the sound card Device_1 is in use by"):
        choose("Device_1", "input", [LISTED[0], LISTED[1]], ALL)


def test_says_who_holds_a_card(tmp_path: Path) -> None:
    for pid, name, device in (
        (812, "pulseaudio", "/dev/snd/pcmC1D0p"),
        (900, "arecord", "/dev/snd/pcmC0D0c"),
        (901, "mpd", "/dev/null"),
    ):
        (tmp_path / str(pid) / "fd").mkdir(parents=True)
        (tmp_path / str(pid) / "comm").write_text(name + "\n")
        (tmp_path / str(pid) / "fd" / "7").symlink_to(device)
    owned = tmp_path / "asound/card1/pcm0c/sub0"
    owned.mkdir(parents=True)
    (owned / "status").write_text("state: RUNNING\nowner_pid   : 901\ntrigger_time: 1.2\n")
    (tmp_path / str(os.getpid()) / "fd").mkdir(parents=True)
    (tmp_path / str(os.getpid()) / "fd" / "3").symlink_to("/dev/snd/pcmC1D0p")
    assert holders(1, tmp_path) == ("pulseaudio (pid 812)", "mpd (pid 901)")
    assert holders(None, tmp_path) == ("pulseaudio (pid 812)", "arecord (pid 900)", "mpd (pid 901)")
    assert holders(5, tmp_path) == ()


def test_busy_messages_come_with_a_remedy() -> None:
    assert busy_message("X", ()) == "X is in use by another program; find it with: sudo fuser -v /dev/snd/*"
    assert busy_message("X", ("mpd (pid 4)",)) == "X is in use by mpd (pid 4); stop it"
    assert "systemctl --user mask --now" in busy_message("X", ("pipewire (pid 4)",))


def test_describes_a_device_in_the_words_of_the_configuration() -> None:
    assert describe("USB PnP Sound Device: Audio (hw:1,0)", USB) == '"USB PnP Sound Device: Audio" (card Device, USB port 1-1.3)'
    assert describe("vc4-hdmi: x (hw:0,0)", HDMI) == '"vc4-hdmi: x" (card vc4hdmi)'
    assert describe("default", None) == '"default"'
