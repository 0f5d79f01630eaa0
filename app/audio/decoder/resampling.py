"""Converts frames of any rate, format and layout to signed 16-bit samples of one rate, with a plane for each channel.

FFmpeg's filters do it. They do not level or clean the sound, for reasons that docs/decisions/0021 explains.
"""

from collections.abc import Iterator
from contextlib import suppress

import av
from av.audio.frame import AudioFrame
from av.filter import Graph

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


def build_graph(frame: AudioFrame, rate: int, *, is_mixed: bool = False) -> Graph:
    """Returns a filter graph for frames like this one.

    Its output has a plane for each of their channels, or one with their mean.
    """
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
        graph.add("pan", (_mean_of if is_mixed else _each_channel)(frame.layout.nb_channels)),
        graph.add("aresample", f"{rate}:{RESAMPLER}"),
        graph.add("aformat", sample_fmts="s16p"),
        graph.add("abuffersink"),
    ).configure()
    return graph


def pull_samples(graph: Graph) -> Iterator[list[memoryview]]:
    """Yields the blocks of samples that the graph has ready. A block has a view for each channel."""
    with suppress(av.BlockingIOError, av.EOFError):
        while True:
            frame = graph.pull()
            assert isinstance(frame, AudioFrame)
            planes = [memoryview(plane) for plane in frame.planes]
            yield [plane[: frame.samples * 2] for plane in planes]


def _each_channel(channels: int) -> str:
    """Returns the options of the filter `pan` that keep each channel, whatever its position is called."""
    return "|".join([f"{channels}c", *(f"c{channel}=c{channel}" for channel in range(channels))])


def _mean_of(channels: int) -> str:
    """Returns the options of the filter `pan` that make one channel of all."""
    return "1c|c0=" + "+".join(f"{1 / channels}*c{channel}" for channel in range(channels))
