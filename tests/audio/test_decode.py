"""`probe` and `decode` on the good and the bad recordings that callers send."""

import asyncio
import errno
import os
import signal
import sys
import tempfile
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import numpy as np
import pytest
import uvloop
from numpy.typing import NDArray

from app.audio import decode as decode_module
from app.audio.containment.fence import NICENESS, OOM_SCORE
from app.audio.decode import DecodedAudio, DecoderUnavailable, MediaInfo, decode, probe
from app.audio.decoder.recording import Recording
from app.errors import BadMedia, MediaError, NoAudio, TooLong, UnsupportedMedia
from testing.media import (
    ENCODED,
    GSM_TONE,
    PNG,
    dominant_frequency,
    flac_silence,
    tones,
    wav_header,
    write_audio,
    write_movie,
    write_subtitled,
    write_with_gap,
)

NEEDS_PROC = pytest.mark.skipif(not Path("/proc/self/limits").exists(), reason="needs /proc")
EXACT = {"flac", "alac", "pcm_s16le", "pcm_mulaw", "pcm_alaw", "pcm_u8", "pcm_s24le", "pcm_f32le", "pcm_s16be"}


def samples_of(audio: DecodedAudio, channel: int = 0) -> NDArray[np.float32]:
    return audio.channels[channel].read(0, audio.channels[channel].samples)


def onset_seconds(samples: NDArray[np.float32]) -> float:
    return float(np.argmax(np.abs(samples) > 0.1)) / 16_000


def pcm_files(folder: Path) -> list[Path]:
    return list(folder.glob("*.pcm"))


async def refusal(path: Path, folder: Path) -> type[MediaError]:
    """The error that both `probe` and `decode` raise."""
    with pytest.raises(MediaError) as probed:
        await probe(path)
    with pytest.raises(MediaError) as decoded:
        await decode(path, folder, split=True, max_seconds=60)
    assert type(probed.value) is type(decoded.value)
    assert str(path.parent) not in decoded.value.detail
    assert not pcm_files(folder)
    return type(decoded.value)


@pytest.mark.parametrize(("container", "codec", "rate", "channels"), ENCODED)
async def test_every_channel_keeps_its_tone_and_its_position(
    container: str, codec: str, rate: int, channels: int, tmp_path: Path
) -> None:
    frequencies = [300, 500, 700, 60, 1100, 1300, 1500, 1700][:channels]
    path = write_audio(tmp_path / "call", tones(frequencies, rate, 1.0), rate, container=container, codec=codec)
    audio = await decode(path, tmp_path, split=True, max_seconds=60)
    heard = [dominant_frequency(samples_of(audio, channel)[4_000:12_000]) for channel in range(len(audio.channels))]
    assert heard == pytest.approx(frequencies, abs=4)
    assert audio.duration_seconds == pytest.approx(1.0, abs=0.0001 if codec in EXACT else 0.13)
    assert (audio.info.sample_rate, audio.info.channels) == (48_000 if codec == "libopus" else rate, channels)


async def test_gsm_is_decoded(tmp_path: Path) -> None:
    path = tmp_path / "call"
    path.write_bytes(GSM_TONE)
    audio = await decode(path, tmp_path, split=False, max_seconds=60)
    assert audio.info == MediaInfo("wav", "gsm_ms", 8_000, 1, 0.5)
    assert dominant_frequency(samples_of(audio)[1_000:7_000]) == pytest.approx(440, abs=4)


async def test_probe_returns_the_facts_of_the_header(tmp_path: Path) -> None:
    path = write_audio(tmp_path / "call", tones([300, 500], 8_000, 1.5), 8_000, container="wav", codec="pcm_mulaw")
    assert await probe(path) == MediaInfo("wav", "pcm_mulaw", 8_000, 2, 1.5)


