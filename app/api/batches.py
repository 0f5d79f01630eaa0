"""The routes of `/v1/batches`: many old recordings that are transcribed behind the calls of the day."""

from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Header, Path, Query, Request, Response
from starlette.responses import StreamingResponse

from app.api import openapi_batches as described
from app.api.accept import preferred
from app.api.auth import MayRead, MayTranscribe
from app.api.dependencies import BatchIntakeDep, BatchReaderDep, DatabaseDep, IntakeDep, RootPathDep
from app.api.forms import FORM_BYTES, read_form
from app.api.json_body import read_json
from app.api.media_types import (
    JSON,
    announced_bytes,
    idempotency_header,
    kind_of_body,
    require_form,
    require_one_idempotency_key,
)
from app.api.problems import COMMON_ERRORS, responses
from app.errors import (
    AlreadyFinal,
    IdempotencyKeyReused,
    InsufficientStorage,
    IntakePaused,
    NotAcceptable,
    NotCompleted,
    NotFound,
    RequestTimeout,
    ShuttingDown,
    TooLarge,
    UnsupportedMedia,
    UrlNotAllowed,
)
from app.recording_batches import changing
from app.recording_batches.accepting import MANIFEST_BYTES
from app.recording_batches.models import BatchStatus
from app.recording_batches.report import ReportFormat, render
from app.recording_batches.requests import BatchFields, CreateBatch
from app.recording_batches.views import BatchList, BatchOut, ShownStatus

IdempotencyKey = Annotated[str | None, idempotency_header("batch")]
JSON_BYTES = 8 * 1024 * 1024  # for a list of URLs

router = APIRouter(prefix="/v1/batches", tags=["batches"])
BatchId = Annotated[UUID, Path(description="The batch's id.")]
CREATED: dict[int | str, dict[str, Any]] = {
    200: described.REPEATED,
    202: described.ACCEPTED,
    **responses(
        *COMMON_ERRORS,
        IdempotencyKeyReused,
        RequestTimeout,
        TooLarge,
        UnsupportedMedia,
        UrlNotAllowed,
        InsufficientStorage,
        IntakePaused,
        ShuttingDown,
    ),
}


@router.post(
    "",
    status_code=202,
    response_model=BatchOut,
    summary="Post a batch",
    openapi_extra=described.CREATE,
    responses=CREATED,
)
async def create_batch(
    request: Request,
    response: Response,
    caller: MayTranscribe,
    intake: IntakeDep,
    batches: BatchIntakeDep,
    reader: BatchReaderDep,
    root_path: RootPathDep,
    idempotency_key: IdempotencyKey = None,
) -> BatchOut:
    """Queues many recordings that the service fetches, a few at a time, behind the calls of the day.

    Send the pattern of a bucket's keys or a list of URLs as JSON. This path also takes the form of
    `POST /v1/batches/from-manifest`.
    """
    if intake.closed:
        raise ShuttingDown(retry_after=5)
    require_one_idempotency_key(request)
    kind = kind_of_body(request, content="manifest", field="source")
    if kind == JSON:
        asked = CreateBatch.from_json(await read_json(request.stream(), JSON_BYTES))
        batch, is_new = await batches.accept(asked, caller, idempotency_key)
    else:
        announced_bytes(request, kind, MANIFEST_BYTES, MANIFEST_BYTES + FORM_BYTES)
        async with batches.receiving() as (path, save):
            form = await read_form(
                request.stream(),
                request.headers["content-type"],
                save,
                is_field=BatchFields.has_field,
                max_bytes=MANIFEST_BYTES + FORM_BYTES,
                content="manifest",
            )
            fields = BatchFields.from_texts(form.fields)
            batch, is_new = await batches.accept_manifest(path, form.audio.sha256, fields, caller, idempotency_key)
    response.status_code = 202 if is_new else 200
    shown = BatchOut.of(await reader.with_progress(batch), root_path)
    response.headers["Location"] = shown.links.self
    return shown


@router.post(
    "/from-manifest",
    status_code=202,
    response_model=BatchOut,
    summary="Post a manifest",
    openapi_extra=described.CREATE_FROM_MANIFEST,
    responses=CREATED,
)
async def create_batch_from_manifest(
    request: Request,
    response: Response,
    caller: MayTranscribe,
    intake: IntakeDep,
    batches: BatchIntakeDep,
    reader: BatchReaderDep,
    root_path: RootPathDep,
    idempotency_key: IdempotencyKey = None,
) -> BatchOut:
    """Queues the recordings of a manifest.

    A manifest is a CSV file with a header row, or a file with one JSON object on each line. It has a `url` in each row,
    and any other field of `POST /v1/transcriptions/from-url`. The service checks all rows before it answers, and
    accepts all or none. You can send the same form to `POST /v1/batches`.
    """
    require_form(request, "file", "manifest")
    return await create_batch(request, response, caller, intake, batches, reader, root_path, idempotency_key)


