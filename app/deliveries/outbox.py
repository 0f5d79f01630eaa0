"""The outbox: the SQL that writes, claims and reads events and their deliveries.

The event is written in the transaction that ends its transcription, so that neither exists without the other. A sender
takes a lease on a delivery before it makes an attempt, and names the lease's token when it records the attempt. So a
sender that hung until its lease ended changes nothing. All times come from the database's clock.
"""

import random
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, Text, Uuid, bindparam, func, text
from sqlalchemy.dialects.postgresql import ARRAY
from sqlmodel import col, delete, select, update
from sqlmodel.ext.asyncio.session import AsyncSession
from sqlmodel.sql.expression import SelectOfScalar
from uuid_utils.compat import uuid7

from app.database.notifications import notify
from app.deliveries import outputs_of_events, signing_secrets
from app.deliveries.channels import Outgoing, Reply
from app.deliveries.models import (
    NOTIFICATIONS,
    OUTPUTS,
    WHEN_RELEASED,
    Delivery,
    DeliveryAttempt,
    DeliveryStatus,
    Event,
    Style,
)
from app.deliveries.notify_status import NotifyState
from app.deliveries.outputs_of_events import DUE_TOPIC
from app.deliveries.schedule import next_try
from app.errors import NotFound
from app.network.guard import host_of
from app.transcripts.formats import Format

LEASE = timedelta(seconds=20)  # longer than ATTEMPT_SECONDS
PER_HOST = 4
CLAIM_LOCK = 0x686F6F6B  # "hook". Only one process claims at a time, so that PER_HOST holds for all of them together
KEPT_ATTEMPTS = 50  # of each delivery, so that endless redeliveries do not fill the disk


@dataclass(frozen=True)
class Target:
    """A receiver of an event, or a file of its transcript. The placeholders of `url` are filled in."""

    style: Style
    url: str
    format: Format | None = None


@dataclass(frozen=True)
class NewEvent:
    """An event that is to be written. Each of `targets` gets its type and its bytes."""

    transcription_id: UUID
    type: str
    body: bytes
    targets: Sequence[Target]
    traceparent: str | None = None


@dataclass(frozen=True)
class Leased(Outgoing):
    """A delivery on which this sender has a lease. It had been due for `waited_seconds` when the sender claimed it."""

    id: UUID
    token: UUID
    host: str
    waited_seconds: float


async def add(session: AsyncSession, event: NewEvent) -> None:
    """Write an event and one delivery for each of its targets, in the transaction that ends the transcription.

    Notifications wait until the outputs are written, so that a receiver finds them.
    """
    has_outputs = any(target.style in OUTPUTS for target in event.targets)
    now = (await session.exec(select(func.now()))).one()
    row = Event(
        id=uuid7(),
        transcription_id=event.transcription_id,
        type=event.type,
        body=event.body,
        traceparent=event.traceparent,
        created_at=now,
    )
    session.add(row)
    await session.flush()
    for target in event.targets:
        session.add(
            Delivery(
                id=uuid7(),
                event_id=row.id,
                style=target.style,
                url=target.url,
                format=target.format,
                host=host_of(target.url),
                next_attempt_at=WHEN_RELEASED if has_outputs and target.style in NOTIFICATIONS else now,
                created_at=now,
            )
        )
    await session.flush()
    await notify(session, DUE_TOPIC)


