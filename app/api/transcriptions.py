"""`/v1/transcriptions`: what clients ask for and get."""

import asyncio
from contextlib import nullcontext, suppress
from functools import partial
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Header, Path, Query, Request, Response
from sqlmodel import select

from app import wording
from app.api import openapi
from app.api.auth import CallerDep
from app.api.dependencies import DatabaseDep, IntakeDep, ReaderDep, RetentionDep, WaitingDep
from app.api.problems import GUARDED, responses
from app.api.server.hangups import hang_up, unless
from app.database.connections import Database
from app.deliveries import outbox
from app.errors import (
    AlreadyFinal,
    BadMedia,
    IdempotencyKeyReused,
    InsufficientStorage,
    InvalidRequest,
    NoAudio,
    NotAcceptable,
    NotCompleted,
    NotFound,
    QueueFull,
    RequestTimeout,
    ShuttingDown,
    TooLarge,
    TooLong,
    UnsupportedMedia,
    UrlNotAllowed,
)
from app.intake.intake import FORM_BYTES, Submission
from app.jobs import erasure, queue
from app.jobs.lifecycle import FINAL, Status
from app.jobs.models import StoredTranscript, Transcription, stored_transcripts
from app.jobs.views import TranscriptionList, TranscriptionOut
from app.transcripts import formats

RETRY_AFTER_SECONDS = 2
CROWDED_RETRY_AFTER_SECONDS = 5  # where too many wait, so that those who may not ask less often

router = APIRouter(prefix="/v1/transcriptions", tags=["transcriptions"])
TranscriptionId = Annotated[UUID, Path(description="The transcription's id.")]


@router.post(
    "",
    status_code=202,
    response_model=TranscriptionOut,
    summary="Post a recording",
    openapi_extra=openapi.CREATE,
    responses={
        200: openapi.REPEATED,
        202: openapi.ACCEPTED,
        **responses(
            *GUARDED,
            RequestTimeout,
            TooLarge,
            UnsupportedMedia,
            InvalidRequest,
            IdempotencyKeyReused,
            UrlNotAllowed,
            NoAudio,
            BadMedia,
            TooLong,
            QueueFull,
            InsufficientStorage,
            ShuttingDown,
        ),
    },
)
async def create_transcription(
    request: Request,
    response: Response,
    caller: CallerDep,
    database: DatabaseDep,
    intake: IntakeDep,
    idempotency_key: Annotated[
        str | None, Header(min_length=1, max_length=255, description="Repeat a request safely with the same key.")
    ] = None,
) -> TranscriptionOut:
    """Queue a recording for transcription, as a file or as the URL it is to be fetched from.

    The answer comes once the job, and a file, are durable. Poll the transcription, best with `?wait=`.
    """
    if intake.closed:
        raise ShuttingDown(headers={"Retry-After": "5"})
    content_type = request.headers.get("content-type", "")
    media_type = content_type.partition(";")[0].strip().lower()
    if media_type not in ("application/json", "multipart/form-data"):
        raise UnsupportedMedia("Send multipart/form-data with a part `file`, or application/json with a `url`.")
    announced = int(request.headers.get("content-length", 0))
    if announced > intake.limits.upload_bytes + FORM_BYTES:
        raise TooLarge(f"The recording is larger than {intake.limits.upload_bytes} bytes.")
    watched = partial(hang_up, request.receive)
    submission = Submission(request.stream(), watched, content_type, announced, caller.name, idempotency_key)
    accept = intake.accept_url if media_type == "application/json" else intake.accept_upload
    job, is_new = await accept(submission)
    response.status_code = 202 if is_new else 200
    response.headers["Location"] = f"/v1/transcriptions/{job.id}"
    return await _shown(database, job)


@router.get(
    "",
    response_model=TranscriptionList,
    summary="List transcriptions",
    responses={200: openapi.LISTED, **responses(*GUARDED, InvalidRequest)},
)
async def list_transcriptions(
    caller: CallerDep,
    database: DatabaseDep,
    status: Annotated[Status | None, Query(description="Only those in this status.")] = None,
    external_id: Annotated[
        str | None, Query(max_length=255, pattern=wording.NO_NUL, description="Only those with this id of yours.")
    ] = None,
    limit: Annotated[int, Query(ge=1, le=100, description="Items a page.")] = 20,
    cursor: Annotated[UUID | None, Query(description="`next_cursor` of the page before.")] = None,
) -> TranscriptionList:
    """Newest first. Follow `next_cursor` until it is null."""
    statement = select(Transcription).order_by(Transcription.id.desc()).limit(limit + 1)  # type: ignore[attr-defined]
    if status is not None:
        statement = statement.where(Transcription.status == status)
    if external_id is not None:
        statement = statement.where(Transcription.external_id == external_id)
    if cursor is not None:
        statement = statement.where(Transcription.id < cursor)
    async with database.transaction() as session:
        jobs = (await session.exec(statement)).all()
        notify_states = await outbox.notify_states(session, [job.id for job in jobs])
    items = [TranscriptionOut.of(job, notify_states.get(job.id)) for job in jobs[:limit]]
    return TranscriptionList(items=items, next_cursor=str(items[-1].id) if len(jobs) > limit else None)


