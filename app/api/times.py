"""Times and days that a client writes in a request. Only texts as RFC 3339 has them count, because 0 is no day."""

import re
from datetime import UTC, date, datetime
from typing import Annotated

from pydantic import BeforeValidator, WithJsonSchema

_DAY = re.compile(r"\d{4}-\d\d-\d\d", re.ASCII)
_SPACE_FOR_PLUS = re.compile(r" (?=\d\d:\d\d$)")  # a `+` in a URL means a space
A_TIME, A_DAY = "a time such as 2026-11-28T09:30:00Z", "a day such as 2026-11-28"


def _written_time(text: str) -> datetime | None:
    try:
        time = datetime.fromisoformat(_SPACE_FOR_PLUS.sub("+", text))
        return time.astimezone(UTC) if "T" in text.upper() and time.tzinfo is not None else None
    except (ValueError, OverflowError):
        return None


def _written_day(text: str) -> date | None:
    try:
        return date.fromisoformat(text) if _DAY.fullmatch(text) else None
    except ValueError:
        return None


def _day(value: object) -> date:
    if (day := _written_day(str(value))) is None:
        raise ValueError(f"must be {A_DAY}")
    return day


def _time_or_day(value: object) -> datetime:
    """The time that a client wrote. A day means its first moment in UTC."""
    if (day := _written_day(str(value))) is not None:
        return datetime(day.year, day.month, day.day, tzinfo=UTC)
    if (time := _written_time(str(value))) is None:
        raise ValueError(f"must be {A_TIME}, or {A_DAY}")
    return time


TimeOrDay = Annotated[
    datetime, BeforeValidator(_time_or_day), WithJsonSchema({"type": "string", "format": "date-time"})
]
Day = Annotated[date, BeforeValidator(_day), WithJsonSchema({"type": "string", "format": "date"})]
