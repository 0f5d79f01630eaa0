"""Through `decode`: files that hold more sound than the first header in them announces."""

import struct
from pathlib import Path

import numpy as np
import pytest

from app.audio.decode import DecodedAudio, Loss, decode
from app.audio.decoder.losses import MAX_REPORTED, Losses
from app.audio.decoder.wav import Stretch, options
from testing.media import dominant_frequency, tones, wav_header, write_audio

RATE = 8_000
FIRST, SECOND = 440.0, 600.0
SMALLEST_BLOCK = b"LIST" + struct.pack("<I", 4) + b"INFO"


def pcm(hertz: float, seconds: float = 3) -> bytes:
    sound: bytes = (tones([hertz], RATE, seconds)[0] * 32_767).astype("<i2").tobytes()
    return sound


def wav(sound: bytes, announced: int | None = None) -> bytes:
    """A WAV file whose header announces so many bytes, or as many as there are."""
    return wav_header(RATE)[:40] + struct.pack("<I", len(sound) if announced is None else announced) + sound


def chunk(name: bytes, content: bytes, *, padded: bool = True) -> bytes:
    return name + struct.pack("<I", len(content)) + content + bytes(len(content) % 2 if padded else 0)


async def decoded(recording: bytes, folder: Path) -> DecodedAudio:
    path = folder / "call"
    path.write_bytes(recording)
    return await decode(path, folder, split=True, max_seconds=60)


def parts(audio: DecodedAudio, channel: int = 0) -> list[float]:
    """The tone in the first and in the last second, to 10 Hz."""
    samples = audio.channels[channel].read(0, audio.channels[channel].samples)
    return [round(dominant_frequency(part), -1) for part in (samples[2_000:18_000], samples[-18_000:-2_000])]


