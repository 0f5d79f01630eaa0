"""The log lines that tell an operator what happened to a job: its start, and how each attempt ended.

It exists so that a search for the job's id gives its whole story in plain words. A final failure is a warning, because
an operator may want to look at it; ordinary ends are information.
"""

import structlog

from app.jobs.claiming import Claimed
from app.jobs.lifecycle import Crashed, Interrupted, Outcome, SlowFetch, Status, why_it_waits
from app.jobs.models import Transcription

IN_WORDS: dict[type, str] = {
    Crashed: "the worker or its device crashed",
    Interrupted: "the worker was stopped or had trouble of its own, so this attempt does not count",
    SlowFetch: "the slow fetch made way for a job of another key",
}

log = structlog.stdlib.get_logger("callscribe.jobs")


def attempt_began(job: Claimed) -> None:
    """`source` is `upload`, or the host of the recording's URL."""
    source = job.source_host or job.source.partition(":")[0]
    log.info("attempt started", attempt=job.attempts, source=source, model=job.options.get("model"), caller=job.caller)


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
