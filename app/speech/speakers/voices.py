"""Tells several speakers on one track apart by their voices.

One network hears windows of ten seconds and says where people begin to speak, stop, and take turns. A second one makes
a vector of each piece of speech. The vectors of a whole call fall into groups, and each group is a speaker.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

from app.audio.pcm import PcmFile
from app.speech.speakers import networks
from app.speech.speakers.naming import named
from app.speech.speakers.pieces import pieces_of
from app.speech.speakers.turns import VoiceTurn, turns_of
from app.transcripts.transcript import Span

__all__ = ["MOST_SPEAKERS", "VoiceModels", "VoiceTurn", "installed"]

MOST_SPEAKERS = 2


def installed() -> bool:
    """Whether the models of voices are installed."""
    return networks.installed()


@dataclass(frozen=True, slots=True)
class VoiceModels:
    """The loaded models of voices. Any thread may use them."""

    @staticmethod
    @cache
    def load() -> "VoiceModels":
        """Loads the models once for this process. Raises ModelUnavailable if they are not installed or damaged."""
        networks.load()
        return VoiceModels()

    def separate(
        self, pcm: PcmFile, runs: Sequence[Span], most: int = MOST_SPEAKERS, exact: int | None = None
    ) -> Sequence[VoiceTurn]:
        """Who speaks when, in the order of time. Turns do not overlap, and lie inside or close to `runs` of speech.

        There are as many speakers as there are voices, but at most `most`, or `exact` if that is given. Reads the
        samples in pieces, because a call can take hours.
        """
        pieces = pieces_of(pcm, runs)
        return turns_of(pieces, named(pieces, most, exact)) if pieces else []
