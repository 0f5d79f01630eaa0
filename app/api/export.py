"""The route `/v1/transcriptions/export`: chosen transcriptions as one file."""

from datetime import UTC, datetime
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Request
from pydantic import BaseModel, ConfigDict, Field
from starlette.responses import StreamingResponse

from app.api.auth import MayRead
from app.api.dependencies import ReaderDep
from app.api.json_body import read_json
from app.api.media_types import not_json, require_json
from app.api.openapi_requests import REF_TEMPLATE
from app.api.problems import COMMON_ERRORS, responses
from app.errors import TooLarge
from app.intake.requests import json_object, validated
from app.jobs.reads.export import FACTS, ExportFormat, render_export
from app.jobs.views import EXAMPLE_ID
from app.transcripts.formats import Format

MOST_IDS = 1000

router = APIRouter(prefix="/v1/transcriptions", tags=["transcriptions"])


class ExportRequest(BaseModel):
    """Which transcriptions to export, and how."""

    model_config = ConfigDict(extra="forbid")

    ids: Annotated[
        list[UUID],
        Field(
            min_length=1, max_length=MOST_IDS, description="The ids of the transcriptions. The file has their order."
        ),
    ]
    format: ExportFormat = Field(
        default=ExportFormat.CSV,
        description="`csv`: a table with a row for each transcription, with its text. `zip`: a file for each "
        "transcript, and such a table without texts.",
    )
    transcript_format: Format = Field(
        default=Format.TEXT, description="The format of the transcripts in a `zip`. A table has plain text."
    )


BODY: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {
            "application/json": {
                "schema": {"$ref": REF_TEMPLATE.format(model="ExportRequest")},
                "example": {"ids": [EXAMPLE_ID], "format": "zip", "transcript_format": "srt"},
            }
        },
    }
}
FILE: dict[str, Any] = {
    "description": "The file. A transcription that does not exist has the status `not_found` in the table.",
    "content": {
        "text/csv": {"schema": {"type": "string"}, "example": ",".join((*FACTS, "text")) + "\r\n"},
        "application/zip": {"schema": {"type": "string", "format": "binary"}, "example": "the bytes of a ZIP archive"},
    },
}


@router.post(
    "/export",
    response_class=StreamingResponse,
    summary="Export transcriptions",
    openapi_extra=BODY,
    responses={200: FILE, **responses(*COMMON_ERRORS, TooLarge, not_json())},
)
async def export_transcriptions(request: Request, caller: MayRead, reader: ReaderDep) -> StreamingResponse:
    """Returns up to 1000 transcriptions as one file: a table (CSV), or the transcripts in a ZIP archive.

    A table begins with a byte order mark, because spreadsheets need it: in Python, read it with the encoding
    `utf-8-sig`. The archive has a table too, `calls.csv`. Its column `file` names the transcript's file, instead of
    the column `text`.

    In a table, a text that begins with `=`, `+`, `-` or `@` has an apostrophe before it, because spreadsheets would run
    it as a formula.
    """
    require_json(request)
    asked = validated(ExportRequest, json_object(await read_json(request.stream()), "body"))
    calls = reader.exported(list(dict.fromkeys(asked.ids)), caller)
    name = f"transcriptions-{datetime.now(UTC):%Y-%m-%d}.{asked.format}"
    return StreamingResponse(
        render_export(calls, asked.format, asked.transcript_format),
        media_type=asked.format.media_type,
        headers={"Content-Disposition": f'attachment; filename="{name}"'},
    )