@pytest.mark.parametrize(("container", "codec", "channels"), [("wav", "pcm_s16le", 2), ("flac", "flac", 6)])
async def test_a_mix_is_the_mean_of_the_channels(container: str, codec: str, channels: int, tmp_path: Path) -> None:
    parts = tones([300 + 100 * channel for channel in range(channels)], 16_000, 1.0)
    path = write_audio(tmp_path / "call", parts, 16_000, container=container, codec=codec)
    audio = await decode(path, tmp_path, split=False, max_seconds=60)
    assert len(audio.channels) == 1
    assert np.abs(samples_of(audio) - parts.mean(axis=0)).max() < 1e-3


@pytest.mark.parametrize(
    ("container", "codec", "rate"),
    [("ipod", "aac", 44_100), ("mp3", "mp3", 44_100), ("ogg", "libopus", 48_000), ("webm", "libopus", 48_000)],
)
async def test_the_delay_that_an_encoder_adds_is_removed(container: str, codec: str, rate: int, tmp_path: Path) -> None:
    burst = tones([1000], rate, 1.0)
    burst[:, : rate // 2] = 0
    path = write_audio(tmp_path / "call", burst, rate, container=container, codec=codec)
    audio = await decode(path, tmp_path, split=True, max_seconds=60)
    assert onset_seconds(samples_of(audio)) == pytest.approx(0.5, abs=0.005)


async def test_the_telephone_band_stays_flat_and_clean(tmp_path: Path) -> None:
    path = write_audio(tmp_path / "call", tones([200, 3800], 8_000, 1.0), 8_000, container="wav", codec="pcm_s16le")
    audio = await decode(path, tmp_path, split=True, max_seconds=60)
    spectra = [np.abs(np.fft.rfft(samples_of(audio, i)[4_000:12_000] * np.blackman(8_000))) for i in range(2)]
    assert 20 * np.log10(spectra[1].max() / spectra[0].max()) == pytest.approx(0, abs=0.1)
    assert 20 * np.log10(spectra[1][2_000:].max() / spectra[1].max()) < -80


async def test_a_track_that_begins_late_begins_with_silence(tmp_path: Path) -> None:
    path = write_movie(tmp_path / "call.mp4", tones([440], 48_000, 1.0), start_seconds=0.7)
    audio = await decode(path, tmp_path, split=True, max_seconds=60)
    assert onset_seconds(samples_of(audio)) == pytest.approx(0.7, abs=0.005)


async def test_lost_packets_leave_silence_of_their_length(tmp_path: Path) -> None:
    path = write_with_gap(tmp_path / "call", tones([440], 8_000, 2.0), 8_000, gap=(0.8, 1.2))
    audio = await decode(path, tmp_path, split=True, max_seconds=60)
    samples = samples_of(audio)
    assert audio.duration_seconds == pytest.approx(2.0, abs=0.001)
    assert np.abs(samples[round(0.81 * 16_000) : round(1.19 * 16_000)]).max() == 0
    assert dominant_frequency(samples[-8_000:]) == pytest.approx(440, abs=4)


async def test_the_rate_and_the_channels_may_change_within_a_recording(tmp_path: Path) -> None:
    path = write_audio(tmp_path / "call", tones([300, 500], 44_100, 1.0), 44_100, container="adts", codec="aac")
    other = write_audio(tmp_path / "other", tones([700], 16_000, 1.0), 16_000, container="adts", codec="aac")
    path.write_bytes(path.read_bytes() + other.read_bytes())
    audio = await decode(path, tmp_path, split=True, max_seconds=60)
    left, right = samples_of(audio, 0), samples_of(audio, 1)
    assert audio.duration_seconds == pytest.approx(2.1, abs=0.1)
    assert dominant_frequency(right[4_000:12_000]) == pytest.approx(500, abs=4)
    assert dominant_frequency(left[-12_000:-4_000]) == pytest.approx(700, abs=4)
    assert np.abs(right[-12_000:-4_000]).max() == 0


@pytest.mark.parametrize(
    ("container", "codec"),
    [
        ("wav", "pcm_mulaw"),
        ("mp3", "mp3"),
        ("flac", "flac"),
        ("ogg", "libopus"),
        ("webm", "libopus"),
        ("amr", "libopencore_amrnb"),
    ],
)
async def test_a_cut_off_recording_is_decoded_to_its_last_packet(container: str, codec: str, tmp_path: Path) -> None:
    rate = 48_000 if codec == "libopus" else 8_000
    path = write_audio(tmp_path / "call", tones([440], rate, 4.0), rate, container=container, codec=codec)
    os.truncate(path, path.stat().st_size // 2)
    audio = await decode(path, tmp_path, split=True, max_seconds=60)
    assert 1.0 < audio.duration_seconds < 3.0
    assert dominant_frequency(samples_of(audio)[4_000:12_000]) == pytest.approx(440, abs=4)


async def test_a_recording_cut_before_its_index_is_unsupported(tmp_path: Path) -> None:
    path = write_audio(tmp_path / "call", tones([440], 8_000, 4.0), 8_000, container="ipod", codec="aac")
    os.truncate(path, path.stat().st_size // 2)
    assert await refusal(path, tmp_path) is UnsupportedMedia


async def test_broken_packets_are_skipped(tmp_path: Path) -> None:
    path = write_audio(tmp_path / "call", tones([440], 44_100, 4.0), 44_100, container="mp3", codec="mp3")
    whole = path.read_bytes()
    middle = len(whole) // 2
    path.write_bytes(whole[:middle] + bytes(2_000) + whole[middle + 2_000 :])
    audio = await decode(path, tmp_path, split=True, max_seconds=60)
    assert audio.duration_seconds == pytest.approx(4.0, abs=0.3)
    assert dominant_frequency(samples_of(audio)[-12_000:-4_000]) == pytest.approx(440, abs=4)


async def test_a_recording_with_noise_instead_of_packets_is_bad(tmp_path: Path) -> None:
    path = write_audio(tmp_path / "call", tones([440], 44_100, 4.0), 44_100, container="ipod", codec="aac")
    whole = path.read_bytes()
    begin, end = whole.index(b"mdat") + 4, whole.index(b"moov") - 4
    noise = np.random.default_rng(7).integers(0, 256, end - begin, dtype=np.uint8).tobytes()
    path.write_bytes(whole[:begin] + noise + whole[end:])
    with pytest.raises(BadMedia):
        await decode(path, tmp_path, split=True, max_seconds=60)
    assert not pcm_files(tmp_path)


async def test_a_movie_without_sound_has_no_audio(tmp_path: Path) -> None:
    assert await refusal(write_movie(tmp_path / "film.mp4", None), tmp_path) is NoAudio


async def test_subtitles_are_skipped(tmp_path: Path) -> None:
    """PyAV imports a module for subtitles, but the contained child can import nothing any more."""
    path = write_subtitled(tmp_path / "film", tones([440], 48_000, 1.0), 48_000)
    assert (await decode(path, tmp_path, split=True, max_seconds=60)).duration_seconds == pytest.approx(1.0, abs=0.1)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"Good morning, how can I help you?\n" * 50,
        PNG,
        wav_header(rate=1) + bytes(4_000),
        wav_header(rate=768_000) + bytes(40_000),
        wav_header(channels=64) + bytes(64_000),
        bytes(10_000),
    ],
    ids=["empty", "text", "png", "1 Hz", "768 kHz", "64 channels", "zeros"],
)
async def test_files_that_are_no_usable_recording_are_unsupported(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "call"
    path.write_bytes(content)
    assert await refusal(path, tmp_path) is UnsupportedMedia


@pytest.mark.parametrize(
    "listing",
    [
        "#EXTM3U\n#EXT-X-TARGETDURATION:10\n#EXTINF:10,\n{target}\n#EXT-X-ENDLIST\n",
        "#EXTM3U\n#EXT-X-TARGETDURATION:10\n#EXTINF:10,\nfile://{target}\n#EXT-X-ENDLIST\n",
        "ffconcat version 1.0\nfile {target}\n",
        "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=call\nc=IN IP4 127.0.0.1\nm=audio 5004 RTP/AVP 0\na=control:{target}\n",
        '<?xml version="1.0"?><MPD xmlns="urn:mpeg:dash:schema:mpd:2011"><BaseURL>{target}</BaseURL></MPD>',
    ],
    ids=["m3u8", "m3u8 with file:", "ffconcat", "sdp", "mpd"],
)
async def test_decoding_a_file_does_not_open_another_file_that_it_names(listing: str, tmp_path: Path) -> None:
    """The other file is a pipe without a writer. Opening it would hang until the time limit: DecoderUnavailable."""
    os.mkfifo(tmp_path / "secret.wav")
    path = tmp_path / "call"
    path.write_text(listing.format(target=tmp_path / "secret.wav"))
    with pytest.raises(UnsupportedMedia):
        await decode(path, tmp_path, split=True, max_seconds=60, timeout_seconds=20)


async def test_a_wrong_length_in_the_header_does_not_stop_decoding(tmp_path: Path) -> None:
    path = tmp_path / "call"
    path.write_bytes(flac_silence(8 / 3600, announced_seconds=36_000))
    assert (await probe(path)).duration_seconds == 36_000
    assert (await decode(path, tmp_path, split=True, max_seconds=10)).duration_seconds == pytest.approx(
        8.192, abs=0.001
    )


@pytest.mark.parametrize("claimed_seconds", [0, 3, 86_400])
async def test_decoding_a_day_of_silence_stops_at_the_limit(claimed_seconds: float, tmp_path: Path) -> None:
    path = tmp_path / "call"
    path.write_bytes(flac_silence(24, announced_seconds=claimed_seconds))
    assert path.stat().st_size < 200_000
    with pytest.raises(TooLong):
        await decode(path, tmp_path, split=False, max_seconds=600)
    assert not pcm_files(tmp_path)


@asynccontextmanager
async def half_fed(path: Path, folder: Path) -> AsyncIterator[tuple[asyncio.Task[DecodedAudio], int]]:
    """A decode that has begun to write and waits for the rest of its recording; and the process id of its child."""
    others = child_ids()
    os.mkfifo(path)
    pipe = os.open(path, os.O_RDWR | os.O_NONBLOCK)
    os.write(pipe, wav_header())
    decoding = asyncio.create_task(decode(path, folder, split=True, max_seconds=3600, timeout_seconds=20))
    for _ in range(20):
        await drained(pipe)
        os.write(pipe, bytes(32_768))
    try:
        (child,) = child_ids() - others
        yield decoding, child
    finally:
        os.close(pipe)


async def drained(pipe: int) -> None:
    writable = asyncio.Event()
    asyncio.get_running_loop().add_writer(pipe, writable.set)
    await writable.wait()
    asyncio.get_running_loop().remove_writer(pipe)


def child_ids() -> set[int]:
    """The process ids of this process's children, including zombies."""
    ids = set()
    for status in Path("/proc").glob("[0-9]*/status"):
        with suppress(OSError):
            if f"\nPPid:\t{os.getpid()}\n" in status.read_text():
                ids.add(int(status.parent.name))
    return ids


@NEEDS_PROC
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGHUP])
async def test_a_recording_is_not_blamed_if_the_child_is_killed_from_outside(
    number: signal.Signals, tmp_path: Path
) -> None:
    async with half_fed(tmp_path / "call", tmp_path) as (decoding, child):
        assert (tmp_path / "channel-0.pcm").exists()
        os.kill(child, number)
        with pytest.raises(DecoderUnavailable, match=number.name):
            await decoding
    assert not pcm_files(tmp_path)


