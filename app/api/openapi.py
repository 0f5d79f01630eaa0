"""The parts of the OpenAPI document that FastAPI cannot derive from the routes.

They are the examples, the formats of a transcript, and what `openapi_requests` and `openapi_webhooks` write.
"""

from dataclasses import asdict
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from app.analysis.events import AnalysisEvent
from app.analysis.rules.definitions import Category, Scorecard
from app.api import delivery_views as deliveries
from app.api import openapi_batches, openapi_webhooks
from app.api.analyses import examples as analyses
from app.api.analyses.many import AnalyseCalls
from app.api.export import ExportRequest
from app.api.keys import CreateKey
from app.api.live.tokens import CreateLiveToken
from app.api.openai import schemas as openai_schemas
from app.api.openai.errors import OpenAIError
from app.api.openai.openapi import with_nulls
from app.api.openapi_requests import REF_TEMPLATE, SCHEMAS
from app.api.problems import Problem
from app.api.tenants import TenantLimits
from app.intake.ask import DEFAULT_PRIORITY
from app.intake.requests import CreateFromUrl
from app.jobs.events import TranscriptionEvent
from app.jobs.views import EXAMPLE_ID, OptionsOut, TranscriptionOut, shown_options
from app.recording_batches.requests import CreateBatch
from app.recording_batches.views import BatchReport
from app.transcripts.transcript import Options
from app.transcripts.view import TranscriptOut

PENDING_EXAMPLE: dict[str, Any] = {
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
    "options": OptionsOut.model_validate(
        shown_options(asdict(Options("base", channels="split", channel_labels=("agent", "customer"))), DEFAULT_PRIORITY)
    ).model_dump(mode="json"),
    "progress": 0.0,
    "attempts": 0,
    "language": None,
    "speakers": None,
    "outputs": [],
    "error": None,
    "retry": None,
    "warnings": [],
    "redactions": None,
    "external_id": "crm-48151",
    "tenant": "default",
    "batch_id": None,
    "retry_of": None,
    "retried_as": None,
    "metadata": {},
    "created_at": "2026-11-21T09:30:00Z",
    "started_at": None,
    "completed_at": None,
    "notified_at": None,
    "timings": {"queued": None, "decoding": None, "transcribing": None},
    "links": {
        "self": f"/v1/transcriptions/{EXAMPLE_ID}",
        "transcript": f"/v1/transcriptions/{EXAMPLE_ID}/transcript",
        "audio": f"/v1/transcriptions/{EXAMPLE_ID}/audio",
        "analysis": None,
    },
}

COMPLETED_EXAMPLE = PENDING_EXAMPLE | {
    "status": "completed",
    "progress": 1.0,
    "attempts": 1,
    "language": "en",
    "speakers": [{"label": "agent", "speech_seconds": 21.4}, {"label": "customer", "speech_seconds": 24.9}],
    "started_at": "2026-11-21T09:30:00.1Z",
    "completed_at": "2026-11-21T09:30:03.4Z",
    "timings": {"queued": 0.1, "decoding": 0.3, "transcribing": 3.0},
}


HIT_EXAMPLE: dict[str, Any] = {
    "start": 12.4,
    "speaker": "customer",
    "text": "I have a complaint about this order.",
    "marks": [[9, 18]],
}
EXAMPLES: dict[str, Any] = {
    "Pending": PENDING_EXAMPLE,
    "Completed": COMPLETED_EXAMPLE,
    "Failed": PENDING_EXAMPLE
    | {
        "status": "failed",
        "attempts": 1,
        "error": {"code": "bad_media", "message": "The recording is broken"},
        "started_at": "2026-11-21T09:30:00.1Z",
        "completed_at": "2026-11-21T09:30:02Z",
        "timings": {"queued": 0.1, "decoding": None, "transcribing": None},
    },
    "Cancelled": PENDING_EXAMPLE | {"status": "cancelled", "completed_at": "2026-11-21T09:30:02Z"},
    "Page": {"items": [COMPLETED_EXAMPLE | {"hits": None, "hit_count": None}], "next_cursor": EXAMPLE_ID},
    "Search": {"items": [COMPLETED_EXAMPLE | {"hits": [HIT_EXAMPLE], "hit_count": 1}], "next_cursor": None},
    **deliveries.EXAMPLES,
    **analyses.EXAMPLES,
    **openapi_batches.EXAMPLES,
}

