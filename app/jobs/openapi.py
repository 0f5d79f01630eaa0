"""What FastAPI cannot derive for the OpenAPI document: the streamed body, examples, the transcript's formats."""

from typing import Any

from app.jobs.requests import CreateFromUrl, CreateTranscription
from app.jobs.schemas import EXAMPLE_ID

UPLOAD_EXAMPLE = {
    "channels": "split",
    "channel_labels": ["agent", "customer"],
    "language": "auto",
    "external_id": "crm-48151",
}

TRANSCRIPTION_EXAMPLE: dict[str, Any] = {
    "id": EXAMPLE_ID,
    "status": "pending",
    "notify_status": "not_notified",
    "audio": {
        "filename": "call.wav",
        "source": "upload",
        "bytes": 933498,
        "sha256": "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
        "duration": 58.3,
        "codec": "pcm_mulaw",
        "sample_rate": 8000,
        "channels": 2,
    },
    "options": {
        "language": "auto",
        "task": "transcribe",
        "model": "base",
        "channels": "split",
        "channel_labels": ["agent", "customer"],
        "word_timestamps": False,
        "prompt": None,
        "hotwords": [],
        "priority": 5,
    },
    "progress": 0.0,
    "attempts": 0,
    "language": None,
    "error": None,
    "warnings": [],
    "external_id": "crm-48151",
    "metadata": {},
    "created_at": "2026-11-21T09:30:00Z",
    "started_at": None,
    "completed_at": None,
    "notified_at": None,
    "timings": {"queued": None, "decoding": None, "transcribing": None},
    "links": {
        "self": f"/v1/transcriptions/{EXAMPLE_ID}",
        "transcript": f"/v1/transcriptions/{EXAMPLE_ID}/transcript",
    },
}

COMPLETED_EXAMPLE = TRANSCRIPTION_EXAMPLE | {
    "status": "completed",
    "progress": 1.0,
    "attempts": 1,
    "language": "en",
    "started_at": "2026-11-21T09:30:00.1Z",
    "completed_at": "2026-11-21T09:30:03.4Z",
    "timings": {"queued": 0.1, "decoding": 0.3, "transcribing": 3.0},
}


def _curl(*lines: str) -> dict[str, str]:
    return {"lang": "Shell", "label": "curl", "source": " \\\n  ".join(lines)}


def _upload_schema() -> dict[str, Any]:
    schema = CreateTranscription.model_json_schema()
    schema["title"] = "CreateFromFile"
    schema["description"] = "The recording in the part `file`, the options beside it."
    schema["properties"] = {
        "file": {
            "type": "string",
            "format": "binary",
            "contentMediaType": "application/octet-stream",
            "description": "The recording: any container and codec that FFmpeg reads.",
        },
        **schema["properties"],
    }
    schema["required"] = ["file"]
    return schema


LOCATION = {"Location": {"description": "Path of the transcription.", "schema": {"type": "string"}}}
RETRY_AFTER = {
    "Retry-After": {
        "description": "While the status is not final: seconds until it is worth asking again.",
        "schema": {"type": "integer"},
    }
}

CREATE: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {
            "multipart/form-data": {
                "schema": _upload_schema(),
                "encoding": {"metadata": {"contentType": "application/json"}},
            },
            "application/json": {"schema": CreateFromUrl.model_json_schema()},
        },
    },
    "x-codeSamples": [
        _curl(
            "curl http://127.0.0.1:8000/v1/transcriptions",
            "-H 'Authorization: Bearer '$KEY",
            "-F file=@call.wav",
            "-F channels=split -F channel_labels=agent -F channel_labels=customer",
        )
    ],
}

ACCEPTED: dict[str, Any] = {
    "description": "Accepted: the recording and the job are durable.",
    "headers": LOCATION,
    "content": {"application/json": {"example": TRANSCRIPTION_EXAMPLE}},
}
REPEATED: dict[str, Any] = {
    "description": "The same request was accepted before under this Idempotency-Key: its transcription.",
    "headers": LOCATION,
    "content": {"application/json": {"example": TRANSCRIPTION_EXAMPLE}},
}
READ: dict[str, Any] = {
    "description": "The transcription as it stands.",
    "headers": RETRY_AFTER,
    "content": {"application/json": {"example": COMPLETED_EXAMPLE}},
}

TRANSCRIPT: dict[str, Any] = {
    "description": "The transcript.",
    "content": {
        "application/json": {"schema": {"$ref": "#/components/schemas/TranscriptOut"}},
        "text/plain": {"schema": {"type": "string"}, "example": "[00:01] agent: Good morning, how can I help you?\n"},
        "application/x-subrip": {"schema": {"type": "string"}},
        "text/vtt": {"schema": {"type": "string"}},
        "text/tab-separated-values": {"schema": {"type": "string"}},
    },
}
