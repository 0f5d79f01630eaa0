"""Writes frames as samples to a file for each channel, and silence if the timestamps say that sound is missing."""

from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

from av.audio.frame import AudioFrame
from av.audio.stream import AudioStream
from av.container import InputContainer
from av.filter import Graph

from app.audio.decoder.answers import Refused
from app.audio.decoder.resampling import build_graph, pull_samples
from app.audio.decoder.timestamps import Clock
from app.audio.decoder.tracks import MAX_CHANNELS, usable_frames

SILENCE = bytes(1 << 16)


class Output(NamedTuple):
    """What the request asks for: each channel alone (`split`) or their mean, at `rate` Hz, in files in `folder`."""

    folder: str
    rate: int
    split: bool
    max_seconds: float


def open_files(output: Output) -> list[BinaryIO]:
    """Open as many files as a recording may need, because none can be opened later, when its channels are known."""
    return [Path(output.folder, f"channel-{i}.pcm").open("wb") for i in range(MAX_CHANNELS if output.split else 1)]


def write_channels(
    container: InputContainer, stream: AudioStream, files: list[BinaryIO], output: Output
) -> dict[str, Any]:
    """Decode the track into the first of the files. The first frame decides how many channels there are.

    Returns the number of channels, the samples in each, and the seconds that a broken clock has jumped. Raises Refused.
    """
    frames = usable_frames(container, stream)
    first = next(frames, None)
    if first is None:
        raise Refused("bad_media", "No audio could be decoded")
    channels = first.layout.nb_channels if output.split else 1
    clock = Clock(container)
    writer = ChannelWriter(files[:channels], clock, output)
    writer.write(first)
    for frame in frames:
        writer.write(frame)
    writer.end_stretch()
    for file in files:
        file.close()
    return {"channels": channels, "samples": writer.written, "skipped_seconds": clock.skipped_seconds}


class ChannelWriter:
    """Writes frames to a file for each channel. `written` counts the samples of one channel.

    A stretch is a run of frames of one shape (rate, format, layout) without a gap. Each stretch has its own filter
    graph.
    """

    def __init__(self, files: list[BinaryIO], clock: Clock, output: Output) -> None:
        self._files = files
        self._clock = clock
        self._rate = output.rate
        self._split = output.split
        self._max_samples = int(output.max_seconds * output.rate)
        self._shape: tuple[int, str, str] | None = None
        self._graph: Graph | None = None
        self._stretch_start = 0.0
        self._stretch_taken = 0
        self.written = 0

    def write(self, frame: AudioFrame) -> None:
        """Write a frame, after silence for the gap before it. Raises Refused if the recording is too long."""
        gap = self._clock.gap_before(frame.time, self._position())
        shape = (frame.sample_rate, frame.format.name, frame.layout.name)
        if shape != self._shape or gap:
            self._begin_stretch(frame, shape, gap)
        assert self._graph is not None
        self._graph.push(frame)
        self._stretch_taken += frame.samples
        self._write_what_is_ready(self._graph)

    def end_stretch(self) -> None:
        """Write the samples that the filter graph still has."""
        if self._graph is not None:
            self._graph.push(None)
            self._write_what_is_ready(self._graph)
            self._graph = None

    def _position(self) -> float:
        """Returns how many seconds there are up to the end of the last frame."""
        return self._stretch_start + (self._stretch_taken / self._shape[0] if self._shape else 0.0)

    def _begin_stretch(self, frame: AudioFrame, shape: tuple[int, str, str], gap: float) -> None:
        self.end_stretch()
        self._write_silence(round(gap * self._rate))
        self._shape = shape
        self._graph = build_graph(frame, self._rate, len(self._files), split=self._split)
        self._stretch_start = self.written / self._rate
        self._stretch_taken = 0

    def _write_what_is_ready(self, graph: Graph) -> None:
        for samples in pull_samples(graph, len(self._files)):
            self._write(samples)

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
