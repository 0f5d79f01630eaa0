"""The decoder: a program run by `child.py`, alone, under limits and contained, that writes two lines of JSON.

    python -I decode_child.py REQUEST < recording

The first line comes before FFmpeg sees a byte and says what holds this process; whatever goes wrong until then is not
the recording's fault. The second is the answer. The recording is standard input. FFmpeg reads it through `Recording`
and has no protocol of its own, so that whatever a file names (a playlist's parts, a reference in a movie) cannot be
opened. PyAV is the only import from outside.
"""

import errno
import json
import mmap
import os
import resource
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import Any, BinaryIO

import av
import av.subtitles.codeccontext
import av.subtitles.stream  # PyAV imports these two when it meets subtitles, which is too late here
from av.audio.frame import AudioFrame
from av.audio.stream import AudioStream
from av.container import InputContainer
from av.error import FFmpegError
from av.filter import Graph
from av.stream import Disposition

sys.path.insert(0, str(Path(__file__).parents[2]))
from app.audio.containment import fence

CONTAINERS = (
    "3gp,aac,ac3,aiff,amr,ape,asf,au,avi,caf,dss,eac3,flac,flv,gsm,ilbc,ircam,m4a,matroska,mov,mp3,mp4,mpeg,mpegts,"
    "nistsphere,ogg,tta,voc,w64,wav,webm,wv"
)
DECODERS = (
    "aac,aac_latm,ac3,alac,amrnb,amrwb,ape,dca,dss_sp,eac3,flac,g722,g723_1,g726,g726le,g729,gsm,gsm_ms,ilbc,libopus,"
    "mp1,mp1float,mp2,mp2float,mp3,mp3float,nellymoser,opus,speex,truespeech,tta,vorbis,wavpack,wmalossless,wmapro,"
    "wmav1,wmav2,wmavoice,"
) + ",".join(sorted(name for name in av.codecs_available if name.startswith(("pcm_", "adpcm_"))))

CLOCKED_CONTAINERS = {"asf", "flv", "matroska,webm", "mov,mp4,m4a,3gp,3g2,mj2", "mpeg", "mpegts", "ogg"}
"""Those that store timestamps. Elsewhere FFmpeg computes them from sizes and bit rates, and may be wrong."""

DISK_FULL = "disk_full"
UNAVAILABLE = "unavailable"  # trouble of ours: a lost folder is not the recording's fault
MEMORY_USED = os.open("/proc/self/statm", os.O_RDONLY) if sys.platform == "linux" else None
MEMORY_MARGIN = 4 * 1024 * 1024

RATES = range(4_000, 384_001)
MAX_CHANNELS = 8

RESAMPLER = "filter_size=128:cutoff=0.98"
"""libswresample's options; soxr is not in PyAV's wheels. Measured with sines, 8 kHz to 16 kHz:

                                 default   this
    level at 3400 Hz, dB            0.0     0.0
    level at 3800 Hz, dB           -2.0     0.0
    image of 3400 Hz, dB            -52    -102     (at 4600 Hz)
    image of 3800 Hz, dB            -14    -102     (at 4200 Hz)
    alias of 8500 Hz, dB            -26    -112     (48 kHz to 16 kHz)
    speed, times real time         3000    1800     (one channel)
"""

SMALLEST_GAP_SECONDS = 0.1
LARGEST_GAP_SECONDS = 600.0
SILENCE = bytes(1 << 16)


class Refused(Exception):
    """The recording cannot be used; `code` is one of app.errors."""

    def __init__(self, code: str, detail: str) -> None:
        super().__init__(detail)
        self.code = code
        self.detail = detail


