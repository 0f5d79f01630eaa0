"""All SQL that changes events and their deliveries.

A delivery under way is leased: what its sender writes later carries the lease's token, so that a sender that hung and
came back changes nothing. Times come from the database's clock.
"""

import random
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from sqlalchemy import ColumnElement, Uuid, bindparam, func, text
from sqlalchemy.dialects.postgresql import ARRAY
from sqlmodel import col, delete, select, update
from sqlmodel.ext.asyncio.session import AsyncSession
from uuid_utils.compat import uuid7

from app.database.notifications import notify
from app.deliveries.models import Delivery, DeliveryAttempt, DeliveryStatus, Event, Style
from app.deliveries.notify_status import Notice
from app.deliveries.schedule import Reply, next_try
from app.errors import NotFound
from app.network.guard import host_of

DUE = "deliveries"
LEASE = timedelta(seconds=20)  # longer than an attempt can take
PER_HOST = 4
CLAIM_LOCK = 0x686F6F6B  # "hook": claims go one after the other, so that the limit a host counts over all replicas
KEPT_ATTEMPTS = 50  # of each delivery, so that redelivering again and again fills no disk


@dataclass(frozen=True)
class Target:
    """Whom to tell."""

    style: Style
    url: str


@dataclass(frozen=True)
class Leased:
    """A claimed delivery with what is to be sent. `waited_seconds` is how long it had been due at `claimed_at`."""

    id: UUID
    token: UUID
    event_id: UUID
    type: str
    style: Style
    url: str
    host: str
    body: bytes
    waited_seconds: float
    claimed_at: datetime


async def add(
    session: AsyncSession, transcription_id: UUID, event: str, body: bytes, targets: Sequence[Target]
) -> None:
    """Write what is to be told of a transcription that has ended, in the transaction that ends it."""
    if not targets:
        return
    now = (await session.exec(select(func.now()))).one()
    row = Event(id=uuid7(), transcription_id=transcription_id, type=event, body=body, created_at=now)
    session.add(row)
    await session.flush()
    for target in targets:
        session.add(
            Delivery(
                id=uuid7(),
                event_id=row.id,
                style=target.style,
                url=target.url,
                host=host_of(target.url),
                next_attempt_at=now,
                created_at=now,
            )
        )
    await session.flush()
    await notify(session, DUE)


# One host after the other is looked up in the index, however many deliveries wait for each, and gets its share: every
# host its first attempt at once before any gets a second one, and none more than the limit.
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
        SELECT mine.id, mine.next_attempt_at,
               coalesce(busy.attempts, 0) + row_number() OVER (PARTITION BY host.name ORDER BY mine.next_attempt_at)
                   AS at_once
        FROM host LEFT JOIN busy USING (name) CROSS JOIN LATERAL (
            SELECT id, next_attempt_at FROM delivery
            WHERE status = 'pending' AND delivery.host = host.name AND next_attempt_at <= now()
              AND (lease_until IS NULL OR lease_until < now())
            ORDER BY next_attempt_at, id
            LIMIT greatest(0, :per_host - coalesce(busy.attempts, 0))
            FOR UPDATE SKIP LOCKED
        ) AS mine
    ), chosen AS (
        SELECT id FROM due ORDER BY at_once, next_attempt_at LIMIT :slots
    )
    UPDATE delivery SET lease_token = gen_random_uuid(), lease_until = now() + :lease
    FROM chosen, event WHERE delivery.id = chosen.id AND event.id = delivery.event_id
    RETURNING delivery.id, lease_token AS token, event_id, type, style, url, host, body,
              extract(epoch FROM now() - next_attempt_at)::float AS waited_seconds, now() AS claimed_at
