"""Counts how the recordings of one `callscribe transcribe` ended."""

from dataclasses import dataclass


@dataclass
class Tally:
    failed: int = 0
    warned: int = 0