# The recursive query looks up one host after the other in the index, so that its cost does not grow with the number of
# waiting deliveries. `place` shares the slots: each host gets a first attempt before any host gets a second one at the
# same time, and no host gets more than the limit.
CLAIM = text("""
    WITH RECURSIVE host AS (
        (SELECT host AS name FROM delivery WHERE status = 'pending' ORDER BY host LIMIT 1)
        UNION ALL
        SELECT (SELECT host FROM delivery WHERE status = 'pending' AND host > host.name ORDER BY host LIMIT 1)
        FROM host WHERE host.name IS NOT NULL
    ), busy AS MATERIALIZED (
        SELECT host AS name, count(*) AS attempts FROM delivery
        WHERE lease_token IS NOT NULL AND lease_until >= now() GROUP BY host
    ), due AS MATERIALIZED (
        SELECT picked.id, picked.next_attempt_at,
               coalesce(busy.attempts, 0) + row_number() OVER (PARTITION BY host.name ORDER BY picked.next_attempt_at)
                   AS place
        FROM host LEFT JOIN busy USING (name) CROSS JOIN LATERAL (
            SELECT id, next_attempt_at FROM delivery
            WHERE status = 'pending' AND delivery.host = host.name AND style = ANY(:styles) AND next_attempt_at <= now()
              AND (lease_until IS NULL OR lease_until < now())
            ORDER BY next_attempt_at, id
            LIMIT greatest(0, :per_host - coalesce(busy.attempts, 0))
            FOR UPDATE SKIP LOCKED
        ) AS picked
    ), chosen AS (
        SELECT id FROM due ORDER BY place, next_attempt_at LIMIT :slots
    )
    UPDATE delivery SET lease_token = gen_random_uuid(), lease_until = now() + :lease
    FROM chosen, event WHERE delivery.id = chosen.id AND event.id = delivery.event_id
    RETURNING delivery.id, lease_token AS token, event_id, transcription_id, type, style, url, format, host, body,
              traceparent, extract(epoch FROM now() - next_attempt_at)::float AS waited_seconds, now() AS claimed_at
""").bindparams(bindparam("styles", type_=ARRAY(Text)))


async def claim_due(
    session: AsyncSession, slots: int, styles: Collection[Style], own_secrets: Sequence[str] = ()
) -> list[Leased]:
    """Take leases on up to `slots` deliveries that are due. At most PER_HOST of a host are leased at the same time.

    Deliveries of other styles than `styles` are left to processes of a newer version, which knows them. The returned
    deliveries carry the secrets to sign with: `own_secrets`, or the database's if there are none.
    """
    await session.exec(select(func.pg_advisory_xact_lock(CLAIM_LOCK)))
    claim = CLAIM.bindparams(slots=slots, per_host=PER_HOST, lease=LEASE, styles=list(styles))
    rows = (await session.exec(claim)).all()  # type: ignore[call-overload]
    secrets = tuple(own_secrets or (await signing_secrets.valid(session) if rows else ()))
    return [_leased(row._mapping, secrets) for row in rows]


def _leased(row: Mapping[str, Any], secrets: tuple[str, ...]) -> Leased:
    written = None if row["format"] is None else Format(row["format"])
    return Leased(**{**row, "style": Style(row["style"]), "format": written, "signing_secrets": secrets})


async def record(session: AsyncSession, leased: Leased, reply: Reply) -> Delivery | None:
    """Write an attempt into the delivery's log, and decide from its reply what happens to the delivery next.

    Returns the changed delivery. If the lease was lost, this writes nothing and returns None.
    """
    row = (await session.exec(select(Delivery).where(*_still_leased(leased)).with_for_update())).first()
    if row is None:
        return None
    if leased.style in OUTPUTS:  # before the row changes, so that of two outputs that end together one sees the other
        await outputs_of_events.lock_event(session, row.event_id)
    now = (await session.exec(select(func.now()))).one()
    row.attempts, row.tries = row.attempts + 1, row.tries + 1
    following = next_try(reply, row.tries, now, random.random(), leased.style)  # noqa: S311  spreads retries, guards nothing
    row.status, row.next_attempt_at = following.status, following.at
    row.finished_at = None if following.status is DeliveryStatus.PENDING else now
    row.lease_token = row.lease_until = None
    session.add(
        DeliveryAttempt(
            id=uuid7(),
            delivery_id=row.id,
            started_at=reply.started_at,
            milliseconds=reply.milliseconds,
            status_code=reply.status_code,
            error=reply.error,
            response=reply.response,
        )
    )
    await session.flush()
    if row.attempts > KEPT_ATTEMPTS:
        await _delete_oldest_attempts(session, row.id)
    if leased.style in OUTPUTS and row.status is not DeliveryStatus.PENDING:
        await outputs_of_events.release_notifications(session, row.event_id)
    return row


