"""A recording in a container that is decoded while it comes, as browsers send it."""

import asyncio
import os
import signal
from asyncio.subprocess import Process
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from app.audio import container_stream, decoder_process
from app.audio.container_stream import ContainerStream, open_container_stream
from app.audio.decoder_process import DecoderUnavailable
from app.errors import BadMedia, NoAudio, TooLong, UnsupportedMedia
from testing.media import dominant_frequency, tones, write_audio, write_live, write_movie, write_with_gap

BROWSERS = [
    ("webm", "libopus", {"live": "1", "cluster_time_limit": "250"}),
    ("ogg", "libopus", {"page_duration": "200000"}),
    ("mp4", "aac", {"movflags": "frag_keyframe+empty_moov"}),
]
SECONDS = 3
TAKEN_OVER = """
import sys
print('{"contained_by": {}}')
for progress in ("null", "[1]", "[Infinity, 1]", "[1, NaN]", '["../..", 1]', "[99, 1e300]", "[-1, -1]"):
    print('{"progress": ' + progress + "}")
sys.stdin.read()
print('{"info": {}}')
"""


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Process]]:
    """The decoders that the test has started. None of them may be left."""
    processes: list[Process] = []
    start = decoder_process._start

    async def noted(*arguments: object) -> Process:
        processes.append(await start(*arguments))  # type: ignore[arg-type]
        return processes[-1]

    monkeypatch.setattr(decoder_process, "_start", noted)
    yield processes
    for process in processes:
        with pytest.raises(ProcessLookupError):
            os.kill(process.pid, 0)


async def until(stream: ContainerStream, samples: int) -> None:
    for _ in range(2_000):
        if stream.samples >= samples:
            return
        await asyncio.sleep(0.01)
    raise AssertionError(f"only {stream.samples} samples were decoded")


async def write_all(stream: ContainerStream, recording: bytes) -> None:
    await stream.write(recording)
    await stream.finish()


async def write_for_ever(stream: ContainerStream, recording: bytes) -> None:
    while True:
        await stream.write(recording)


def folder_in(path: Path) -> Path:
    (path / "live").mkdir()
    return path / "live"


@pytest.mark.parametrize(("container", "codec", "options"), BROWSERS)
async def test_a_recording_in_pieces_becomes_samples_while_it_comes(
    container: str, codec: str, options: dict[str, str], tmp_path: Path, started: list[Process]
) -> None:
    recording = write_live(tones([440, 880], 48_000, SECONDS), 48_000, container, codec, options)
    folder = folder_in(tmp_path)
    async with open_container_stream(folder, max_seconds=60) as stream:
        assert list(stream.files) == []
        half = len(recording) // 2
        for start in range(0, half, 1000):
            await stream.write(recording[start : min(start + 1000, half)])
        await until(stream, 16_000)
        await stream.write(recording[half:])
        await stream.finish()
        assert stream.samples == pytest.approx(SECONDS * 16_000, abs=2_000)
        assert {each.samples for each in stream.files} == {stream.samples}
        heard = [dominant_frequency(each.read(8_000, 16_000)) for each in stream.files]
        assert heard == pytest.approx([440, 880], abs=2)
    assert not list(folder.iterdir())
    assert len(started) == 1


async def test_more_than_two_channels_are_mixed(tmp_path: Path) -> None:
    sound = tones([300] * 6, 48_000, 1)
    path = write_audio(tmp_path / "a", sound, 48_000, container="ogg", codec="flac")
    async with open_container_stream(folder_in(tmp_path), max_seconds=60) as stream:
        await stream.write(path.read_bytes())
        await stream.finish()
        assert len(stream.files) == 1
        samples = stream.files[0].read(4_000, 8_000)
        assert dominant_frequency(samples) == pytest.approx(300, abs=2)
        assert np.max(np.abs(samples)) == pytest.approx(0.5, abs=0.05)


