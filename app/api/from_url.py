"""The route `/v1/transcriptions/from-url`: a recording that the service fetches.

It exists because most generated clients send only one kind of body to a path, and prefer JSON if they may choose. They
could not upload a file if the OpenAPI document named JSON for `POST /v1/transcriptions` too.
"""

from fastapi import APIRouter, Request, Response

from app.api import openapi_requests
from app.api.auth import MayTranscribe
from app.api.dependencies import IntakeDep, ReaderDep, RootPathDep
from app.api.media_types import require_json
from app.api.transcriptions import CREATED, IdempotencyKey, create_transcription
from app.jobs.views import TranscriptionOut

router = APIRouter(prefix="/v1/transcriptions", tags=["transcriptions"])


@router.post(
    "/from-url",
    status_code=202,
    response_model=TranscriptionOut,
    summary="Post the URL of a recording",
    openapi_extra=openapi_requests.CREATE_FROM_URL,
    responses=CREATED,
)
async def create_transcription_from_url(
    request: Request,
    response: Response,
    caller: MayTranscribe,
    intake: IntakeDep,
    reader: ReaderDep,
    root_path: RootPathDep,
    idempotency_key: IdempotencyKey = None,
) -> TranscriptionOut:
    """Queues a recording that the service fetches from a URL.

    The service answers after it has stored the job durably, and fetches the recording afterwards. You can send the same
    JSON to `POST /v1/transcriptions`.
    """
    require_json(request)
    return await create_transcription(request, response, caller, intake, reader, root_path, idempotency_key)