WHOLE = pcm(FIRST) + pcm(SECOND)
FORM = wav_header(RATE)[12:36]
RF64 = (
    b"RF64\xff\xff\xff\xffWAVE"
    + chunk(b"ds64", struct.pack("<QQQI", len(WHOLE) + 80, len(WHOLE), len(WHOLE) // 2, 0))
    + FORM
    + b"data\xff\xff\xff\xff"
    + WHOLE
)
SOUND_IN_FULL = {
    "the header was written early": wav(WHOLE, len(WHOLE) // 2),
    "the header was written early, and another file is joined": wav(pcm(FIRST), 8_000) + wav(pcm(SECOND)),
    "two data chunks": wav(pcm(FIRST)) + chunk(b"data", pcm(SECOND)),
    "a chunk between two data chunks": wav(pcm(FIRST)) + SMALLEST_BLOCK + chunk(b"data", pcm(SECOND)),
    "two files": wav(pcm(FIRST)) + wav(pcm(SECOND)),
    "two files whose headers announce nothing": wav(pcm(FIRST), 0) + wav(pcm(SECOND), 0),
    "two files of endless streams": wav(pcm(FIRST), 0xFFFF_FFFF) + wav(pcm(SECOND), 0xFFFF_FFFF),
    "a chunk follows": wav(WHOLE) + SMALLEST_BLOCK,
    "a chunk follows without its padding": wav(WHOLE) + chunk(b"junk", b"odd", padded=False) + SMALLEST_BLOCK,
    "RF64": RF64,
    "BW64": b"BW64" + RF64[4:],
    "RF64 and another file": RF64[: -len(pcm(SECOND))].replace(
        struct.pack("<Q", len(WHOLE)), struct.pack("<Q", len(WHOLE) // 2)
    )
    + wav(pcm(SECOND)),
}


@pytest.mark.parametrize("name", SOUND_IN_FULL)
async def test_all_sound_of_a_wav_file_is_decoded(name: str, tmp_path: Path) -> None:
    audio = await decoded(SOUND_IN_FULL[name], tmp_path)
    assert audio.duration_seconds == pytest.approx(6, abs=0.01)
    assert parts(audio) == [FIRST, SECOND]
    assert (audio.announced_seconds, audio.losses) == (None, ())


@pytest.mark.parametrize(
    "size", [1, 0x10, 2_000_000_000, 1_000_000_000, 0x7700_0000, 0x7FFF_FFFF, 0x8000_0000, 0xFFFF_FFFF - 36]
)
async def test_sound_counts_whatever_the_header_announces(size: int, tmp_path: Path) -> None:
    audio = await decoded(wav(WHOLE, size), tmp_path)
    assert audio.duration_seconds == pytest.approx(6, abs=0.01)
    assert (audio.announced_seconds, audio.losses) == (None, ())


async def test_the_last_of_two_files_may_be_cut_off(tmp_path: Path) -> None:
    audio = await decoded(wav(pcm(FIRST)) + wav(pcm(SECOND), len(pcm(SECOND)) * 3), tmp_path)
    assert audio.duration_seconds == pytest.approx(6, abs=0.01)
    assert audio.announced_seconds == pytest.approx(12, abs=0.1)


async def test_a_header_that_announces_sound_before_none_is_cut_off(tmp_path: Path) -> None:
    audio = await decoded(wav(b"", 160_000), tmp_path)
    assert (audio.duration_seconds, audio.announced_seconds) == (0, 10)


async def test_bytes_of_which_nothing_is_known_are_reported(tmp_path: Path) -> None:
    audio = await decoded(wav(WHOLE) + SMALLEST_BLOCK + bytes(range(1, 101)), tmp_path)
    assert audio.duration_seconds == pytest.approx(6, abs=0.01)
    assert audio.losses == (Loss("bytes", bytes=100),)


@pytest.mark.parametrize(
    ("container", "codec"),
    [
        ("mp4", "aac"),
        ("ipod", "alac"),
        ("3gp", "libopencore_amrnb"),
        ("aiff", "pcm_s16be"),
        ("au", "pcm_mulaw"),
        ("caf", "pcm_s16le"),
        ("w64", "pcm_s16le"),
        ("flac", "flac"),
        ("mp3", "mp3"),
        ("adts", "aac"),
        ("amr", "libopencore_amrnb"),
        ("ogg", "libopus"),
        ("webm", "libopus"),
        ("matroska", "aac"),
        ("asf", "wmav2"),
        ("avi", "mp3"),
        ("flv", "mp3"),
        ("mpegts", "mp2"),
    ],
)
async def test_files_that_were_joined_are_decoded_one_after_the_other(
    container: str, codec: str, tmp_path: Path
) -> None:
    rates = {"libopus": 48_000, "wmav2": 44_100, "flv": 44_100, "mpegts": 48_000, "avi": 24_000}
    rate = rates.get(container) or rates.get(codec, RATE)
    first, second = (
        write_audio(tmp_path / "part", tones([hertz], rate, 3), rate, container=container, codec=codec).read_bytes()
        for hertz in (FIRST, SECOND)
    )
    audio = await decoded(first + second, tmp_path)
    assert audio.duration_seconds == pytest.approx(6, abs=0.5)
    assert parts(audio) == [FIRST, SECOND]
    assert (audio.announced_seconds, audio.losses) == (None, ())


async def test_of_more_files_than_are_read_the_rest_is_reported(tmp_path: Path) -> None:
    part = wav(pcm(FIRST)[:800]) + SMALLEST_BLOCK
    audio = await decoded(part * 1_050, tmp_path)
    assert audio.duration_seconds == pytest.approx(1_000 * 0.05, abs=0.1)
    assert audio.losses == (Loss("bytes", bytes=50 * 800),)


async def test_a_good_file_after_one_that_cannot_be_read_is_decoded(tmp_path: Path) -> None:
    unknown = bytearray(wav(pcm(FIRST)))
    unknown[20:22] = b"\x99\x99"  # a codec that does not exist
    audio = await decoded(bytes(unknown) + wav(pcm(SECOND)), tmp_path)
    assert audio.duration_seconds == pytest.approx(3, abs=0.01)
    assert audio.losses == (Loss("bytes", bytes=len(wav(pcm(FIRST)))),)


def test_many_losses_are_added_up() -> None:
    losses = Losses()
    for count in range(100):
        losses.track_left_out(2.0 if count % 2 else None)
        losses.bytes_left_out(1_000)
    answer = losses.answer()
    assert len(answer) == MAX_REPORTED + 2
    assert sum(loss.get("seconds") or 0 for loss in answer) == 100
    assert sum(loss.get("bytes") or 0 for loss in answer) == 100_000


async def test_joined_files_may_have_other_rates_and_channels(tmp_path: Path) -> None:
    stereo = write_audio(tmp_path / "part", tones([700, 900], 16_000, 2), 16_000, container="wav", codec="pcm_s16le")
    audio = await decoded(wav(pcm(FIRST)) + stereo.read_bytes(), tmp_path)
    assert audio.duration_seconds == pytest.approx(5, abs=0.01)
    assert parts(audio)[1] == 700
    late = audio.channels[1].read(0, audio.channels[1].samples)
    assert np.abs(late[: 3 * 16_000 - 200]).max() == 0
    assert round(dominant_frequency(late[-18_000:-2_000]), -1) == 900


async def test_a_broken_file_after_a_good_one_is_reported(tmp_path: Path) -> None:
    path = write_audio(tmp_path / "part", tones([FIRST], RATE, 3), RATE, container="mp4", codec="aac")
    whole = path.read_bytes()
    broken = whole.replace(b"moov", b"xxxx")
    audio = await decoded(whole + broken, tmp_path)
    assert audio.duration_seconds == pytest.approx(3, abs=0.2)
    assert audio.losses == (Loss("bytes", bytes=len(broken)),)


def form(tag: int, bytes_per_second: int) -> bytes:
    return struct.pack("<HHIIHH", tag, 2, 8_000, bytes_per_second, 2, 8)


def test_only_sound_that_cannot_be_broken_is_read_in_longer_packets() -> None:
    pcm, alaw, mulaw, adpcm = (Stretch(form(tag, 16_000), 44, 16_044, 16_000) for tag in (1, 6, 7, 17))

    assert options([pcm, alaw, mulaw]) == {"max_size": "4000"}
    assert options([pcm, adpcm]) == options([adpcm]) == options([]) == {}
    assert options([Stretch(form(1, 0), 44, 16_044, 16_000)]) == {}
    assert options([Stretch(form(1, 0xFFFF_FFFF), 44, 16_044, 16_000)]) == {}
