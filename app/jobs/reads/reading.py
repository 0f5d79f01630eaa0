"""Every read of jobs for clients. `scope` decides what a caller may see.

One query reads the jobs of many requests. Requests that arrive while it runs wait for the next query. So thousands of
clients that ask at the same time use one connection of the pool, and the other connections stay free.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Collection, Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import chain, islice
from typing import Any, TypeVar
from uuid import UUID

from sqlalchemy import column, table
from sqlalchemy import select as sql_select
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from app.access import audit
from app.access.audit import Action
from app.access.callers import Caller
from app.control.away import never_away
from app.database.connections import Database
from app.deliveries import outbox, outputs_of_events
from app.deliveries.models import Delivery, DeliveryAttempt, Event, OutputStatus
from app.deliveries.notify_status import NotifyState
from app.errors import NotCompleted, NotFound
from app.jobs.changes import retried
from app.jobs.claims import parts
from app.jobs.claims.parts import TextSoFar
from app.jobs.lifecycle import FINAL, Status
from app.jobs.models import StoredTranscript, Transcription, UnredactedTranscript, stored_transcripts, unknown
from app.jobs.reads import listing, searching
from app.jobs.reads.export import Exported
from app.jobs.reads.hits import HitReader
from app.jobs.reads.listing import Wanted
from app.jobs.scope import seen_by, sees
from app.jobs.views import TranscriptionOut
from app.search.hits import Hits
from app.transcripts.transcript import Transcript

BATCH = 200
ANALYSIS = table("analysis", column("transcription_id"))  # whose model the jobs do not know
EXPORTED_AT_ONCE = 10


@dataclass(frozen=True)
class Read:
    """A job as it is now. Many clients may share the object: do not change it."""

    job: Transcription
    notify_state: NotifyState | None = None
    output_statuses: Mapping[str, OutputStatus] = field(default_factory=dict)
    retried_as: UUID | None = None
    is_analysed: bool = False
    model_is_away: bool = False

    @property
    def final(self) -> bool:
        return self.job.status in FINAL

    def shown(self, root_path: str) -> TranscriptionOut:
        """The job as clients see it. Its links begin with `root_path`."""
        return TranscriptionOut.of(
            self.job,
            self.notify_state,
            self.output_statuses,
            self.retried_as,
            is_analysed=self.is_analysed,
            model_is_away=self.model_is_away,
            root_path=root_path,
        )


@dataclass(frozen=True)
class Page:
    """Some jobs of a list. `cursor` is where the next page begins, or None if there is none.

    `hits` are what was said that the list was searched for, for each job.
    """

    items: Sequence[Read]
    cursor: UUID | None
    hits: Mapping[UUID, Hits] | None = None


Answer = asyncio.Future[Read | None]
Rendered = TypeVar("Rendered")


class Reader:
    """Answers reads. A read of one job raises NotFound if the job does not exist or the caller may not see it.

    `is_away` says whether no worker can use a model at the moment. It asks nobody.
    """

    def __init__(self, database: Database, is_away: Callable[[str], bool] = never_away) -> None:
        self._database = database
        self._is_away = is_away
        self._asked: dict[UUID, Answer] = {}
        self._reading: asyncio.Task[None] | None = None
        self._rendering: dict[Hashable, asyncio.Task[Any]] = {}
        self._hits = HitReader(database)

    async def read(self, transcription_id: UUID, caller: Caller | None) -> Read:
        """The job, read after this call began."""
        answer = self._asked.get(transcription_id)
        if answer is None:
            answer = self._asked[transcription_id] = asyncio.get_running_loop().create_future()
        if self._reading is None or self._reading.done():
            self._reading = asyncio.create_task(self._read_asked())
        read = await asyncio.shield(answer)  # others may wait for the same one
        if read is None or not sees(caller, read.job):
            raise unknown(transcription_id)
        return read

    async def page(self, wanted: Wanted, caller: Caller | None) -> Page:
        """Jobs in the order of the list.

        If something was searched for, a page may have less than `limit` jobs although there are more pages. The audit
        has an entry for each job of the page, or one for a search without hits.
        """
        if wanted.query is not None:
            found = await searching.find(self._database, wanted, caller)
            items = await self._in_order(found.ids)
            hits = await self._hits.of(found.ids, wanted.query)
            if caller is not None:  # an operator's command shows nothing that was said
                async with self._database.transaction() as session:
                    await audit.note_read(session, Action.TRANSCRIPT_SEARCHED, caller, found.ids)
            return Page(items, found.cursor, hits)
        async with self._database.transaction() as session:
            ids = (await session.exec(listing.ids(wanted, caller, wanted.limit + 1))).all()
        items = await self._in_order(ids[: wanted.limit])
        return Page(items, ids[wanted.limit - 1] if len(ids) > wanted.limit else None)

    async def exported(self, ids: Sequence[UUID], caller: Caller) -> AsyncIterator[Exported]:
        """The jobs and their transcripts, a few at a time. Its reader may be slow."""
        for start in range(0, len(ids), EXPORTED_AT_ONCE):
            some = ids[start : start + EXPORTED_AT_ONCE]
            statement = select(Transcription, StoredTranscript.transcript).outerjoin(StoredTranscript)
            statement = statement.where(col(Transcription.id).in_(some), seen_by(caller))
            async with self._database.transaction() as session:
                found = {job.id: (job, stored) for job, stored in await session.exec(statement)}
                if shown := [job_id for job_id, (_, stored) in found.items() if stored is not None]:
                    await audit.note_read(session, Action.TRANSCRIPT_EXPORTED, caller, shown)
            for job_id in some:
                job, stored = found.get(job_id, (None, None))
                yield Exported(job_id, job, stored)

    async def _in_order(self, ids: Sequence[UUID]) -> list[Read]:
        found = await self._find(ids) if ids else {}
        return [found[job_id] for job_id in ids if job_id in found]

    async def transcript(
        self,
        transcription_id: UUID,
        caller: Caller,
        render: Callable[[Transcript], Rendered],
        *,
        unredacted: bool = False,
    ) -> Rendered:
        """Returns what `render` makes of the transcript. Raises NotCompleted if there is no transcript.

        With `unredacted`, it is the transcript before the redaction. Raises NotFound if that is not kept. `render` runs
        in the thread that parses the stored transcript, because both take long for a long call.
        """
        action = Action.TRANSCRIPT_UNREDACTED if unredacted else Action.TRANSCRIPT_READ
        async with self._database.transaction() as session:
            stored = await _stored(session, transcription_id, caller)
            if unredacted:
                stored = await _unredacted(session, transcription_id)
            await audit.note_read(session, action, caller, [transcription_id])
        return await _rendered(stored, render)

    async def shared_transcript(
        self, transcription_id: UUID, caller: Caller, shape: Hashable, render: Callable[[Transcript], Rendered]
    ) -> Rendered:
        """As `transcript`, but rendered once for all clients that ask for the same shape at the same time.

        The clients that wait for one job ask together when it ends. The audit has an entry for each.
        """
        key = (transcription_id, caller, shape)
        rendering = self._rendering.get(key)
        if rendering is None:
            rendering = asyncio.create_task(self._unaudited_transcript(transcription_id, caller, render))
            self._rendering[key] = rendering
            rendering.add_done_callback(partial(self._end_rendering, key))
        rendered: Rendered = await asyncio.shield(rendering)
        await self.note_read(Action.TRANSCRIPT_READ, transcription_id, caller)
        return rendered

    async def _unaudited_transcript(
        self, transcription_id: UUID, caller: Caller, render: Callable[[Transcript], Rendered]
    ) -> Rendered:
        async with self._database.transaction() as session:
            stored = await _stored(session, transcription_id, caller)
        return await _rendered(stored, render)

    async def note_read(self, action: Action, transcription_id: UUID, caller: Caller) -> None:
        """Write into the audit what the caller is about to get, for a text that was read without it."""
        async with self._database.transaction() as session:
            await audit.note_read(session, action, caller, [transcription_id])

    def _end_rendering(self, key: Hashable, rendering: "asyncio.Task[Any]") -> None:
        del self._rendering[key]
        if not rendering.cancelled():
            rendering.exception()  # its clients may have hung up

    async def text_so_far(self, transcription_id: UUID, caller: Caller, after: float = 0.0) -> TextSoFar:
        """The final segments of a running job that begin at `after` or later.

        There are none if the job was not asked to report its text, does not run, or has ended. If a job runs again
        after its worker was lost, its text comes again from its beginning. A client that asks with the `until` that it
        got last gets no text twice. The caller of this function writes into the audit that the text is read, once.
        """
        async with self._database.transaction() as session:
            found = await parts.read(session, transcription_id, seen_by(caller), after)
        if found is None:
            raise unknown(transcription_id)
        return await asyncio.to_thread(parts.joined, found, after) if found else TextSoFar((), after)

    async def recording(
        self, transcription_id: UUID, caller: Caller, choose: Callable[[Transcription], tuple[Rendered, Action]]
    ) -> tuple[Transcription, Rendered]:
        """The job, and what `choose` says of its recording. That counts as this action of the caller.

        If `choose` raises an error, nothing counts as read.
        """
        statement = select(Transcription).where(Transcription.id == transcription_id, seen_by(caller))
        async with self._database.transaction() as session:
            job = (await session.exec(statement)).first()
            if job is None:
                raise unknown(transcription_id)
            chosen, action = choose(job)
            await audit.note_read(session, action, caller, [transcription_id])
        return job, chosen

    async def deliveries(
        self, transcription_id: UUID, caller: Caller
    ) -> tuple[Sequence[tuple[Event, Delivery]], Sequence[DeliveryAttempt]]:
        """The deliveries of a job in the order of its URLs, and the attempts of all of them, oldest first."""
        parent = select(Transcription.id).where(Transcription.id == transcription_id, seen_by(caller))
        async with self._database.transaction() as session:
            if (await session.exec(parent)).first() is None:
                raise unknown(transcription_id)
            deliveries = await outbox.find(session, transcription_id)
            return deliveries, await outbox.attempts(session, [delivery.id for _, delivery in deliveries])

    async def with_deliveries(self, job: Transcription) -> Read:
        """A job that was just read or written, and the state of its deliveries. Only a final job has any."""
        if job.status not in FINAL:
            return self._waiting(job)
        async with self._database.transaction() as session:
            [read] = await _with_deliveries(session, [job])
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
            waiting = [self._waiting(job) for job in jobs if job.status not in FINAL]
            ended = await _with_deliveries(session, [job for job in jobs if job.status in FINAL])
            return {read.job.id: read for read in chain(waiting, ended)}

    def _waiting(self, job: Transcription) -> Read:
        """A job that has not ended. No other table knows anything about it."""
        return Read(job, model_is_away=self._is_away(job.options.get("model", "")))


async def _stored(session: AsyncSession, transcription_id: UUID, caller: Caller) -> str:
    """The transcript as JSON text. Raises NotFound and NotCompleted."""
    statement = select(Transcription.status, StoredTranscript.transcript).where(Transcription.id == transcription_id)
    found = (await session.exec(statement.where(seen_by(caller)).outerjoin(StoredTranscript))).first()
    if found is None:
        raise unknown(transcription_id)
    status, stored = found
    if stored is None:
        raise NotCompleted(f"The transcription is {status}.")
    return stored


async def _unredacted(session: AsyncSession, transcription_id: UUID) -> str:
    """The transcript before the redaction as JSON text. Raises NotFound."""
    statement = select(UnredactedTranscript.transcript)
    kept = (await session.exec(statement.where(UnredactedTranscript.transcription_id == transcription_id))).first()
    if kept is None:
        raise NotFound("The service keeps no unredacted transcript of this call: its request has no `redact_keep`.")
    return kept


async def _rendered(stored: str, render: Callable[[Transcript], Rendered]) -> Rendered:
    return await asyncio.to_thread(lambda: render(stored_transcripts.validate_json(stored)))


async def _with_deliveries(session: AsyncSession, jobs: Sequence[Transcription]) -> list[Read]:
    """Jobs that have ended, each with what other tables know: its notifications, outputs, retry and analysis."""
    ended = [job.id for job in jobs]
    writing = [job.id for job in jobs if job.status == Status.COMPLETED and job.outputs]
    states = await outbox.notify_states(session, ended) if ended else {}
    statuses = await outputs_of_events.output_statuses(session, writing) if writing else {}
    failed = [job.id for job in jobs if job.status in retried.RETRIED]
    newest = await retried.newest(session, failed) if failed else {}
    completed = [job.id for job in jobs if job.status == Status.COMPLETED]
    analysed = await _analysed(session, completed) if completed else set()
    return [
        Read(job, states.get(job.id), statuses.get(job.id, {}), newest.get(job.id), job.id in analysed) for job in jobs
    ]


async def _analysed(session: AsyncSession, ids: Collection[UUID]) -> set[UUID]:
    statement = sql_select(ANALYSIS.c.transcription_id).where(ANALYSIS.c.transcription_id.in_(ids))
    return set((await session.exec(statement)).scalars())  # type: ignore[call-overload]


async def going_on(session: AsyncSession, ids: Collection[UUID]) -> set[UUID]:
    """The ids of those jobs that exist and have not ended."""
    statement = select(Transcription.id).where(col(Transcription.id).in_(ids))
    return set((await session.exec(statement.where(col(Transcription.completed_at).is_(None)))).all())
