"""Turns the sound of a live call into samples of 16 kHz as it comes. G.711 and PCM need no FFmpeg."""

from functools import cache

import numpy as np
import soxr
from numpy.typing import NDArray

from app.audio.live_sound import Sound
from app.audio.pcm import SAMPLE_RATE

Line = NDArray[np.int16]


class SoundToPcm:
    """Converts one call's sound. It keeps what does not fill a sample of each channel until more comes."""

    def __init__(self, sound: Sound) -> None:
        """Raises ValueError for a container, which only FFmpeg can read."""
        if sound.encoding == "container":
            raise ValueError("a container is no raw sound")
        self._sound = sound
        self._rest = b""
        self._resamplers = [
            soxr.ResampleStream(sound.sample_rate, SAMPLE_RATE, 1, dtype="int16") for _ in range(sound.channels)
        ]
        self._resamples = sound.sample_rate != SAMPLE_RATE

    def convert(self, raw: bytes) -> list[Line]:
        """The samples of each channel. All have the same length, which may be 0 because the resampler looks ahead."""
        raw = self._rest + raw
        whole = len(raw) - len(raw) % self._sound.bytes_per_frame
        self._rest = raw[whole:]
        return self._resampled(raw[:whole], last=False)

    def finish(self) -> list[Line]:
        """The last samples of each channel."""
        return self._resampled(b"", last=True)

    def _resampled(self, raw: bytes, *, last: bool) -> list[Line]:
        lines = samples_of(raw, self._sound)
        if not self._resamples:
            return lines
        return [
            resampler.resample_chunk(line, last=last) for resampler, line in zip(self._resamplers, lines, strict=True)
        ]


def samples_of(raw: bytes, sound: Sound) -> list[Line]:
    """The samples of each channel at the sound's own rate. `raw` holds whole samples of all channels."""
    if sound.encoding == "pcm_s16le":
        samples = np.frombuffer(raw, "<i2").astype(np.int16)
    else:
        samples = g711_table(sound.encoding)[np.frombuffer(raw, np.uint8)]
    return [np.ascontiguousarray(samples[channel :: sound.channels]) for channel in range(sound.channels)]


@cache
def g711_table(encoding: str) -> Line:
    """The 16-bit sample of each byte of `mulaw` or `alaw` (ITU-T G.711)."""
    byte = np.arange(256, dtype=np.int32)
    if encoding == "mulaw":
        byte = ~byte & 0xFF
        magnitude = (((byte & 0x0F) << 3) + 0x84 << ((byte & 0x70) >> 4)) - 0x84
        return np.where(byte & 0x80, -magnitude, magnitude).astype(np.int16)
    byte ^= 0x55
    segment, mantissa = (byte & 0x70) >> 4, (byte & 0x0F) << 4
    magnitude = np.where(segment == 0, mantissa + 8, (mantissa + 0x108) << np.maximum(segment - 1, 0))
    return np.where(byte & 0x80, magnitude, -magnitude).astype(np.int16)
