"""What the routes of batches say in the OpenAPI document that FastAPI cannot derive from them.

Most generated clients send only one kind of body to a path, and prefer JSON if they may choose (`api.from_url`). So the
form with a manifest has a path of its own.
"""

from typing import Any

from pydantic import BaseModel

from app.api.openapi_requests import REF_TEMPLATE, curl, request_schema
from app.recording_batches.requests import BatchOptions, CreateBatch, UrlList
from app.recording_batches.views import EXAMPLE_ID, BatchOut

EXAMPLE: dict[str, Any] = {
    "id": EXAMPLE_ID,
    "name": "2019",
    "status": "feeding",
    "source": "s3://calls/2019/**/*.wav",
    "counts": {
        "total": 48151,
        "waiting": 40000,
        "pending": 400,
        "in_progress": 8,
        "completed": 7700,
        "failed": 40,
        "cancelled": 0,
        "refused": 3,
        "erased": 0,
    },
    "seconds_done": 1386000.0,
    "seconds_to_go": 7273440.0,
    "eta": "2026-11-23T04:10:00Z",
    "error": None,
    "created_at": "2026-11-21T09:30:00Z",
    "completed_at": None,
    "links": {"self": f"/v1/batches/{EXAMPLE_ID}", "report": f"/v1/batches/{EXAMPLE_ID}/report"},
}
LOCATION = {"Location": {"description": "The path of the batch.", "schema": {"type": "string"}}}
REPORT_EXAMPLE: dict[str, Any] = {
    "id": EXAMPLE_ID,
    "name": "2019",
    "status": "feeding",
    "recordings": [
        {
            "number": 1,
            "url": "https://recordings.example.com/48151.wav",
            "external_id": "crm-48151",
            "status": "completed",
            "error": None,
            "duration": 58.3,
            "language": "en",
            "outputs": [],
            "transcription_id": EXAMPLE_ID,
        }
    ],
}
EXAMPLES = {
    "Batch": EXAMPLE,
    "CancelledBatch": EXAMPLE | {"status": "cancelled", "eta": None},
    "Batches": {"items": [EXAMPLE], "next_cursor": EXAMPLE_ID},
    "BatchReport": REPORT_EXAMPLE,
}


def _example(name: str) -> dict[str, Any]:
    """Returns a reference to an example, because FastAPI drops the nulls of examples that are written in a route."""
    return {"application/json": {"examples": {name.lower(): {"$ref": f"#/components/examples/{name}"}}}}


ACCEPTED: dict[str, Any] = {
    "description": "The service has checked and stored all that was sent. It queues the recordings afterwards.",
    "headers": LOCATION,
    "content": _example("Batch"),
}
REPEATED: dict[str, Any] = {
    "model": BatchOut,
    "description": "The service accepted the same request with this `Idempotency-Key` before, and returns the batch of "
    "that request.",
    "headers": LOCATION,
    "content": _example("Batch"),
}
READ: dict[str, Any] = {"description": "The batch as it is now.", "content": _example("Batch")}
LISTED: dict[str, Any] = {"description": "One page of batches.", "content": _example("Batches")}
CANCELLED: dict[str, Any] = {
    "description": "The batch. It has no `completed_at` until all its jobs have stopped.",
    "content": _example("CancelledBatch"),
}
REPORT: dict[str, Any] = {
    "description": "The recordings in their order.",
    "content": {
        "application/json": {
            "schema": {"$ref": REF_TEMPLATE.format(model="BatchReport")},
            **_example("BatchReport")["application/json"],
        },
        "text/csv": {
            "schema": {"type": "string"},
            "example": "number,url,external_id,status,error_code,error_message,duration,language,outputs,"
            "transcription_id\r\n1,https://recordings.example.com/48151.wav,crm-48151,completed,,,58.3,en,,"
            f"{EXAMPLE_ID}\r\n",
        },
    },
}


def _without(schema: dict[str, Any], field: str) -> dict[str, Any]:
    return {**schema, "properties": {name: each for name, each in schema["properties"].items() if name != field}}


def _request_schema(model: type[BaseModel]) -> dict[str, Any]:
    schema = model.model_json_schema(ref_template=REF_TEMPLATE)
    schema.pop("$defs", None)
    return schema


SCHEMAS = {
    "CreateBatch": _request_schema(CreateBatch),
    "UrlList": _request_schema(UrlList),
    "BatchOptions": _without(request_schema(BatchOptions), "output"),
    "CreateFromManifest": {
        "title": "CreateFromManifest",
        "description": "A form with the manifest in the part `file`.",
        "type": "object",
        "properties": {
            "file": {
                "type": "string",
                "format": "binary",
                "contentMediaType": "application/octet-stream",
                "description": "The manifest: a CSV file with a header row, or one JSON object on each line.",
            },
            "options": {"type": "string", "examples": [""], "description": "The options of all rows, as JSON text."},
            "output": {
                "type": "string",
                "examples": [""],
                "description": "Where the transcripts are written, as JSON text with `url` and `formats`.",
            },
            "name": {"type": "string", "examples": [""], "description": "A name for people."},
        },
        "required": ["file"],
    },
}
CREATE: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {
            "application/json": {
                "schema": {"$ref": REF_TEMPLATE.format(model="CreateBatch")},
                "example": {"source": "s3://calls/2019/**/*.wav", "name": "2019", "options": {"channels": "split"}},
            },
        },
    },
    "x-codeSamples": [
        curl(
            "curl http://127.0.0.1:8000/v1/batches",
            "-H 'Authorization: Bearer '$KEY -H 'Content-Type: application/json'",
            """-d '{"source": "s3://calls/2019/**/*.wav", "options": {"channels": "split"}}'""",
        ),
    ],
}
CREATE_FROM_MANIFEST: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {"multipart/form-data": {"schema": {"$ref": REF_TEMPLATE.format(model="CreateFromManifest")}}},
    },
    "x-codeSamples": [
        curl(
            "curl http://127.0.0.1:8000/v1/batches/from-manifest",
            "-H 'Authorization: Bearer '$KEY",
            "-F file=@recordings.csv",
            """-F 'options={"channels": "split"}' -F name=2019""",
        ),
    ],
}