class Recording:
    """Standard input for PyAV, which raises again what reading raised.

    FFmpeg by itself takes what cannot be read for the recording's end, so that a sick disk would shorten it.
    """

    def __init__(self) -> None:
        self.trouble: OSError | None = None

    def read(self, size: int) -> bytes:
        """Nothing at places beyond the end, which broken recordings name: some file systems refuse to read there."""
        try:
            return os.read(sys.stdin.fileno(), size)
        except OSError as error:
            if self._is_beyond_the_end():
                return b""
            self.trouble = error
            raise

    def seek(self, offset: int, whence: int) -> int:
        """-1 for a place that no file has: recordings that are broken name such places."""
        try:
            return os.lseek(sys.stdin.fileno(), offset, whence)
        except OSError:
            return -1

    def tell(self) -> int:
        return self.seek(0, os.SEEK_CUR)

    def seekable(self) -> bool:
        return self.tell() >= 0

    def _is_beyond_the_end(self) -> bool:
        place = self.tell()
        end = self.seek(0, os.SEEK_END)
        self.seek(place, os.SEEK_SET)
        return 0 <= end <= place


class Recorder:
    """Frames in, one raw file a channel out: 16 kHz, signed 16-bit.

    A stretch is a run of frames of one shape without a gap; each has a filter graph of its own. Timestamps count
    from `origin` in seconds; if it is None they are not used.
    """

    def __init__(self, files: list[Any], *, origin: float | None, rate: int, split: bool, max_seconds: float) -> None:
        self._files = files
        self._origin = origin
        self._rate = rate
        self._split = split
        self._max_samples = int(max_seconds * rate)
        self._shape: tuple[int, str, str] | None = None
        self._graph: Graph | None = None
        self._stretch_start = 0.0
        self._stretch_taken = 0
        self.written = 0
        self.skipped_seconds = 0.0
        """What a clock that was set anew had jumped over."""

    def take(self, frame: AudioFrame) -> None:
        gap = self._gap_before(frame)
        shape = (frame.sample_rate, frame.format.name, frame.layout.name)
        if shape != self._shape or gap:
            self.end_stretch()
            self._write_silence(round(gap * self._rate))
            self._shape = shape
            self._graph = self._build_graph(frame)
            self._stretch_start = self.written / self._rate
            self._stretch_taken = 0
        assert self._graph is not None
        self._graph.push(frame)
        self._stretch_taken += frame.samples
        self._drain(self._graph)

    def end_stretch(self) -> None:
        if self._graph is not None:
            self._graph.push(None)
            self._drain(self._graph)
            self._graph = None

    def _gap_before(self, frame: AudioFrame) -> float:
        """Seconds of silence that the timestamps ask for: lost packets, or a track that begins late.

        A step backwards or a huge one forwards is a broken clock, which is set anew.
        """
        if self._origin is None or frame.time is None:
            return 0.0
        position = self._stretch_start + (self._stretch_taken / self._shape[0] if self._shape else 0.0)
        gap = frame.time - self._origin - position
        if not -1.0 <= gap <= LARGEST_GAP_SECONDS:
            self._origin = frame.time - position
            self.skipped_seconds += gap
        return gap if SMALLEST_GAP_SECONDS <= gap <= LARGEST_GAP_SECONDS else 0.0

    def _build_graph(self, frame: AudioFrame) -> Graph:
        graph = Graph()
        graph.threads = 1
        source = graph.add(
            "abuffer",
            sample_rate=str(frame.sample_rate),
            sample_fmt=frame.format.name,
            channel_layout=frame.layout.name,
            time_base=f"1/{frame.sample_rate}",
        )
        graph.link_nodes(
            source,
            graph.add("aformat", sample_fmts="fltp"),
            graph.add("pan", self._pan(frame.layout.nb_channels)),
            graph.add("aresample", f"{self._rate}:{RESAMPLER}"),
            graph.add("aformat", sample_fmts="s16p"),
            graph.add("abuffersink"),
        ).configure()
        return graph

    def _pan(self, channels: int) -> str:
        if not self._split:
            return "1c|c0=" + "+".join(f"{1 / channels:.9f}*c{channel}" for channel in range(channels))
        outputs = [f"c{i}=c{i}" if i < channels else f"c{i}=0*c0" for i in range(len(self._files))]
        return "|".join([f"{len(self._files)}c", *outputs])

    def _drain(self, graph: Graph) -> None:
        with suppress(av.BlockingIOError, av.EOFError):
            while True:
                frame = graph.pull()
                assert isinstance(frame, AudioFrame)
                planes = [memoryview(frame.planes[channel]) for channel in range(len(self._files))]
                self._write([plane[: frame.samples * 2] for plane in planes])

    def _write_silence(self, samples: int) -> None:
        for start in range(0, samples * 2, len(SILENCE)):
            silence = memoryview(SILENCE)[: samples * 2 - start]
            self._write([silence for _ in self._files])

    def _write(self, channels: list[memoryview]) -> None:
        self.written += len(channels[0]) // 2
        if self.written > self._max_samples:
            raise Refused("too_long", f"The recording is longer than {self._max_samples / self._rate:g} seconds")
        for file, samples in zip(self._files, channels, strict=True):
            file.write(samples)


