"""The sound of a live call: what its client sends."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

LiveEncoding = Literal["pcm_s16le", "mulaw", "alaw", "container"]
SILENCE: Mapping[LiveEncoding, bytes] = {"pcm_s16le": b"\x00\x00", "mulaw": b"\xff", "alaw": b"\xd5"}
"""One sample without sound."""


@dataclass(frozen=True, slots=True)
class Sound:
    """Raw sound with its channels interleaved, or a container such as WebM, whose header says the rest.

    `sample_rate` is 8,000 to 48,000 Hz, `channels` 1 or 2. The live text of a container with more channels than this is
    that of their mix, as in the transcript.
    """

    encoding: LiveEncoding = "pcm_s16le"
    sample_rate: int = 16_000
    channels: int = 1

    @property
    def bytes_per_frame(self) -> int:
        """Bytes of one sample of each channel; 0 for a container, which has none of its own."""
        return {"pcm_s16le": 2, "mulaw": 1, "alaw": 1, "container": 0}[self.encoding] * self.channels
