"""Short recordings for tests, as the bytes of a WAV file."""

import io
import math
import struct
import wave
from functools import cache
from pathlib import Path

SAMPLE_CALL = Path(__file__).parent.parent / "samples" / "sample_call.wav"
CALL_BYTES_PER_SECOND = 16_000  # 8 kHz, two channels, one byte of G.711 each


@cache
def tone(seconds: float = 0.2, hertz: float = 440.0) -> bytes:
    """A sine without speech: 8 kHz, mono, 16 bits."""
    samples = (round(12_000 * math.sin(2 * math.pi * hertz * n / 8000)) for n in range(round(8000 * seconds)))
    file = io.BytesIO()
    with wave.open(file, "wb") as recording:
        recording.setnchannels(1)
        recording.setsampwidth(2)
        recording.setframerate(8000)
        recording.writeframes(b"".join(struct.pack("<h", sample) for sample in samples))
    return file.getvalue()


def call(start: float, end: float) -> bytes:
    """A stretch of the sample call, in seconds: agent on the first channel, customer on the second."""
    whole = SAMPLE_CALL.read_bytes()
    marker = whole.index(b"data")
    first = marker + 8
    audio = whole[first:][round(start * CALL_BYTES_PER_SECOND) : round(end * CALL_BYTES_PER_SECOND)]
    header = whole[:4] + struct.pack("<I", first - 8 + len(audio)) + whole[8:marker]
    return header + b"data" + struct.pack("<I", len(audio)) + audio
