"""Takes files of the folder, a few at the same time, while the watch looks further.

So one large recording holds up neither the others nor the clearing away of what has ended.
"""

import asyncio
import random
from collections import deque
from collections.abc import Callable, Coroutine, Sequence
from functools import partial
from typing import Any

from app.intake.folder.names import Seen

TOGETHER = 4


class Takings:
    """`take` takes one file. It raises only what concerns all files."""

    def __init__(self, take: Callable[[Seen], Coroutine[Any, Any, None]]) -> None:
        self._take = take
        self._left: deque[Seen] = deque()
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._error: BaseException | None = None
        self.changed = asyncio.Event()
        """Set when no file is left, and when `take` raised."""

    def __len__(self) -> int:
        return len(self._tasks)

    @property
    def failed(self) -> bool:
        """Whether `raise_error` would raise."""
        return self._error is not None

    def has(self, seen: Seen) -> bool:
        """Whether the file is being taken now."""
        return seen.identity in self._tasks

    def offer(self, files: Sequence[Seen]) -> None:
        """Take these files, and none of those that were offered before and were not begun."""
        # In any order, so that two processes rarely read the same file.
        self._left = deque(random.sample(files, len(files)))
        self.changed.clear()
        self._begin()

    def raise_error(self) -> None:
        """Raises what `take` raised since the last call."""
        error, self._error = self._error, None
        if error is not None:
            raise error

    async def drain(self) -> None:
        """Begin no more, and wait until no file is being taken."""
        self._left.clear()
        while self._tasks:
            await asyncio.wait(self._tasks.values())

    def cancel(self) -> None:
        self._left.clear()
        for task in self._tasks.values():
            task.cancel()

    async def rest(self) -> None:
        """Wait until all files that were offered are taken, or until `take` raised."""
        while self._tasks or self._left:
            await asyncio.wait(self._tasks.values())

    def _begin(self) -> None:
        while self._left and len(self._tasks) < TOGETHER:
            seen = self._left.popleft()
            if not self.has(seen):
                task = self._tasks[seen.identity] = asyncio.create_task(self._take(seen))
                task.add_done_callback(partial(self._ended, seen.identity))

    def _ended(self, key: str, task: asyncio.Task[None]) -> None:
        del self._tasks[key]
        if not task.cancelled() and (error := task.exception()) is not None:
            self._error = error
            self._left.clear()
        self._begin()
        if self._error is not None or not self._tasks:
            self.changed.set()
