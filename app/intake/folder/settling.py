"""Decides whether a file is complete. Pure: it takes the time by the clock of the file system.

An upload may pause, and nothing but time tells a paused upload from a complete file. So what looks incomplete has to
stay unchanged for longer before it is believed.
"""

from dataclasses import dataclass

from app.audio.completeness import PLACEHOLDER_BYTES
from app.intake.folder.names import Seen

PATIENCE = 12  # times as long: a file that looks incomplete is believed after a minute, by default
HEAD_BYTES = 12


@dataclass(frozen=True)
class Settling:
    """A file is complete when it has not changed for `settle_seconds`.

    A file that was renamed into place has the time of its last byte, so it need not wait again.
    """

    settle_seconds: float

    def missing_seconds(self, seen: Seen, now_ns: int, unchanged_seconds: float = 0.0) -> float:
        """For how much longer the file must not change. 0 or less if it is complete.

        `unchanged_seconds` is for how long this process has seen the file unchanged, because a client may set the time
        of modification, even to one that has not come yet.
        """
        return self.settle_seconds - max((now_ns - seen.mtime_ns) / 1e9, unchanged_seconds)

    def more_patience(self, seen: Seen, now_ns: int, unchanged_seconds: float = 0.0) -> float:
        """As `missing_seconds`, for a file that looks incomplete. Its last change may also have been a rename."""
        changed_ns = max(seen.mtime_ns, seen.ctime_ns)
        return PATIENCE * self.settle_seconds - max((now_ns - changed_ns) / 1e9, unchanged_seconds)


def looks_incomplete(head: bytes, size: int) -> bool:
    """Whether the file is empty, or a WAV file whose header announces more bytes than there are."""
    if size == 0:
        return True
    if len(head) < HEAD_BYTES or head[:4] != b"RIFF" or head[8:12] != b"WAVE":
        return False
    announced = int.from_bytes(head[4:8], "little")
    return size < announced + 8 < PLACEHOLDER_BYTES