def open_recording(recording: Recording) -> InputContainer:
    options = {"format_whitelist": CONTAINERS, "protocol_whitelist": "none", "codec_whitelist": DECODERS}
    try:
        return av.open(recording, "r", options=options, metadata_errors="replace")
    except FFmpegError as error:
        require_memory(error)
        raise Refused("unsupported_media", "The file is not a recording of a kind that can be read") from None


def choose_stream(container: InputContainer) -> AudioStream:
    """The audio track marked as default, else the first."""
    streams = container.streams.audio
    if not streams:
        raise Refused("no_audio", "The file has no audio track")
    stream = next((each for each in streams if each.disposition & Disposition.default), streams[0])
    if stream.codec_context is None or stream.codec_context.codec.name not in DECODERS.split(","):
        raise Refused("unsupported_media", "The audio is coded in a way that cannot be read")
    if stream.codec_context.sample_rate not in RATES:
        raise Refused("unsupported_media", f"The sample rate is not within {RATES[0]} and {RATES[-1]} Hz")
    if not 1 <= stream.codec_context.channels <= MAX_CHANNELS:
        raise Refused("unsupported_media", f"The recording has not 1 to {MAX_CHANNELS} channels")
    stream.codec_context.thread_count = 1
    return stream


def read_header(container: InputContainer, stream: AudioStream) -> dict[str, Any]:
    duration = None
    if stream.duration is not None and stream.time_base is not None:
        duration = float(stream.duration * stream.time_base)
    elif container.duration is not None:
        duration = container.duration / av.time_base
    return {
        "container": container.format.name.partition(",")[0],
        "codec": stream.codec_context.codec.canonical_name,
        "sample_rate": stream.codec_context.sample_rate,
        "channels": stream.codec_context.channels,
        "duration_seconds": duration,
    }


def decode_frames(container: InputContainer, stream: AudioStream) -> Iterator[AudioFrame]:
    """Every frame that can be decoded. A broken packet is passed over; a broken container is a shorter one."""
    read = broken = 0
    with broken_here():
        for packet in container.demux(stream):
            read += 1
            try:
                yield from packet.decode()
            except av.EOFError:
                pass
            except FFmpegError as error:
                require_memory(error)
                broken += 1
    with broken_here():
        yield from stream.codec_context.decode(None)
    if broken > read // 2:
        raise Refused("bad_media", "Most of the recording is broken")


@contextmanager
def broken_here() -> Iterator[None]:
    """Passes over what FFmpeg finds broken."""
    try:
        yield
    except FFmpegError as error:
        require_memory(error)


def require_memory(error: Exception) -> None:
    if is_lack_of_memory(error):
        raise OSError(errno.ENOMEM, os.strerror(errno.ENOMEM)) from error


def is_lack_of_memory(error: Exception) -> bool:
    """Whether the machine refused memory: the rest of what this process may have is not to be had.

    A recording that asks for more than the limit is to blame for that itself.
    """
    if not isinstance(error, MemoryError) or MEMORY_USED is None:
        return False
    used = int(os.pread(MEMORY_USED, 100, 0).split()[0]) * mmap.PAGESIZE
    left = max(memory_limit() - used - MEMORY_MARGIN, mmap.PAGESIZE)
    try:
        mmap.mmap(-1, left, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS).close()
    except OSError:
        return True
    return False


