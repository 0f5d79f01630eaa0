"""The route `/v1/reports`: what happened in the calls of some days."""

import csv
import io
from collections.abc import Iterable
from datetime import date, datetime, timedelta
from enum import StrEnum
from typing import Annotated, Any
from zoneinfo import ZoneInfo

from fastapi import APIRouter, Header, Query, Response
from pydantic import AfterValidator

from app import wording
from app.analysis.reports.periods import Period
from app.analysis.reports.reading import By, Question
from app.analysis.reports.views import Asked, Figures, Group, Report
from app.api.accept import preferred
from app.api.auth import MayRead
from app.api.dependencies import ReportsDep, RootPathDep
from app.api.filters import METADATA_PARAMETER, Chosen
from app.api.openapi_requests import REF_TEMPLATE
from app.api.problems import COMMON_ERRORS, responses
from app.api.times import Day
from app.errors import FieldError, InvalidRequest, NotAcceptable
from app.spreadsheets import BYTE_ORDER_MARK, guarded

USUAL_DAYS, LONGEST_DAYS = 30, 1100
MOST_GROUPS, USUAL_GROUPS = 400, 100
COLUMNS = ("value", "from", "to", "calls", "completed", "failed", "cancelled", "waiting", "seconds", "mean_seconds")
PARTS = ("talk", "agent", "sentiment", "resolved")  # their columns follow, as `talk.calls`

router = APIRouter(prefix="/v1/reports", tags=["analyses"])


class ReportFormat(StrEnum):
    JSON = "json"
    CSV = "csv"

    @property
    def media_type(self) -> str:
        return {"json": "application/json", "csv": "text/csv"}[self.value]


def _known_zone(name: str) -> str:
    try:
        return ZoneInfo(name).key
    except (ValueError, OSError, LookupError):
        raise ValueError("must be a time zone such as Europe/Berlin") from None


Zone = Annotated[str, AfterValidator(_known_zone)]


@router.get(
    "",
    response_model=Report,
    summary="Read a report",
    openapi_extra={"parameters": [METADATA_PARAMETER]},
    responses={
        200: {
            "description": "The report.",
            "content": {
                "application/json": {
                    "schema": {"$ref": REF_TEMPLATE.format(model="Report")},
                    "examples": {"report": {"$ref": "#/components/examples/Report"}},
                },
                "text/csv": {"schema": {"type": "string"}, "example": "value,from,to,calls\r\nMary,,,412\r\n"},
            },
        },
        **responses(*COMMON_ERRORS, NotAcceptable),
    },
)
async def read_report(
    response: Response,
    caller: MayRead,
    reports: ReportsDep,
    root_path: RootPathDep,
    chosen: Chosen,
    first: Annotated[
        Day | None,
        Query(
            alias="from",
            description=f"The first day. If you leave it out, the report has the {USUAL_DAYS} days until `to`.",
        ),
    ] = None,
    last: Annotated[
        Day | None, Query(alias="to", description="The last day. If you leave it out, it is today.")
    ] = None,
    timezone: Annotated[
        Zone,
        Query(
            max_length=64,
            pattern=wording.NO_NUL,
            description="The time zone in which days begin, such as `Europe/Berlin` or `Asia/Shanghai`.",
        ),
    ] = "UTC",
    by: Annotated[By, Query(description="What the calls of a group have in common.")] = By.DAY,
    limit: Annotated[
        int,
        Query(
            ge=1,
            le=MOST_GROUPS,
            description="The largest number of groups. Those with the most calls are shown. Days, weeks and months are "
            "always shown.",
        ),
    ] = USUAL_GROUPS,
    format: Annotated[  # noqa: A002
        ReportFormat | None, Query(description="`json` or `csv`. If you leave it out, the header `Accept` decides.")
    ] = None,
    accept: Annotated[str | None, Header(include_in_schema=False)] = None,
) -> Any:
    """Returns figures of the calls that were added on some days, in groups, and of as many days before.

    The filters are those of the list of transcriptions, and each group has a link to its calls in that list. Erased
    calls are in no report.
    """
    target = format or preferred(accept, list(ReportFormat))
    if target is None:
        raise NotAcceptable("A report is available with these media types: application/json, text/csv.")
    period = _period(first, last, ZoneInfo(timezone))
    if by.step is not None and len(period.parts(by.step)) > MOST_GROUPS:
        raise _refused("by", f"would give more than {MOST_GROUPS} groups; ask for weeks, months or fewer days")
    question = Question(period, by, chosen.wanted, limit)
    counted = await reports.read(question, caller)
    report = Report.of(question, Asked(question, chosen.analysed, root_path), counted, root_path)
    response.headers["Vary"] = "Accept"
    if target is ReportFormat.JSON:
        return report
    name = f"report-{by}-{period.first}-{period.last}.csv"
    headers = {"Vary": "Accept", "Content-Disposition": f'attachment; filename="{name}"'}
    return Response(_csv(report.groups), media_type=target.media_type, headers=headers)


def _period(first: date | None, last: date | None, zone: ZoneInfo) -> Period:
    today = datetime.now(zone).date()
    last = last or today
    try:
        first = first or last - timedelta(days=USUAL_DAYS - 1)
        period = Period(first, last, zone)
        if not 1 <= period.days <= LONGEST_DAYS:
            raise _refused("from", f"must not be after {last} nor more than {LONGEST_DAYS - 1} days before it")
        _ = period.previous.start, period.end
    except OverflowError:
        raise _refused("from", "must be a day between the years 10 and 9990") from None
    return period


def _refused(name: str, detail: str) -> InvalidRequest:
    return InvalidRequest("Some query parameters are not valid.", errors=(FieldError(f"query.{name}", detail),))


def _csv(groups: Iterable[Group]) -> str:
    """One row for each group. Each category has a column with its calls, and each scorecard has two."""
    rows = [_row(group) for group in groups]
    columns = dict.fromkeys([*COLUMNS, *(f"{part}.{name}" for part in PARTS for name in _names(part)), "keywords"])
    columns |= dict.fromkeys(sorted({name for row in rows for name in row} - set(columns)))
    text = io.StringIO()
    text.write(BYTE_ORDER_MARK)
    writer = csv.writer(text)
    writer.writerow([guarded(name) for name in columns])
    # A call that is in no category counts there as none, and a group without a score has an empty cell.
    empty = {name: 0 if name.startswith("category ") else None for name in columns}
    writer.writerows([guarded(row.get(name, empty[name])) for name in columns] for row in rows)
    return text.getvalue()


def _names(part: str) -> list[str]:
    kind: Any = Figures.model_fields[part].annotation
    return list(kind.model_fields)


def _row(group: Group) -> dict[str, object]:
    cells: dict[str, object] = {"from": group.first, "to": group.last}
    cells |= {name: getattr(group, name) for name in COLUMNS if name not in cells}
    for part in PARTS:
        cells |= {f"{part}.{name}": value for name, value in getattr(group, part).model_dump().items()}
    cells["keywords"] = " ".join(keyword.word for keyword in group.keywords)
    cells |= {f"category {name}": calls for name, calls in group.categories.items()}
    for name, score in group.scores.items():
        cells |= {f"score {name} percent": score.percent, f"score {name} calls": score.calls}
    return cells
