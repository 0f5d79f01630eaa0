"""Through `decode`: recordings with several audio tracks, and sound that cannot be decoded."""

from collections.abc import Sequence
from pathlib import Path

import av
import numpy as np
import pytest
from av.stream import Disposition
from numpy.typing import NDArray

from app.audio.decode import DecodedAudio, Loss, decode, probe
from testing.media import add_audio, dominant_frequency, mux_audio, tones, write_audio

RATE = 8_000
Track = tuple[list[float], int, float, float]
"""Frequencies of its channels, rate, seconds, and the second at which it begins."""


def write(
    path: Path,
    tracks: Sequence[Track],
    languages: Sequence[str] = (),
    flags: Sequence[Disposition] = (),
    container: str = "matroska",
) -> Path:
    with av.open(str(path), "w", format=container) as output:
        codec = "pcm_s16le" if container == "matroska" else "aac"
        streams = [add_audio(output, codec, rate, len(hertz)) for hertz, rate, _, _ in tracks]
        for stream, language in zip(streams, languages, strict=False):
            stream.metadata["language"] = language
        for stream, flag in zip(streams, flags, strict=False):
            stream.disposition = flag
        for stream, (hertz, rate, seconds, start) in zip(streams, tracks, strict=True):
            mux_audio(output, stream, tones(hertz, rate, seconds), start_seconds=start)
    return path


def heard(audio: DecodedAudio, start: float = 0.25) -> list[float]:
    """The tone of each channel in half a second from `start` on, to 10 Hz; 0 for silence."""
    found = []
    for channel in audio.channels:
        samples = channel.read(round(start * 16_000), 8_000)
        found.append(round(dominant_frequency(samples), -1) if np.abs(samples).max() > 0.01 else 0)
    return found


@pytest.mark.parametrize("container", ["matroska", "mp4"])
async def test_each_track_is_a_channel_in_order(container: str, tmp_path: Path) -> None:
    tracks: list[Track] = [([300], RATE, 1, 0), ([700], 16_000, 2, 0)]
    path = write(tmp_path / "call", tracks, container=container)
    audio = await decode(path, tmp_path, split=True, max_seconds=60)
    assert heard(audio) == [300, 700]
    assert heard(audio, 1.25) == [0, 700]
    assert audio.duration_seconds == pytest.approx(2, abs=0.15)
    assert (audio.info.channels, (await probe(path)).channels) == (2, 2)
    assert (audio.announced_seconds, audio.losses) == (None, ())


async def test_the_order_does_not_depend_on_which_track_is_the_default(tmp_path: Path) -> None:
    path = write(
        tmp_path / "call", [([300], RATE, 1, 0), ([700], RATE, 1, 0)], (), (Disposition(0), Disposition.default)
    )
    assert heard(await decode(path, tmp_path, split=True, max_seconds=60)) == [300, 700]


async def test_a_mix_has_the_sound_of_all_tracks(tmp_path: Path) -> None:
    path = write(tmp_path / "call", [([300], RATE, 1, 0), ([700], 16_000, 2, 0)])
    audio = await decode(path, tmp_path, split=False, max_seconds=60)
    [mixed] = audio.channels
    spectrum = np.abs(np.fft.rfft(mixed.read(0, 16_000)))
    assert sorted(np.argsort(spectrum)[-2:]) == [300, 700]
    assert heard(audio, 1.25) == [700]


async def test_channels_of_a_stereo_track_come_before_those_of_the_next_track(tmp_path: Path) -> None:
    path = write(tmp_path / "call", [([300, 500], RATE, 1, 0), ([700], RATE, 1, 0)])
    assert heard(await decode(path, tmp_path, split=True, max_seconds=60)) == [300, 500, 700]


async def test_a_track_that_begins_late_has_silence_first(tmp_path: Path) -> None:
    path = write(tmp_path / "call", [([300], RATE, 2, 0), ([700], RATE, 1, 1)])
    audio = await decode(path, tmp_path, split=True, max_seconds=60)
    assert (heard(audio), heard(audio, 1.25)) == ([300, 0], [300, 700])


async def test_a_track_without_sound_is_a_silent_channel(tmp_path: Path) -> None:
    path = write(tmp_path / "call", [([300], RATE, 1, 0), ([700], RATE, 0, 0)])
    assert heard(await decode(path, tmp_path, split=True, max_seconds=60)) == [300, 0]


async def test_of_tracks_in_several_languages_the_default_one_is_decoded(tmp_path: Path) -> None:
    flags = (Disposition(0), Disposition.default)
    path = write(tmp_path / "film", [([300], RATE, 2, 0), ([700], RATE, 2, 0)], ("eng", "ger"), flags)
    audio = await decode(path, tmp_path, split=True, max_seconds=60)
    assert heard(audio) == [700]
    [loss] = audio.losses
    assert loss.kind == "track"
    assert loss.seconds == pytest.approx(2, abs=0.1)


async def test_tracks_of_one_language_are_sides_of_a_call(tmp_path: Path) -> None:
    path = write(tmp_path / "call", [([300], RATE, 1, 0), ([700], RATE, 1, 0)], ("eng", "eng"))
    assert heard(await decode(path, tmp_path, split=True, max_seconds=60)) == [300, 700]


async def test_a_comment_on_a_film_is_left_out(tmp_path: Path) -> None:
    flags = (Disposition.default, Disposition.comment)
    path = write(tmp_path / "film", [([300], RATE, 1, 0), ([700], RATE, 1, 0)], (), flags)
    audio = await decode(path, tmp_path, split=True, max_seconds=60)
    assert heard(audio) == [300]
    assert [loss.kind for loss in audio.losses] == ["track"]


async def test_tracks_beyond_eight_channels_are_reported(tmp_path: Path) -> None:
    path = write(tmp_path / "film", [([300.0] * 6, RATE, 1, 0), ([700.0] * 6, RATE, 1, 0)])
    audio = await decode(path, tmp_path, split=True, max_seconds=60)
    assert len(audio.channels) == 6
    assert [loss.kind for loss in audio.losses] == ["track"]


async def test_a_channel_that_appears_later_is_kept(tmp_path: Path) -> None:
    parts = [([300.0], 16_000), ([500.0, 700.0], 16_000)]
    recording = b"".join(
        write_audio(tmp_path / "part", tones(hertz, rate, 2), rate, container="adts", codec="aac").read_bytes()
        for hertz, rate in parts
    )
    path = tmp_path / "call"
    path.write_bytes(recording)
    audio = await decode(path, tmp_path, split=True, max_seconds=60)
    assert (heard(audio), heard(audio, 2.75)) == ([300, 0], [500, 700])


async def test_the_seconds_of_broken_packets_are_reported(tmp_path: Path) -> None:
    path = write_audio(tmp_path / "call", tones([440], 44_100, 4), 44_100, container="ipod", codec="aac")
    whole = bytearray(path.read_bytes())
    begin, end = whole.index(b"mdat") + 4, whole.index(b"moov") - 4
    middle, reach = (begin + end) // 2, (end - begin) // 8
    noise: NDArray[np.uint8] = np.random.default_rng(7).integers(0, 256, 2 * reach, dtype=np.uint8)
    whole[middle - reach : middle + reach] = noise.tobytes()
    path.write_bytes(whole)
    audio = await decode(path, tmp_path, split=True, max_seconds=60)
    [loss] = audio.losses
    assert loss.kind == "damaged"
    assert loss.seconds is not None
    assert 0.3 < loss.seconds <= 1.1
    assert isinstance(loss, Loss)