@cache
def memory_limit() -> int:
    """The process asks for it before it is contained, as it cannot do so later."""
    return resource.getrlimit(resource.RLIMIT_AS)[0]


def usable(frame: AudioFrame) -> bool:
    return frame.samples > 0 and frame.sample_rate in RATES and 1 <= frame.layout.nb_channels <= MAX_CHANNELS


def write_channels(
    container: InputContainer,
    stream: AudioStream,
    files: list[BinaryIO],
    *,
    rate: int,
    split: bool,
    max_seconds: float,
) -> dict[str, float]:
    frames = filter(usable, decode_frames(container, stream))
    first = next(frames, None)
    if first is None:
        raise Refused("bad_media", "No audio could be decoded")
    channels = first.layout.nb_channels if split else 1
    clocked = container.format.name in CLOCKED_CONTAINERS and container.start_time is not None
    origin = container.start_time / av.time_base if clocked else None
    recorder = Recorder(files[:channels], origin=origin, rate=rate, split=split, max_seconds=max_seconds)
    recorder.take(first)
    for frame in frames:
        recorder.take(frame)
    recorder.end_stretch()
    for file in files:
        file.close()
    return {"channels": channels, "samples": recorder.written, "skipped_seconds": recorder.skipped_seconds}


def look_or_decode(recording: Recording, files: list[BinaryIO], output: dict[str, Any] | None) -> dict[str, Any]:
    with open_recording(recording) as container:
        stream = choose_stream(container)
        info = read_header(container, stream)
        return {"info": info, **(write_channels(container, stream, files, **output) if output else {})}


def answer(files: list[BinaryIO], output: dict[str, Any] | None) -> dict[str, Any]:
    """What came of the recording: its facts, what is wrong with it, or what was wrong with us."""
    recording = Recording()
    try:
        found = look_or_decode(recording, files, output)
    except Refused as refused:
        found = {"error": refused.code, "detail": refused.detail}
    except Exception as error:  # noqa: BLE001  FFmpeg and PyAV say in many ways that bytes are wrong
        found = judged(error)
    return found if recording.trouble is None else trouble(recording.trouble, "the recording cannot be read")


def judged(error: Exception) -> dict[str, Any]:
    if is_lack_of_memory(error):
        return trouble(OSError(errno.ENOMEM, os.strerror(errno.ENOMEM)), "no memory to decode with")
    if isinstance(error, ImportError):
        return {"error": UNAVAILABLE, "errno": errno.ENOENT, "detail": f"{error.name} should have been imported before"}
    if isinstance(error, OSError) and not isinstance(error, FFmpegError):
        return trouble(error, "decoded audio cannot be written")
    return {"error": "bad_media", "detail": "The recording is broken"}


def trouble(error: OSError, what: str) -> dict[str, Any]:
    """Trouble of ours."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return {"error": DISK_FULL}
    return {"error": UNAVAILABLE, "errno": error.errno, "detail": f"{what}: {error.strerror}"}


def open_files(folder: str, *, split: bool) -> list[BinaryIO]:
    """All that may be needed: how many channels there are is known when no file can be opened any more."""
    return [Path(folder, f"channel-{i}.pcm").open("wb") for i in range(MAX_CHANNELS if split else 1)]


def say(what: dict[str, Any]) -> None:
    print(json.dumps(what), flush=True)  # noqa: T201


def main(request: dict[str, Any]) -> dict[str, Any]:
    """The last line."""
    output = request.get("output")
    if request.get("report"):
        from app.audio.containment import escapes  # it imports what no decoder needs
    fence.depend_on_the_service()
    if output:  # for a look at a header, a client is waiting
        fence.yield_the_processor()
    fence.limit(**request["limits"])
    memory_limit()
    try:
        files = open_files(output.pop("folder"), split=output["split"]) if output else []
    except OSError as error:
        return trouble(error, "decoded audio cannot be written")
    say({"held_by": fence.contain()})
    return {"possible": escapes.possible()} if request.get("report") else answer(files, output)


if __name__ == "__main__":
    say(main(json.loads(sys.argv[1])))
    os._exit(0)
