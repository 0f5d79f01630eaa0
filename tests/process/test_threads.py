"""A limited number of threads for work that may hang."""

import asyncio
from threading import Event

import pytest

from app.process.threads import BoundedThreads


async def until_free(threads: BoundedThreads) -> None:
    for _ in range(1000):
        if not threads.all_hang:
            return
        await asyncio.sleep(0.01)
    raise AssertionError("they hang")


async def test_threads_return_results_and_raise_errors() -> None:
    threads = BoundedThreads("test", 2)
    assert await asyncio.gather(*(threads.run(lambda: 1 + 1, 60) for _ in range(20))) == [2] * 20
    with pytest.raises(ZeroDivisionError):
        await threads.run(lambda: 1 // 0, 60)


async def test_work_that_hangs_times_out_and_new_work_is_refused_while_all_threads_hang() -> None:
    threads, answer, begun = BoundedThreads("test", 2), Event(), list[str]()

    def hang() -> None:
        begun.append("hanging")
        assert answer.wait(60)

    hanging = [asyncio.create_task(threads.run(hang, 0.2)) for _ in range(2)]
    while len(begun) < 2:
        await asyncio.wait(hanging, timeout=0.01)
    assert not threads.all_hang
    queued = asyncio.create_task(threads.run(lambda: begun.append("queued"), 0.2))
    results = await asyncio.gather(*hanging, queued, return_exceptions=True)
    assert [type(result) for result in results] == [TimeoutError] * 3
    assert threads.all_hang
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(30):
            await threads.run(lambda: begun.append("refused"), 3600)

    answer.set()
    await until_free(threads)
    assert await threads.run(lambda: "again", 60) == "again"
    assert begun == ["hanging"] * 2


async def test_cancelled_work_keeps_its_thread_until_it_ends() -> None:
    threads, begun, answer = BoundedThreads("test", 1), Event(), Event()

    def hang() -> None:
        begun.set()
        assert answer.wait(60)

    hanging = asyncio.create_task(threads.run(hang, 60))
    await asyncio.to_thread(begun.wait, 60)
    hanging.cancel()
    with pytest.raises(asyncio.CancelledError):
        await hanging
    assert threads.all_hang
    answer.set()
    await until_free(threads)
    assert await threads.run(lambda: "again", 60) == "again"
