"""When a delivery is tried again, and when it is over. Pure: it takes `now` and the chance."""

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from http import HTTPStatus

from app.deliveries.models import DeliveryStatus

# How long each attempt waits for after the one before, as the Standard Webhooks specification proposes.
DELAYS = (
    timedelta(0),
    timedelta(seconds=5),
    timedelta(minutes=5),
    timedelta(minutes=30),
    timedelta(hours=2),
    timedelta(hours=5),
    timedelta(hours=10),
    timedelta(hours=14),
    timedelta(hours=20),
    timedelta(hours=24),
)
JITTER = 0.2
LONGEST_RETRY_AFTER = timedelta(hours=24)


@dataclass(frozen=True)
class Reply:
    """What an attempt brought: a status code, or the word for why there is none. `response` begins the body."""

    started_at: datetime
    milliseconds: int
    status_code: int | None = None
    error: str | None = None
    retry_after: str | None = None
    response: str = ""


@dataclass(frozen=True)
class NextTry:
    """What becomes of a delivery; `at` is meant for a pending one."""

    status: DeliveryStatus
    at: datetime


def next_try(reply: Reply, tries: int, now: datetime, chance: float) -> NextTry:
    """What follows the attempt number `tries` of the schedule. `chance` from 0 to 1 spreads the delay by ± 20 %.

    2xx delivers, 410 ends it, everything else is tried again while the schedule lasts, and not before `Retry-After`.
    """
    if reply.status_code is not None and 200 <= reply.status_code < 300:
        return NextTry(DeliveryStatus.DELIVERED, now)
    if reply.status_code == HTTPStatus.GONE or tries >= len(DELAYS):
        return NextTry(DeliveryStatus.FAILED, now)
    delay = DELAYS[tries] * (1 - JITTER + 2 * JITTER * chance)
    return NextTry(DeliveryStatus.PENDING, now + max(delay, retry_after(reply.retry_after, now)))


def retry_after(header: str | None, now: datetime) -> timedelta:
    """How long a receiver asks us to wait, in either form of RFC 9110; a day at most, and nothing if unreadable."""
    if header is None:
        return timedelta(0)
    if re.fullmatch(r"[0-9]{1,9}", header.strip()):
        asked = timedelta(seconds=int(header))
    else:
        try:
            until = parsedate_to_datetime(header)
            asked = (until if until.tzinfo else until.replace(tzinfo=UTC)) - now
        except (ValueError, OverflowError):  # no date, or one of no calendar
            return timedelta(0)
    return min(max(asked, timedelta(0)), LONGEST_RETRY_AFTER)