async def test_a_recording_that_is_cut_off_keeps_what_came(tmp_path: Path, started: list[Process]) -> None:
    recording = write_live(tones([440], 48_000, SECONDS), 48_000)
    async with open_container_stream(folder_in(tmp_path), max_seconds=60) as stream:
        await stream.write(recording[: len(recording) * 2 // 3])
        await stream.finish()
        assert stream.samples == pytest.approx(SECONDS * 16_000 * 2 / 3, abs=4_000)


async def test_a_pause_of_the_recorder_is_silence(tmp_path: Path) -> None:
    path = write_with_gap(tmp_path / "a", tones([440], 16_000, 40), 16_000, gap=(1.0, 39.0))
    async with open_container_stream(folder_in(tmp_path), max_seconds=60) as stream:
        await stream.write(path.read_bytes())
        await stream.finish()
        assert stream.samples == 40 * 16_000
        assert not stream.files[0].read(20_000, 500_000).any()


@pytest.mark.parametrize("garbage", [b"not a recording\n" * 10_000, os.urandom(200_000)])
async def test_garbage_is_refused_while_it_comes(garbage: bytes, tmp_path: Path, started: list[Process]) -> None:
    async with open_container_stream(folder_in(tmp_path), max_seconds=60) as stream:
        with pytest.raises(UnsupportedMedia):
            await write_for_ever(stream, garbage)
        with pytest.raises(UnsupportedMedia):
            await stream.finish()
        assert list(stream.files) == []


async def test_short_garbage_is_refused_at_the_end(tmp_path: Path, started: list[Process]) -> None:
    async with open_container_stream(folder_in(tmp_path), max_seconds=60) as stream:
        await stream.write(b"\x1aE\xdf\xa3")
        with pytest.raises(UnsupportedMedia):
            await stream.finish()


async def test_no_bytes_are_no_error(tmp_path: Path, started: list[Process]) -> None:
    async with open_container_stream(folder_in(tmp_path), max_seconds=60) as stream:
        await stream.finish()


async def test_a_movie_without_sound_is_refused(tmp_path: Path) -> None:
    movie = write_movie(tmp_path / "movie.mkv", None).read_bytes()
    async with open_container_stream(folder_in(tmp_path), max_seconds=60) as stream:
        with pytest.raises(NoAudio):
            await write_all(stream, movie)


async def test_too_much_sound_is_refused(tmp_path: Path, started: list[Process]) -> None:
    recording = write_live(tones([440], 48_000, SECONDS), 48_000)
    async with open_container_stream(folder_in(tmp_path), max_seconds=1) as stream:
        with pytest.raises(TooLong):
            await write_all(stream, recording)
        assert stream.samples <= 16_000


@pytest.mark.parametrize(("number", "error"), [(signal.SIGKILL, DecoderUnavailable), (signal.SIGSEGV, BadMedia)])
async def test_a_decoder_that_is_gone_is_reported(
    number: int, error: type[Exception], tmp_path: Path, started: list[Process]
) -> None:
    recording = write_live(tones([440], 48_000, SECONDS), 48_000)
    folder = folder_in(tmp_path)
    async with open_container_stream(folder, max_seconds=60) as stream:
        await stream.write(recording[:20_000])
        await until(stream, 1)
        started[0].send_signal(number)
        with pytest.raises(error):
            await write_for_ever(stream, b"\0" * 1000)
    assert not list(folder.iterdir())


async def test_progress_is_believed_only_as_far_as_it_can_be_true(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = tmp_path / "taken_over.py"
    program.write_text(TAKEN_OVER)
    monkeypatch.setattr(container_stream, "PROGRAM", program)
    async with open_container_stream(folder_in(tmp_path), max_seconds=60) as stream:
        await write_all(stream, b"anything")
        assert len(stream.files) == 2
        assert stream.samples == 60 * 16_000


async def test_a_decoder_that_hangs_holds_the_writer_up_and_not_for_ever(
    tmp_path: Path, started: list[Process], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(container_stream, "ANSWER_SECONDS", 0.5)
    recording = write_live(tones([440], 48_000, SECONDS), 48_000)
    async with open_container_stream(folder_in(tmp_path), max_seconds=60) as stream:
        started[0].send_signal(signal.SIGSTOP)
        with pytest.raises(DecoderUnavailable):
            await stream.write(recording * 100)


async def test_a_cancelled_writer_leaves_no_process_and_no_file(tmp_path: Path, started: list[Process]) -> None:
    folder = folder_in(tmp_path)
    recording = write_live(tones([440], 48_000, SECONDS), 48_000)

    stopped = asyncio.Event()

    async def write() -> None:
        async with open_container_stream(folder, max_seconds=60) as stream:
            await stream.write(recording[:20_000])
            await until(stream, 1)
            started[0].send_signal(signal.SIGSTOP)
            stopped.set()
            await write_for_ever(stream, recording)

    writing = asyncio.create_task(write())
    await stopped.wait()
    await asyncio.sleep(0.2)  # until the pipe is full
    writing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await writing
    assert not list(folder.iterdir())
