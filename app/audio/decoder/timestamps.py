"""Reads from a container's timestamps where sound is missing, and when the timestamps cannot be believed."""

import av
from av.container import InputContainer

CLOCKED_CONTAINERS = {"asf", "flv", "matroska", "mov", "mp4", "mpeg", "mpegts", "ogg"}
"""These store timestamps. For others FFmpeg computes them from sizes and bit rates, and may be wrong."""

SMALLEST_GAP_SECONDS = 0.1
LARGEST_GAP_SECONDS = 600.0


class Clock:
    """The timestamps of one container. `skipped_seconds` is how far they have jumped because they were broken."""

    def __init__(self, container: InputContainer) -> None:
        self._origin: float | None = None
        names = container.format.name.split(",")  # all that the format has, or the one by which a stream was opened
        if not CLOCKED_CONTAINERS.isdisjoint(names) and container.start_time is not None:
            self._origin = container.start_time / av.time_base
        self.skipped_seconds = 0.0

    def gap_before(self, time: float | None, position: float) -> float:
        """Returns how many seconds of silence belong before the next frame, which has the timestamp `time`.

        `position` is how many seconds were written before it. A gap means lost packets, or a track that begins late. A
        step of more than a second backwards, or a huge one forwards, means broken timestamps. Then there is no silence,
        and later timestamps are compared with this one.
        """
        if self._origin is None or time is None:
            return 0.0
        gap = time - self._origin - position
        if not -1.0 <= gap <= LARGEST_GAP_SECONDS:
            self._origin = time - position
            self.skipped_seconds += gap
        return gap if SMALLEST_GAP_SECONDS <= gap <= LARGEST_GAP_SECONDS else 0.0