_AGENT: dict[str, Any] = {
    "speaker": "agent",
    "start": 0.8,
    "end": 2.9,
    "text": "Good morning, how can I help you?",
}
_CUSTOMER: dict[str, Any] = {
    "speaker": "customer",
    "start": 2.4,
    "end": 8.1,
    "text": "Good morning. I have a complaint about this order, because it has not arrived.",
}
_SCORES = {
    "language": "en",
    "temperature": 0.0,
    "avg_logprob": -0.1834,
    "compression_ratio": 0.97,
    "no_speech_prob": 0.0112,
}
TRANSCRIPT_EXAMPLE: dict[str, Any] = {
    "id": EXAMPLE_ID,
    "text": f"{_AGENT['text']} {_CUSTOMER['text']}",
    "language": "en",
    "language_probability": 0.9871,
    "duration": 8.6,
    "channels": [
        {"index": 0, "label": "agent", "language": "en", "language_probability": 0.9871, "speech_seconds": 2.1},
        {"index": 1, "label": "customer", "language": "en", "language_probability": 0.9871, "speech_seconds": 5.7},
    ],
    "segments": [{"id": 0, "channel": 0, **_AGENT, **_SCORES}, {"id": 1, "channel": 1, **_CUSTOMER, **_SCORES}],
    "turns": [
        {**_AGENT, "loudness_dbfs": -22, "pitch": None},
        {
            **_CUSTOMER,
            "loudness_dbfs": -26,
            "pitch": {"hertz": 108, "spread_semitones": 4.7, "offset_semitones": None},
        },
    ],
    "talk": {
        "speech_seconds": 7.3,
        "silence_seconds": 1.3,
        "overlap_seconds": 0.5,
        "overlaps": 1,
        "interruptions": 1,
        "channels": [
            {
                "channel": 0,
                "speech_seconds": 2.1,
                "share": 0.2692,
                "interruptions": 0,
                "longest_monologue": {"start": 0.8, "end": 2.9},
                "words": 7,
                "word_unit": "word",
                "words_per_minute": None,
                "median_response_seconds": None,
                "longest_response": None,
                "loudness_dbfs": [-31, -22, -23, -58, -58, -58, -58, -58, -58],
                "pitch_hertz": None,
            },
            {
                "channel": 1,
                "speech_seconds": 5.7,
                "share": 0.7308,
                "interruptions": 1,
                "longest_monologue": {"start": 2.4, "end": 8.1},
                "words": 14,
                "word_unit": "word",
                "words_per_minute": 147.4,
                "median_response_seconds": 0.0,
                "longest_response": {"start": 2.4, "end": 2.4},
                "loudness_dbfs": [-58, -58, -29, -26, -25, -26, -27, -26, -38],
                "pitch_hertz": None,
            },
        ],
        "holds": [],
        "overlap_instances": [{"start": 2.4, "end": 2.9, "channel": 1, "over": [0], "is_interruption": True}],
    },
    "warnings": [],
}


def _example(name: str) -> dict[str, Any]:
    """Returns a reference to an example, because FastAPI drops the nulls of examples that are written in a route."""
    return {"application/json": {"examples": _examples(name)}}


def _examples(*names: str) -> dict[str, Any]:
    return {name.lower(): {"$ref": f"#/components/examples/{name}"} for name in names}


LOCATION = {"Location": {"description": "The path of the transcription.", "schema": {"type": "string"}}}
RETRY_AFTER = {
    "Retry-After": {
        "description": (
            "The number of seconds after which you should ask again. The header is missing if the status is final."
        ),
        "schema": {"type": "integer"},
    }
}


ACCEPTED: dict[str, Any] = {
    "description": "The service has accepted the job and stored it durably, and also the file if you sent one.",
    "headers": LOCATION,
    "content": _example("Pending"),
}
REPEATED: dict[str, Any] = {
    "model": TranscriptionOut,
    "description": (
        "The service accepted the same request with this `Idempotency-Key` before, and returns the transcription of "
        "that request."
    ),
    "headers": LOCATION,
    "content": _example("Pending"),
}
READ: dict[str, Any] = {
    "description": "The transcription as it is now.",
    "headers": RETRY_AFTER,
    "content": _example("Completed"),
}

