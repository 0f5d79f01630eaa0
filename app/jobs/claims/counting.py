"""Counts the ends of jobs in the metrics, and how long the stages of a completed job took."""

from app import errors, metrics
from app.jobs.lifecycle import Status
from app.jobs.models import Transcription

CODES = {error.code for tree in (errors.JobError, errors.MediaError) for error in tree.__subclasses__()}
CANCELLED = {errors.Abandoned.code}

metrics.expect_ends(sorted(CODES - CANCELLED), sorted(CANCELLED))


def count_end(job: Transcription) -> None:
    """Call it after the commit that ended the job."""
    metrics.job_ended(job.status, job.error_code)
    if job.status != Status.COMPLETED or job.started_at is None or job.completed_at is None:
        return
    metrics.job_stage("queued", (job.started_at - job.created_at).total_seconds())
    metrics.job_stage("total", (job.completed_at - job.created_at).total_seconds())
    if job.decoding_seconds is not None and job.transcribing_seconds is not None:
        metrics.job_stage("decode", job.decoding_seconds)
        metrics.job_stage("transcribe", job.transcribing_seconds)
        metrics.audio_transcribed(str(job.options.get("model")), job.duration or 0.0, job.transcribing_seconds)
