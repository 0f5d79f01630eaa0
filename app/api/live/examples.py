"""The examples of live calls in the OpenAPI document."""

from typing import Any
from uuid import UUID

from app.api.event_streams import MEDIA_TYPE, named
from app.jobs.views import EXAMPLE_ID
from app.live.events import LiveEvent, Partial, SpeechStarted, SpeechStopped, Started, Stopped, Transcript

_LINKS = {
    "self": f"/v1/live/{EXAMPLE_ID}",
    "events": f"/v1/live/{EXAMPLE_ID}/events",
    "transcription": f"/v1/transcriptions/{EXAMPLE_ID}",
}
CALL: dict[str, Any] = {
    "id": EXAMPLE_ID,
    "status": "running",
    "started_at": "2026-11-28T09:30:00Z",
    "seconds": 41.5,
    "dialect": "own",
    "channels": [{"index": 0, "label": "agent"}, {"index": 1, "label": "customer"}],
    "external_id": "crm-48151",
    "metadata": {"agent": "Anna"},
    "links": _LINKS,
}
_TOLD: tuple[tuple[int, LiveEvent], ...] = (
    (1, Started(UUID(EXAMPLE_ID), _LINKS)),
    (2, SpeechStarted(1, "customer", 0.3)),
    (2, Partial(1, "customer", 0, "Good morning.", 0.3)),
    (3, SpeechStopped(1, "customer", 1.9)),
    (4, Transcript(1, "customer", 0, "Good morning. How are you?", 0.3, 1.9, "en")),
    (5, Stopped(UUID(EXAMPLE_ID), _LINKS)),
)

LISTED: dict[str, Any] = {
    "description": "The calls.",
    "content": {"application/json": {"example": {"items": [CALL]}}},
}
READ: dict[str, Any] = {"description": "The call as it is now.", "content": {"application/json": {"example": CALL}}}
FOLLOWED: dict[str, Any] = {
    "description": "The events of the call. Each has an `id`, its type as `event`, and an object in JSON as `data`. "
    "Times are seconds from the start of the call. A text line that begins with `:` only keeps the connection open.",
    "content": {
        MEDIA_TYPE: {
            "schema": {"type": "string"},
            "example": "".join(named(number, event.as_json()) for number, event in _TOLD),
        }
    },
}
