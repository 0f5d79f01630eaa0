"""Notes what of a recording does not become samples, so that the transcript can say it."""

from typing import Any

from app.audio.decoder.answers import Refused

REPORTED_SECONDS = 0.2  # decoders refuse a first or last packet of many good recordings, and no word is shorter
REPORTED_BYTES = 64
MAX_REPORTED = 20  # a file may have thousands of tracks, and a reader does not want to see all of them


class Losses:
    """What was left out of one recording.

    `read_packets` counts all packets. `broken_containers` counts how often FFmpeg gave up before the end of a section.
    """

    def __init__(self) -> None:
        self.read_packets = 0
        self.broken_containers = 0
        self._broken_packets = 0
        self._broken_seconds = 0.0
        self._found: list[dict[str, Any]] = []

    def packet_decoded(self, size: int) -> None:
        self.read_packets += size > 0  # the last packet of a container is empty

    def packet_broken(self, seconds: float) -> None:
        self.read_packets += 1
        self._broken_packets += 1
        self._broken_seconds += seconds

    def track_left_out(self, seconds: float | None) -> None:
        self._found.append({"kind": "track", "seconds": seconds})

    def channels_left_out(self, seconds: float) -> None:
        self._found.append({"kind": "channel", "seconds": seconds})

    def bytes_left_out(self, count: int) -> None:
        if count >= REPORTED_BYTES:
            self._found.append({"kind": "bytes", "bytes": count})

    def require_most_is_whole(self) -> None:
        """Raises Refused if more than half of the packets are broken."""
        if self._broken_packets > self.read_packets // 2:
            raise Refused("bad_media", "Most of the recording is broken")

    def answer(self) -> list[dict[str, Any]]:
        """Returns the fields of each `Loss` in `app/audio/decode.py`. If there are very many, the rest is added up."""
        broken = [{"kind": "damaged", "seconds": self._broken_seconds}]
        reported, rest = self._found[:MAX_REPORTED], self._found[MAX_REPORTED:]
        kinds = dict.fromkeys(loss["kind"] for loss in rest)
        sums = [_sum([loss for loss in rest if loss["kind"] == kind]) for kind in kinds]
        return [*(broken if self._broken_seconds >= REPORTED_SECONDS else []), *reported, *sums]


def _sum(losses: list[dict[str, Any]]) -> dict[str, Any]:
    """Returns one loss for several of the same kind. Losses whose seconds are not known add nothing to the sum."""
    name = "bytes" if losses[0]["kind"] == "bytes" else "seconds"
    known = [loss[name] for loss in losses if loss[name] is not None]
    return {"kind": losses[0]["kind"], name: sum(known) if known else None}
