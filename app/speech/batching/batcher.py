"""The threads that own the models. They prepare windows, which are called items here, and recognize them in batches.

A batch may hold items of all jobs. No thread waits until a batch is full. A thread recognizes a batch if one is full,
if items have waited long, if a job has only its last items left, or if there is nothing to prepare. Otherwise it
prepares one more item. So only a few items are prepared ahead of time, and a new job is served soon, however many jobs
there are.
"""

import logging
from collections.abc import Callable, Hashable, Iterable, Sequence
from functools import partial
from threading import Condition, Thread
from typing import Generic, TypeVar

from app.errors import GpuOutOfMemory
from app.speech.batching.fairness import FairQueue
from app.speech.batching.lanes import Lanes
from app.speech.batching.work import Item, Job, Source
from app.speech.model import DeviceLost, ModelAway

logger = logging.getLogger(__name__)


class EngineStopped(Exception):
    """The engine was closed, or broke, before the job was done."""


Result = TypeVar("Result")
ItemT = TypeVar("ItemT", bound=Item)


class Panicked(Exception):
    """The code of a model raised a BaseException, as the tokenizer does, which is written in Rust."""


def _without_panic(call: Callable[[], Result]) -> Result:
    """Makes the call. Raises Panicked instead of a BaseException that is no Exception."""
    try:
        return call()
    except Exception:
        raise
    except BaseException as error:  # noqa: BLE001  raised below, where its traceback keeps no batch in memory
        panic = repr(error)
    raise Panicked(panic)


def _kind_of(item: Item) -> Hashable:
    kind = item.kind
    hash(kind)  # so that a kind without a hash, which is a fault of its family, fails only this job
    return kind


class Batcher(Generic[ItemT]):
    """Runs `recognize` on batches of at most `batch_size` items, on `workers` threads.

    `recognize` does all that an item needs, and returns the items that must be recognized next or again. If it raises
    an error, the batch is halved and tried again, so that only the jobs at fault fail. DeviceLost ends all work: the
    jobs of the batch fail with DeviceLost, because they may be its cause, and all other jobs fail with EngineStopped.
    An error that no thread expects ends all work too.
    """

    def __init__(self, workers: int, batch_size: int, recognize: Callable[[Sequence[ItemT]], Sequence[ItemT]]) -> None:
        self._recognize = recognize
        self._lanes: Lanes[ItemT] = Lanes(batch_size)
        self._sources: FairQueue[Source[ItemT]] = FairQueue()
        self._open_sources: dict[Job, int] = {}
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

    def keep_batches_small(self, most: int | None) -> None:
        """From now on a batch holds at most so many items, because live calls go on. None ends that."""
        with self._changed:
            self._lanes.small_size = most
            self._changed.notify_all()

    def submit(self, job: Job, sources: Sequence[Source[ItemT]]) -> None:
        """Queues a job. Raises EngineStopped after `close`."""
        with self._changed:
            if self._closed:
                raise EngineStopped
            self._open_sources[job] = len(sources)
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
        for job in self._open_sources:
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
        """The next step of one thread, or None if there is nothing to do."""
        self._lanes.drop_ended()
        self._sources.drop_ended()
        self._open_sources = {job: count for job, count in self._open_sources.items() if not job.ended}
        if self._is_source_more_urgent():
            return self._step_of(self._sources.take())
        if batch := self._lanes.take_full():
            return partial(self._run_batch, batch)
        if source := self._sources.take_new():
            return self._step_of(source)
        if not self._sources:  # nothing is left to prepare, so the idle threads divide the items
            batch = self._lanes.take_part(self._idle)
            return partial(self._run_batch, batch) if batch else None
        if batch := self._lanes.take_last(lambda item: not self._open_sources.get(item.job)):
            return partial(self._run_batch, batch)
        return self._step_of(self._sources.take())

    def _step_of(self, source: Source[ItemT] | None) -> Callable[[], None] | None:
        if source is None:
            return None
        self._lanes.overtake()
        return partial(self._advance, source)

    def _is_source_more_urgent(self) -> bool:
        """Whether a job that waits to be prepared is more urgent than every prepared item.

        Prepared items that have been overtaken often go first. Otherwise they would wait for as long as recordings of
        silence are read, which give no items.
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
        queueable = self._with_kinds(items)
        with self._changed:
            if not source.exhausted:
                self._sources.put(source)
            elif source.job in self._open_sources:
                self._open_sources[source.job] -= 1
            self._put(queueable)

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
            if not isinstance(error, ModelAway):  # expected, and the model itself has logged why
                logger.exception("speech.recognize_failed", extra={"items": len(batch)})
            if isinstance(error, GpuOutOfMemory):
                with self._changed:
                    self._lanes.shrink(len(batch))
            if len(batch) == 1:
                batch[0].job.fail(error)
            return False
        queueable = self._with_kinds(again)
        with self._changed:
            self._put(queueable)
        return True

    def _with_kinds(self, items: Iterable[ItemT]) -> list[tuple[ItemT, Hashable]]:
        """The items with their kinds. Call it without the lock.

        Whisper tokenizes the client's prompt for each kind. If the prompt is long, that takes 0.2 to 0.4 ms.
        """
        found = []
        for item in items:
            try:
                found.append((item, _without_panic(partial(_kind_of, item))))
            except Exception as error:
                logger.exception("speech.queue_failed")
                item.job.fail(error)
        return found

    def _put(self, queueable: Iterable[tuple[ItemT, Hashable]]) -> None:
        for item, kind in queueable:
            self._lanes.put(item, kind)
        self._changed.notify_all()
