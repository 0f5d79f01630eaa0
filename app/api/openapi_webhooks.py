"""The `webhooks` section of the OpenAPI document: what receivers get.

It is written by hand because FastAPI's `app.webhooks` would drop the nulls of the examples and would add the answers
200 and 422, which no receiver has to give.
"""

from typing import Any

WORDS = {
    "transcription.completed": ("A transcription is completed", "Completed", "Its transcript is there to be read."),
    "transcription.failed": ("A transcription has failed", "Failed", "`data.error` says why."),
    "transcription.cancelled": ("A transcription was cancelled", "Cancelled", "As somebody asked for."),
}
SIGNED = {
    "webhook-id": "Names the event. It is the same on each attempt and for each URL, so that repetitions show.",
    "webhook-timestamp": "Seconds since 1970 of this attempt.",
    "webhook-signature": "One or more `v1,…`, separated by spaces: HMAC-SHA256 of `id.timestamp.body`, in Base64.",
}


def section(examples: dict[str, Any]) -> dict[str, Any]:
    """One entry for each event, with a body from the examples of transcriptions."""
    return {event: {"post": _operation(event, examples)} for event in WORDS}


def _operation(event: str, examples: dict[str, Any]) -> dict[str, Any]:
    summary, example, description = WORDS[event]
    data = examples[example]
    body = {"type": event, "timestamp": data["completed_at"], "data": data}
    return {
        "tags": ["webhooks"],
        "operationId": event.replace(".", "_"),
        "summary": summary,
        "description": f"{description} Sent to each `webhook_url` by the rules of Standard Webhooks 1.0.0.",
        "parameters": [
            {"name": name, "in": "header", "required": True, "description": text, "schema": {"type": "string"}}
            for name, text in SIGNED.items()
        ],
        "requestBody": {
            "required": True,
            "content": {
                "application/json": {
                    "schema": {"$ref": "#/components/schemas/TranscriptionEvent"},
                    "examples": {event: {"value": body}},
                }
            },
        },
        "responses": {
            "2XX": {"description": "The event is delivered."},
            "410": {"description": "It is not sent again."},
            "default": {"description": "It is sent again later, ten times in all and not before `Retry-After`."},
        },
        "security": [],
    }