LISTED: dict[str, Any] = {
    "description": "One page of transcriptions.",
    "content": {"application/json": {"examples": _examples("Page", "Search")}},
}
RETRIED: dict[str, Any] = {
    "description": "The new transcription. `retry_of` names the old one.",
    "headers": LOCATION,
    "content": _example("Pending"),
}
RETRIED_BEFORE: dict[str, Any] = {
    "model": TranscriptionOut,
    "description": (
        "A retry that has not ended yet, or the one of an earlier request with this `Idempotency-Key`. Nothing new is "
        "queued."
    ),
    "headers": LOCATION,
    "content": _example("Pending"),
}
CANCELLED: dict[str, Any] = {
    "description": (
        "The transcription. Its status is `cancelled`. If its job was running, the status is `in_progress` until the "
        "job has stopped, which takes seconds."
    ),
    "content": _example("Cancelled"),
}


def _text(example: str) -> dict[str, Any]:
    return {"schema": {"type": "string"}, "example": example}


WHISPER_TRANSCRIPT: dict[str, Any] = {
    "description": "The JSON of the `whisper` command line.",
    "type": "object",
    "required": ["text", "segments", "language"],
    "properties": {
        "text": {"type": "string"},
        "segments": {"type": "array", "items": {"type": "object"}},
        "language": {"type": "string"},
    },
}
TRANSCRIPT: dict[str, Any] = {
    "description": (
        "The transcript. The format `whisper` has the same media type as `json`, but other fields: those that the "
        "`whisper` command line writes."
    ),
    "content": {
        "application/json": {
            "schema": {
                "anyOf": [
                    {"$ref": REF_TEMPLATE.format(model="TranscriptOut")},
                    {"$ref": REF_TEMPLATE.format(model="WhisperTranscript")},
                ]
            },
            "example": TRANSCRIPT_EXAMPLE,
        },
        "text/plain": _text("[00:00] agent: Good morning, how can I help you?\n"),
        "application/x-subrip": _text("1\n00:00:00,800 --> 00:00:02,900\nagent: Good morning, how can I help you?\n"),
        "text/vtt": _text("WEBVTT\n\n00:00.800 --> 00:02.900\n<v agent>Good morning, how can I help you?\n"),
        "text/tab-separated-values": _text("start\tend\ttext\n800\t2900\tGood morning, how can I help you?\n"),
    },
}

_BYTES = {"schema": {"type": "string", "format": "binary"}, "example": "the bytes of call.wav"}
AUDIO: dict[str, Any] = {
    "description": "The recording. If its name ends like that of a common audio file, such as `.wav` or `.mp3`, its "
    "media type is `audio/…`. Otherwise it is `application/octet-stream`.",
    "content": {"audio/*": _BYTES, "application/octet-stream": _BYTES},
}
PART_OF_AUDIO = AUDIO | {"description": "The bytes of the recording that `Range` asks for."}


def complete(document: dict[str, Any]) -> dict[str, Any]:
    """Returns the document with the webhooks and schemas that FastAPI does not see, and without its 422 answers."""
    written_by_hand: list[type[BaseModel]] = [
        Problem,
        OpenAIError,
        TranscriptOut,
        TranscriptionEvent,
        AnalysisEvent,
        BatchReport,
    ]
    _, named = models_json_schema(
        [
            *((model, "serialization") for model in written_by_hand),
            (CreateFromUrl, "validation"),
            (CreateBatch, "validation"),
            (CreateKey, "validation"),
            (TenantLimits, "validation"),
            (AnalyseCalls, "validation"),
            (CreateLiveToken, "validation"),
            (Category, "validation"),
            (Scorecard, "validation"),
            (ExportRequest, "validation"),
        ],
        ref_template=REF_TEMPLATE,
    )
    schemas = {**named["$defs"], **document["components"]["schemas"]}
    schemas |= {**SCHEMAS, **openapi_batches.SCHEMAS, **openai_schemas.SCHEMAS, "WhisperTranscript": WHISPER_TRANSCRIPT}
    for operation in (operation for path in document["paths"].values() for operation in path.values()):
        if "application/json" in operation["responses"].get("422", {}).get("content", {}):
            del operation["responses"]["422"]
        with_nulls(operation)
    kept = {name: schema for name, schema in sorted(schemas.items()) if "ValidationError" not in name}
    examples = {name: {"value": value} for name, value in EXAMPLES.items()}
    components = {**document["components"], "schemas": kept, "examples": examples}
    return {**document, "webhooks": openapi_webhooks.section(EXAMPLES), "components": components}
