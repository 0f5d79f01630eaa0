"""The threads that own the models: they prepare what was asked, and decode it in batches across all jobs.

No thread waits for a batch to fill: it decodes when one is full or when nothing is left to prepare, and
prepares otherwise. So little is prepared ahead of what can be decoded, however much is asked.
"""

import logging
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from threading import Condition, Thread
from typing import Generic, Protocol, TypeVar

from app.speech.fair_queue import FairQueue, Item, Job

logger = logging.getLogger(__name__)


class EngineStopped(Exception):
    """The engine was closed before the work was done."""


class FallibleJob(Job, Protocol):
    def fail(self, error: Exception) -> None:
        """Ends the job with an error, unless it has ended."""


class Batchable(Item, Protocol):
    @property
    def job(self) -> FallibleJob: ...


ItemT = TypeVar("ItemT", bound=Batchable)
SourceItemT = TypeVar("SourceItemT", bound=Batchable, covariant=True)


class Source(Protocol[SourceItemT]):
    """Something of a job's that gives items a few at a time, such as a channel that is read."""

    @property
    def job(self) -> FallibleJob: ...

    @property
    def exhausted(self) -> bool: ...

    def advance(self) -> Sequence[SourceItemT]:
        """The next items, none if it has only come nearer to them."""


class Batcher(Generic[ItemT]):
    """Runs `decode` on batches of at most `batch_size` items, on `workers` threads.

    `decode` settles the items it is given, and returns those to decode again. What goes wrong in it ends the
    jobs that cannot be decoded alone, and no others.
    """

    def __init__(self, workers: int, batch_size: int, decode: Callable[[Sequence[ItemT]], Sequence[ItemT]]) -> None:
        self._decode = decode
        self._items: FairQueue[ItemT] = FairQueue(batch_size)
        self._fresh: deque[Source[ItemT]] = deque()
        self._begun: deque[Source[ItemT]] = deque()
        self._jobs: set[FallibleJob] = set()
        self._changed = Condition()
        self._idle = 0
        self._closed = False
        self._threads = [Thread(target=self._work, name=f"speech-{number}", daemon=True) for number in range(workers)]

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def submit(self, job: FallibleJob, sources: Iterable[Source[ItemT]]) -> None:
        """Queues a job. Raises EngineStopped after `close`."""
        with self._changed:
            if self._closed:
                raise EngineStopped
            self._jobs = {job, *(other for other in self._jobs if not other.ended)}
            self._fresh.extend(sources)
            self._changed.notify_all()

    def close(self) -> None:
        """Waits for the batches in the works, then ends all other jobs with EngineStopped."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        for thread in self._threads:
            if thread.is_alive():
                thread.join()
        for job in self._jobs:
            job.fail(EngineStopped())

    def _work(self) -> None:
        while (step := self._next_step()) is not None:
            step()

    def _next_step(self) -> Callable[[], None] | None:
        with self._changed:
            self._idle += 1
            try:
                while not self._closed:
                    if step := self._choose_step():
                        return step
                    self._changed.wait()
            finally:
                self._idle -= 1
        return None

    def _choose_step(self) -> Callable[[], None] | None:
        self._items.drop_ended()
        if batch := self._items.take_full():
            return lambda: self._decode_batch(batch)
        while sources := self._fresh or self._begun:
            source = sources.popleft()
            if not source.job.ended:
                return lambda: self._advance(source)
        if batch := self._items.take_share(self._idle):
            return lambda: self._decode_batch(batch)
        return None

    def _advance(self, source: Source[ItemT]) -> None:
        try:
            items = source.advance()
        except Exception as error:
            if not source.job.ended:  # a cancelled job's audio is gone before its turn comes
                logger.exception("speech.prepare_failed")
            source.job.fail(error)
            return
        with self._changed:
            if not source.exhausted:
                self._begun.append(source)
            self._put(items)

    def _decode_batch(self, batch: Sequence[ItemT]) -> None:
        """Decodes a batch; one that fails is halved, so that it ends the jobs at fault, and spares memory."""
        try:
            again = self._decode(batch)
        except Exception as error:
            logger.exception("speech.decode_failed", extra={"items": len(batch)})
            if len(batch) == 1:
                batch[0].job.fail(error)
                return
            middle = len(batch) // 2
            self._decode_batch(batch[:middle])
            self._decode_batch(batch[middle:])
            return
        with self._changed:
            self._put(again)

    def _put(self, items: Iterable[ItemT]) -> None:
        for item in items:
            self._items.put(item)
        self._changed.notify_all()
