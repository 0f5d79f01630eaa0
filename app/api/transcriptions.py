"""The routes of `/v1/transcriptions`: create, read, cancel and delete transcriptions, and read transcripts.

`lists` has the list.
"""

import asyncio
from contextlib import nullcontext, suppress
from functools import partial
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Header, Path, Query, Request, Response

from app.access.callers import Scope, require_scope
from app.api import openapi, openapi_requests
from app.api.accept import choose_format
from app.api.auth import MayRead, MayTranscribe
from app.api.dependencies import AtEndDep, DatabaseDep, IntakeDep, ReaderDep, RetentionDep, RootPathDep, WaitingDep
from app.api.forms import FORM_BYTES, read_form
from app.api.hang_ups import client_hangs_up
from app.api.json_body import read_json
from app.api.media_types import JSON, announced_bytes, idempotency_header, kind_of_body, require_one_idempotency_key
from app.api.problems import COMMON_ERRORS, UPLOAD_ERRORS, responses
from app.errors import (
    AlreadyFinal,
    IdempotencyKeyReused,
    NotAcceptable,
    NotCompleted,
    NotFound,
    ShuttingDown,
)
from app.intake.ask import Remote, Stored
from app.intake.requests import CreateFromUrl, CreateTranscription
from app.jobs.changes import changing
from app.jobs.models import audio_keys
from app.jobs.reads.waiting import answer_at
from app.jobs.views import TranscriptionOut
from app.process.tasks import run_unless, within
from app.transcripts import formats

RETRY_AFTER_SECONDS = 2
CROWDED_RETRY_AFTER_SECONDS = 5  # for clients that may not wait because too many others do

router = APIRouter(prefix="/v1/transcriptions", tags=["transcriptions"])
Unredacted = Annotated[
    bool,
    Query(
        description="If true, you get it as it was before the redaction. It is kept only if the request had "
        "`redact_keep`, and your key needs the scope `unredacted`."
    ),
]
TranscriptionId = Annotated[UUID, Path(description="The transcription's id.")]


CREATED: dict[int | str, dict[str, Any]] = {
    200: openapi.REPEATED,
    202: openapi.ACCEPTED,
    **responses(*COMMON_ERRORS, IdempotencyKeyReused, *UPLOAD_ERRORS),
}
IdempotencyKey = Annotated[str | None, idempotency_header("transcription")]


@router.post(
    "",
    status_code=202,
    response_model=TranscriptionOut,
    summary="Post a recording",
    openapi_extra=openapi_requests.CREATE,
    responses=CREATED,
)
async def create_transcription(
    request: Request,
    response: Response,
    caller: MayTranscribe,
    intake: IntakeDep,
    reader: ReaderDep,
    root_path: RootPathDep,
    idempotency_key: IdempotencyKey = None,
) -> TranscriptionOut:
    """Queues a recording for transcription.

    The service answers after it has stored the file and the job durably. To follow the job, read the transcription with
    `?wait=60` until its status is `completed`, `failed` or `cancelled`. This path also takes the JSON of
    `POST /v1/transcriptions/from-url`.
    """
    if intake.closed:
        raise ShuttingDown(retry_after=5)
    require_one_idempotency_key(request)
    kind, most = kind_of_body(request), intake.limits.upload_bytes
    max_bytes = most + FORM_BYTES
    announced = announced_bytes(request, kind, most, max_bytes)
    recording: Stored | Remote
    if kind == JSON:
        asked = CreateFromUrl.from_json(await read_json(request.stream()))
        recording, ask = asked.recording(), asked.ask()
    else:
        async with intake.receiving(caller, idempotency_key, announced) as save:
            form = await read_form(
                request.stream(),
                request.headers["content-type"],
                save,
                is_field=CreateTranscription.has_field,
                max_bytes=max_bytes,
            )
            ask = CreateTranscription.from_texts(form.fields).ask()
        recording = Stored(form.audio, form.filename)
    abandoned = partial(client_hangs_up, request)
    accepted = await intake.accept(recording, ask, caller, idempotency_key, abandoned=abandoned)
    request.state.job = str(accepted.job.id)  # for the request's log line
    response.status_code = 202 if accepted.is_new else 200
    shown = (await reader.with_deliveries(accepted.job)).shown(root_path)
    response.headers["Location"] = shown.links.self
    return shown