@NEEDS_PROC
async def test_cancelling_ends_the_child_and_clears_the_folder(tmp_path: Path) -> None:
    async with half_fed(tmp_path / "call", tmp_path) as (decoding, child):
        decoding.cancel()
        with pytest.raises(asyncio.CancelledError):
            await decoding
        assert child not in child_ids()
    assert not pcm_files(tmp_path)


@NEEDS_PROC
@pytest.mark.parametrize("loop_factory", [asyncio.new_event_loop, uvloop.new_event_loop])
def test_cancelling_while_the_child_starts_leaves_no_child(
    loop_factory: Callable[[], asyncio.AbstractEventLoop], tmp_path: Path
) -> None:
    path = write_audio(tmp_path / "call", tones([440], 8_000, 1.0), 8_000, container="wav", codec="pcm_s16le")

    async def cancel_after(steps: int) -> None:
        decoding = asyncio.create_task(decode(path, tmp_path, split=True, max_seconds=60))
        for _ in range(steps):
            await asyncio.sleep(0)
        for _ in range(2):
            decoding.cancel()
            await asyncio.sleep(0)
        with pytest.raises(asyncio.CancelledError):
            await decoding

    others = child_ids()
    with asyncio.Runner(loop_factory=loop_factory) as runner:
        for steps in range(6):
            runner.run(cancel_after(steps))
            assert child_ids() == others
    assert not pcm_files(tmp_path)


