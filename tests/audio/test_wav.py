from __future__ import annotations

import struct
import wave
from pathlib import Path

import numpy as np
import pytest

from pipit.audio.wav import WavWriter, read_wav, write_wav
from pipit.errors import ConfigError

SOUND = np.array([0, 1, -1, 256, 32767, -32768, 12345, -12345], np.int16)


def riff(*chunks: tuple[bytes, bytes]) -> bytes:
    body = b"".join(name + struct.pack("<I", len(data)) + data + b"\0" * (len(data) % 2) for name, data in chunks)
    return b"RIFF" + struct.pack("<I", 4 + len(body)) + b"WAVE" + body


def form(bits: int, channels: int = 1, code: int = 1, rate_hz: int = 16000) -> bytes:
    frame = channels * bits // 8
    return struct.pack("<HHIIHH", code, channels, rate_hz, rate_hz * frame, frame, bits)


def test_reads_what_it_wrote(tmp_path: Path) -> None:
    write_wav(tmp_path / "a.wav", SOUND, 22050)
    samples, rate_hz = read_wav(tmp_path / "a.wav")
    assert (samples.shape, samples.dtype, rate_hz) == ((8, 1), np.int16, 22050)
    np.testing.assert_array_equal(samples[:, 0], SOUND)


def test_others_read_what_it_wrote(tmp_path: Path) -> None:
    write_wav(tmp_path / "a.wav", SOUND, 22050)
    with wave.open(str(tmp_path / "a.wav")) as file:
        assert file.getparams()[:4] == (1, 2, 22050, 8)
        assert file.readframes(99) == SOUND.tobytes()


@pytest.mark.parametrize("bits", [8, 16, 24, 32])
@pytest.mark.parametrize("extensible", [False, True], ids=["plain", "extensible"])
def test_reads_pcm_of_every_width(bits: int, extensible: bool, tmp_path: Path) -> None:
    stereo = np.column_stack((SOUND, SOUND[::-1])).astype(np.int64)
    wide = stereo << 16
    data = b"".join(
        bytes([(int(v) >> 24) + 128]) if bits == 8 else int(v).to_bytes(4, "little", signed=True)[4 - bits // 8 :]
        for v in wide.ravel()
    )
    header = form(bits, 2, 0xFFFE) + struct.pack("<HHIH14s", 22, bits, 3, 1, b"") if extensible else form(bits, 2)
    (tmp_path / "a.wav").write_bytes(riff((b"fmt ", header), (b"LIST", b"odd"), (b"data", data)))
    samples, rate_hz = read_wav(tmp_path / "a.wav")
    assert rate_hz == 16000
    np.testing.assert_array_equal(samples, stereo >> 8 << 8 if bits == 8 else stereo)


def test_a_length_that_was_never_filled_in_means_up_to_the_end(tmp_path: Path) -> None:
    data = riff((b"fmt ", form(16)), (b"data", SOUND.tobytes() + b"\1"))
    at = data.index(b"data") + 4
    (tmp_path / "a.wav").write_bytes(data[:at] + b"\xff\xff\xff\xff" + data[at + 4 : at + 4 + 17])
    np.testing.assert_array_equal(read_wav(tmp_path / "a.wav")[0][:, 0], SOUND)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"ID3 this is an MP3 file", r"a\.wav: no WAV file; convert it, for example with: sox"),
        (b"", r"a\.wav: no WAV file"),
        (riff((b"fmt ", form(16))), r'the chunk "fmt " or "data" is missing'),
        (riff((b"fmt ", b"short"), (b"data", b"")), r'the chunk "fmt " or "data" is missing'),
        (riff((b"fmt ", form(32, code=3)), (b"data", b"")), r"WAV format 3 with 32 bits; 8, 16, 24 or 32-bit PCM"),
        (riff((b"fmt ", form(12)), (b"data", b"")), r"WAV format 1 with 12 bits"),
        (riff((b"fmt ", form(16, channels=0)), (b"data", b"")), r"damaged WAV file \(0 channels, 16000 Hz, 0 bytes a frame\)"),
        (riff((b"fmt ", form(16, rate_hz=0)), (b"data", b"")), r"damaged WAV file \(1 channels, 0 Hz"),
        (riff((b"fmt ", form(16, rate_hz=192000)), (b"data", b"")), r"a sample rate of 192000 Hz; 8000 to 96000 Hz are needed"),
    ],
    ids=["mp3", "empty", "no data", "short header", "float", "12 bits", "no channels", "no rate", "too high a rate"],
)
def test_says_what_is_wrong_with_a_file(content: bytes, message: str, tmp_path: Path) -> None:
    (tmp_path / "a.wav").write_bytes(content)
    with pytest.raises(ConfigError, match=message):
        read_wav(tmp_path / "a.wav")


def test_names_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"missing\.wav: cannot be read \(No such file or directory\)"):
        read_wav(str(tmp_path / "missing.wav"))


def test_a_file_is_complete_after_every_write(tmp_path: Path) -> None:
    with (tmp_path / "a.wav").open("wb", buffering=0) as file:
        writer = WavWriter(file, 16000)
        assert len(read_wav(tmp_path / "a.wav")[0]) == 0
        for count in (1, 2, 3):
            writer.write(SOUND)
            np.testing.assert_array_equal(read_wav(tmp_path / "a.wav")[0][:, 0], np.tile(SOUND, count))


def test_goes_on_with_a_file(tmp_path: Path) -> None:
    write_wav(tmp_path / "a.wav", SOUND, 16000)
    with (tmp_path / "a.wav").open("r+b", buffering=0) as file:
        WavWriter(file, 16000).write(SOUND)
    np.testing.assert_array_equal(read_wav(tmp_path / "a.wav")[0][:, 0], np.tile(SOUND, 2))
