"""Reads the limits of a caller, and changes those of tenants and keys, with an entry in the audit."""

from dataclasses import asdict, replace
from typing import Any

from sqlmodel import select
from sqlmodel.ext.asyncio.session import AsyncSession

from app.access import audit
from app.access.audit import Action
from app.access.callers import NO_LIMITS, Caller, Limits
from app.access.keys import KEYS_TOPIC, ensure_tenant, keys_of_name, limits_of_name
from app.access.models import Tenant
from app.database.notifications import notify
from app.errors import NotFound


async def limited_caller(session: AsyncSession, label: str) -> Caller:
    """The caller of this label with its limits, for work that the service does on its behalf."""
    caller = Caller.of_label(label)
    tenant = (await session.exec(select(Tenant).where(Tenant.name == caller.tenant))).first()
    limits = await limits_of_name(session, caller.tenant, caller.name)
    return replace(caller, limits=limits, tenant_limits=tenant.limits if tenant else NO_LIMITS)


async def change_tenant(session: AsyncSession, name: str, changes: dict[str, Any], by: str) -> tuple[Tenant, bool]:
    """Change some of the limits that all keys of a tenant share. If there is no such tenant, it is made.

    Returns the tenant, and whether it is new. Raises InvalidRequest.
    """
    is_new = await ensure_tenant(session, name)
    row = (await session.exec(select(Tenant).where(Tenant.name == name).with_for_update())).one()
    row.sqlmodel_update(changes)
    session.add(row)
    await notify(session, KEYS_TOPIC)
    await audit.note_change(session, Action.LIMITS_CHANGED, by, tenant=name, details=asdict(row.limits))
    return row, is_new


async def change_keys(session: AsyncSession, tenant: str, name: str, changes: dict[str, Any], by: str) -> Limits:
    """Change some of the limits of all keys of one name that are not revoked. Raises NotFound."""
    rows = await keys_of_name(session, tenant, name)
    if not rows:
        raise NotFound(f"The tenant {tenant} has no key {name} in the database.")
    limits = replace(rows[0].limits, **changes)
    for row in rows:
        row.sqlmodel_update(asdict(limits))
        session.add(row)
    await notify(session, KEYS_TOPIC)
    details = asdict(limits)
    await audit.note_change(session, Action.LIMITS_CHANGED, by, tenant=tenant, about=name, details=details)
    return limits
