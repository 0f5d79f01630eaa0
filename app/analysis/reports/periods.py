"""The days of a report, and how they are divided. Pure."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from enum import StrEnum
from zoneinfo import ZoneInfo

DAY = timedelta(days=1)


class Step(StrEnum):
    DAY = "day"
    WEEK = "week"
    MONTH = "month"


@dataclass(frozen=True)
class Period:
    """The days from `first` to `last`. They begin at midnight in the time zone."""

    first: date
    last: date
    zone: ZoneInfo

    @property
    def start(self) -> datetime:
        return self._midnight(self.first)

    @property
    def end(self) -> datetime:
        """The first moment after the last day."""
        return self._midnight(self.last + DAY)

    @property
    def days(self) -> int:
        return (self.last - self.first).days + 1

    @property
    def previous(self) -> "Period":
        """As many days, just before."""
        return Period(self.first - self.days * DAY, self.first - DAY, self.zone)

    def parts(self, step: Step) -> list["Period"]:
        """Its days, weeks from Monday, or months. The first and the last one may be cut off by the period."""
        return list(self._parts(step))

    def _parts(self, step: Step) -> Iterator["Period"]:
        first = self.first
        while first <= self.last:
            last = min(_last_of(first, step), self.last)
            yield Period(first, last, self.zone)
            first = last + DAY

    def _midnight(self, day: date) -> datetime:
        return datetime.combine(day, time(), self.zone).astimezone(UTC)


def name_of(part: Period, step: Step) -> str:
    """Such as `2026-11-28`, `2026-W48` and `2026-11`."""
    if step is Step.WEEK:
        year, week, _ = part.first.isocalendar()
        return f"{year}-W{week:02}"
    return part.first.isoformat() if step is Step.DAY else part.first.isoformat()[:7]


def _last_of(day: date, step: Step) -> date:
    if step is Step.DAY:
        return day
    if step is Step.WEEK:
        return day + (6 - day.weekday()) * DAY
    return (day.replace(day=28) + 4 * DAY).replace(day=1) - DAY
