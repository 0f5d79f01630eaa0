"""Tells several speakers on one track apart by their voices."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

from app.audio.pcm import PcmFile
from app.speech.model import ModelUnavailable
from app.transcripts.transcript import Span

MOST_SPEAKERS = 2


@dataclass(frozen=True, slots=True)
class VoiceTurn:
    """A stretch in which one voice speaks.

    `speaker` counts from 0 in the order of first speech. It is None if it is not sure who speaks. `confidence` is 0–1.
    """

    start: float
    end: float
    speaker: int | None
    confidence: float


def installed() -> bool:
    """Whether the models of voices are installed."""
    return False


@dataclass(frozen=True, slots=True)
class VoiceModels:
    """The loaded models of voices. Any thread may use them."""

    @staticmethod
    @cache
    def load() -> "VoiceModels":
        """Loads the models once for this process. Raises ModelUnavailable if they are not installed or damaged."""
        raise ModelUnavailable("The models of voices are not installed")

    def separate(
        self, pcm: PcmFile, runs: Sequence[Span], most: int = MOST_SPEAKERS, exact: int | None = None
    ) -> Sequence[VoiceTurn]:
        """Who speaks when, in the order of time. Turns lie inside `runs`, which hold the speech, and do not overlap.

        There are as many speakers as there are voices, but at most `most`, or `exact` if that is given. Reads the
        samples in pieces, because a call can take hours.
        """
        raise NotImplementedError
