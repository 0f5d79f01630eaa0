"""Writes frames as samples to a file for each channel, and silence if the timestamps say that sound is missing."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import BinaryIO, NamedTuple

from av.audio.frame import AudioFrame
from av.audio.stream import AudioStream
from av.container import InputContainer
from av.filter import Graph

from app.audio.decoder.answers import Refused
from app.audio.decoder.losses import Losses
from app.audio.decoder.resampling import build_graph, pull_samples
from app.audio.decoder.timestamps import Clock
from app.audio.decoder.tracks import MAX_CHANNELS, usable_frames

SILENCE = bytes(1 << 16)
TOLD_PER_SECOND = 10


class Output(NamedTuple):
    """What the request asks for: each channel at `rate` Hz, in files in `folder`."""

    folder: str
    rate: int
    max_seconds: float
    most_channels: int = MAX_CHANNELS
    """If a stream has more channels than this, they are mixed to one."""


def open_files(output: Output) -> list[BinaryIO]:
    """Open as many files as a recording may need, because none can be opened later, when its channels are known."""
    return [Path(output.folder, f"channel-{i}.pcm").open("wb") for i in range(output.most_channels)]


class ChannelFiles:
    """The files of all channels. A channel that has no sound for a while is silent then.

    `lengths` counts the samples of each channel. If somebody follows the files while they grow, `tell` gets the number
    of channels and how many samples each has.
    """

    def __init__(
        self, files: Sequence[BinaryIO], output: Output, tell: Callable[[int, int], None] | None = None
    ) -> None:
        self._tell = tell
        self._told_samples = 0
        self._files = files
        self._max_samples = int(output.max_seconds * output.rate)
        self.rate = output.rate
        self.lengths: list[int] = []

    @property
    def samples(self) -> int:
        return max(self.lengths, default=0)

    @property
    def most_channels(self) -> int:
        return len(self._files)

    def add_channel(self) -> int | None:
        """Returns the number of a new channel, or None if there are as many as a recording may have."""
        if len(self.lengths) == len(self._files):
            return None
        self.lengths.append(0)
        return len(self.lengths) - 1

    def write(self, channel: int, start: int, samples: memoryview) -> None:
        """Write samples that begin at sample number `start`. Raises Refused if the recording is too long."""
        self.require_length(start + len(samples) // 2)
        self.extend(channel, start)
        self._files[channel].write(samples)
        self.lengths[channel] += len(samples) // 2

    def extend(self, channel: int, length: int) -> None:
        """Make the channel at least this long, by silence. Raises Refused if the recording is too long."""
        self.require_length(length)
        missing = max(0, length - self.lengths[channel]) * 2
        for start in range(0, missing, len(SILENCE)):
            self._files[channel].write(memoryview(SILENCE)[: missing - start])
        self.lengths[channel] += missing // 2

    def require_length(self, samples: int) -> None:
        if samples > self._max_samples:
            raise Refused("too_long", f"The recording is longer than {self._max_samples / self.rate:g} seconds")

    def tell(self, least_samples: int) -> None:
        """Tell how far all channels have grown, if this is at least so much more than at the last time."""
        samples = min(self.lengths, default=0)
        if self._tell is not None and samples >= self._told_samples + least_samples:
            for file in self._files:
                file.flush()
            self._told_samples = samples
            self._tell(len(self.lengths), samples)

    def even_out(self) -> None:
        """Make all channels as long as the longest one."""
        for channel in range(len(self.lengths)):
            self.extend(channel, self.samples)

    def close(self) -> None:
        for file in self._files:
            file.close()


def write_tracks(
    container: InputContainer, streams: Sequence[AudioStream], files: ChannelFiles, losses: Losses
) -> float:
    """Decode these tracks, after what the files already hold.

    Returns the most seconds that the clock of a track has jumped because it was broken. Raises Refused.
    """
    start = files.samples
    if sum(stream.codec_context.channels for stream in streams) > files.most_channels:
        streams = streams[:1]
    channels = iter(range(MAX_CHANNELS))
    writers = []
    for stream in streams:
        # A single track shows by its frames how many channels it has. The frames of several come in any order.
        count = stream.codec_context.channels if len(streams) > 1 else 0
        writers.append(TrackWriter(files, Clock(container), start, [next(channels) for _ in range(count)]))
    while len(streams) > 1 and len(files.lengths) < sum(len(writer.channels) for writer in writers):
        files.add_channel()
    for place, frame in usable_frames(container, streams, losses):
        writers[place].write(frame)
        files.tell(files.rate // TOLD_PER_SECOND)
    for writer in writers:
        writer.end_stretch()
        if writer.lost_seconds:
            losses.channels_left_out(writer.lost_seconds)
    files.even_out()
    files.tell(1)
    return max(writer.clock.skipped_seconds for writer in writers)


class TrackWriter:
    """Writes the frames of one track to the files of its channels, from sample number `start` on.

    A stretch is a run of frames of one shape (rate, format, layout) without a gap. Each stretch has its own filter
    graph. `lost_seconds` counts sound of channels that a recording may not have any more.
    """

    def __init__(self, files: ChannelFiles, clock: Clock, start: int, channels: list[int]) -> None:
        self.clock = clock
        self.channels = channels
        self.lost_seconds = 0.0
        self._files = files
        self._start = start
        self._shape: tuple[int, str, str] | None = None
        self._frame_channels = 0
        self._graph: Graph | None = None
        self._stretch_start = 0.0
        self._stretch_taken = 0
        self._written = 0

    def write(self, frame: AudioFrame) -> None:
        """Write a frame, after silence for the gap before it. Raises Refused if the recording is too long."""
        gap = self.clock.gap_before(frame.time, self._position())
        shape = (frame.sample_rate, frame.format.name, frame.layout.name)
        if shape != self._shape or gap:
            self._begin_stretch(frame, shape, gap)
        assert self._graph is not None
        self._graph.push(frame)
        self._stretch_taken += frame.samples
        if self._frame_channels > len(self.channels):
            self.lost_seconds += frame.samples / frame.sample_rate
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
        is_mixed = frame.layout.nb_channels > self._files.most_channels
        self._require_channels(1 if is_mixed else frame.layout.nb_channels)
        self._written += round(gap * self._files.rate)
        self._files.require_length(self._start + self._written)
        self._shape = shape
        self._graph = build_graph(frame, self._files.rate, is_mixed=is_mixed)
        self._stretch_start = self._written / self._files.rate
        self._stretch_taken = 0

    def _require_channels(self, count: int) -> None:
        """Give the track as many channels as its frames have now, as far as there are any."""
        self._frame_channels = count
        while len(self.channels) < count:
            following = self.channels[-1] + 1 if self.channels else 0
            channel = following if following < len(self._files.lengths) else self._files.add_channel()
            if channel is None:
                return
            self.channels.append(channel)

    def _write_what_is_ready(self, graph: Graph) -> None:
        for planes in pull_samples(graph):
            for channel, samples in zip(self.channels, planes, strict=False):
                self._files.write(channel, self._start + self._written, samples)
            self._written += len(planes[0]) // 2