@router.get(
    "/{transcription_id}",
    response_model=TranscriptionOut,
    summary="Read a transcription",
    responses={200: openapi.READ, **responses(*GUARDED, NotFound, InvalidRequest)},
)
async def read_transcription(
    transcription_id: TranscriptionId,
    request: Request,
    response: Response,
    caller: CallerDep,
    reader: ReaderDep,
    waiting: WaitingDep,
    intake: IntakeDep,
    wait: Annotated[float, Query(ge=0, le=60, description="Seconds to wait for a final status before answering.")] = 0,
) -> TranscriptionOut:
    """The status of a job. With `wait` the answer comes as soon as the status is final, or when the time is over.

    Where too many clients wait already it comes without waiting: ask again after `Retry-After`.
    """
    loop = asyncio.get_running_loop()
    deadline = loop.time() + wait
    with waiting.join(transcription_id, caller.name) if wait else nullcontext() as changed:
        read = await reader.read(transcription_id)
        while changed is not None and not read.final and not intake.closed and loop.time() < deadline:
            with suppress(TimeoutError):
                change = asyncio.wait_for(changed.wait(), deadline - loop.time())
                await unless(hang_up(request.receive), change)
            changed.clear()
            read = await reader.read(transcription_id)
    if not read.final:
        crowded = wait and changed is None
        response.headers["Retry-After"] = str(CROWDED_RETRY_AFTER_SECONDS if crowded else RETRY_AFTER_SECONDS)
    return TranscriptionOut.of(read.job, read.notify_state)


@router.post(
    "/{transcription_id}/cancel",
    response_model=TranscriptionOut,
    summary="Cancel a transcription",
    responses={200: openapi.CANCELLED, **responses(*GUARDED, NotFound, AlreadyFinal)},
)
async def cancel_transcription(
    transcription_id: TranscriptionId, caller: CallerDep, database: DatabaseDep, retention: RetentionDep
) -> TranscriptionOut:
    """A waiting job is cancelled at once; a running one stops within seconds."""
    async with database.transaction() as session:
        closed = await queue.request_cancel(session, transcription_id, forget_audio=retention.forgets_audio)
    await retention.erase_audio(transcription_id, closed.forgotten_audio)
    return TranscriptionOut.of(closed.job)


@router.delete(
    "/{transcription_id}",
    status_code=204,
    summary="Delete a transcription",
    responses=responses(*GUARDED, NotFound),
)
async def delete_transcription(
    transcription_id: TranscriptionId, caller: CallerDep, database: DatabaseDep, retention: RetentionDep
) -> None:
    """Cancels the job if it has not ended, and erases its audio, its transcript and all that is known of it."""
    async with database.transaction() as session:
        job = await erasure.erase(session, transcription_id)
    await retention.erase_audio(job.id, job.audio_key)


@router.get(
    "/{transcription_id}/transcript",
    response_class=Response,
    summary="Read the transcript",
    responses={
        200: openapi.TRANSCRIPT,
        **responses(*GUARDED, NotFound, NotAcceptable, NotCompleted, InvalidRequest),
    },
)
async def read_transcript(
    transcription_id: TranscriptionId,
    caller: CallerDep,
    database: DatabaseDep,
    format: Annotated[  # noqa: A002
        formats.Format | None, Query(description="Takes precedence over `Accept`.")
    ] = None,
    accept: Annotated[str | None, Header(include_in_schema=False)] = None,
) -> Response:
    """The text of a completed transcription, as `format` or else `Accept` asks for it."""
    chosen = format or formats.negotiate(accept)
    if chosen is None:
        offered = ", ".join(sorted({each.media_type for each in formats.Format}))
        raise NotAcceptable(f"The transcript can be given as: {offered}.")
    async with database.transaction() as session:
        statement = select(Transcription, StoredTranscript).where(Transcription.id == transcription_id)
        found = (await session.exec(statement.outerjoin(StoredTranscript))).first()
    if found is None:
        raise NotFound(f"There is no transcription {transcription_id}.")
    job, stored = found
    if stored is None:
        raise NotCompleted(f"The transcription is {job.status}.")
    body = await asyncio.to_thread(_render, stored, chosen)
    return Response(body, media_type=chosen.media_type, headers={"Vary": "Accept"})


def _render(stored: StoredTranscript, chosen: formats.Format) -> str:
    transcript = stored_transcripts.validate_json(stored.transcript)
    return formats.render(transcript, str(stored.transcription_id), chosen)


async def _shown(database: Database, job: Transcription) -> TranscriptionOut:
    if job.status not in FINAL:
        return TranscriptionOut.of(job)
    async with database.transaction() as session:
        notify_states = await outbox.notify_states(session, [job.id])
    return TranscriptionOut.of(job, notify_states.get(job.id))


async def find(database: Database, transcription_id: UUID) -> Transcription:
    async with database.transaction() as session:
        job: Any = await session.get(Transcription, transcription_id)
    if job is None:
        raise NotFound(f"There is no transcription {transcription_id}.")
    found: Transcription = job
    return found
