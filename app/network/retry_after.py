"""Reads the header `Retry-After`; pure."""

import re
from collections.abc import Mapping
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime

LONGEST_RETRY_AFTER = timedelta(days=1)


def asked_pause(headers: Mapping[str, str], now: datetime) -> timedelta:
    """How long the server asks to wait. `headers` are those of its answer, with names in any case or in lower case.

    The header `Date` shows the server's clock, which may differ from ours. It counts if the server asks for a date.
    """
    with suppress(ValueError, OverflowError):
        now = parsedate_to_datetime(headers.get("date") or "").replace(tzinfo=UTC)
    return retry_after(headers.get("retry-after"), now)


def retry_after(header: str | None, now: datetime) -> timedelta:
    """Read a `Retry-After` header in either form of RFC 9110: seconds or a date.

    Returns at most a day, and no time at all if the header is missing or cannot be read.
    """
    if header is None:
        return timedelta(0)
    if re.fullmatch(r"[0-9]{1,9}", header.strip()):
        wait = timedelta(seconds=int(header))
    else:
        try:
            until = parsedate_to_datetime(header)
            wait = (until if until.tzinfo else until.replace(tzinfo=UTC)) - now
        except (ValueError, OverflowError):  # it is not a date, or not one that Python can represent
            return timedelta(0)
    return min(max(wait, timedelta(0)), LONGEST_RETRY_AFTER)