@router.get(
    "/{transcription_id:uuid}",  # `from-url` is no id, so that `Allow` names only the methods of that path
    response_model=TranscriptionOut,
    summary="Read a transcription",
    responses={200: openapi.READ, **responses(*COMMON_ERRORS, NotFound)},
)
async def read_transcription(
    transcription_id: TranscriptionId,
    request: Request,
    response: Response,
    caller: MayRead,
    reader: ReaderDep,
    waiting: WaitingDep,
    intake: IntakeDep,
    root_path: RootPathDep,
    wait: Annotated[
        float,
        Query(
            ge=0,
            le=60,
            description="How many seconds the service may wait for a final status before it answers. A status is final "
            "if it is `completed`, `failed` or `cancelled`. The service answers 55 s after the request at the latest, "
            "because many proxies give up after 60 s.",
        ),
    ] = 0,
) -> TranscriptionOut:
    """Returns a transcription. With `wait`, the service answers when the status is final, or when the time is over.

    If too many clients already wait, the service answers immediately. In this case, ask again after the number of
    seconds in `Retry-After`.
    """
    loop = asyncio.get_running_loop()
    deadline = answer_at(request.state.arrived_at, wait)
    with waiting.join(transcription_id, caller.label) if wait else nullcontext() as changed:
        read = await reader.read(transcription_id, caller)
        while changed is not None and not read.final and not intake.closed and loop.time() < deadline:
            with suppress(TimeoutError):
                change = within(deadline - loop.time(), changed.wait())
                await run_unless(client_hangs_up(request), change)
            changed.clear()
            read = await reader.read(transcription_id, caller)
    if not read.final:
        crowded = wait and changed is None
        response.headers["Retry-After"] = str(CROWDED_RETRY_AFTER_SECONDS if crowded else RETRY_AFTER_SECONDS)
    return read.shown(root_path)


@router.post(
    "/{transcription_id}/cancel",
    response_model=TranscriptionOut,
    summary="Cancel a transcription",
    responses={200: openapi.CANCELLED, **responses(*COMMON_ERRORS, NotFound, AlreadyFinal)},
)
async def cancel_transcription(
    transcription_id: TranscriptionId,
    caller: MayTranscribe,
    database: DatabaseDep,
    retention: RetentionDep,
    at_end: AtEndDep,
    root_path: RootPathDep,
) -> TranscriptionOut:
    """Cancels a transcription. A job that waits ends immediately, and a job that runs ends within seconds.

    The service keeps the recording as that of a failed transcription, so that a retry is possible.
    """
    async with database.transaction() as session:
        closed = await changing.request_cancel(session, transcription_id, caller, at_end)
    await retention.erase_audio(transcription_id, closed.forgotten_audio)
    return TranscriptionOut.of(closed.job, root_path=root_path)


@router.delete(
    "/{transcription_id:uuid}",
    status_code=204,
    response_class=Response,
    summary="Delete a transcription",
    response_description="The transcription is deleted.",
    responses=responses(*COMMON_ERRORS, NotFound),
)
async def delete_transcription(
    transcription_id: TranscriptionId, caller: MayTranscribe, database: DatabaseDep, retention: RetentionDep
) -> None:
    """Erases a transcription with its recording, its transcript and everything else about it.

    If its job has not ended, the service cancels it first.
    """
    async with database.transaction() as session:
        job = await changing.erase(session, transcription_id, caller)
    await retention.erase_audio(job.id, audio_keys(job))


@router.get(
    "/{transcription_id}/transcript",
    response_class=Response,
    summary="Read the transcript",
    responses={
        200: openapi.TRANSCRIPT,
        **responses(*COMMON_ERRORS, NotFound, NotAcceptable, NotCompleted),
    },
)
async def read_transcript(
    transcription_id: TranscriptionId,
    caller: MayRead,
    reader: ReaderDep,
    format: Annotated[  # noqa: A002
        formats.Format | None,
        Query(description="The format of the transcript. If you leave it out, the header `Accept` decides."),
    ] = None,
    unredacted: Unredacted = False,
    accept: Annotated[str | None, Header(include_in_schema=False)] = None,
) -> Response:
    """Returns the transcript of a completed transcription, in one of six formats."""
    target = choose_format(format, accept)
    if unredacted:
        require_scope(caller, Scope.UNREDACTED)
    render = partial(formats.render, transcription_id=str(transcription_id), target=target)
    body = await reader.transcript(transcription_id, caller, render, unredacted=unredacted)
    return Response(body, media_type=target.media_type, headers={"Vary": "Accept"})
