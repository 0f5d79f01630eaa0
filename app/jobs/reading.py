"""Reads single jobs for clients, many with one query.

While a query runs, the requests that come meanwhile wait for the next one. So thousands of clients that ask for a job
at the same time take one connection of the pool, and leave the others to everybody else. It knows no HTTP.
"""

import asyncio
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from itertools import islice
from uuid import UUID

from sqlmodel import col, select

from app.database.connections import Database
from app.deliveries import outbox
from app.deliveries.notify_status import NotifyState
from app.errors import NotFound
from app.jobs.lifecycle import FINAL
from app.jobs.models import Transcription

BATCH = 200


@dataclass(frozen=True)
class Read:
    """A job as it is now. Many clients may share the object: do not change it."""

    job: Transcription
    notify_state: NotifyState | None

    @property
    def final(self) -> bool:
        return self.job.status in FINAL


Answer = asyncio.Future[Read | None]


class Reader:
    def __init__(self, database: Database) -> None:
        self._database = database
        self._asked: dict[UUID, Answer] = {}
        self._reading: asyncio.Task[None] | None = None

    async def read(self, transcription_id: UUID) -> Read:
        """The job as it is after this call. Raises NotFound, or one of DATABASE_TROUBLE."""
        answer = self._asked.get(transcription_id)
        if answer is None:
            answer = self._asked[transcription_id] = asyncio.get_running_loop().create_future()
        if self._reading is None or self._reading.done():
            self._reading = asyncio.create_task(self._read_asked())
        read = await asyncio.shield(answer)  # others may wait for the same one
        if read is None:
            raise NotFound(f"There is no transcription {transcription_id}.")
        return read

    async def _read_asked(self) -> None:
        while self._asked:
            batch = {job_id: self._asked.pop(job_id) for job_id in list(islice(self._asked, BATCH))}
            try:
                found = await self._find(batch)
            except Exception as error:  # noqa: BLE001  each client is answered with it
                for answer in batch.values():
                    answer.set_exception(error)
                    answer.exception()  # its client may have hung up
            else:
                for job_id, answer in batch.items():
                    answer.set_result(found.get(job_id))

    async def _find(self, ids: Collection[UUID]) -> Mapping[UUID, Read]:
        async with self._database.transaction() as session:
            jobs = (await session.exec(select(Transcription).where(col(Transcription.id).in_(ids)))).all()
            ended = [job.id for job in jobs if job.status in FINAL]
            notify_states = await outbox.notify_states(session, ended) if ended else {}
        return {job.id: Read(job, notify_states.get(job.id)) for job in jobs}
