"""Decides when a delivery is tried again, and when it has failed for good. Pure: `now` and chance are arguments."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from app.deliveries.channels import Reply, Result
from app.deliveries.models import NEIGHBOURS, DeliveryStatus, Style

# How long after the attempt before it each attempt is made. The Standard Webhooks specification proposes these values.
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
# For the operator's own servers and disks (models.NEIGHBOURS): the delay doubles up to five minutes, for three days.
FIRST_NEIGHBOUR_DELAY = timedelta(seconds=5)
LONGEST_NEIGHBOUR_DELAY = timedelta(minutes=5)
NEIGHBOUR_TRIES = 870


@dataclass(frozen=True)
class NextTry:
    """The new status of a delivery, and when it is attempted next. `at` has no meaning unless it is pending."""

    status: DeliveryStatus
    at: datetime


def next_try(reply: Reply, tries: int, now: datetime, chance: float, style: Style = Style.WEBHOOK) -> NextTry:
    """Decide what follows attempt number `tries` of the schedule of this style, which got this reply.

    `chance` is a random number from 0 to 1. It spreads the delay by ± 20 %.
    """
    if reply.result is Result.DELIVERED:
        return NextTry(DeliveryStatus.DELIVERED, now)
    if reply.result is Result.REFUSED or (following := _delay(style, tries)) is None:
        return NextTry(DeliveryStatus.FAILED, now)
    delay = following * (1 - JITTER + 2 * JITTER * chance)
    return NextTry(DeliveryStatus.PENDING, now + max(delay, reply.retry_after))


def _delay(style: Style, tries: int) -> timedelta | None:
    """How long to wait after attempt number `tries`, or None if it was the last one."""
    if style in NEIGHBOURS:
        doubled = FIRST_NEIGHBOUR_DELAY * 2 ** min(tries - 1, 10)
        return min(doubled, LONGEST_NEIGHBOUR_DELAY) if tries < NEIGHBOUR_TRIES else None
    return DELAYS[tries] if tries < len(DELAYS) else None
