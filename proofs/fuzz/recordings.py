"""Makes the recordings to break: the beginning of the sample call in every container and codec that PyAV can write."""

import tempfile
from pathlib import Path

import av
import numpy as np
from av.audio.frame import AudioFrame
from av.audio.resampler import AudioResampler
from numpy.typing import NDArray

from testing.media import ENCODED, GSM_TONE, write_audio, write_movie
from testing.recordings import SAMPLE_CALL

SECONDS = 1.5
JOINED = ("wav", "mp4", "aiff", "caf", "w64", "amr")


def recordings() -> list[bytes]:
    """Returns a recording in each encoding, movies with sound and without, and files that were joined."""
    with tempfile.TemporaryDirectory(prefix="callscribe-fuzz-") as folder:
        path = Path(folder) / "call"
        made, joined = [GSM_TONE, SAMPLE_CALL.read_bytes()[:24_000]], []
        for container, codec, rate, channels in ENCODED:
            voices = speech(rate)
            samples = np.stack([voices[channel % len(voices)] for channel in range(channels)])
            made.append(write_audio(path, samples, rate, container=container, codec=codec).read_bytes())
            joined += [made[-1] * 2] if container in JOINED else []
        movies = [path.with_suffix(suffix) for suffix in (".mp4", ".mov", ".mkv")]
        made += [write_movie(movie, speech(48_000)).read_bytes() for movie in movies]
        return [*made, *joined, write_movie(path.with_suffix(".avi"), None).read_bytes()]


def speech(rate: int) -> NDArray[np.float32]:
    """Returns the beginning of the sample call at this sample rate, as (2, samples) in −1…1."""
    resampler = AudioResampler(format="fltp", layout="stereo", rate=rate)
    parts: list[NDArray[np.float32]] = []
    with av.open(str(SAMPLE_CALL)) as call:
        for frame in call.decode(audio=0):
            assert isinstance(frame, AudioFrame)
            parts += [np.asarray(part.to_ndarray(), dtype=np.float32) for part in resampler.resample(frame)]
            if sum(part.shape[1] for part in parts) >= SECONDS * rate:
                break
    return np.concatenate(parts, axis=1)[:, : round(SECONDS * rate)]
