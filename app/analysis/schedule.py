"""Decides when an analysis is tried again. Pure: `now` and chance are arguments."""

from datetime import UTC, datetime, time, timedelta

# How long after an attempt that failed the next one follows. Together they last longer than a night without anybody
# who could restart the language model.
PAUSES = (
    timedelta(seconds=30),
    timedelta(minutes=2),
    timedelta(minutes=10),
    timedelta(minutes=30),
    timedelta(hours=2),
    timedelta(hours=5),
    timedelta(hours=10),
)
JITTER = 0.2
MOST_ATTEMPTS = len(PAUSES) + 1
LONGEST_RETRY_AFTER = timedelta(days=1)
# Waiting analyses do not all begin in the first second of a day.
SPREAD = timedelta(minutes=10)


def next_attempt(
    attempts: int, now: datetime, chance: float, retry_after_seconds: int | None = None
) -> datetime | None:
    """When the attempt that follows attempt number `attempts` is due, or None if that was the last one.

    `chance` is a random number from 0 to 1. `retry_after_seconds` is what the server asked for.
    """
    if attempts >= MOST_ATTEMPTS:
        return None
    pause = PAUSES[attempts - 1] * (1 - JITTER + 2 * JITTER * chance)
    asked = min(timedelta(seconds=retry_after_seconds or 0), LONGEST_RETRY_AFTER)
    return now + max(pause, asked)


def next_day(now: datetime, chance: float) -> datetime:
    """When the budget of the next day in UTC can be used."""
    tomorrow = now.astimezone(UTC).date() + timedelta(days=1)
    return datetime.combine(tomorrow, time(), UTC) + SPREAD * chance
