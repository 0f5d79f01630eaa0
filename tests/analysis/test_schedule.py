"""When an analysis is tried again."""

from datetime import UTC, datetime, timedelta

from app.analysis.schedule import MOST_ATTEMPTS, next_attempt, next_day

NOW = datetime(2026, 11, 28, 23, 30, tzinfo=UTC)


def test_the_pauses_grow_until_there_is_no_further_attempt() -> None:
    due = [next_attempt(attempts, NOW, 0.5) for attempts in range(1, MOST_ATTEMPTS + 1)]
    assert due[-1] is None
    times = [each for each in due if each is not None]
    assert len(times) == len(due) - 1
    assert times[0] == NOW + timedelta(seconds=30)
    assert times == sorted(times)


def test_the_server_s_retry_after_is_honoured_up_to_a_day() -> None:
    assert next_attempt(1, NOW, 0.5, 3600) == NOW + timedelta(hours=1)
    assert next_attempt(1, NOW, 0.5, 10**6) == NOW + timedelta(days=1)
    assert next_attempt(3, NOW, 0.5, 1) == NOW + timedelta(minutes=10)


def test_a_spent_budget_waits_for_the_next_day_in_utc() -> None:
    midnight = datetime(2026, 11, 29, tzinfo=UTC)
    assert next_day(NOW, 0.0) == midnight
    assert midnight < next_day(NOW, 1.0) <= midnight + timedelta(minutes=10)
