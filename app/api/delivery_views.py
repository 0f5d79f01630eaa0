"""What clients see of deliveries, and the examples of it in the OpenAPI document."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Self
from uuid import UUID

from pydantic import BaseModel, Field

from app.deliveries.models import WHEN_RELEASED, Delivery, DeliveryAttempt, DeliveryStatus, Event
from app.transcripts.formats import Format


class AttemptOut(BaseModel):
    """One request to a receiver."""

    time: datetime = Field(description="When the attempt began.")
    status_code: int | None = Field(
        description="The HTTP status of the answer. Null if the service got no usable answer."
    )
    error: str | None = Field(description="Why the service got no usable answer. Otherwise null.", examples=["timeout"])
    milliseconds: int = Field(description="How long the attempt took, in milliseconds.")
    response: str = Field(description="The beginning of the answer's body, 2 kB at most.")


class DeliveryOut(BaseModel):
    """An event that the service sends to one URL, or a file with the transcript that it writes."""

    id: UUID
    webhook_id: UUID = Field(
        description="The value of the header `webhook-id`. It is the same on each attempt and for each URL of the "
        "event."
    )
    type: str = Field(examples=["transcription.completed"])
    style: str = Field(
        examples=["webhook"],
        description="`webhook`, `callback` or `stream` for a notification. `s3` or `folder` for a file or an object "
        "with the transcript. Later versions may add styles that are not listed here.",
    )
    url: str
    format: Format | None = Field(description="The format of the file or the object. Null for a notification.")
    status: DeliveryStatus
    next_attempt_at: datetime | None = Field(
        description="When the next attempt is due. Null if the delivery has succeeded or failed, and while a "
        "notification waits until the transcript is written to its `outputs`."
    )
    created_at: datetime
    finished_at: datetime | None = Field(
        description="When the delivery succeeded or failed. Null while its status is `pending`."
    )
    attempts: list[AttemptOut] = Field(description="The last fifty attempts, oldest first.")

    @classmethod
    def of(cls, event: Event, delivery: Delivery, attempts: Sequence[DeliveryAttempt]) -> Self:
        is_due_sometime = delivery.status == DeliveryStatus.PENDING and delivery.next_attempt_at < WHEN_RELEASED
        return cls(
            id=delivery.id,
            webhook_id=event.id,
            type=event.type,
            style=delivery.style,
            url=delivery.url,
            format=None if delivery.format is None else Format(delivery.format),
            status=delivery.status,
            next_attempt_at=delivery.next_attempt_at if is_due_sometime else None,
            created_at=delivery.created_at,
            finished_at=delivery.finished_at,
            attempts=[
                AttemptOut(
                    time=attempt.started_at,
                    status_code=attempt.status_code,
                    error=attempt.error,
                    milliseconds=attempt.milliseconds,
                    response=attempt.response,
                )
                for attempt in attempts
                if attempt.delivery_id == delivery.id
            ],
        )


class DeliveryList(BaseModel):
    """All deliveries of a transcription, outputs first. The list is empty until the transcription has ended."""

    items: list[DeliveryOut]

    @classmethod
    def of(cls, deliveries: Sequence[tuple[Event, Delivery]], attempts: Sequence[DeliveryAttempt]) -> Self:
        return cls(items=[DeliveryOut.of(event, delivery, attempts) for event, delivery in deliveries])


DELIVERY_EXAMPLE: dict[str, Any] = {
    "id": "01989d2e-8f01-7c52-8b1e-6a0d2c4b9f10",
    "webhook_id": "01989d2e-8f00-7a41-9d0e-3f5b7c1a2b4d",
    "type": "transcription.completed",
    "style": "webhook",
    "url": "https://crm.example/calls",
    "format": None,
    "status": "pending",
    "next_attempt_at": "2026-11-21T09:30:08.6Z",
    "created_at": "2026-11-21T09:30:03.4Z",
    "finished_at": None,
    "attempts": [
        {
            "time": "2026-11-21T09:30:03.5Z",
            "status_code": 503,
            "error": None,
            "milliseconds": 41,
            "response": "busy",
        }
    ],
}
LISTED: dict[str, Any] = {
    "description": "The deliveries of the transcription.",
    "content": {"application/json": {"examples": {"deliveries": {"$ref": "#/components/examples/Deliveries"}}}},
}
REDELIVERING: dict[str, Any] = {
    "description": "The event will be sent immediately, with the same `webhook-id` and the same bytes as before. A "
    "file or an object will be written again.",
    "content": {"application/json": {"examples": {"delivery": {"$ref": "#/components/examples/Delivery"}}}},
}
EXAMPLES: dict[str, Any] = {"Delivery": DELIVERY_EXAMPLE, "Deliveries": {"items": [DELIVERY_EXAMPLE]}}
