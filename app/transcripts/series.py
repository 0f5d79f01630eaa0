"""Packs measurements that are made at a fixed pace into a short text, so that a long call adds little to a transcript.

A byte holds one measurement. The bytes are compressed and written as base64. Pure; knows nothing of calls.
"""

import zlib
from base64 import b64decode, b64encode
from collections.abc import Iterable
from math import log2

SILENCE_DBFS = -96  # of samples of 16 bits that are all zero; nothing is written below

PITCHES_PER_SECOND = 5
NO_PITCH = 0
_LOWEST_HERTZ = 60.0
_STEPS_PER_OCTAVE = 72  # a sixth of a semitone each, so a byte reaches 700 Hz


def packed(values: Iterable[int]) -> str:
    """Packs values from 0 to 255."""
    return b64encode(zlib.compress(bytes(values), 9)).decode()


def unpacked(text: str) -> bytes:
    return zlib.decompress(b64decode(text))


def voiced(steps: bytes) -> bytes:
    """The pitches, without the places that have none."""
    return steps.replace(bytes([NO_PITCH]), b"")


def level_of(dbfs: float) -> int:
    """The loudness above digital silence, from 0 to 96 dB."""
    return round(min(0.0, max(float(SILENCE_DBFS), dbfs)) - SILENCE_DBFS)


def dbfs_of(level: int) -> int:
    return level + SILENCE_DBFS


def step_of(hertz: float) -> int:
    """The pitch on a scale of sixths of a semitone, from 1 to 255."""
    return 1 + min(254, max(0, round(_STEPS_PER_OCTAVE * log2(hertz / _LOWEST_HERTZ))))


def hertz_of(step: float) -> float:
    return float(_LOWEST_HERTZ * 2 ** ((step - 1) / _STEPS_PER_OCTAVE))


def semitones(steps: float) -> float:
    return steps * 12 / _STEPS_PER_OCTAVE
