"""The SQL about outputs: how far they are, and the notifications that wait for them.

An event has outputs and notifications. A notification is sent only when every output is written or has failed for good,
so that a receiver finds the files that its event lists.
"""

import json
from collections.abc import Collection, Mapping
from uuid import UUID

from sqlmodel import col, func, select, update
from sqlmodel.ext.asyncio.session import AsyncSession

from app.database.notifications import notify
from app.deliveries.models import (
    NEIGHBOURS,
    OUTPUT_STATUS,
    OUTPUTS,
    WHEN_RELEASED,
    Delivery,
    DeliveryStatus,
    Event,
    OutputStatus,
    Style,
)

DUE_TOPIC = "deliveries"


async def output_statuses(
    session: AsyncSession, transcription_ids: Collection[UUID]
) -> dict[UUID, dict[str, OutputStatus]]:
    """Returns how far the outputs of transcriptions are, by transcription and URL."""
    statement = (
        select(Event.transcription_id, Delivery.url, Delivery.status)
        .join(Delivery, col(Delivery.event_id) == Event.id)
        .where(col(Event.transcription_id).in_(transcription_ids), col(Delivery.style).in_(OUTPUTS))
    )
    found: dict[UUID, dict[str, OutputStatus]] = {}
    for transcription_id, url, status in await session.exec(statement):
        found.setdefault(transcription_id, {})[url] = OUTPUT_STATUS[DeliveryStatus(status)]
    return found


async def troubled_styles(session: AsyncSession) -> list[Style]:
    """Returns the styles of NEIGHBOURS of which a delivery has failed more than once and is still to be made."""
    waiting = select(Delivery.style).where(
        Delivery.status == DeliveryStatus.PENDING, col(Delivery.style).in_(NEIGHBOURS), Delivery.tries > 1
    )
    return [Style(style) for style in sorted((await session.exec(waiting.distinct())).all())]


async def lock_event(session: AsyncSession, event_id: UUID) -> None:
    await session.exec(select(Event.id).where(Event.id == event_id).with_for_update())


async def release_notifications(session: AsyncSession, event_id: UUID) -> None:
    """If the last output of an event has ended, let the notifications be sent. Their event says how each output ended.

    That is the only change that an event's body ever has, and no attempt has sent the body before.
    """
    outputs = select(Delivery.url, Delivery.status)
    of_event = outputs.where(Delivery.event_id == event_id, col(Delivery.style).in_(OUTPUTS))
    statuses = {url: OUTPUT_STATUS[DeliveryStatus(status)] for url, status in await session.exec(of_event)}
    if OutputStatus.PENDING in statuses.values():
        return
    held = update(Delivery).where(col(Delivery.event_id) == event_id, col(Delivery.next_attempt_at) == WHEN_RELEASED)
    released = await session.exec(held.values(next_attempt_at=func.now()).returning(col(Delivery.id)))
    if not released.all():
        return
    event = (await session.exec(select(Event).where(Event.id == event_id))).one()
    event.body = with_output_statuses(event.body, statuses)
    await session.flush()
    await notify(session, DUE_TOPIC)


def with_output_statuses(body: bytes, statuses: Mapping[str, OutputStatus]) -> bytes:
    """Returns the body of an event with the status of each of its outputs. Pure."""
    event = json.loads(body)
    for output in event["data"]["outputs"]:
        output["status"] = statuses[output["url"]]
    return json.dumps(event, ensure_ascii=False, separators=(",", ":")).encode()
