"""All SQL that reads and changes the secrets in the database that events are signed with."""

from collections.abc import Sequence
from datetime import timedelta

from sqlalchemy import func, or_
from sqlalchemy.dialects.postgresql import insert
from sqlmodel import col, select, update
from sqlmodel.ext.asyncio.session import AsyncSession
from uuid_utils.compat import uuid7

from app.deliveries.models import WebhookSecret
from app.deliveries.signing import new_secret

OVERLAP = timedelta(days=1)


async def ensure(session: AsyncSession) -> None:
    """Make a secret if there is no current one. Processes that start at the same time make only one together."""
    values = {"id": uuid7(), "secret": new_secret(), "created_at": func.now(), "expires_at": None}
    await session.exec(insert(WebhookSecret).values(values).on_conflict_do_nothing())


async def valid(session: AsyncSession) -> Sequence[str]:
    """Returns the secrets to sign with, the current one first. After a rotation the previous one is valid for a day."""
    expires = col(WebhookSecret.expires_at)
    statement = select(WebhookSecret.secret).where(or_(expires.is_(None), expires > func.now()))
    return (await session.exec(statement.order_by(expires.desc().nulls_first()))).all()


async def rotate(session: AsyncSession) -> str:
    """Make a new secret the current one and return it. The previous one expires in a day."""
    current = update(WebhookSecret).where(col(WebhookSecret.expires_at).is_(None))
    await session.exec(current.values(expires_at=func.now() + OVERLAP))
    await ensure(session)
    return (await valid(session))[0]
