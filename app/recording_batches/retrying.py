"""Retries a job that has failed or was cancelled. If it belongs to a recording batch, the batch counts the new job.

It is in this room because a retry concerns a job and its batch, and no room below knows both.
"""

from dataclasses import replace
from uuid import UUID

import structlog
from sqlmodel import select
from sqlmodel.ext.asyncio.session import AsyncSession
from uuid_utils.compat import uuid7

from app.access import audit
from app.access.audit import Action
from app.access.callers import Caller
from app.database.connections import Database
from app.errors import AppError
from app.intake.ask import Accepted
from app.intake.intake import Intake
from app.intake.offered import options_in_force
from app.jobs.changes import changing as jobs
from app.jobs.changes import retried
from app.jobs.models import NewJob, Transcription, unknown
from app.jobs.scope import seen_by
from app.recording_batches import changing
from app.recording_batches.models import BatchStatus
from app.sources.fetch import Fetcher
from app.storage.disk import full_disk_as_insufficient_storage
from app.storage.store import AudioStore, RecordingMissing

log = structlog.stdlib.get_logger("callscribe.jobs")


class Retries:
    """The one way to a retry. It asks what a new job asks: an allowed URL, a served model, a place in the queue."""

    def __init__(self, database: Database, store: AudioStore, fetcher: Fetcher, intake: Intake) -> None:
        self._database = database
        self._store = store
        self._fetcher = fetcher
        self._intake = intake

    async def retry(
        self, job_id: UUID, caller: Caller | None, idempotency_key: str | None = None, *, operator: str = ""
    ) -> Accepted:
        """The new job, or the one of an earlier request that has not ended yet or had the same idempotency key.

        Without a caller, the `operator` retries the job on behalf of its caller, also while the queue is full, the
        intake is paused or the operator's settings name other models. Raises AppError, such as NotFound and
        RecordingGone.
        """
        async with self._database.transaction() as session:
            ended = await _read(session, job_id, caller)
            label = ended.caller if caller is None else caller.label
            if (earlier := await retried.earlier(session, job_id, label, idempotency_key)) is not None:
                return Accepted(earlier, is_new=False)
        retried.require_retriable(ended)
        new = retried.new_job(ended, uuid7(), label, idempotency_key)
        new = replace(new, options=self._intake.redacted(new.options))
        if caller is not None:
            self._intake.require_open()
            self._intake.require_may_keep(new.options, caller)
            options_in_force(new.options, self._intake.models)
            new = replace(new, priority=max(new.priority, caller.most_urgent))
        new = await self._with_recording(new, ended)
        try:
            async with self._database.transaction() as session:
                accepted = await self._add(session, new, job_id, caller)
                if accepted.is_new:
                    by, new_id = operator if caller is None else caller.label, {"retried_as": str(new.id)}
                    await audit.note_change(
                        session, Action.CALL_RETRIED, by, calls=[job_id], tenant=ended.tenant, details=new_id
                    )
        except AppError:
            await self._erase(new)
            raise
        if not accepted.is_new:
            await self._erase(new)
        else:
            log.info("transcription retried", job=str(accepted.job.id), retry_of=str(job_id), caller=label)
        return accepted

    async def _with_recording(self, new: NewJob, ended: Transcription) -> NewJob:
        """The job with a copy of the recording. If the recording is not kept, it is fetched again from its URL.

        Raises RecordingGone and UrlNotAllowed.
        """
        if ended.audio_key is not None:
            try:
                with full_disk_as_insufficient_storage():
                    await self._store.copy(ended.audio_key, str(new.id))
                return retried.with_recording(new, ended, str(new.id))
            except RecordingMissing:
                log.warning("the recording of a transcription is missing", job=str(ended.id))
        if not retried.may_be_fetched(ended):
            raise retried.gone()
        self._fetcher.require_allowed(ended.source)
        return new

    async def _add(self, session: AsyncSession, new: NewJob, job_id: UUID, caller: Caller | None) -> Accepted:
        """The batch is locked before the job, as everywhere. The job's lock keeps a second request waiting."""
        of_batch = select(Transcription.batch_id).where(Transcription.id == job_id, seen_by(caller))
        batch_id = (await session.exec(of_batch)).first()
        batch = await changing.lock(session, batch_id) if batch_id is not None else None
        if batch is not None and batch.status == BatchStatus.ERASING:
            raise unknown(job_id)
        ended = await jobs.lock(session, job_id, caller)
        if (earlier := await retried.earlier(session, job_id, new.caller, new.idempotency_key)) is not None:
            return Accepted(earlier, is_new=False)
        if batch is None or ended.superseded or batch.status == BatchStatus.CANCELLED:
            limit = None if caller is None else self._intake.limits.queue
            job, is_new = await jobs.enqueue(session, new, limit, caller)
        else:
            job, is_new = await jobs.enqueue(session, replace(new, batch_id=batch.id), None)
            if is_new:
                ended.superseded = True
                await changing.replace_job(session, batch, job_id, job.id)
        return Accepted(job, is_new)

    async def _erase(self, new: NewJob) -> None:
        """Erase the copy that no job needs. If the store fails, the search for orphans erases it later."""
        if new.audio_key is not None:
            try:
                await self._store.delete(new.audio_key)
            except OSError as error:
                log.warning("recording not erased", key=new.audio_key, error=repr(error))


async def _read(session: AsyncSession, job_id: UUID, caller: Caller | None) -> Transcription:
    """Raises NotFound."""
    job = (await session.exec(select(Transcription).where(Transcription.id == job_id, seen_by(caller)))).first()
    if job is None:
        raise unknown(job_id)
    return job
