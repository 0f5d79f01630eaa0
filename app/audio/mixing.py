"""Mixes the channels of a recording to one, so that no side of the call is lost in the mix.

It exists because a mean of all channels hides a speaker who is much quieter than the others, and the model then leaves
the speaker out. Only such a channel is raised, so that usual calls are mixed unchanged.
"""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from app.audio.pcm import BYTES_PER_SAMPLE, SAMPLE_RATE, PcmFile

BLOCK_SAMPLES = SAMPLE_RATE // 10
STRETCH_SAMPLES = 200 * BLOCK_SAMPLES

MUCH_QUIETER_DB = 20.0  # headsets and telephone lines differ by less
RAISED_TO_DB = -10.0  # below the loudest channel
MOST_GAIN_DB = 30.0
FLOOR_DB = -40.0  # noise is not raised above this, below the loudest channel
SPEECH_ABOVE_NOISE_DB = 12.0
ALONE_DB = 10.0  # where another channel is louder by more, this one's sound may be its echo
FAINTEST_DB = -75.0
FEWEST_BLOCKS = 5


def mix(channels: Sequence[PcmFile], path: Path) -> PcmFile:
    """Writes the mean of the channels to `path`, and erases their files. Blocks while it reads. Raises OSError."""
    gains = gains_of(
        np.concatenate([_levels(blocks) for blocks in _stretches(channels)] or [np.zeros((0, 1), np.float32)])
    )
    with path.open("wb") as file:
        for blocks in _stretches(channels):
            mixed = np.tensordot(gains / len(channels), blocks, axes=1)
            file.write(np.clip(np.rint(mixed), -32768, 32767).astype("<i2").tobytes())
    for channel in channels:
        channel.path.unlink()
    return PcmFile(path)


def gains_of(levels: NDArray[np.float32]) -> NDArray[np.float32]:
    """Returns a factor for each channel. `levels` has the level of each block and channel, in dB of full scale.

    A channel is raised if its speech is much quieter than the loudest channel's. Its speech is what is clearly above
    its noise while no other channel is much louder.
    """
    count = levels.shape[1]
    gains = np.zeros(count, np.float32)
    if count > 1 and len(levels) >= FEWEST_BLOCKS:
        noise = np.percentile(levels, 10, axis=0)
        others = np.stack([np.delete(levels, channel, axis=1).max(axis=1) for channel in range(count)], axis=1)
        is_speech = (levels > np.maximum(noise + SPEECH_ABOVE_NOISE_DB, FAINTEST_DB)) & (others < levels + ALONE_DB)
        speech = [levels[is_speech[:, each], each] for each in range(count)]
        usual = [float(np.median(each)) if len(each) >= FEWEST_BLOCKS else None for each in speech]
        loudest = max((each for each in usual if each is not None), default=0.0)
        for channel, level in enumerate(usual):
            if level is not None and level < loudest - MUCH_QUIETER_DB:
                most = min(MOST_GAIN_DB, loudest + FLOOR_DB - float(noise[channel]))
                gains[channel] = max(0.0, min(loudest + RAISED_TO_DB - level, most))
    return np.asarray(10 ** (gains / 20), np.float32)


def _levels(stretch: NDArray[np.float32]) -> NDArray[np.float32]:
    """Returns the level of each whole block, in dB of full scale."""
    blocks = stretch.shape[1] // BLOCK_SAMPLES
    parts = stretch[:, : blocks * BLOCK_SAMPLES].reshape(len(stretch), blocks, BLOCK_SAMPLES)
    powers = np.einsum("cbs,cbs->bc", parts, parts) / BLOCK_SAMPLES / 32768.0**2
    return np.asarray(10 * np.log10(powers + 1e-12), np.float32)


def _stretches(channels: Sequence[PcmFile]) -> Iterator[NDArray[np.float32]]:
    """Yields the samples of all channels in stretches, as 16-bit numbers. The shape is (channels, samples)."""
    with ExitStack() as stack:
        files = [stack.enter_context(channel.path.open("rb")) for channel in channels]
        while first := files[0].read(STRETCH_SAMPLES * BYTES_PER_SAMPLE):
            raw = [first, *(file.read(len(first)) for file in files[1:])]
            yield np.stack([np.frombuffer(each, dtype="<i2") for each in raw]).astype(np.float32)
