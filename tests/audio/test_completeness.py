"""Through `decode`: recordings that were cut off, and complete recordings whose header announces a wrong length."""

import struct
from collections.abc import Callable
from pathlib import Path

import av
import pytest

from app.audio.decode import decode
from testing.media import GSM_TONE, add_audio, mux_audio, tones, wav_header, write_audio
from testing.recordings import SAMPLE_CALL, call

SECONDS, RATE = 10, 8_000
PCM = bytes(SECONDS * RATE * 2)


async def announced(recording: bytes, folder: Path) -> float | None:
    path = folder / "call"
    path.write_bytes(recording)
    return (await decode(path, folder, split=False, max_seconds=60)).announced_seconds


def sized(size: int) -> bytes:
    """A WAV file of 10 s whose header announces `size` bytes."""
    return wav_header(RATE)[:40] + struct.pack("<I", size) + PCM


def gsm(blocks: int) -> bytes:
    """A file of 5 s of GSM, ten blocks of half a second, whose header and fact chunk announce `blocks` blocks."""
    form, _, sound = GSM_TONE.partition(b"data")
    length = struct.pack("<I", (len(sound) - 4) * blocks)
    return form[:-4] + struct.pack("<I", 4_000 * blocks) + b"data" + length + sound[4:] * 10


def fast_start(folder: Path) -> bytes:
    """An MP4 file made for the web: the index, which gives its length, comes before its sound."""
    with av.open(str(folder / "whole"), "w", format="mp4", options={"movflags": "faststart"}) as output:
        mux_audio(output, add_audio(output, "aac", RATE, 1), tones([440], RATE, SECONDS))
    return (folder / "whole").read_bytes()


def encoded(container: str, codec: str) -> Callable[[Path], bytes]:
    def write(folder: Path) -> bytes:
        path = write_audio(folder / "whole", tones([440], RATE, SECONDS), RATE, container=container, codec=codec)
        return path.read_bytes()

    return write


async def test_a_cut_off_call_announces_its_full_length(tmp_path: Path) -> None:
    assert await announced(SAMPLE_CALL.read_bytes()[:461_389], tmp_path) == pytest.approx(57.67, abs=0.01)


@pytest.mark.parametrize(
    ("container", "codec"),
    [
        ("wav", "pcm_s16le"),
        ("wav", "pcm_alaw"),
        ("wav", "adpcm_ms"),
        ("aiff", "pcm_s16be"),
        ("au", "pcm_mulaw"),
        ("flac", "flac"),
    ],
)
async def test_half_a_recording_is_found_incomplete_and_a_whole_one_is_not(
    container: str, codec: str, tmp_path: Path
) -> None:
    whole = encoded(container, codec)(tmp_path)
    assert await announced(whole, tmp_path) is None
    assert await announced(whole[: len(whole) // 2], tmp_path) == pytest.approx(SECONDS, rel=0.02)


async def test_half_a_movie_is_found_incomplete(tmp_path: Path) -> None:
    whole = fast_start(tmp_path)
    assert await announced(whole, tmp_path) is None
    assert await announced(whole[: len(whole) // 2], tmp_path) == pytest.approx(SECONDS, rel=0.02)


async def test_a_very_long_gap_in_the_timestamps_does_not_count_as_missing_sound(tmp_path: Path) -> None:
    path, sound = tmp_path / "call.mp4", tones([440], RATE, SECONDS / 2)
    with av.open(str(path), "w", format="mp4") as output:
        stream = add_audio(output, "aac", RATE, 1)
        mux_audio(output, stream, sound, last=False)
        mux_audio(output, stream, sound, start_seconds=700)
    decoded = await decode(path, tmp_path, split=False, max_seconds=60)
    assert decoded.info.duration_seconds == pytest.approx(705, abs=0.5)
    assert decoded.duration_seconds == pytest.approx(SECONDS, abs=0.5)
    assert decoded.announced_seconds is None


async def test_half_a_gsm_recording_is_found_incomplete(tmp_path: Path) -> None:
    assert await announced(gsm(blocks=10), tmp_path) is None
    assert await announced(gsm(blocks=20), tmp_path) == pytest.approx(10, rel=0.05)


@pytest.mark.parametrize("size", [0, 0x7F00_0000, 0x7FFF_F000, 0x7FFF_FFFF, 0x8000_0000, 0xFFFF_FFFF - 36, 0xFFFF_FFFF])
async def test_the_placeholder_lengths_of_streaming_recorders_are_ignored(size: int, tmp_path: Path) -> None:
    assert await announced(sized(size), tmp_path) is None


@pytest.mark.parametrize(("missing_bytes", "incomplete"), [(44, False), (RATE * 2 * 2, False), (RATE * 2 * 3, True)])
async def test_a_recording_is_incomplete_only_if_more_than_two_seconds_are_missing(
    missing_bytes: int, incomplete: bool, tmp_path: Path
) -> None:
    assert (await announced(sized(len(PCM) + missing_bytes), tmp_path) is not None) is incomplete


async def test_a_short_recording_with_a_large_header_is_complete(tmp_path: Path) -> None:
    whole = call(0, 1)
    extra = b"LIST" + struct.pack("<I", 100_000) + bytes(100_000)
    assert await announced(whole[:12] + extra + whole[12:], tmp_path) is None


async def test_the_placeholder_length_of_an_aiff_file_from_a_pipe_is_ignored(tmp_path: Path) -> None:
    aiff = encoded("aiff", "pcm_s16be")(tmp_path)
    at = aiff.index(b"SSND") + 4
    endless = aiff.replace(struct.pack(">I", SECONDS * RATE), struct.pack(">I", 0x7F00_0000 // 2))
    assert await announced(endless[:at] + struct.pack(">I", 0x7F00_0008) + endless[at + 4 :], tmp_path) is None