async def give_back(session: AsyncSession, leased: Leased) -> None:
    """End the lease on a delivery whose attempt was stopped, so that any process can claim it immediately."""
    await session.exec(update(Delivery).where(*_still_leased(leased)).values(lease_token=None, lease_until=None))
    await notify(session, DUE_TOPIC)


async def redeliver(
    session: AsyncSession, delivery_id: UUID, transcriptions: SelectOfScalar[UUID]
) -> tuple[Event, Delivery]:
    """Start the schedule of a delivery again, with the same event.

    Raises NotFound if there is no such delivery, or if it belongs to none of `transcriptions`, which are those that the
    caller may see.
    """
    statement = select(Event, Delivery).join(Delivery, col(Delivery.event_id) == Event.id)
    statement = statement.where(Delivery.id == delivery_id, col(Event.transcription_id).in_(transcriptions))
    found = (await session.exec(statement.with_for_update(of=Delivery))).first()
    if found is None:
        raise NotFound(f"There is no delivery {delivery_id}.")
    event, row = found
    row.status, row.tries, row.finished_at = DeliveryStatus.PENDING, 0, None
    row.next_attempt_at = (await session.exec(select(func.now()))).one()
    await session.flush()
    await notify(session, DUE_TOPIC)
    return event, row


async def notify_states(session: AsyncSession, transcription_ids: Collection[UUID]) -> dict[UUID, NotifyState]:
    """Returns the notify states by transcription. Those without deliveries are left out.

    Deliveries of analyses do not count, because the receivers know of the transcription already.
    """
    statement = text("""
        SELECT transcription_id,
               count(*) FILTER (WHERE attempts > 0 OR lease_token IS NOT NULL) AS tried,
               count(*) FILTER (WHERE status = 'pending') AS pending,
               count(*) FILTER (WHERE status = 'failed') AS failed,
               max(finished_at) AS finished_at
        FROM event JOIN delivery ON delivery.event_id = event.id
        WHERE transcription_id = ANY(:ids) AND style <> ALL(:outputs) AND type LIKE 'transcription.%'
        GROUP BY transcription_id
    """).bindparams(
        bindparam("ids", list(transcription_ids), type_=ARRAY(Uuid)),
        bindparam("outputs", list(OUTPUTS), type_=ARRAY(Text)),
    )
    rows = await session.exec(statement)  # type: ignore[call-overload]
    return {row.transcription_id: NotifyState.of(*row[1:]) for row in rows}


async def find(session: AsyncSession, transcription_id: UUID) -> list[tuple[Event, Delivery]]:
    """Returns the deliveries of a transcription with their event, in the order of the URLs in its request."""
    statement = select(Event, Delivery).join(Delivery, col(Delivery.event_id) == Event.id)
    rows = await session.exec(statement.where(Event.transcription_id == transcription_id).order_by(col(Delivery.id)))
    return list(rows)


async def attempts(session: AsyncSession, delivery_ids: Collection[UUID]) -> Sequence[DeliveryAttempt]:
    """Returns the logged attempts of these deliveries, the oldest first."""
    statement = select(DeliveryAttempt).where(col(DeliveryAttempt.delivery_id).in_(delivery_ids))
    return (await session.exec(statement.order_by(col(DeliveryAttempt.id)))).all()


async def _delete_oldest_attempts(session: AsyncSession, delivery_id: UUID) -> None:
    of_this = select(DeliveryAttempt.id).where(DeliveryAttempt.delivery_id == delivery_id)
    old = of_this.order_by(col(DeliveryAttempt.id).desc()).offset(KEPT_ATTEMPTS)
    await session.exec(delete(DeliveryAttempt).where(col(DeliveryAttempt.id).in_(old)))


def _still_leased(leased: Leased) -> tuple[ColumnElement[bool], ...]:
    return col(Delivery.id) == leased.id, col(Delivery.lease_token) == leased.token
