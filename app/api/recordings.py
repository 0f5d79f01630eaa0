"""The route `/v1/transcriptions/{id}/audio`, which sends the recording as it was received, all of it or a range."""

import re
from pathlib import PurePath
from typing import Annotated
from urllib.parse import quote

from fastapi import APIRouter, Header
from starlette.responses import StreamingResponse

from app.api import openapi
from app.api.auth import MayRead
from app.api.dependencies import ReaderDep, StoreDep
from app.api.problems import COMMON_ERRORS, responses
from app.api.transcriptions import TranscriptionId
from app.errors import NotFound, RangeNotSatisfiable
from app.jobs.models import Transcription

MEDIA_TYPES = {
    ".aac": "audio/aac",
    ".flac": "audio/flac",
    ".m4a": "audio/mp4",
    ".mp3": "audio/mpeg",
    ".mp4": "audio/mp4",
    ".oga": "audio/ogg",
    ".ogg": "audio/ogg",
    ".opus": "audio/ogg",
    ".wav": "audio/wav",
    ".weba": "audio/webm",
    ".webm": "audio/webm",
}
NEUTRAL_TYPE = "application/octet-stream"

router = APIRouter(prefix="/v1/transcriptions", tags=["transcriptions"])


def requested_span(header: str | None, total: int) -> range | None:
    """Returns the bytes that a `Range` header asks for, or None for all of them (RFC 9110, section 14.2).

    A header that is malformed or has several ranges is ignored, as the RFC allows. Raises RangeNotSatisfiable if the
    recording has none of the bytes.
    """
    asked = re.fullmatch(r"bytes=(\d{0,18})-(\d{0,18})", (header or "").replace(" ", ""))
    if asked is None or asked[0] == "bytes=-":
        return None
    first, last = asked.groups()
    if first and last and int(last) < int(first):
        return None
    span = range(int(first), min(int(last or total), total - 1) + 1) if first else range(total)[-int(last) or total :]
    if not span:
        raise RangeNotSatisfiable(
            f"The recording has only {total} bytes.", headers={"Content-Range": f"bytes */{total}"}
        )
    return span


@router.get(
    "/{transcription_id}/audio",
    response_class=StreamingResponse,
    summary="Read the recording",
    responses={
        200: openapi.AUDIO,
        206: openapi.PART_OF_AUDIO,
        **responses(*COMMON_ERRORS, NotFound, RangeNotSatisfiable),
    },
)
async def read_audio(
    transcription_id: TranscriptionId,
    caller: MayRead,
    reader: ReaderDep,
    store: StoreDep,
    range_: Annotated[
        str | None, Header(alias="Range", description="One range of bytes, for example `bytes=0-1023`.")
    ] = None,
    if_range: Annotated[str | None, Header(include_in_schema=False)] = None,
) -> StreamingResponse:
    """Returns the bytes of the recording as they were posted or fetched.

    The service keeps them until the job ends, or for a number of days that the operator sets.
    """
    job = await reader.recording(transcription_id, caller)
    if job.audio_key is None or job.bytes is None:
        raise NotFound("The service has not fetched this recording yet, or no longer keeps it.")
    headers = _headers(job)
    span = requested_span(range_, job.bytes) if if_range in (None, headers["ETag"]) else None
    sent = span if span is not None else range(job.bytes)
    try:
        blocks = await store.read(job.audio_key, sent)
    except FileNotFoundError:
        raise NotFound("The service no longer keeps this recording.") from None
    headers["Content-Length"] = str(len(sent))
    if span is not None:
        headers["Content-Range"] = f"bytes {span[0]}-{span[-1]}/{job.bytes}"
    return StreamingResponse(blocks, 200 if span is None else 206, headers)


def _headers(job: Transcription) -> dict[str, str]:
    """Returns the headers of every answer. The recording is an attachment with an audio type or a neutral type.

    Otherwise a browser might run the file as a page of this service, because the client chose its name and its bytes.
    """
    name = job.filename or str(job.id)
    return {
        "Content-Type": MEDIA_TYPES.get(PurePath(name).suffix.lower(), NEUTRAL_TYPE),
        "Content-Disposition": f"attachment; filename*=UTF-8''{quote(name, safe='')}",
        "X-Content-Type-Options": "nosniff",
        "Accept-Ranges": "bytes",
        "ETag": f'"{job.sha256}"',
        "Cache-Control": "private, no-store",
    }
