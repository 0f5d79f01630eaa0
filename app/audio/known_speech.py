"""A recording that is known to be good: ten seconds of the agent in samples/sample_call.wav, as telephones send it."""

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

SPEECH = Path(__file__).with_name("speech.wav")
"""G.711 at 8 kHz, one channel, behind a header of HEADER_BYTES."""
SPEECH_SECONDS = 10.25
HEADER_BYTES = 58


def known_speech(seconds: float) -> "NDArray[np.float32]":
    """The first seconds of it, or all of it again and again: 16 kHz, −1…1."""
    import numpy as np

    from app.audio.live_pcm import SoundToPcm
    from app.audio.live_sound import Sound

    sound = Sound("mulaw", 8_000)
    whole = SPEECH.read_bytes()[HEADER_BYTES:]
    length = round(seconds * sound.sample_rate)
    raw = (whole * -(-length // len(whole)))[:length]
    converter = SoundToPcm(sound)
    parts = [*converter.convert(raw), *converter.finish()]
    return np.concatenate(parts).astype(np.float32) / np.float32(32768)
