"""How long a server asks to wait."""

from datetime import UTC, datetime, timedelta

from app.network.retry_after import asked_pause

NOW = datetime(2026, 11, 29, 12, 0, 0, tzinfo=UTC)


def test_a_date_counts_from_the_clock_of_the_server() -> None:
    headers = {"date": "Sun, 29 Nov 2026 12:05:00 GMT", "retry-after": "Sun, 29 Nov 2026 12:05:02 GMT"}
    assert asked_pause(headers, NOW) == timedelta(seconds=2)


def test_a_date_counts_from_our_clock_if_the_server_shows_none() -> None:
    for date in ({}, {"date": "now"}):
        assert asked_pause(date | {"retry-after": "Sun, 29 Nov 2026 12:00:09 GMT"}, NOW) == timedelta(seconds=9)


def test_seconds_need_no_clock() -> None:
    assert asked_pause({"date": "Sun, 29 Nov 2026 12:05:00 GMT", "retry-after": "7"}, NOW) == timedelta(seconds=7)
