"""The route `/v1/audit`: who read, changed or erased which call, and who changed keys and limits."""

from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Query
from pydantic import BaseModel, Field

from app import wording
from app.access import audit_log
from app.access.audit import Action
from app.access.audit_log import WantedEntries
from app.api.auth import MayAdmin
from app.api.dependencies import DatabaseDep
from app.api.problems import COMMON_ERRORS, responses
from app.api.times import TimeOrDay
from app.errors import FieldError, InvalidRequest

router = APIRouter(prefix="/v1/audit", tags=["audit"])


class AuditEntryOut(BaseModel):
    """What somebody did. It has no text of a call."""

    at: datetime
    action: str = Field(description="What was done. There may be more actions later.", examples=["transcript.read"])
    caller: str = Field(
        description="Who did it: the name of an API key, after the tenant and a colon if the tenant is not `default`; "
        "`cli:` and the name of a user who ran a command; `retention`, which erases what is old enough; or `batch`, "
        "which cancels the calls of a cancelled batch and erases those of an erased one.",
        examples=["acme:crm"],
    )
    tenant: str = Field(description="The tenant that owns what was read or changed.", examples=["acme"])
    transcription_id: UUID | None = Field(description="The call, which may be erased.")
    about: str | None = Field(
        description="The key, the tenant or the batch that was changed or erased, or the batch of the call."
    )
    details: dict[str, Any] | None = Field(description="What was changed.")
    address: str | None = Field(description="The client's address.", examples=["10.1.2.3"])
    request_id: str | None = Field(description="The id of the request in the service's log.")


EXAMPLE = {
    "at": "2026-11-28T09:30:00Z",
    "action": "transcript.read",
    "caller": "acme:crm",
    "tenant": "acme",
    "transcription_id": "01989d2e-7c1b-7f9e-8a54-2f0f6f1f9c3e",
    "about": "crm",
    "details": {"requests_per_minute": 600},
    "address": "10.1.2.3",
    "request_id": "01989d2e-7c1b-7f9e-8a54-2f0f6f1f9c3f",
}


class AuditPage(BaseModel):
    items: list[AuditEntryOut] = Field(description="The entries, newest first.", examples=[[EXAMPLE]])
    next_cursor: str | None = Field(
        description="The `cursor` of the next page, or null on the last page.", examples=["118"]
    )


@router.get(
    "",
    response_model=AuditPage,
    response_description="One page of entries.",
    summary="Read the audit",
    responses=responses(*COMMON_ERRORS),
)
async def read_audit(
    _: MayAdmin,
    database: DatabaseDep,
    first: Annotated[
        TimeOrDay | None,
        Query(
            alias="from",
            description="Only entries of this time or later. A day such as `2026-11-28` means its beginning in UTC.",
        ),
    ] = None,
    end: Annotated[
        TimeOrDay | None,
        Query(
            alias="to",
            description="Only entries of an earlier time. A day means its beginning in UTC, so that day itself is not "
            "included.",
        ),
    ] = None,
    caller: Annotated[
        str | None, Query(max_length=200, pattern=wording.NO_NUL, description="Only what this caller did.")
    ] = None,
    tenant: Annotated[
        str | None, Query(max_length=64, pattern=wording.NO_NUL, description="Only entries of this tenant.")
    ] = None,
    action: Annotated[Action | None, Query(description="Only entries with this action.")] = None,
    transcription_id: Annotated[UUID | None, Query(description="Only entries about this call.")] = None,
    limit: Annotated[int, Query(ge=1, le=1000, description="The largest number of entries on a page.")] = 100,
    cursor: Annotated[
        str | None, Query(description="The `next_cursor` of the previous page. Leave it out to get the first page.")
    ] = None,
) -> AuditPage:
    """Lists who read, changed or erased which call, and who changed keys and limits, of all tenants, newest first.

    Entries are kept as long as the operator has set, also if the call is erased.
    """
    try:
        before = None if cursor is None else audit_log.parsed_cursor(cursor)
    except ValueError as error:
        raise InvalidRequest(
            "Some parameters are not valid.", errors=(FieldError("query.cursor", str(error)),)
        ) from None
    wanted = WantedEntries(first, end, caller, tenant, action, transcription_id, before, limit)
    async with database.transaction() as session:
        entries, is_last = await audit_log.page(session, wanted)
    items = [AuditEntryOut.model_validate(entry, from_attributes=True) for entry in entries]
    return AuditPage(items=items, next_cursor=None if is_last else audit_log.cursor_of(entries[-1]))
