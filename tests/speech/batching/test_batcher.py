"""The batcher's threads, with arithmetic instead of a model."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from threading import Event
from typing import Any
from weakref import finalize

import pytest

from app.errors import GpuOutOfMemory
from app.process.places import Rank
from app.speech.batching.batcher import Batcher, EngineStopped, Panicked
from app.speech.model import DeviceLost

TIMEOUT_SECONDS = 20


@dataclass(eq=False)
class Sum:
    """A job whose result is the sum of its numbers, after all of them are recognized."""

    count: int
    rank: Rank = field(default_factory=Rank)
    outcome: "Future[int]" = field(default_factory=Future)
    recognized: list[int] = field(default_factory=list)

    @property
    def ended(self) -> bool:
        return self.outcome.done()

    def fail(self, error: Exception) -> None:
        with suppress(Exception):
            self.outcome.set_exception(error)

    def add(self, number: int) -> None:
        self.recognized.append(number)
        if len(self.recognized) == self.count:
            self.outcome.set_result(sum(self.recognized))

    def result(self) -> int:
        return self.outcome.result(TIMEOUT_SECONDS)


@dataclass(frozen=True, eq=False)
class Number:
    job: Sum
    value: int
    kind: str = "number"
    hurries: Callable[[], bool] | None = None
    again: bool = False


@dataclass
class Numbers:
    """A source that gives a job's numbers, `step` at a time."""

    job: Sum
    values: list[int]
    step: int = 2
    kind: str = "number"

    @property
    def exhausted(self) -> bool:
        return not self.values

    def advance(self) -> Sequence[Number]:
        given, self.values = self.values[: self.step], self.values[self.step :]
        return [Number(self.job, value, self.kind) for value in given]


class SilentSource(Numbers):
    """A source that has no numbers to give."""

    def advance(self) -> Sequence[Number]:
        self.job.outcome.set_result(0)
        self.values = []
        return []


class BrokenSource(Numbers):
    def advance(self) -> Sequence[Number]:
        raise ValueError("unreadable")


def recognize(batch: Sequence[Number]) -> list[Number]:
    """Finishes even numbers, doubles odd ones for a later batch, and refuses negative ones."""
    if any(number.value < 0 for number in batch):
        raise ValueError("negative")
    for number in batch:
        if number.value % 2 == 0:
            number.job.add(number.value)
    return [Number(number.job, 2 * number.value, "again") for number in batch if number.value % 2]


@contextmanager
def running(
    recognize: Callable[[Sequence[Number]], list[Number]] = recognize, workers: int = 2, batch_size: int = 4
) -> Iterator[Batcher[Number]]:
    batcher = Batcher(workers, batch_size, recognize)
    batcher.start()
    try:
        yield batcher
    finally:
        batcher.close()


def submit(batcher: Batcher[Number], values: list[int], kind_of_job: type[Sum] = Sum) -> Sum:
    job = kind_of_job(len(values))
    batcher.submit(job, [Numbers(job, values)])
    return job


def test_all_jobs_get_all_their_results() -> None:
    with running() as batcher:
        jobs = [submit(batcher, list(range(count))) for count in range(1, 30)]

        assert [job.result() for job in jobs] == [
            sum(n if n % 2 == 0 else 2 * n for n in range(count)) for count in range(1, 30)
        ]


def test_a_batch_is_filled_from_several_jobs() -> None:
    batches: list[set[Sum]] = []

    def note(batch: Sequence[Number]) -> list[Number]:
        batches.append({number.job for number in batch})
        return recognize(batch)

    batcher = Batcher(1, 4, note)
    jobs = [submit(batcher, [0, 2]) for _ in range(4)]
    batcher.start()

    assert [job.result() for job in jobs] == [2, 2, 2, 2]
    assert batches == [{jobs[0], jobs[1]}, {jobs[2], jobs[3]}]
    batcher.close()


@pytest.mark.parametrize("bad", [[-1], [2, 4, -1, 8]])
def test_an_item_that_fails_ends_only_its_own_job(bad: list[int], caplog: pytest.LogCaptureFixture) -> None:
    with running() as batcher:
        jobs = [submit(batcher, values) for values in ([2, 4, 6], bad, [8, 10])]

        assert [jobs[0].result(), jobs[2].result()] == [12, 18]
        with pytest.raises(ValueError, match="negative"):
            jobs[1].result()
    assert "speech.recognize_failed" in caplog.text


