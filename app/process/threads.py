"""Runs blocking work in separate threads, because the whole process shares the few threads of asyncio.

A disk or a name server that never answers would occupy all of those, and then nothing in the process would go on.
"""

import asyncio
from collections.abc import Callable
from concurrent.futures import Future, InvalidStateError, ThreadPoolExecutor
from contextlib import suppress
from threading import Thread
from typing import Any, TypeVar

T = TypeVar("T")


async def in_daemon_thread(work: Callable[[], T], name: str) -> T:
    """Run `work` in a new thread. Returns or raises what `work` does.

    If the caller is cancelled, the thread goes on, but it does not delay the end of the process as a pool's would.
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
    """Up to `count` threads for work of one kind, so that work of this kind that hangs occupies no other threads."""

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
        """Run `work` in one of the threads. Returns or raises what `work` does.

        Raises TimeoutError after `limit_seconds`, which include the wait for a thread, and immediately while all
        threads hang. Work that has begun goes on in its thread after the limit. Work that has not begun is dropped.
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
