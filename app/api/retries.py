"""The route `/v1/transcriptions/{id}/retry`: a new transcription for the recording of one that failed."""

from fastapi import APIRouter, Request, Response

from app.api import openapi
from app.api.auth import MayTranscribe
from app.api.dependencies import IntakeDep, ReaderDep, RetriesDep, RootPathDep
from app.api.media_types import require_one_idempotency_key
from app.api.problems import COMMON_ERRORS, JOB_ERRORS, responses
from app.api.transcriptions import IdempotencyKey, TranscriptionId
from app.errors import IdempotencyKeyReused, NotFailed, NotFound, RecordingGone, ShuttingDown
from app.jobs.views import TranscriptionOut

router = APIRouter(prefix="/v1/transcriptions", tags=["transcriptions"])


@router.post(
    "/{transcription_id}/retry",
    status_code=202,
    response_model=TranscriptionOut,
    summary="Retry a failed transcription",
    responses={
        200: openapi.RETRIED_BEFORE,
        202: openapi.RETRIED,
        **responses(
            *COMMON_ERRORS,
            NotFound,
            NotFailed,
            RecordingGone,
            IdempotencyKeyReused,
            *JOB_ERRORS,
        ),
    },
)
async def retry_transcription(
    transcription_id: TranscriptionId,
    request: Request,
    response: Response,
    caller: MayTranscribe,
    retries: RetriesDep,
    intake: IntakeDep,
    reader: ReaderDep,
    root_path: RootPathDep,
    idempotency_key: IdempotencyKey = None,
) -> TranscriptionOut:
    """Queues the recording of a failed or cancelled transcription once more, as a new transcription.

    The new transcription names the old one in `retry_of`, and has its options, metadata, receivers and outputs. The old
    one does not change. While a retry of it has not ended, a further request returns that retry. The recording must
    still be kept, or come from a URL.
    """
    if intake.closed:
        raise ShuttingDown(retry_after=5)
    require_one_idempotency_key(request)
    accepted = await retries.retry(transcription_id, caller, idempotency_key)
    request.state.job = str(accepted.job.id)  # for the request's log line
    response.status_code = 202 if accepted.is_new else 200
    shown = (await reader.with_deliveries(accepted.job)).shown(root_path)
    response.headers["Location"] = shown.links.self
    return shown
