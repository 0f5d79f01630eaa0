"""The decoder: a program run by `decode`, alone and under limits, that answers with one line of JSON.

    python -I decode_child.py REQUEST < recording

The recording is standard input. FFmpeg knows it as `fd:` and has no other protocol, so that whatever a file
names (a playlist's parts, a reference in a movie) cannot be opened. PyAV is its only import from outside.
"""

import ctypes
import errno
import json
import os
import resource
import signal
import sys
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import av
from av.audio.frame import AudioFrame
from av.audio.stream import AudioStream
from av.container import InputContainer
from av.error import FFmpegError
from av.filter import Graph
from av.stream import Disposition

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
PR_SET_PDEATHSIG = 1  # linux/prctl.h

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


def die_with_parent() -> None:
    """Nobody reads the answer once the service was killed. Linux only; elsewhere the limits have to do."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def set_limits(memory_bytes: int, cpu_seconds: int, file_bytes: int) -> None:
    """The soft limit of CPU time comes first: its SIGXCPU tells it from a kill from outside."""
    resource.setrlimit(resource.RLIMIT_CPU, (cpu_seconds, cpu_seconds + 5))
    for kind, most in (
        (resource.RLIMIT_AS, memory_bytes),
        (resource.RLIMIT_FSIZE, file_bytes),
        (resource.RLIMIT_NOFILE, 32),
        (resource.RLIMIT_CORE, 0),
    ):
        resource.setrlimit(kind, (most, most))


def open_recording() -> InputContainer:
    options = {"format_whitelist": CONTAINERS, "protocol_whitelist": "fd", "codec_whitelist": DECODERS}
    try:
        return av.open("fd:", options=options, metadata_errors="replace")
    except FFmpegError:
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
    with suppress(FFmpegError):
        for packet in container.demux(stream):
            read += 1
            try:
                yield from packet.decode()
            except av.EOFError:
                pass
            except FFmpegError:
                broken += 1
    with suppress(FFmpegError):
        yield from stream.codec_context.decode(None)
    if broken > read // 2:
        raise Refused("bad_media", "Most of the recording is broken")


def usable(frame: AudioFrame) -> bool:
    return frame.samples > 0 and frame.sample_rate in RATES and 1 <= frame.layout.nb_channels <= MAX_CHANNELS


def write_channels(
    container: InputContainer, stream: AudioStream, folder: Path, *, rate: int, split: bool, max_seconds: float
) -> dict[str, float]:
    frames = filter(usable, decode_frames(container, stream))
    first = next(frames, None)
    if first is None:
        raise Refused("bad_media", "No audio could be decoded")
    channels = first.layout.nb_channels if split else 1
    with ExitStack() as stack:
        files = [stack.enter_context((folder / f"channel-{i}.pcm").open("wb")) for i in range(channels)]
        clocked = container.format.name in CLOCKED_CONTAINERS and container.start_time is not None
        origin = container.start_time / av.time_base if clocked else None
        recorder = Recorder(files, origin=origin, rate=rate, split=split, max_seconds=max_seconds)
        recorder.take(first)
        for frame in frames:
            recorder.take(frame)
        recorder.end_stretch()
    return {"channels": channels, "samples": recorder.written, "skipped_seconds": recorder.skipped_seconds}


def answer(request: dict[str, Any]) -> dict[str, Any]:
    try:
        with open_recording() as container:
            stream = choose_stream(container)
            info = read_header(container, stream)
            if "output" not in request:
                return {"info": info}
            output = request["output"] | {"folder": Path(request["output"]["folder"])}
            return {"info": info, **write_channels(container, stream, **output)}
    except Refused as refused:
        return {"error": refused.code, "detail": refused.detail}
    except Exception as error:  # noqa: BLE001  whatever else FFmpeg and PyAV say of the bytes
        if isinstance(error, OSError) and not isinstance(error, FFmpegError):
            return trouble(error)
        return {"error": "bad_media", "detail": "The recording is broken"}


def trouble(error: OSError) -> dict[str, Any]:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return {"error": DISK_FULL}
    return {"error": UNAVAILABLE, "errno": error.errno, "detail": f"the decoder cannot write: {error.strerror}"}


if __name__ == "__main__":
    asked = json.loads(sys.argv[1])
    die_with_parent()
    set_limits(**asked["limits"])
    print(json.dumps(answer(asked)), flush=True)  # noqa: T201
    os._exit(0)
