"""Every change and read of keys and tenants in the database."""

import hashlib
import re
import secrets
from collections.abc import Collection, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import func
from sqlalchemy.dialects.postgresql import insert
from sqlmodel import col, select, update
from sqlmodel.ext.asyncio.session import AsyncSession
from sqlmodel.sql.expression import SelectOfScalar
from uuid_utils.compat import uuid7

from app.access import audit
from app.access.audit import BATCH, CLI, RETENTION, Action
from app.access.callers import ANONYMOUS, NO_LIMITS, Limits, Scope
from app.access.models import ApiKey, Tenant
from app.database.notifications import notify
from app.errors import FieldError, InvalidRequest, NotFound

KEYS_TOPIC = "keys"
"""Notified when a key or a tenant has changed."""

PREFIX = "csk_"  # scanners of source code find a key by it
HINT_CHARACTERS = 10
LONGEST_NAME = 64
NAME = re.compile(rf"[A-Za-z0-9][A-Za-z0-9._-]{{0,{LONGEST_NAME - 1}}}")
NAME_RULE = (
    'must be of the characters A-Z, a-z, 0-9, ".", "_" and "-", begin with a letter or digit, and have '
    f"{LONGEST_NAME} characters at most"
)
RESERVED = frozenset({ANONYMOUS.name, "folder", "stream", RETENTION, BATCH})  # callers that are no keys


@dataclass(frozen=True, kw_only=True)
class NewKey:
    """What is asked for a new key.

    Its limits hold for the other keys of its name too. Without limits, it has those of the newest one of them.
    """

    name: str
    tenant: str
    scopes: Collection[Scope]
    created_by: str
    expires_at: datetime | None = None
    most_urgent: int = 0
    limits: Limits = NO_LIMITS


def hash_of(key: str) -> bytes:
    return hashlib.sha256(key.encode()).digest()


async def create(session: AsyncSession, new: NewKey) -> tuple[ApiKey, str]:
    """Adds a key, and its tenant if there is none of this name. Returns the row, and the key, which is kept nowhere.

    Raises InvalidRequest.
    """
    now = (await session.exec(select(func.now()))).one()
    _check(new, now)
    await ensure_tenant(session, new.tenant)
    limits = new.limits if new.limits != NO_LIMITS else await limits_of_name(session, new.tenant, new.name)
    key = PREFIX + secrets.token_urlsafe(32)  # 256 bits
    row = ApiKey(
        id=uuid7(),
        tenant=new.tenant,
        name=new.name,
        hash=hash_of(key),
        hint=key[:HINT_CHARACTERS],
        scopes=[scope for scope in Scope if scope in new.scopes],
        most_urgent=new.most_urgent,
        created_by=new.created_by,
        created_at=now,
        expires_at=new.expires_at,
        **asdict(limits),
    )
    session.add(row)
    for other in await keys_of_name(session, new.tenant, new.name):
        other.sqlmodel_update(asdict(limits))
        session.add(other)
    await notify(session, KEYS_TOPIC)
    details = {"id": str(row.id), "hint": row.hint, "scopes": row.scopes, **asdict(row.limits)}
    await _note(session, Action.KEY_CREATED, new.created_by, row, details)
    return row, key


def _check(new: NewKey, now: datetime) -> None:
    errors = [
        FieldError(field, NAME_RULE)
        for field, value in (("name", new.name), ("tenant", new.tenant))
        if not NAME.fullmatch(value)
    ]
    if new.name in RESERVED:
        errors.append(FieldError("name", "is the name of a part of the service"))
    if new.tenant == CLI:
        errors.append(FieldError("tenant", "is how the audit names users of commands"))
    if not new.scopes:
        errors.append(FieldError("scopes", "must have at least one"))
    if new.expires_at is not None and new.expires_at <= now:
        errors.append(FieldError("expires_at", "must be in the future"))
    if errors:
        raise InvalidRequest("The key cannot be made.", errors=tuple(errors))


async def ensure_tenant(session: AsyncSession, name: str) -> bool:
    """Makes a tenant, if there is none of this name. Returns whether it is new. Raises InvalidRequest."""
    if not NAME.fullmatch(name) or name == CLI:
        raise InvalidRequest("The tenant cannot be made.", errors=(FieldError("name", NAME_RULE),))
    made = insert(Tenant).values(name=name).on_conflict_do_nothing().returning(col(Tenant.name))
    return (await session.exec(made)).first() is not None


async def limits_of_name(session: AsyncSession, tenant: str, name: str) -> Limits:
    """The limits of the keys of one name that are not revoked."""
    newest = (await session.exec(_of_name(tenant, name).limit(1))).first()
    return newest.limits if newest else NO_LIMITS


async def keys_of_name(session: AsyncSession, tenant: str, name: str) -> Sequence[ApiKey]:
    """The keys that are not revoked, newest first. No other transaction changes them until this one ends."""
    return (await session.exec(_of_name(tenant, name).with_for_update())).all()


def _of_name(tenant: str, name: str) -> SelectOfScalar[ApiKey]:
    same = select(ApiKey).where(ApiKey.tenant == tenant, ApiKey.name == name, col(ApiKey.revoked_at).is_(None))
    return same.order_by(col(ApiKey.id).desc())


async def revoke(session: AsyncSession, key_id: UUID, by: str) -> ApiKey:
    """Ends a key. It is refused everywhere within seconds. `by` says who wants it. Raises NotFound."""
    row = (await session.exec(select(ApiKey).where(ApiKey.id == key_id).with_for_update())).first()
    if row is None:
        raise NotFound(f"There is no key {key_id}.")
    if row.revoked_at is None:
        row.revoked_at = (await session.exec(select(func.now()))).one()
        session.add(row)
        await notify(session, KEYS_TOPIC)
        await _note(session, Action.KEY_REVOKED, by, row, {"id": str(row.id), "hint": row.hint})
    return row


async def _note(session: AsyncSession, action: Action, by: str, row: ApiKey, details: dict[str, Any]) -> None:
    await audit.note_change(session, action, by, tenant=row.tenant, about=row.name, details=details)


async def listed(session: AsyncSession, tenant: str | None = None) -> Sequence[ApiKey]:
    """All keys, newest first, or those of one tenant."""
    statement = select(ApiKey).order_by(col(ApiKey.id).desc())
    return (await session.exec(statement if tenant is None else statement.where(ApiKey.tenant == tenant))).all()


async def in_force(session: AsyncSession) -> Sequence[ApiKey]:
    """The keys that are not revoked. Some may have expired."""
    return (await session.exec(select(ApiKey).where(col(ApiKey.revoked_at).is_(None)))).all()


async def tenants(session: AsyncSession) -> Sequence[Tenant]:
    return (await session.exec(select(Tenant).order_by(Tenant.name))).all()


async def note_use(session: AsyncSession, used: Collection[UUID]) -> None:
    await session.exec(update(ApiKey).where(col(ApiKey.id).in_(used)).values(last_used_at=func.now()))
