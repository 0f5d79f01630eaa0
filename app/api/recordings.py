"""The route `/v1/transcriptions/{id}/audio`, which sends a recording, all of it or a range."""

import re
from dataclasses import dataclass
from functools import partial
from pathlib import PurePath
from typing import Annotated
from urllib.parse import quote

from fastapi import APIRouter, Header, Query
from starlette.responses import StreamingResponse

from app.access.audit import Action
from app.access.callers import Caller, Scope, require_scope
from app.api import openapi
from app.api.auth import MayRead
from app.api.dependencies import ReaderDep, StoreDep
from app.api.problems import COMMON_ERRORS, responses
from app.api.transcriptions import TranscriptionId, Unredacted
from app.errors import NotFound, RangeNotSatisfiable
from app.jobs.models import Transcription, stored_options

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
    redacted: Annotated[
        bool, Query(description="If true, you get the recording only if what is private in it is silenced.")
    ] = False,
    unredacted: Unredacted = False,
    if_range: Annotated[str | None, Header(include_in_schema=False)] = None,
) -> StreamingResponse:
    """Returns the bytes of the recording as they were posted or fetched.

    The service keeps them until the job ends, or for a number of days that the operator sets. If the transcript is
    redacted, it keeps a WAV file instead, in which a tone covers what was taken out. Until the job is completed, and
    after it has failed, the recording of such a job needs the scope `unredacted`.
    """
    if unredacted:
        require_scope(caller, Scope.UNREDACTED)
    choose = partial(_chosen, caller=caller, redacted=redacted, unredacted=unredacted)
    job, recording = await reader.recording(transcription_id, caller, choose)
    headers = _headers(job, recording)
    span = requested_span(range_, recording.bytes) if if_range in (None, headers["ETag"]) else None
    sent = span if span is not None else range(recording.bytes)
    try:
        blocks = await store.read(recording.key, sent)
    except FileNotFoundError:
        raise NotFound("The service no longer keeps this recording.") from None
    headers["Content-Length"] = str(len(sent))
    if span is not None:
        headers["Content-Range"] = f"bytes {span[0]}-{span[-1]}/{recording.bytes}"
    return StreamingResponse(blocks, 200 if span is None else 206, headers)


@dataclass(frozen=True)
class _Recording:
    """A file in the store. It is private if its job redacts, and nothing is silenced in it."""

    key: str
    bytes: int
    is_redacted: bool
    is_private: bool


def _chosen(job: Transcription, *, caller: Caller, redacted: bool, unredacted: bool) -> tuple[_Recording, Action]:
    """The recording that a request asks for, and what the audit calls that. Raises NotFound and Forbidden."""
    recording = _original(job) if unredacted else _recording(job)
    if recording is None:
        raise NotFound("The service has not fetched this recording yet, or no longer keeps it.")
    if redacted and not recording.is_redacted:
        raise NotFound("The recording is not redacted.")
    if recording.is_private:
        require_scope(caller, Scope.UNREDACTED)
    return recording, Action.RECORDING_UNREDACTED if recording.is_private else Action.RECORDING_READ


def _recording(job: Transcription) -> _Recording | None:
    """The recording that everybody gets who may read the call."""
    if job.audio_key is None or job.bytes is None:
        return None
    if job.redacted_bytes is not None:
        return _Recording(job.audio_key, job.redacted_bytes, is_redacted=True, is_private=False)
    redacts = stored_options.validate_python(job.options).redacts
    return _Recording(job.audio_key, job.bytes, is_redacted=False, is_private=redacts)


def _original(job: Transcription) -> _Recording | None:
    """The recording as it was sent."""
    key = job.original_audio_key if job.redacted_bytes is not None else job.audio_key
    if key is None or job.bytes is None:
        return None
    redacts = stored_options.validate_python(job.options).redacts
    return _Recording(key, job.bytes, is_redacted=False, is_private=redacts)


def _headers(job: Transcription, recording: _Recording) -> dict[str, str]:
    """Returns the headers of every answer. The recording is an attachment with an audio type or a neutral type.

    Otherwise a browser might run the file as a page of this service, because the client chose its name and its bytes.
    """
    name = job.filename or str(job.id)
    if recording.is_redacted:
        name = f"{PurePath(name).stem}.wav"
    return {
        "Content-Type": MEDIA_TYPES.get(PurePath(name).suffix.lower(), NEUTRAL_TYPE),
        "Content-Disposition": f"attachment; filename*=UTF-8''{quote(name, safe='')}",
        "X-Content-Type-Options": "nosniff",
        "Accept-Ranges": "bytes",
        "ETag": f'"{recording.key if recording.is_redacted else job.sha256}"',
        "Cache-Control": "private, no-store",
    }