def test_a_source_that_cannot_be_read_ends_only_its_own_job() -> None:
    with running() as batcher:
        lost = Sum(1)
        batcher.submit(lost, [BrokenSource(lost, [2])])

        assert submit(batcher, [2, 4]).result() == 6
        with pytest.raises(ValueError, match="unreadable"):
            lost.result()


def test_batches_stay_half_as_large_if_memory_is_short() -> None:
    sizes: list[int] = []

    def small(batch: Sequence[Number]) -> list[Number]:
        sizes.append(len(batch))
        if len(batch) > 2:
            raise GpuOutOfMemory
        return recognize(batch)

    with running(small, workers=1) as batcher:
        assert submit(batcher, [2] * 8).result() == 16
    assert sizes == [4, 2, 2, 2, 2]


def test_one_item_that_is_too_large_ends_its_job() -> None:
    def full(batch: Sequence[Number]) -> list[Number]:
        raise GpuOutOfMemory

    with running(full) as batcher, pytest.raises(GpuOutOfMemory):
        submit(batcher, [2]).result()


def test_no_work_is_done_for_a_cancelled_job() -> None:
    busy, go_on = Event(), Event()
    seen: list[Sum] = []

    def hold(batch: Sequence[Number]) -> list[Number]:
        busy.set()
        assert go_on.wait(TIMEOUT_SECONDS)
        seen.extend(number.job for number in batch)
        return recognize(batch)

    with running(hold, workers=1) as batcher:
        first = submit(batcher, [2, 4, 6, 8])
        assert busy.wait(TIMEOUT_SECONDS)
        dropped, kept = submit(batcher, [2, 4]), submit(batcher, [6])
        dropped.outcome.cancel()
        go_on.set()

        assert (first.result(), kept.result()) == (20, 6)
    assert dropped not in seen


@pytest.mark.parametrize("source", [Numbers, SilentSource])
def test_waiting_threads_keep_nothing_of_a_job_in_memory(source: type[Numbers]) -> None:
    gone = Event()
    with running() as batcher:
        job = Sum(6)
        finalize(job, gone.set)
        batcher.submit(job, [source(job, [0] * 6)])
        assert job.result() == 0

        del job
        assert gone.wait(TIMEOUT_SECONDS)


def test_waiting_threads_keep_nothing_of_a_cancelled_job_in_memory() -> None:
    busy, go_on, gone = Event(), Event(), Event()

    def hold(batch: Sequence[Number]) -> list[Number]:
        busy.set()
        assert go_on.wait(TIMEOUT_SECONDS)
        return recognize(batch)

    with running(hold) as batcher:
        job = submit(batcher, [1] * 6)
        finalize(job, gone.set)
        assert busy.wait(TIMEOUT_SECONDS)
        job.outcome.cancel()

        del job
        go_on.set()
        assert gone.wait(TIMEOUT_SECONDS)


def test_a_short_job_overtakes_a_long_one() -> None:
    busy, go_on = Event(), Event()

    def hold(batch: Sequence[Number]) -> list[Number]:
        busy.set()
        assert go_on.wait(TIMEOUT_SECONDS)
        return recognize(batch)

    with running(hold, workers=1) as batcher:
        long = submit(batcher, [0] * 10_000)
        assert busy.wait(TIMEOUT_SECONDS)
        short = submit(batcher, [2])
        short.outcome.add_done_callback(lambda _: left.append(long.count - len(long.recognized)))
        left: list[int] = []
        go_on.set()

        assert short.result() == 2
        assert long.result() == 0
    assert left[0] > 9_000


def test_the_more_urgent_of_two_long_jobs_ends_first() -> None:
    done: list[Sum] = []
    batcher = Batcher(1, 4, recognize)
    calm, urgent = (Sum(100, Rank(priority)) for priority in (5, 0))
    for job in (calm, urgent):
        job.outcome.add_done_callback(lambda _, job=job: done.append(job))  # type: ignore[misc]
        batcher.submit(job, [Numbers(job, [0] * 100)])
    batcher.start()

    assert [calm.result(), urgent.result()] == [0, 0]
    batcher.close()
    assert done == [urgent, calm]


@pytest.mark.parametrize("fault", [DeviceLost, AssertionError])
def test_a_thread_that_dies_ends_all_jobs_and_is_logged(
    fault: type[Exception], caplog: pytest.LogCaptureFixture
) -> None:
    def lose(batch: Sequence[Number]) -> list[Number]:
        raise DeviceLost

    class Stuck(Sum):
        def fail(self, error: Exception) -> None:
            super().fail(error)
            assert isinstance(error, EngineStopped)

    batcher = Batcher(1, 4, lose if fault is DeviceLost else recognize)
    assert batcher.alive
    jobs = [submit(batcher, [-1], Stuck), submit(batcher, [2])]
    batcher.start()

    for job in jobs:
        with pytest.raises((EngineStopped, ValueError, DeviceLost)):
            job.result()
    batcher.close()
    assert not batcher.alive
    with pytest.raises(EngineStopped):
        submit(batcher, [2])
    assert "speech.thread_died" in caplog.text


