"""Short recordings for tests, as the bytes of a WAV file."""

import io
import json
import math
import struct
import wave
from functools import cache
from pathlib import Path
from typing import Any

SAMPLE_CALL = Path(__file__).parent.parent / "samples" / "sample_call.wav"
CALL_BYTES_PER_SECOND = 16_000  # 8 kHz, two channels, one byte of G.711 each


@cache
def tone(seconds: float = 0.2, hertz: float = 440.0) -> bytes:
    """Returns a sine without speech: 8 kHz, mono, 16 bits."""
    samples = (round(12_000 * math.sin(2 * math.pi * hertz * n / 8000)) for n in range(round(8000 * seconds)))
    file = io.BytesIO()
    with wave.open(file, "wb") as recording:
        recording.setnchannels(1)
        recording.setsampwidth(2)
        recording.setframerate(8000)
        recording.writeframes(b"".join(struct.pack("<h", sample) for sample in samples))
    return file.getvalue()


def call(start: float, end: float) -> bytes:
    """Returns a part of the sample call, from `start` to `end` seconds.

    The agent is on the first channel, the customer on the second.
    """
    header, audio = _sample_call()
    return _with_length(header, audio[round(start * CALL_BYTES_PER_SECOND) : round(end * CALL_BYTES_PER_SECOND)])


def first_on_both(recording: bytes) -> bytes:
    """A stretch of the sample call whose second channel repeats the first."""
    start = recording.index(b"data") + 8
    return recording[:start] + bytes(sample for sample in recording[start::2] for _ in range(2))


def said(start: float, end: float, speaker: str | None = None) -> str:
    """Returns the text of the turns that are between two moments of the sample call, of both speakers or of one."""
    return " ".join(
        turn["text"]
        for turn in turns_of_the_sample_call()
        if start <= turn["start"] and turn["end"] <= end and speaker in (None, turn["speaker"])
    )


def turns_of_the_sample_call() -> list[dict[str, Any]]:
    """Returns each turn with its `speaker`, `channel` and `text`, and its `start` and `end` in seconds."""
    turns: list[dict[str, Any]] = json.loads(SAMPLE_CALL.with_suffix(".json").read_text())["turns"]
    return turns


def _sample_call() -> tuple[bytes, bytes]:
    """Returns the header up to the chunk of audio, and the audio."""
    whole = SAMPLE_CALL.read_bytes()
    marker = whole.index(b"data")
    (size,) = struct.unpack_from("<I", whole, marker + 4)
    return whole[:marker], whole[marker + 8 : marker + 8 + size]


def _with_length(header: bytes, audio: bytes) -> bytes:
    """Returns a WAV file whose header announces its real length."""
    size = struct.pack("<I", len(header) + len(audio))
    return header[:4] + size + header[8:] + b"data" + struct.pack("<I", len(audio)) + audio
