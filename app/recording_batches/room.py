"""Decides how many recordings of a batch may get a job, within the limits of the batch's caller and its tenant.

The rows of a batch wait until there is room, and none is refused. Their jobs count apart from the calls of the day, so
that a batch never keeps those from being accepted.
"""

from sqlalchemy import text
from sqlmodel.ext.asyncio.session import AsyncSession

from app.access.limits import limited_caller
from app.jobs.changes import quotas
from app.recording_batches.models import RecordingBatch

# The recordings have an unknown length until their jobs are completed, so a limit of hours may be exceeded by so many.
MOST_OF_UNKNOWN_LENGTH = 10

_WAITING = {
    "key": "batch.caller = :subject",
    "tenant": "batch.tenant = :subject",
}
_GOING_ON = """
    SELECT count(*) FILTER (WHERE job.status = 'pending') AS pending, count(*) AS going_on
    FROM recording_batch AS batch JOIN transcription AS job ON job.batch_id = batch.id
    WHERE batch.completed_at IS NULL AND {whose} AND NOT job.superseded AND job.status IN ('pending', 'in_progress')
"""


async def room_for(session: AsyncSession, batch: RecordingBatch, most: int) -> int:
    """How many rows of the batch may get a job now, up to `most`."""
    caller = await limited_caller(session, batch.caller)
    for subject in quotas.quotas_of(caller):
        statement = text(_GOING_ON.format(whose=_WAITING[subject.kind])).bindparams(subject=subject.name)
        jobs = (await session.exec(statement)).one()  # type: ignore[call-overload]
        limits = subject.limits
        if limits.pending_jobs is not None:
            most = min(most, limits.pending_jobs - jobs.pending)
        if limits.audio_hours_per_day is not None:
            left = (await quotas.audio_left(session, caller, subject)).left
            most = min(most, MOST_OF_UNKNOWN_LENGTH - jobs.going_on if left > 0 else 0)
    return max(0, most)
