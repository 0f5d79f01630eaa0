"""Changes that clients request: `scope` decides which jobs a caller may change."""

from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from sqlmodel import select
from sqlmodel.ext.asyncio.session import AsyncSession

from app.access.callers import Caller
from app.database.connections import Database
from app.deliveries.models import Delivery
from app.errors import NotFound
from app.jobs.changes import changing
from app.jobs.lifecycle import Status
from app.jobs.models import Transcription
from testing.rows import KEEP_AUDIO, SUCCESS, TESTER, claim, enqueue, finish, read

OTHER = Caller("other")


@pytest.fixture(autouse=True)
def _jobs_are_seen_by_their_own_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(changing, "seen_by", lambda caller: Transcription.caller == caller.name)


async def cancel(session: AsyncSession, job: Transcription, caller: Caller) -> None:
    await changing.request_cancel(session, job.id, caller, KEEP_AUDIO)


async def erase(session: AsyncSession, job: Transcription, caller: Caller) -> None:
    await changing.erase(session, job.id, caller)


@pytest.mark.parametrize("change", [cancel, erase])
async def test_a_job_that_the_caller_may_not_see_is_unknown_and_unchanged(
    database: Database, change: Callable[..., Awaitable[Any]]
) -> None:
    job = await enqueue(database)
    with pytest.raises(NotFound):
        async with database.transaction() as session:
            await change(session, job, OTHER)
    assert (await read(database, job.id)).status == Status.PENDING
    async with database.transaction() as session:
        await change(session, job, TESTER)
        await session.flush()
        left = (await session.exec(select(Transcription.status).where(Transcription.id == job.id))).first()
    assert left in (None, Status.CANCELLED)


async def test_a_delivery_of_a_job_that_the_caller_may_not_see_is_unknown(database: Database) -> None:
    await enqueue(database, webhook_urls=["https://example.com/"])
    [job] = await claim(database)
    await finish(database, job, SUCCESS)
    async with database.transaction() as session:
        delivery_id = (await session.exec(select(Delivery.id))).one()
        with pytest.raises(NotFound, match="no delivery"):
            await changing.redeliver(session, delivery_id, OTHER)
        _, delivery = await changing.redeliver(session, delivery_id, TESTER)
    assert delivery.id == delivery_id
