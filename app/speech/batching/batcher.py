"""The threads that own the models: they prepare windows ("items") and recognize them in batches across all jobs.

No thread waits for a batch to fill. A thread recognizes a batch if one is full or if nothing is left to prepare.
Otherwise it prepares one more item. So few items are prepared ahead of time, however many jobs there are, and a new
job is served soon. A job's last items do not wait for other items to fill their batch.

The module must not know what an item or a model is: `recognize` is handed to it.
"""

import logging
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from threading import Condition, Thread
from typing import Generic, Protocol, TypeVar

from app.errors import GpuOutOfMemory
from app.speech.batching.fairness import FairQueue, Sharing
from app.speech.batching.lanes import Item, Lanes
from app.speech.model import DeviceLost

logger = logging.getLogger(__name__)


class EngineStopped(Exception):
    """The engine was closed, or broke, before the job was done."""


class FallibleJob(Sharing, Protocol):
    def fail(self, error: Exception) -> None:
        """Ends the job with an error, unless it has ended."""


class Batchable(Item, Protocol):
    @property
    def job(self) -> FallibleJob: ...


Result = TypeVar("Result")
ItemT = TypeVar("ItemT", bound=Batchable)
SourceItemT = TypeVar("SourceItemT", bound=Batchable, covariant=True)


class Source(Protocol[SourceItemT]):
    """A part of a job that gives items a few at a time, such as a channel that is read."""

    @property
    def job(self) -> FallibleJob: ...

    @property
    def exhausted(self) -> bool: ...

    def advance(self) -> Sequence[SourceItemT]:
        """Does one step of work. Returns the few items that it gave, perhaps none."""


class Panicked(Exception):
    """The code of a model raised a BaseException, as the tokenizer does, which is written in Rust."""


def _without_panic(call: Callable[[], Result]) -> Result:
    """Make the call. Raises Panicked instead of a BaseException that is no Exception."""
    try:
        return call()
    except Exception:
        raise
    except BaseException as error:  # noqa: BLE001  raised below, where its traceback keeps no batch in memory
        panic = repr(error)
    raise Panicked(panic)


class Batcher(Generic[ItemT]):
    """Runs `recognize` on batches of at most `batch_size` items, on `workers` threads.

    `recognize` settles its items, and returns the items that must be recognized (again). If it raises, the batch is
    halved and tried again, so that only the jobs of items that fail alone are failed. DeviceLost ends everything: the
    jobs of the batch fail with DeviceLost because they may be its cause, all others with EngineStopped. An error
    that no thread expects ends everything too.
    """

    def __init__(self, workers: int, batch_size: int, recognize: Callable[[Sequence[ItemT]], Sequence[ItemT]]) -> None:
        self._recognize = recognize
        self._lanes: Lanes[ItemT] = Lanes(batch_size)
        self._sources: FairQueue[Source[ItemT]] = FairQueue()
        self._unread: dict[FallibleJob, int] = {}
        self._changed = Condition()
        self._idle = 0
        self._closed = self._broken = False
        self._threads = [Thread(target=self._work, name=f"speech-{number}", daemon=True) for number in range(workers)]

    @property
    def alive(self) -> bool:
        """False once a thread has died of an error."""
        return not self._broken

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def submit(self, job: FallibleJob, sources: Sequence[Source[ItemT]]) -> None:
        """Queues a job. Raises EngineStopped after `close`."""
        with self._changed:
            if self._closed:
                raise EngineStopped
            self._unread[job] = len(sources)
            for source in sources:
                self._sources.put(source)
            self._changed.notify_all()

    def close(self) -> None:
        """Waits for the batches that run, then ends all other jobs with EngineStopped."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        for thread in self._threads:
            if thread.is_alive():
                thread.join()
        self._fail_all()

    def _work(self) -> None:
        try:
            while (step := self._next_step()) is not None:
                step()
                del step  # so that a waiting thread keeps no recording in memory
        except BaseException:
            logger.critical("speech.thread_died", exc_info=True)
            with self._changed:
                self._broken = self._closed = True
                self._changed.notify_all()
            self._fail_all()

    def _fail_all(self) -> None:
        for job in self._unread:
            job.fail(EngineStopped())

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
        self._lanes.drop_ended()
        self._sources.drop_ended()
        self._unread = {job: unread for job, unread in self._unread.items() if not job.ended}
        batch: list[ItemT] = []
        source = self._sources.take() if self._is_source_more_urgent() else None
        if source is None and not (batch := self._lanes.take_full()) and not (source := self._sources.take_new()):
            if self._sources:
                batch = self._lanes.take_last(lambda item: not self._unread.get(item.job))
                source = None if batch else self._sources.take()
            else:
                batch = self._lanes.take_share(self._idle)
        if source:
            self._lanes.overtake()
            return partial(self._advance, source)
        return partial(self._run_batch, batch) if batch else None

    def _is_source_more_urgent(self) -> bool:
        """Whether a job that waits to be prepared is more urgent than every prepared item.

        Once prepared items have been overtaken often they go first, because a recording of silence gives no items,
        however much of it is read.
        """
        if self._lanes.overdue:
            return False
        prepared, unprepared = self._lanes.most_urgent(), self._sources.most_urgent()
        return prepared is not None and unprepared is not None and unprepared < prepared

    def _advance(self, source: Source[ItemT]) -> None:
        try:
            items = _without_panic(source.advance)
        except DeviceLost as error:
            source.job.fail(error)
            raise
        except Exception as error:
            if not source.job.ended:  # the audio of a cancelled job is deleted while it still waits
                logger.exception("speech.prepare_failed")
            source.job.fail(error)
            return
        with self._changed:
            if not source.exhausted:
                self._sources.put(source)
            elif source.job in self._unread:
                self._unread[source.job] -= 1
            self._put(items)

    def _run_batch(self, batch: Sequence[ItemT]) -> None:
        """Halves a batch that fails, so that only the jobs at fault fail, and so that it needs less memory."""
        if self._succeeds(batch) or len(batch) == 1:
            return
        middle = len(batch) // 2
        self._run_batch(batch[:middle])
        self._run_batch(batch[middle:])

    def _succeeds(self, batch: Sequence[ItemT]) -> bool:
        """Whether a batch is done. The error does not leave this method, because it would keep the batch in memory."""
        try:
            again = _without_panic(partial(self._recognize, batch))
        except DeviceLost as error:
            for item in batch:
                item.job.fail(error)
            raise
        except Exception as error:
            logger.exception("speech.decode_failed", extra={"items": len(batch)})
            if isinstance(error, GpuOutOfMemory):
                with self._changed:
                    self._lanes.shrink()
            if len(batch) == 1:
                batch[0].job.fail(error)
            return False
        with self._changed:
            self._put(again)
        return True

    def _put(self, items: Iterable[ItemT]) -> None:
        for item in items:
            try:
                _without_panic(partial(self._lanes.put, item))  # it asks the model for the item's kind
            except Exception as error:
                logger.exception("speech.queue_failed")
                item.job.fail(error)
        self._changed.notify_all()
