"""The event of an analysis that has ended: its bytes, and the receivers that get it. Pure."""

from datetime import datetime
from typing import Literal

from pydantic import BaseModel, Field

from app.analysis.models import Analysis
from app.deliveries.outbox import NewEvent
from app.jobs.events import body_of, messages, webhooks
from app.jobs.models import Transcription
from app.jobs.views import TranscriptionOut


class AnalysisEvent(BaseModel):
    """The body of a webhook: the transcription whose analysis has ended. It has neither transcript nor analysis."""

    type: Literal["analysis.completed", "analysis.failed"]
    timestamp: datetime = Field(description="When the analysis ended.")
    data: TranscriptionOut


def event_of(
    analysis: Analysis, job: Transcription, shown: TranscriptionOut, *, stream: str | None = None
) -> NewEvent | None:
    """The event of an analysis that has ended, or None if nobody gets it. `shown` is the job as clients see it.

    The webhooks of the job get it, and the `stream` for results. Callbacks do not, because they would look like a
    second end of the transcription.
    """
    targets = webhooks(job) + messages(stream)
    event = AnalysisEvent.model_validate(
        {"type": _type_of(analysis), "timestamp": analysis.completed_at, "data": shown}
    )
    return NewEvent(job.id, event.type, body_of(event), targets, job.traceparent) if targets else None


def _type_of(analysis: Analysis) -> str:
    return f"analysis.{analysis.status}"