@router.get(
    "", response_model=BatchList, summary="List batches", responses={200: described.LISTED, **responses(*COMMON_ERRORS)}
)
async def list_batches(
    caller: MayRead,
    reader: BatchReaderDep,
    root_path: RootPathDep,
    status: Annotated[ShownStatus | None, Query(description="Return only batches with this status.")] = None,
    limit: Annotated[int, Query(ge=1, le=100, description="The largest number of batches on a page.")] = 20,
    cursor: Annotated[
        UUID | None, Query(description="The `next_cursor` of the previous page. Leave it out to get the first page.")
    ] = None,
) -> BatchList:
    """Lists batches, newest first.

    To read the next page, send the `next_cursor` of this page as `cursor`. On the last page, `next_cursor` is null.
    """
    page = await reader.page(caller, cursor, limit, None if status is None else BatchStatus(status))
    items = [BatchOut.of(read, root_path) for read in page.items]
    return BatchList(items=items, next_cursor=None if page.is_last else str(items[-1].id))


@router.get(
    "/{batch_id:uuid}",  # `from-manifest` is no id, so that `Allow` names only the methods of that path
    response_model=BatchOut,
    summary="Read a batch",
    responses={200: described.READ, **responses(*COMMON_ERRORS, NotFound)},
)
async def read_batch(batch_id: BatchId, caller: MayRead, reader: BatchReaderDep, root_path: RootPathDep) -> BatchOut:
    """Returns how far a batch is. The counts may be a second old, or some seconds for a very large batch."""
    return BatchOut.of(await reader.read(batch_id, caller), root_path)


@router.get(
    "/{batch_id}/report",
    response_class=StreamingResponse,
    summary="Read the report of a batch",
    responses={200: described.REPORT, **responses(*COMMON_ERRORS, NotFound, NotAcceptable)},
)
async def read_batch_report(
    batch_id: BatchId,
    caller: MayRead,
    reader: BatchReaderDep,
    format: Annotated[  # noqa: A002
        ReportFormat | None,
        Query(description="`json` or `csv`. If you leave it out, the header `Accept` decides."),
    ] = None,
    accept: Annotated[str | None, Header(include_in_schema=False)] = None,
) -> StreamingResponse:
    """Returns all recordings of a batch with their status, as JSON or CSV. You can read it before the batch has ended.

    In CSV, a text that begins with `=`, `+`, `-` or `@` has an apostrophe before it, because spreadsheets would run it
    as a formula.
    """
    target = format or preferred(accept, list(ReportFormat))
    if target is None:
        raise NotAcceptable("The report is available with these media types: application/json, text/csv.")
    batch, pages = await reader.report(batch_id, caller)
    headers = {"Vary": "Accept"}
    if target is ReportFormat.CSV:
        headers["Content-Disposition"] = f'attachment; filename="batch-{batch.id}.csv"'
    return StreamingResponse(render(batch, pages, target), media_type=target.media_type, headers=headers)


@router.post(
    "/{batch_id}/cancel",
    response_model=BatchOut,
    summary="Cancel a batch",
    responses={200: described.CANCELLED, **responses(*COMMON_ERRORS, NotFound, AlreadyFinal)},
)
async def cancel_batch(
    batch_id: BatchId, caller: MayTranscribe, database: DatabaseDep, reader: BatchReaderDep, root_path: RootPathDep
) -> BatchOut:
    """Cancels a batch: the service queues no more of it, and cancels the jobs that wait or run, which takes seconds.

    The batch has a `completed_at` when the last job has ended. Completed transcriptions stay.
    """
    async with database.transaction() as session:
        batch = await changing.request_cancel(session, batch_id, caller)
    return BatchOut.of(await reader.with_progress(batch), root_path)


@router.post(
    "/{batch_id}/retry",
    response_model=BatchOut,
    summary="Retry the failed recordings of a batch",
    responses={200: described.READ, **responses(*COMMON_ERRORS, NotFound, NotCompleted)},
)
async def retry_batch(
    batch_id: BatchId, caller: MayTranscribe, database: DatabaseDep, reader: BatchReaderDep, root_path: RootPathDep
) -> BatchOut:
    """Gives each recording that was refused or has failed a new transcription. A cancelled batch goes on.

    Of a cancelled batch, cancelled recordings get a new transcription too. The earlier transcriptions stay, but no
    longer count for the batch. If there is nothing to retry, the batch stays as it is.
    """
    async with database.transaction() as session:
        total, statuses = await changing.retried_statuses(session, batch_id, caller)
    for start in range(1, total + 1, changing.ROWS_AT_ONCE):
        rows = range(start, start + changing.ROWS_AT_ONCE)
        async with database.transaction() as session:
            await changing.retry_rows(session, batch_id, caller, rows, statuses)
    async with database.transaction() as session:
        batch = await changing.go_on(session, batch_id, caller)
    return BatchOut.of(await reader.with_progress(batch), root_path)


@router.delete(
    "/{batch_id:uuid}",
    status_code=204,
    response_class=Response,
    summary="Delete a batch",
    response_description="The batch is deleted.",
    responses=responses(*COMMON_ERRORS, NotFound),
)
async def delete_batch(batch_id: BatchId, caller: MayTranscribe, database: DatabaseDep) -> None:
    """Erases a batch with all its transcriptions, their recordings and their transcripts.

    When the service answers, no client can read the batch any more. The service erases the transcriptions in the
    following seconds or, if there are very many, minutes.
    """
    async with database.transaction() as session:
        await changing.request_erasure(session, batch_id, caller)