@NEEDS_PROC
async def test_the_child_has_limits_and_a_session_of_its_own(tmp_path: Path) -> None:
    async with half_fed(tmp_path / "call", tmp_path) as (decoding, child):
        proc = Path(f"/proc/{child}")
        limits = {line[:25].strip(): line[26:46].strip() for line in (proc / "limits").read_text().splitlines()}
        assert limits["Max address space"] == str(512 * 1024 * 1024)
        assert limits["Max core file size"] == "0"
        assert {limits[f"Max {each}"] for each in ("cpu time", "file size", "open files")}.isdisjoint({"unlimited"})
        assert (proc / "environ").read_bytes() == b""
        assert os.getsid(child) == child
        assert os.getpriority(os.PRIO_PROCESS, child) == min(os.getpriority(os.PRIO_PROCESS, 0) + NICENESS, 19)
        assert (proc / "oom_score_adj").read_text().strip() == str(OOM_SCORE)
        decoding.cancel()
        await asyncio.wait([decoding])


async def test_a_recording_is_not_blamed_if_it_cannot_be_read_in_time(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "call")
    pipe = os.open(tmp_path / "call", os.O_RDWR)
    try:
        with pytest.raises(DecoderUnavailable, match=r"within 0\.5 s"):
            await probe(tmp_path / "call", timeout_seconds=0.5)
    finally:
        os.close(pipe)


