"""Places for work that only a few jobs may do at the same time. The most urgent goes first; no owner gets all."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from app.speech.batching.fairness import Share


@dataclass(eq=False)
class _Waiting:
    share: Share
    admitted: "asyncio.Future[None]"


class FairPlaces:
    """`places` in all; one owner holds at most `of_one`. Of equal priorities, the one that waits longest goes first."""

    def __init__(self, places: int, of_one: int) -> None:
        self._places = places
        self._of_one = of_one
        self._held: Counter[str] = Counter()
        self._waiting: list[_Waiting] = []

    @asynccontextmanager
    async def place(self, share: Share) -> AsyncIterator[None]:
        """Wait for a place, and hold it until the end of the block."""
        waiting = _Waiting(share, asyncio.get_running_loop().create_future())
        self._waiting.append(waiting)
        self._admit()
        try:
            await waiting.admitted
            yield
        finally:
            if waiting in self._waiting:
                self._waiting.remove(waiting)
            else:
                self._held[share.owner] -= 1
            self._admit()

    def _admit(self) -> None:
        for waiting in sorted(self._waiting, key=lambda each: each.share.priority):
            if self._held.total() < self._places and self._held[waiting.share.owner] < self._of_one:
                self._waiting.remove(waiting)
                self._held[waiting.share.owner] += 1
                if not waiting.admitted.done():
                    waiting.admitted.set_result(None)
        self._held = +self._held