class Panic(BaseException):
    """As pyo3's PanicException."""


def test_a_panic_while_recognizing_ends_only_its_own_job() -> None:
    def panic(batch: Sequence[Number]) -> list[Number]:
        if any(number.value == 13 for number in batch):
            raise Panic("index out of range")
        return recognize(batch)

    batcher = Batcher(1, 2, panic)
    poison, other = submit(batcher, [13]), submit(batcher, [2])
    batcher.start()

    with pytest.raises(Panicked, match="index out of range"):
        poison.result()
    assert other.result() == 2
    assert batcher.alive
    batcher.close()


def test_a_panic_while_preparing_ends_only_its_own_job() -> None:
    class Panicking(Numbers):
        def advance(self) -> Sequence[Number]:
            raise Panic

    batcher = Batcher(1, 2, recognize)
    poison = Sum(1)
    batcher.submit(poison, [Panicking(poison, [1])])
    other = submit(batcher, [2])
    batcher.start()

    with pytest.raises(Panicked):
        poison.result()
    assert other.result() == 2
    batcher.close()


def test_a_panic_while_queueing_ends_only_its_own_job() -> None:
    class WithoutKind(Number):
        def __getattribute__(self, name: str) -> Any:
            if name == "kind":
                raise Panic
            return super().__getattribute__(name)

    class Panicking(Numbers):
        def advance(self) -> Sequence[Number]:
            return [WithoutKind(number.job, number.value) for number in super().advance()]

    batcher = Batcher(1, 2, recognize)
    poison = Sum(1)
    batcher.submit(poison, [Panicking(poison, [1])])
    other = submit(batcher, [2])
    batcher.start()

    with pytest.raises(Panicked):
        poison.result()
    assert other.result() == 2
    assert batcher.alive
    batcher.close()


def test_jobs_of_the_failed_batch_lose_their_device_and_the_others_only_their_engine() -> None:
    def lose(batch: Sequence[Number]) -> list[Number]:
        raise DeviceLost

    batcher = Batcher(1, 2, lose)
    suspect, other = submit(batcher, [2, 4]), submit(batcher, [6])
    batcher.start()

    with pytest.raises(DeviceLost):
        suspect.result()
    with pytest.raises(EngineStopped):
        other.result()
    batcher.close()


def test_an_item_that_cannot_be_queued_ends_only_its_own_job(caplog: pytest.LogCaptureFixture) -> None:
    class WithoutKind(Numbers):
        def advance(self) -> Sequence[Number]:
            return [replace(number, kind=[]) for number in super().advance()]  # type: ignore[arg-type]

    with running() as batcher:
        lost = Sum(1)
        batcher.submit(lost, [WithoutKind(lost, [2])])

        assert submit(batcher, [2, 4]).result() == 6
        with pytest.raises(TypeError):
            lost.result()
        assert batcher.alive
    assert "speech.queue_failed" in caplog.text


def test_closing_ends_the_waiting_jobs() -> None:
    batcher = Batcher(1, 4, recognize)
    waiting = submit(batcher, [2])

    batcher.close()

    with pytest.raises(EngineStopped):
        waiting.result()
    with pytest.raises(EngineStopped):
        submit(batcher, [2])


@dataclass
class Silence(Numbers):
    """A long source that never gives a number."""

    def advance(self) -> Sequence[Number]:
        self.values = self.values[1:]
        if not self.values:
            self.job.outcome.set_result(0)
        return []


def test_urgent_silence_does_not_stop_a_call_from_being_recognized() -> None:
    batcher = Batcher(1, 4, recognize)
    call = Sum(1, Rank(5, "patient"))
    silences = [Silence(Sum(1, Rank(0, "urgent")), [0] * 500) for _ in range(16)]
    left: list[int] = []
    call.outcome.add_done_callback(lambda _: left.append(sum(len(silence.values) for silence in silences)))
    batcher.submit(call, [Numbers(call, [2])])
    for silence in silences:
        batcher.submit(silence.job, [silence])
    batcher.start()

    assert call.result() == 2
    batcher.close()
    assert left[0] > 16 * 500 * 0.9
