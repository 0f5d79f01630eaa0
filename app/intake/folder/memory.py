"""What a process remembers about the files of a watched folder between two scans. It is lost with the process."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from app.intake.folder.names import Parts, Seen

MOST = 10_000
FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS = 5.0, 300.0


@dataclass(frozen=True)
class Pause:
    """A file that is not tried before `until`, by the monotonic clock. `why` is None if it is only incomplete."""

    until: float
    tries: int
    why: str | None


class Memory:
    """Remembers since when files are unchanged, and which are not to be tried now."""

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._unchanged: dict[Parts, tuple[Seen, float]] = {}
        self._pauses: dict[str, Pause] = {}

    def unchanged_seconds(self, seen: Seen) -> float:
        """For how long the file has been seen as it is. The first call begins to measure that."""
        before = self._unchanged.get(seen.parts)
        if before is not None and before[0] == seen:
            return self._now() - before[1]
        _make_room(self._unchanged)
        self._unchanged[seen.parts] = seen, self._now()
        return 0.0

    def is_paused(self, seen: Seen) -> bool:
        pause = self._pauses.get(seen.identity) if self._pauses else None
        return pause is not None and pause.until > self._now()

    def next_try_seconds(self) -> float | None:
        """When the next paused file may be tried again."""
        lefts = [pause.until - self._now() for pause in self._pauses.values()]
        return min((left for left in lefts if left > 0), default=None)

    def wait(self, seen: Seen, seconds: float) -> None:
        """Do not try an incomplete file before `seconds` have passed."""
        self._remember(seen, Pause(self._now() + seconds, 0, None))

    def failed(self, seen: Seen, why: str) -> None:
        """Do not try the file for a while, which is longer each time."""
        before = self._pauses.get(seen.identity)
        tries = before.tries + 1 if before else 1
        seconds = min(LONGEST_PAUSE_SECONDS, FIRST_PAUSE_SECONDS * 2 ** (tries - 1))
        self._remember(seen, Pause(self._now() + seconds, tries, why))

    def succeeded(self, seen: Seen) -> None:
        self._pauses.pop(seen.identity, None)
        self._unchanged.pop(seen.parts, None)

    @property
    def failures(self) -> list[str]:
        """Why files could not be taken that were tried not long ago."""
        least = self._now() - LONGEST_PAUSE_SECONDS
        return [pause.why for pause in self._pauses.values() if pause.why is not None and pause.until > least]

    def _remember(self, seen: Seen, pause: Pause) -> None:
        _make_room(self._pauses)
        self._pauses[seen.identity] = pause


def _make_room(remembered: dict[Any, Any]) -> None:
    """Forget the oldest entry if there are too many."""
    if len(remembered) >= MOST:
        del remembered[next(iter(remembered))]