async def decoding_fails(folder: Path, output: Path | None = None) -> DecoderUnavailable:
    """The error that decoding a good recording raises while the decoder itself is broken."""
    path = write_audio(folder / "call", tones([440], 8_000, 1.0), 8_000, container="wav", codec="pcm_s16le")
    with pytest.raises(DecoderUnavailable) as failure:
        await decode(path, output or folder, split=True, max_seconds=60)
    assert not pcm_files(folder)
    return failure.value


async def test_a_recording_is_not_blamed_if_the_folder_is_missing(tmp_path: Path) -> None:
    assert (await decoding_fails(tmp_path, tmp_path / "no folder")).errno == errno.ENOENT


async def test_a_recording_is_not_blamed_if_the_child_cannot_be_started(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "executable", str(tmp_path / "no python"))
    assert (await decoding_fails(tmp_path)).errno == errno.ENOENT


@pytest.mark.parametrize("ending", ["import nothing_of_this_name", "print('no answer')", "pass", "print('[' * 99_999)"])
async def test_a_recording_is_not_blamed_if_the_child_fails(
    ending: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = tmp_path / "child.py"
    broken.write_text(ending)
    monkeypatch.setattr(decode_module, "PROGRAM", broken)
    await decoding_fails(tmp_path)


@pytest.mark.parametrize(
    ("first_line", "error"),
    [("{'contained_by': {}}", BadMedia), ("{}", DecoderUnavailable)],
    ids=["after containment", "before containment"],
)
async def test_a_recording_is_blamed_for_a_crash_only_after_the_child_contained_itself(
    first_line: str, error: type[Exception], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    crashing = tmp_path / "child.py"
    crashing.write_text(
        f"import json, os, signal; print(json.dumps({first_line}), flush=True); os.kill(os.getpid(), signal.SIGSEGV)"
    )
    monkeypatch.setattr(decode_module, "PROGRAM", crashing)
    (tmp_path / "call").write_bytes(wav_header())
    with pytest.raises(error, match="SIGSEGV"):
        await probe(tmp_path / "call")


async def test_a_recording_is_not_blamed_if_it_cannot_be_opened(tmp_path: Path) -> None:
    with pytest.raises(DecoderUnavailable, match="cannot be opened"):
        await probe(tmp_path / "call")


def sick_child(folder: Path, sickness: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Replace the decoder program with a changed one: it runs the code `sickness` before it begins."""
    program = folder / "sick.py"
    program.write_text(
        f"import errno, json, os, sys\nsys.path.insert(0, {str(decode_module.PROGRAM.parents[3])!r})\n"
        f"from app.audio.decoder import memory, program\n{sickness}\n"
        "program.print_line(program.main(json.loads(sys.argv[1])))\n"
    )
    monkeypatch.setattr(decode_module, "PROGRAM", program)


SICK_DISK = """
read, left = os.read, [3]

def sick_read(descriptor, size):
    left[0] -= 1
    if left[0] < 0:
        raise OSError(errno.EIO, os.strerror(errno.EIO))
    return read(descriptor, size)

os.read = sick_read
"""


@pytest.mark.parametrize(
    ("container", "codec"), [("wav", "pcm_s16le"), ("flac", "flac"), ("ipod", "aac"), ("matroska", "aac")]
)
async def test_a_read_error_fails_the_decode_and_does_not_shorten_the_recording(
    container: str, codec: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sick_child(tmp_path, SICK_DISK, monkeypatch)
    noise = np.random.default_rng(1).normal(0, 0.1, (1, 48_000 * 20)).astype(np.float32)
    path = write_audio(tmp_path / "call", noise, 48_000, container=container, codec=codec)
    with pytest.raises(DecoderUnavailable, match="cannot be read") as failure:
        await decode(path, tmp_path, split=True, max_seconds=60)
    assert failure.value.errno == errno.EIO
    assert not pcm_files(tmp_path)


ASKS_TOO_MUCH = "program.inspect_or_decode = lambda *_: bytearray(1 << 30)"
NO_MEMORY = """
def refuse(*_, **__):
    raise OSError(errno.ENOMEM, os.strerror(errno.ENOMEM))

memory.mmap.mmap = refuse
"""


@NEEDS_PROC
@pytest.mark.parametrize(
    ("sickness", "error"),
    [(ASKS_TOO_MUCH, BadMedia), (ASKS_TOO_MUCH + NO_MEMORY, DecoderUnavailable)],
    ids=["the recording asks for more than the limit", "the machine has no memory left"],
)
async def test_a_recording_is_blamed_for_lack_of_memory_only_if_the_machine_has_memory_left(
    sickness: str, error: type[Exception], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sick_child(tmp_path, sickness, monkeypatch)
    (tmp_path / "call").write_bytes(wav_header())
    with pytest.raises(error):
        await probe(tmp_path / "call")


async def test_a_recording_is_not_blamed_if_a_module_is_imported_too_late(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sick_child(tmp_path, "program.inspect_or_decode = lambda *_: __import__('email.policy')", monkeypatch)
    (tmp_path / "call").write_bytes(wav_header())
    with pytest.raises(DecoderUnavailable, match="imported"):
        await probe(tmp_path / "call")


@pytest.mark.parametrize("place", [10_000, 2**63 - 4096])
def test_reading_beyond_the_end_returns_nothing_and_is_no_disk_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: int
) -> None:
    """Some file systems let a program seek beyond the longest possible file, and refuse to read there."""
    memory = Path("/dev/shm")
    folder = memory if memory.is_dir() else tmp_path
    with tempfile.NamedTemporaryFile(dir=folder) as file:
        file.write(b"recording")
        file.flush()
        monkeypatch.setattr(sys, "stdin", file)
        recording = Recording()
        if recording.seek(place, os.SEEK_SET) >= 0:
            assert recording.read(10) == b""
        assert recording.trouble is None
        assert recording.seek(0, os.SEEK_SET) == 0
        assert recording.read(10) == b"recording"
