"""Through `probe` and `decode`: files with the header of a recording and no sound. They are like silence."""

from pathlib import Path

import av
import pytest

from app.audio.decode import decode, probe
from app.errors import MediaError, NoAudio, UnsupportedMedia
from testing.media import add_audio, tones, wav_header, write_audio, write_movie


def header_only(path: Path, container: str, codec: str, rate: int, channels: int) -> Path:
    with av.open(str(path), "w", format=container) as output:
        add_audio(output, codec, rate, channels)
        output.start_encoding()
    return path


@pytest.mark.parametrize(
    ("container", "codec", "rate", "channels"),
    [
        ("wav", "pcm_s16le", 8_000, 1),
        ("wav", "pcm_mulaw", 8_000, 2),
        ("mp4", "aac", 8_000, 1),
        ("ipod", "alac", 8_000, 1),
        ("ogg", "libopus", 48_000, 1),
        ("ogg", "vorbis", 8_000, 2),
        ("flac", "flac", 8_000, 1),
        ("webm", "libopus", 48_000, 1),
        ("matroska", "pcm_s16le", 8_000, 1),
        ("aiff", "pcm_s16be", 8_000, 1),
        ("au", "pcm_mulaw", 8_000, 1),
        ("caf", "pcm_s16le", 8_000, 1),
        ("amr", "libopencore_amrnb", 8_000, 1),
    ],
)
async def test_a_header_without_sound_is_a_recording_of_no_length(
    container: str, codec: str, rate: int, channels: int, tmp_path: Path
) -> None:
    path = header_only(tmp_path / "call", container, codec, rate, channels)
    assert ((await probe(path)).duration_seconds or 0) == pytest.approx(0, abs=0.001)
    for split in (True, False):
        audio = await decode(path, tmp_path, split=split, max_seconds=60)
        assert {channel.samples for channel in audio.channels} == {0}
        assert (audio.duration_seconds, audio.announced_seconds, audio.losses) == (0, None, ())


async def test_the_44_bytes_of_a_wav_header_are_a_recording(tmp_path: Path) -> None:
    path = tmp_path / "call.wav"
    path.write_bytes(wav_header(samples=0))
    assert (await decode(path, tmp_path, split=True, max_seconds=60)).duration_seconds == 0


async def refusal(path: Path) -> type[MediaError]:
    with pytest.raises(MediaError) as refused:
        await probe(path)
    return type(refused.value)


async def test_a_recording_that_is_cut_off_early_is_not_a_silent_call(tmp_path: Path) -> None:
    path = write_audio(tmp_path / "call", tones([440], 48_000, 1), 48_000, container="ogg", codec="libopus")
    whole = path.read_bytes()
    path.write_bytes(whole[:60])
    assert await refusal(path) is UnsupportedMedia
    movie = write_audio(tmp_path / "call.m4a", tones([440], 8_000, 1), 8_000, container="ipod", codec="aac")
    movie.write_bytes(movie.read_bytes()[:2_000])
    assert await refusal(movie) is UnsupportedMedia


async def test_a_file_of_no_bytes_and_a_film_without_sound_are_refused(tmp_path: Path) -> None:
    (tmp_path / "nothing.wav").write_bytes(b"")
    assert await refusal(tmp_path / "nothing.wav") is UnsupportedMedia
    assert await refusal(write_movie(tmp_path / "film.mp4", None)) is NoAudio
