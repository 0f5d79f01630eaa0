"""The `webhooks` section of the OpenAPI document: the requests that receivers get.

It is written by hand because FastAPI's `app.webhooks` would drop the nulls of the examples and would add the answers
200 and 422, which no receiver has to give.
"""

from typing import Any

WORDS = {
    "transcription.completed": ("A transcription was completed", "Completed", "The transcript can be read now."),
    "transcription.failed": ("A transcription has failed", "Failed", "`data.error` says why."),
    "transcription.cancelled": ("A transcription was cancelled", "Cancelled", "A client cancelled it."),
    "analysis.completed": ("A call was analysed", "Completed", "The analysis can be read now."),
    "analysis.failed": (
        "A call could not be judged",
        "Completed",
        "The language model failed. What rules have found can be read.",
    ),
}
SIGNED = {
    "webhook-id": (
        "The id of the event. It is the same on each attempt and for each URL, so that you can recognize repetitions."
    ),
    "webhook-timestamp": "The time of this attempt, in seconds since 1970-01-01 UTC.",
    "webhook-signature": (
        "One or more signatures, separated by spaces. A signature is `v1,`, followed in Base64 by the HMAC-SHA256 of "
        "the id, the timestamp and the body, joined by dots."
    ),
}
TRACEPARENT = {
    "name": "traceparent",
    "in": "header",
    "required": False,
    "description": "The parent of what the receiver does, as W3C's Trace Context has it, if there is a trace of the "
    "transcription. The signature does not cover it.",
    "schema": {"type": "string"},
}


def section(examples: dict[str, Any]) -> dict[str, Any]:
    """Returns one entry for each event, with an example of its body."""
    return {event: {"post": _operation(event, examples)} for event in WORDS}


def _schema(event: str) -> str:
    return "AnalysisEvent" if event.startswith("analysis.") else "TranscriptionEvent"


def _operation(event: str, examples: dict[str, Any]) -> dict[str, Any]:
    summary, example, description = WORDS[event]
    data = examples[example]
    body = {"type": event, "timestamp": data["completed_at"], "data": data}
    return {
        "tags": ["events"],
        "x-internal": True,  # openapi-generator would write these requests into its clients, and not as valid Python
        "operationId": event.replace(".", "_"),
        "summary": summary,
        "description": (
            f"{description} The service sends this event to each `webhook_url`, as Standard Webhooks 1.0.0 describes."
        ),
        "parameters": [
            {"name": name, "in": "header", "required": True, "description": text, "schema": {"type": "string"}}
            for name, text in SIGNED.items()
        ]
        + [TRACEPARENT],
        "requestBody": {
            "required": True,
            "content": {
                "application/json": {
                    "schema": {"$ref": f"#/components/schemas/{_schema(event)}"},
                    "examples": {event: {"value": body}},
                }
            },
        },
        "responses": {
            "2XX": {"description": "The event counts as delivered."},
            "410": {
                "description": "The delivery has failed, and the service does not send the event to this URL again."
            },
            "default": {
                "description": (
                    "The service sends the event again later, but not before the time in `Retry-After`. After ten "
                    "attempts, the delivery has failed."
                )
            },
        },
        "security": [],
    }
