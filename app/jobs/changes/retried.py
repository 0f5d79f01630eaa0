"""A retry: a new job for the recording of a job that has failed or was cancelled, because an ended job stays as it is.

The new job has the same options, receivers and outputs. It has a copy of the recording under a key of its own, so that
neither job loses its recording when the other one is erased or retention sweeps.
"""

import hashlib
import json
from collections.abc import Collection
from dataclasses import replace
from uuid import UUID

from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from app import tracing
from app.errors import NotFailed, RecordingGone
from app.jobs.changes import changing
from app.jobs.changes.followed import SCHEME
from app.jobs.lifecycle import Status
from app.jobs.models import NewJob, Transcription, stored_options, stored_outputs

RETRIED = frozenset({Status.FAILED, Status.CANCELLED})


def fingerprint_of(job_id: UUID) -> str:
    """By which a repeated request for a retry is compared with the first one."""
    return hashlib.sha256(json.dumps({"retry_of": str(job_id)}).encode()).hexdigest()


def may_be_fetched(job: Transcription) -> bool:
    return "://" in job.source and not job.source.startswith(SCHEME)


def require_retriable(job: Transcription) -> None:
    """Raises NotFailed and RecordingGone."""
    if job.status not in RETRIED:
        raise NotFailed(f"The transcription is {job.status}.")
    if job.audio_key is None and not may_be_fetched(job):
        raise gone()


def gone() -> RecordingGone:
    return RecordingGone("The service does not keep the recording any more. Post it again.")


def new_job(ended: Transcription, job_id: UUID, caller: str, idempotency_key: str | None) -> NewJob:
    """The job that retries `ended`, without a recording. Nobody reads its text along."""
    return NewJob(
        id=job_id,
        caller=caller,
        idempotency_key=idempotency_key,
        fingerprint=fingerprint_of(ended.id),
        external_id=ended.external_id,
        metadata=ended.metadata_,
        options=replace(stored_options.validate_python(ended.options), reports_text=False),
        priority=ended.priority,
        webhook_urls=ended.webhook_urls,
        callback_urls=ended.callback_urls,
        outputs=stored_outputs.validate_python(ended.outputs),
        retry_of=ended.id,
        source=ended.source,
        source_host=ended.source_host,
        filename=ended.filename,
        traceparent=tracing.traceparent(),
    )


def with_recording(job: NewJob, ended: Transcription, key: str) -> NewJob:
    """The new job with a copy of the recording, and what is known of it."""
    return replace(
        job,
        audio_key=key,
        bytes=ended.bytes,
        sha256=ended.sha256,
        duration=ended.duration,
        codec=ended.codec,
        sample_rate=ended.sample_rate,
        channels=ended.channels,
    )


async def earlier(
    session: AsyncSession, job_id: UUID, caller: str, idempotency_key: str | None
) -> Transcription | None:
    """The retry that a request repeats, or one that has not ended yet. Raises IdempotencyKeyReused."""
    repeated = await changing.repeated(session, caller, idempotency_key, fingerprint_of(job_id))
    if repeated is not None:
        return repeated
    going_on = select(Transcription).where(Transcription.retry_of == job_id, col(Transcription.completed_at).is_(None))
    return (await session.exec(going_on.order_by(col(Transcription.id).desc()).limit(1))).first()


async def newest(session: AsyncSession, ids: Collection[UUID]) -> dict[UUID, UUID]:
    """The newest retry of each of these jobs that has any."""
    statement = (
        select(Transcription.retry_of, Transcription.id)
        .where(col(Transcription.retry_of).in_(ids))
        .order_by(col(Transcription.id))
    )
    return {retried: retry for retried, retry in (await session.exec(statement)).all() if retried is not None}
