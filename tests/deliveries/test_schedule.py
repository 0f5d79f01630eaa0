"""The schedule: when a delivery is tried again, and when it has failed."""

from datetime import UTC, datetime, timedelta

import httpx
import pytest

from app.deliveries.channels import Reply
from app.deliveries.http import judge
from app.deliveries.models import DeliveryStatus
from app.deliveries.schedule import DELAYS, next_try

NOW = datetime(2026, 11, 21, 9, 30, tzinfo=UTC)


def reply(status: int | None, retry_after: str | None = None) -> Reply:
    if status is None:
        return Reply(NOW, 10, error="timeout")
    result, wait = judge(
        httpx.Response(status, headers={} if retry_after is None else {"Retry-After": retry_after}), NOW
    )
    return Reply(NOW, 10, result, status, retry_after=wait)


@pytest.mark.parametrize("tries", range(1, len(DELAYS)))
@pytest.mark.parametrize(("chance", "factor"), [(0.0, 0.8), (0.5, 1.0), (1.0, 1.2)])
def test_a_failed_attempt_is_repeated_after_the_scheduled_delay_with_jitter(
    tries: int, chance: float, factor: float
) -> None:
    following = next_try(reply(None), tries, NOW, chance)
    assert following.status is DeliveryStatus.PENDING
    assert following.at - NOW == pytest.approx(DELAYS[tries] * factor, abs=timedelta(milliseconds=1))


def test_the_schedule_is_the_same_as_in_the_docs() -> None:
    hours = [delay.total_seconds() / 3600 for delay in DELAYS]
    assert hours == [0, 5 / 3600, 5 / 60, 0.5, 2, 5, 10, 14, 20, 24]


@pytest.mark.parametrize("status", [None, 301, 400, 404, 429, 500, 503])
def test_a_delivery_fails_after_the_last_attempt(status: int | None) -> None:
    assert next_try(reply(status), len(DELAYS) - 1, NOW, 0.5).status is DeliveryStatus.PENDING
    assert next_try(reply(status), len(DELAYS), NOW, 0.5).status is DeliveryStatus.FAILED


@pytest.mark.parametrize(
    ("status", "outcome"), [(200, "delivered"), (299, "delivered"), (300, "pending"), (410, "failed")]
)
def test_only_2xx_delivers_and_only_410_fails_immediately(status: int, outcome: str) -> None:
    assert next_try(reply(status), 1, NOW, 0.5).status == outcome


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ("120", 120),
        ("Sat, 21 Nov 2026 09:32:00 GMT", 120),
        ("Sat, 21 Nov 2026 09:00:00 GMT", 5),
        ("1", 5),
        ("999999999", 86_400),
        ("soon", 5),
        ("Mon, 01 Jan 99999999999999999999 00:00:00 GMT", 5),
        ("Mon, 01 Jan 2026 00:00:00 +99999999999999", 5),
        ("-3", 5),
        ("", 5),
    ],
)
def test_no_attempt_is_made_before_retry_after(header: str, seconds: int) -> None:
    assert next_try(reply(503, header), 1, NOW, 0.5).at == NOW + timedelta(seconds=seconds)
