"""What the chaos harness would find. The harness itself runs in CI, by `make chaos`."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest

from chaos.audit import Accounts, End, Step, discrepancies, recoveries

JOB = uuid4()
NOON = datetime(2026, 11, 21, 12, tzinfo=UTC)
SUBMITTED = Step(NOON, JOB, None, "pending", None, None, "api", False)
CLAIMED = Step(NOON, JOB, "pending", "in_progress", None, "w1", "w1", False)
COMPLETED = Step(NOON, JOB, "in_progress", "completed", "w1", None, "w1", False)
LOST = Step(NOON + timedelta(seconds=30), JOB, "in_progress", "pending", "w1", None, "w2", False)
AGAIN = Step(NOON + timedelta(seconds=31), JOB, "pending", "in_progress", None, "w2", "w2", False)
END = End(JOB, "completed", None, 1, 0, True)
GOOD = Accounts([SUBMITTED, CLAIMED, COMPLETED], [END])


def test_a_job_that_went_its_way_is_no_discrepancy() -> None:
    assert discrepancies({JOB: "sleep 1"}, GOOD) == []


@pytest.mark.parametrize(
    ("accounts", "told"),
    [
        (Accounts([], []), "is lost"),
        (replace(GOOD, ends=[END, replace(END, job=uuid4())]), "nobody was told"),
        (replace(GOOD, steps=[SUBMITTED, CLAIMED]), "0 final transitions"),
        (replace(GOOD, steps=[*GOOD.steps, COMPLETED]), "2 final transitions"),
        (replace(GOOD, steps=[*GOOD.steps, replace(COMPLETED, stale=True)]), "stale write by w1"),
        (replace(GOOD, steps=[*GOOD.steps, replace(CLAIMED, before="completed")]), "steps that do not exist"),
        (replace(GOOD, ends=[replace(END, status="in_progress")]), "is not final"),
        (replace(GOOD, ends=[replace(END, has_transcript=False)]), "without the other"),
        (replace(GOOD, ends=[replace(END, attempts=2)]), "counts 2 attempts, was claimed 1 times"),
        (replace(GOOD, ends=[replace(END, crashes=2)]), "counts 2 crashes in 1 attempts"),
        (replace(GOOD, ends=[replace(END, status="failed", error_code="worker_crashed")]), "was told to 'sleep 1'"),
    ],
)
def test_what_is_not_as_promised_is_told(accounts: Accounts, told: str) -> None:
    assert any(told in line for line in discrepancies({JOB: "sleep 1"}, accounts))


def test_recovery_counts_from_the_kill_to_the_next_claim() -> None:
    killed = {"w1": NOON + timedelta(seconds=1)}
    assert recoveries([SUBMITTED, CLAIMED, LOST, AGAIN], killed) == [30]
    assert recoveries([SUBMITTED, CLAIMED, LOST, AGAIN], {}) == []
