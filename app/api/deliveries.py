"""Routes for deliveries: they list who was notified and what was written at a transcription's end, and do it again."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Path

from app.api.auth import MayRead, MayTranscribe
from app.api.delivery_views import LISTED, REDELIVERING, DeliveryList, DeliveryOut
from app.api.dependencies import DatabaseDep, ReaderDep
from app.api.problems import COMMON_ERRORS, responses
from app.deliveries import outbox
from app.errors import NotFound
from app.jobs.changes import changing

router = APIRouter(prefix="/v1", tags=["webhooks"])


@router.get(
    "/transcriptions/{transcription_id}/deliveries",
    response_model=DeliveryList,
    summary="List deliveries",
    responses={200: LISTED, **responses(*COMMON_ERRORS, NotFound)},
)
async def list_deliveries(
    transcription_id: Annotated[UUID, Path(description="The transcription's id.")],
    caller: MayRead,
    reader: ReaderDep,
) -> DeliveryList:
    """Lists the deliveries of a transcription that has ended.

    Each webhook and each callback URL has one delivery, and so has each file or object that the service writes.
    """
    deliveries, attempts = await reader.deliveries(transcription_id, caller)
    return DeliveryList.of(deliveries, attempts)


@router.post(
    "/deliveries/{delivery_id}/redeliver",
    status_code=202,
    response_model=DeliveryOut,
    summary="Deliver again",
    responses={202: REDELIVERING, **responses(*COMMON_ERRORS, NotFound)},
)
async def redeliver(
    delivery_id: Annotated[UUID, Path(description="The delivery's id.")], caller: MayTranscribe, database: DatabaseDep
) -> DeliveryOut:
    """Sends the same event to the same URL again, immediately, even if it was delivered before.

    If the delivery is a file or an object, the service writes it again. If the attempt fails, the service tries again
    as for a new delivery.
    """
    async with database.transaction() as session:
        event, delivery = await changing.redeliver(session, delivery_id, caller)
        attempts = await outbox.attempts(session, [delivery_id])
    return DeliveryOut.of(event, delivery, attempts)
