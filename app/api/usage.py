"""The route `/v1/usage`: how much was transcribed, for bills."""

import csv
import io
from datetime import UTC, date, datetime, timedelta
from enum import StrEnum
from typing import Annotated, Any, Self

from fastapi import APIRouter, Header, Query, Response
from pydantic import BaseModel, Field

from app import wording
from app.access.callers import Caller, Scope, require_scope
from app.api.accept import preferred
from app.api.auth import AnyKey
from app.api.dependencies import DatabaseDep
from app.api.openapi_requests import REF_TEMPLATE
from app.api.problems import COMMON_ERRORS, responses
from app.api.times import Day
from app.errors import FieldError, Forbidden, InvalidRequest, NotAcceptable
from app.jobs.upkeep import usage
from app.jobs.upkeep.usage import UsageBy
from app.spreadsheets import guarded

LONGEST = timedelta(days=3660)
COLUMNS = ("day", "tenant", "key", "model", "jobs", "completed", "failed", "cancelled", "audio_seconds")

router = APIRouter(prefix="/v1/usage", tags=["usage"])


class UsageFormat(StrEnum):
    JSON = "json"
    CSV = "csv"

    @property
    def media_type(self) -> str:
        return {"json": "application/json", "csv": "text/csv"}[self.value]


class UsageRow(BaseModel):
    """A group of transcriptions that have ended. What it is not grouped by is null."""

    day: date | None = Field(description="The day in UTC on which they ended.", examples=["2026-11-21"])
    tenant: str | None = Field(examples=["default"])
    key: str | None = Field(description="The name of the API key.", examples=["crm"])
    model: str | None = Field(examples=["base"])
    jobs: int = Field(description="How many transcriptions ended.", examples=[912])
    completed: int = Field(examples=[900])
    failed: int = Field(examples=[10])
    cancelled: int = Field(examples=[2])
    audio_seconds: float = Field(
        description="The length of the recordings of completed transcriptions.", examples=[162000.5]
    )

    @classmethod
    def of(cls, row: Any) -> Self:
        found = row._mapping
        return cls(
            day=found.get("day"),
            tenant=found.get("tenant"),
            key=Caller.of_label(found["caller"]).name if "caller" in found else None,
            model=found.get("model"),
            jobs=row.completed + row.failed + row.cancelled,
            completed=row.completed,
            failed=row.failed,
            cancelled=row.cancelled,
            audio_seconds=round(row.audio_seconds, 3),
        )


EXAMPLE = {
    "day": "2026-11-21",
    "tenant": "default",
    "key": "crm",
    "model": "base",
    "jobs": 912,
    "completed": 900,
    "failed": 10,
    "cancelled": 2,
    "audio_seconds": 162000.5,
}


class Usage(BaseModel):
    first: date = Field(serialization_alias="from", description="The first day.", examples=["2026-11-01"])
    last: date = Field(serialization_alias="to", description="The last day.", examples=["2026-11-30"])
    items: list[UsageRow] = Field(
        description="The groups that have any transcriptions, in their order.", examples=[[EXAMPLE]]
    )


@router.get(
    "",
    response_model=Usage,
    summary="Read the usage",
    responses={
        200: {
            "description": "The sums.",
            "content": {
                "application/json": {"schema": {"$ref": REF_TEMPLATE.format(model="Usage")}},
                "text/csv": {
                    "schema": {"type": "string"},
                    "example": f"{','.join(COLUMNS)}\r\n2026-11-21,,,,912,900,10,2,162000.5\r\n",
                },
            },
        },
        **responses(*COMMON_ERRORS, NotAcceptable),
    },
)
async def read_usage(
    response: Response,
    caller: AnyKey,
    database: DatabaseDep,
    first: Annotated[
        Day | None,
        Query(alias="from", description="The first day in UTC. If you leave it out, it is the first of this month."),
    ] = None,
    last: Annotated[
        Day | None, Query(alias="to", description="The last day in UTC. If you leave it out, it is today.")
    ] = None,
    by: Annotated[
        list[UsageBy] | None,
        Query(
            description="What the rows are told apart by: `day`, `key`, `model` or `tenant`. Repeat it for several. If "
            "you leave it out, it is `day`."
        ),
    ] = None,
    tenant: Annotated[
        str | None,
        Query(
            max_length=64,
            pattern=wording.NO_NUL,
            description="Count only this tenant. A key with the scope `admin` may name any tenant. Without that scope, "
            "a key reads the usage of its own tenant.",
        ),
    ] = None,
    format: Annotated[  # noqa: A002
        UsageFormat | None, Query(description="`json` or `csv`. If you leave it out, the header `Accept` decides.")
    ] = None,
    accept: Annotated[str | None, Header(include_in_schema=False)] = None,
) -> Any:
    """Returns how many transcriptions ended, and how much audio they had. Erased transcriptions count too.

    A transcription counts for the day on which it ended. The route needs a key with the scope `read` or `admin`.
    """
    target = format or preferred(accept, list(UsageFormat))
    if target is None:
        raise NotAcceptable("The usage is available with these media types: application/json, text/csv.")
    tenant = _tenant(caller, tenant)
    today = datetime.now(UTC).date()
    until = "`to`" if last else f"`to`, which is today ({today}) because it was not sent,"
    last = last or today
    first = first or min(today.replace(day=1), last)
    if not timedelta(0) <= last - first <= LONGEST:
        error = FieldError("query.from", f"must not be after {until} nor more than {LONGEST.days} days before it")
        raise InvalidRequest("The days are not valid.", errors=(error,))
    async with database.transaction() as session:
        rows = await usage.read(session, first, last, by or [UsageBy.DAY], tenant)
    items = [UsageRow.of(row) for row in rows]
    response.headers["Vary"] = "Accept"
    if target is UsageFormat.JSON:
        return Usage(first=first, last=last, items=items)
    headers = {"Vary": "Accept", "Content-Disposition": f'attachment; filename="usage-{first}-{last}.csv"'}
    return Response(_csv(items), media_type=target.media_type, headers=headers)


def _tenant(caller: Caller, asked: str | None) -> str | None:
    """The tenant whose usage the caller may read, or None for all. Raises Forbidden."""
    if Scope.ADMIN in caller.scopes:
        return asked
    require_scope(caller, Scope.READ)
    if asked not in (None, caller.tenant):
        raise Forbidden("Only a key with the scope `admin` reads the usage of other tenants.")
    return caller.tenant


def _csv(items: list[UsageRow]) -> str:
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(COLUMNS)
    writer.writerows([guarded(getattr(item, name)) for name in COLUMNS] for item in items)
    return text.getvalue()
