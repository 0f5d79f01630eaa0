"""The sound of live calls as samples, and as a WAV file that a crash may end anywhere."""

from itertools import product
from pathlib import Path

import numpy as np
import pytest

from app.audio.decode import decode
from app.audio.live_pcm import SoundToPcm, g711_table, samples_of
from app.audio.live_sound import Sound
from app.audio.pcm import SAMPLE_RATE
from app.audio.wav_spool import complete_header, header
from testing.media import tones, write_audio

EVERY_BYTE = bytes(range(256)) * 40


def tone(rate: int, channels: int, seconds: float = 0.5) -> bytes:
    """440 Hz on the first channel, 1,000 Hz on the second."""
    at = np.arange(round(seconds * rate)) / rate
    lines = [10_000 * np.sin(2 * np.pi * hertz * at) for hertz in (440, 1000)[:channels]]
    return np.stack(lines, axis=1).astype("<i2").tobytes()


async def decoded(path: Path) -> list[np.ndarray]:
    audio = await decode(path, path.parent, split=True, max_seconds=60)
    return [np.fromfile(channel.path, "<i2") for channel in audio.channels]


@pytest.mark.parametrize("encoding", ["mulaw", "alaw"])
async def test_each_byte_of_g711_becomes_the_sample_that_ffmpeg_gives(encoding: str, tmp_path: Path) -> None:
    sound = Sound(encoding, SAMPLE_RATE, 1)  # type: ignore[arg-type]
    path = tmp_path / "call.wav"
    path.write_bytes(complete_header(sound, len(EVERY_BYTE)) + EVERY_BYTE)
    (line,) = await decoded(path)
    assert (line == g711_table(encoding)[np.frombuffer(EVERY_BYTE, np.uint8)]).all()


@pytest.mark.parametrize(
    ("encoding", "channels", "cut"), list(product(["mulaw", "alaw", "pcm_s16le"], [1, 2], [0, 1, 2, 3, 799]))
)
async def test_a_file_that_a_crash_cut_off_is_decoded_to_its_end(
    encoding: str, channels: int, cut: int, tmp_path: Path
) -> None:
    sound = Sound(encoding, 8000, channels)  # type: ignore[arg-type]
    raw = EVERY_BYTE[: len(EVERY_BYTE) - cut]
    path = tmp_path / "call.wav"
    path.write_bytes(header(sound) + raw)
    lines = await decoded(path)
    assert len(lines) == channels
    assert abs(len(lines[0]) - 2 * (len(raw) // sound.bytes_per_frame)) <= 2


@pytest.mark.parametrize(
    ("encoding", "rate", "channels"), list(product(["mulaw", "alaw", "pcm_s16le"], [8000, 44_100], [1, 2]))
)
async def test_a_finished_spool_is_decoded_like_the_same_sound_in_an_ordinary_file(
    encoding: str, rate: int, channels: int, tmp_path: Path
) -> None:
    sound = Sound(encoding, rate, channels)  # type: ignore[arg-type]
    codec = encoding if encoding == "pcm_s16le" else f"pcm_{encoding}"
    posted = write_audio(
        tmp_path / "posted.wav", tones([440, 1000][:channels], rate, 1), rate, container="wav", codec=codec
    )
    _, chunk, raw = posted.read_bytes().partition(b"data" + (rate * sound.bytes_per_frame).to_bytes(4, "little"))
    assert chunk
    spool = tmp_path / "spool.wav"
    spool.write_bytes(complete_header(sound, len(raw)) + raw)
    expected, found = await decoded(posted), await decoded(spool)
    assert len(found) == channels
    assert all((one == other).all() for one, other in zip(found, expected, strict=True))


@pytest.mark.parametrize(("rate", "channels"), list(product([8000, 11_025, 24_000, 44_100, 48_000], [1, 2])))
def test_sound_of_any_rate_becomes_samples_of_16_khz_in_pieces_of_any_length(rate: int, channels: int) -> None:
    convert, raw = SoundToPcm(Sound("pcm_s16le", rate, channels)), tone(rate, channels)
    pieces = [convert.convert(raw[at : at + 997]) for at in range(0, len(raw), 997)] + [convert.finish()]
    for channel, hertz in enumerate((440, 1000)[:channels]):
        line = np.concatenate([piece[channel] for piece in pieces]).astype(float)
        assert abs(len(line) - SAMPLE_RATE // 2) <= 2
        middle = line[1600:6400] * np.hanning(4800)
        loudest = np.argmax(np.abs(np.fft.rfft(middle))) * SAMPLE_RATE / 4800
        assert abs(loudest - hertz) < 5


def test_sound_that_is_too_loud_is_clipped_and_does_not_change_its_sign() -> None:
    square = np.repeat(np.tile(np.array([32_767, -32_768], "<i2"), 20), 100)
    convert = SoundToPcm(Sound("pcm_s16le", 8000, 1))
    (first,), (rest,) = convert.convert(square.tobytes()), convert.finish()
    line = np.concatenate([first, rest])
    assert line.max() == 32_767
    assert line.min() == -32_768
    away_from_edges = np.abs(np.arange(len(line)) % 200 - 100) < 90
    away_from_edges[:200] = away_from_edges[-200:] = False
    assert (np.sign(line) == np.sign(np.repeat(square, 2)))[away_from_edges].all()


def test_a_sample_that_comes_in_two_pieces_stays_whole() -> None:
    convert, raw = SoundToPcm(Sound("pcm_s16le", SAMPLE_RATE, 2)), tone(SAMPLE_RATE, 2, 0.1)
    lines = [convert.convert(raw[at : at + 3]) for at in range(0, len(raw), 3)]
    whole = samples_of(raw, Sound("pcm_s16le", SAMPLE_RATE, 2))
    for channel in range(2):
        assert (np.concatenate([line[channel] for line in lines]) == whole[channel]).all()


def test_a_container_is_no_raw_sound() -> None:
    with pytest.raises(ValueError, match="container"):
        SoundToPcm(Sound("container"))
