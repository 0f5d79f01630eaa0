"""Work that ends early."""

import asyncio

import pytest

from app.process.tasks import within


async def test_a_cancellation_is_not_lost_when_the_result_is_just_there() -> None:
    event = asyncio.Event()

    async def follow() -> None:
        while True:
            event.clear()
            await within(60, event.wait())

    following = asyncio.create_task(follow())
    await asyncio.sleep(0.01)
    event.set()
    following.cancel()
    done, _ = await asyncio.wait({following}, timeout=10)
    following.cancel()
    assert done == {following}
    assert following.cancelled()


async def test_what_takes_too_long_is_cancelled() -> None:
    cancelled = asyncio.Event()

    async def wait() -> None:
        try:
            await asyncio.sleep(60)
        finally:
            cancelled.set()

    with pytest.raises(TimeoutError):
        await within(0.01, wait())
    assert cancelled.is_set()
    assert await within(None, asyncio.sleep(0, "done")) == "done"