""")


async def claim_due(session: AsyncSession, slots: int) -> list[Leased]:
    """Take up to `slots` deliveries whose time has come, each with a lease of its own, at most four a host at once."""
    await session.exec(select(func.pg_advisory_xact_lock(CLAIM_LOCK)))
    rows = await session.exec(CLAIM.bindparams(slots=slots, per_host=PER_HOST, lease=LEASE))  # type: ignore[call-overload]
    return [Leased(**{**row._mapping, "style": Style(row.style)}) for row in rows]


async def record(session: AsyncSession, leased: Leased, reply: Reply) -> Delivery | None:
    """Write an attempt into the log, and what becomes of its delivery. None: the lease was lost, nothing is written."""
    row = (await session.exec(select(Delivery).where(*_mine(leased)).with_for_update())).first()
    if row is None:
        return None
    now = (await session.exec(select(func.now()))).one()
    row.attempts, row.tries = row.attempts + 1, row.tries + 1
    following = next_try(reply, row.tries, now, random.random())  # noqa: S311  spreads retries, guards nothing
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
        await _forget_oldest(session, row.id)
    return row


async def give_back(session: AsyncSession, leased: Leased) -> None:
    """Let go of a delivery whose attempt was broken off, for any replica to take at once."""
    await session.exec(update(Delivery).where(*_mine(leased)).values(lease_token=None, lease_until=None))
    await notify(session, DUE)


async def redeliver(session: AsyncSession, delivery_id: UUID) -> tuple[Event, Delivery]:
    """Start a delivery's schedule anew, with the same event. Raises NotFound."""
    row = (await session.exec(select(Delivery).where(Delivery.id == delivery_id).with_for_update())).first()
    if row is None:
        raise NotFound(f"There is no delivery {delivery_id}.")
    row.status, row.tries, row.finished_at = DeliveryStatus.PENDING, 0, None
    row.next_attempt_at = (await session.exec(select(func.now()))).one()
    await session.flush()
    await notify(session, DUE)
    return (await session.exec(select(Event).where(Event.id == row.event_id))).one(), row


async def notices(session: AsyncSession, transcription_ids: Collection[UUID]) -> dict[UUID, Notice]:
    """Where the notification stands, of those transcriptions of which somebody is to be told."""
    statement = text("""
        SELECT transcription_id,
               count(*) FILTER (WHERE attempts > 0 OR lease_token IS NOT NULL) AS tried,
               count(*) FILTER (WHERE status = 'pending') AS pending,
               count(*) FILTER (WHERE status = 'failed') AS failed,
               max(finished_at) AS finished_at
        FROM event JOIN delivery ON delivery.event_id = event.id
        WHERE transcription_id = ANY(:ids) GROUP BY transcription_id
    """).bindparams(bindparam("ids", list(transcription_ids), type_=ARRAY(Uuid)))
    rows = await session.exec(statement)  # type: ignore[call-overload]
    return {row.transcription_id: Notice.of(*row[1:]) for row in rows}


async def find(session: AsyncSession, transcription_id: UUID) -> list[tuple[Event, Delivery]]:
    """The deliveries of a transcription, in the order of its URLs."""
    statement = select(Event, Delivery).join(Delivery, col(Delivery.event_id) == Event.id)
    rows = await session.exec(statement.where(Event.transcription_id == transcription_id).order_by(col(Delivery.id)))
    return list(rows)


async def attempts(session: AsyncSession, delivery_ids: Collection[UUID]) -> Sequence[DeliveryAttempt]:
    """The logs of deliveries, oldest first."""
    statement = select(DeliveryAttempt).where(col(DeliveryAttempt.delivery_id).in_(delivery_ids))
    return (await session.exec(statement.order_by(col(DeliveryAttempt.id)))).all()


async def _forget_oldest(session: AsyncSession, delivery_id: UUID) -> None:
    of_this = select(DeliveryAttempt.id).where(DeliveryAttempt.delivery_id == delivery_id)
    old = of_this.order_by(col(DeliveryAttempt.id).desc()).offset(KEPT_ATTEMPTS)
    await session.exec(delete(DeliveryAttempt).where(col(DeliveryAttempt.id).in_(old)))


def _mine(leased: Leased) -> tuple[ColumnElement[bool], ...]:
    return col(Delivery.id) == leased.id, col(Delivery.lease_token) == leased.token
