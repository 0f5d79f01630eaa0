"""The log lines and spans that tell an operator what happened to a job: its start, and how each attempt ended.

It exists so that a search for the job's id gives its whole story in plain words. A final failure is a warning, because
an operator may want to look at it; ordinary ends are information.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import structlog
from structlog.contextvars import bind_contextvars

from app import tracing
from app.jobs.claims.claiming import Claimed
from app.jobs.claims.leases import LEASE
from app.jobs.lifecycle import Crashed, Interrupted, Outcome, SlowFetch, Status, why_it_waits
from app.jobs.models import Transcription

IN_WORDS: dict[type, str] = {
    Crashed: "the worker or its device crashed",
    Interrupted: "the worker was stopped or had trouble of its own, so this attempt does not count",
    SlowFetch: "the slow fetch made way for a job of another key",
}

log = structlog.stdlib.get_logger("callscribe.jobs")


def tell_of(job: Claimed) -> None:
    """Let the log lines of this task name the job and its trace."""
    bind_contextvars(job=str(job.id), **tracing.log_fields(tracing.of_row(job.traceparent)))


@contextmanager
def attempt(job: Claimed) -> Iterator[None]:
    """Log the beginning of an attempt, and make a span of it. For the first one, the wait until now gets a span too.

    `source` is `upload`, or the host of the recording's URL.
    """
    source, model = job.source_host or job.source.partition(":")[0], job.options.get("model")
    log.info("attempt started", attempt=job.attempts, source=source, model=model, caller=job.caller)
    parent, facts = tracing.of_row(job.traceparent), {"callscribe__job__id": str(job.id), "callscribe__model": model}
    if job.started_at is not None and job.started_at + LEASE == job.lease_until:
        tracing.past_span("queued", parent, (job.started_at - job.created_at).total_seconds(), **facts)
    with tracing.span("attempt", parent, tracing.SpanKind.CONSUMER, **facts, callscribe__attempt=job.attempts):
        yield


def attempt_ended(job: Transcription, outcome: Outcome) -> None:
    """`job` is as it was written after the attempt."""
    match job.status:
        case Status.COMPLETED:
            log.info(
                "transcription completed",
                attempts=job.attempts,
                audio_seconds=job.duration,
                decoding_seconds=_rounded(job.decoding_seconds),
                transcribing_seconds=_rounded(job.transcribing_seconds),
            )
        case Status.FAILED:
            log.warning("transcription failed", code=job.error_code, reason=job.error_message, attempts=job.attempts)
        case Status.CANCELLED:
            log.info("transcription cancelled", attempts=job.attempts)
        case _:
            code, message = why_it_waits(outcome)
            log.info(
                "attempt ended, and the job waits for another one",
                reason=message or IN_WORDS.get(type(outcome), type(outcome).__name__),
                attempts=job.attempts,
                not_before=job.run_at.isoformat(timespec="seconds"),
                **({"code": code} if code else {}),
            )


def _rounded(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds, 2)
