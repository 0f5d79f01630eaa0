"""Runs blocking work in threads of its own, because the whole process shares asyncio's few threads.

A disk or a name server that never answers would take all of those, and then the process would stand still.
"""

import asyncio
from collections.abc import Callable
from concurrent.futures import Future, InvalidStateError, ThreadPoolExecutor
from contextlib import suppress
from threading import Thread
from typing import Any, TypeVar

T = TypeVar("T")


async def in_daemon_thread(work: Callable[[], T], name: str) -> T:
    """What `work` returns or raises. If the caller is cancelled, the thread goes on.

    Unlike a pool's thread, it does not delay the end of the process.
    """
    done: Future[T] = Future()

    def run() -> None:
        try:
            result = work()
        except BaseException as error:  # noqa: BLE001  it is raised in the waiting caller
            with suppress(InvalidStateError):
                done.set_exception(error)
        else:
            with suppress(InvalidStateError):
                done.set_result(result)

    Thread(target=run, name=name, daemon=True).start()
    return await asyncio.wrap_future(done)


class BoundedThreads:
    """Up to `count` threads for work of one kind, so that work that hangs takes only these threads."""

    def __init__(self, name: str, count: int) -> None:
        self._pool = ThreadPoolExecutor(count, thread_name_prefix=name)
        self._count = count
        self._abandoned = set[Future[Any]]()

    @property
    def all_hang(self) -> bool:
        """Whether every thread is busy with work that has passed its time limit."""
        self._abandoned = {each for each in self._abandoned if not each.done()}
        return len(self._abandoned) >= self._count

    async def run(self, work: Callable[[], T], limit_seconds: float) -> T:
        """What `work` returns or raises. Raises TimeoutError after `limit_seconds`, including the wait for a thread.

        It raises immediately while all threads hang. Work that has begun goes on after the limit. Work that has not
        begun is dropped.
        """
        if self.all_hang:
            raise TimeoutError
        done = self._pool.submit(work)
        try:
            async with asyncio.timeout(limit_seconds):
                return await asyncio.wrap_future(done)
        finally:
            if not (done.cancel() or done.done()):
                self._abandoned.add(done)
