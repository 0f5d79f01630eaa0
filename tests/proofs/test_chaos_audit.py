"""Plants faults and checks that the chaos harness finds them. CI runs the harness itself with `make chaos`."""

import json
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import asyncpg
import httpx
import pytest

from app.database.connections import Database
from proofs.chaos import __main__ as harness
from proofs.chaos import audit
from proofs.chaos.audit import (
    Accounts,
    End,
    Finding,
    Kind,
    Recovery,
    Step,
    claims_without_a_device,
    discrepancies,
    recoveries,
)
from proofs.chaos.events import Events
from proofs.chaos.figures import Figure, rate
from proofs.chaos.stage import Settled
from testing.receiver import receiving
from testing.rows import SUCCESS, claim, enqueue, finish

JOB = uuid4()
NOON = datetime(2026, 11, 21, 12, tzinfo=UTC)
SUBMITTED = Step(NOON, JOB, None, "pending", None, None, "api", False)
CLAIMED = Step(NOON, JOB, "pending", "in_progress", None, "w1", "w1", False)
COMPLETED = Step(NOON, JOB, "in_progress", "completed", "w1", None, "w1", False)
LOST = Step(NOON + timedelta(seconds=30), JOB, "in_progress", "pending", "w1", None, "w2", False)
AGAIN = Step(NOON + timedelta(seconds=31), JOB, "pending", "in_progress", None, "w2", "w2", False)
END = End(JOB, "completed", None, 1, 0, True)
GOOD = Accounts([SUBMITTED, CLAIMED, COMPLETED], [END])


def test_a_completed_job_has_no_discrepancy() -> None:
    assert discrepancies({JOB: "sleep 1"}, GOOD) == []


@pytest.mark.parametrize(
    ("accounts", "expected"),
    [
        (Accounts([], []), "is lost"),
        (replace(GOOD, ends=[END, replace(END, job=uuid4())]), "no client knows it"),
        (replace(GOOD, steps=[SUBMITTED, CLAIMED]), "0 final transitions"),
        (replace(GOOD, steps=[*GOOD.steps, COMPLETED]), "2 final transitions"),
        (replace(GOOD, steps=[*GOOD.steps, replace(COMPLETED, stale=True)]), "stale write by w1"),
        (replace(GOOD, steps=[*GOOD.steps, replace(CLAIMED, before="completed")]), "steps that do not exist"),
        (replace(GOOD, ends=[replace(END, status="in_progress")]), "is not final"),
        (replace(GOOD, ends=[replace(END, has_transcript=False)]), "without the other"),
        (replace(GOOD, ends=[replace(END, attempts=2)]), "counts 2 attempts, was claimed 1 times"),
        (replace(GOOD, ends=[replace(END, crashes=2)]), "counts 2 crashes in 1 attempts"),
        (replace(GOOD, ends=[replace(END, status="failed", error_code="worker_crashed")]), "was ordered to 'sleep 1'"),
    ],
)
def test_every_broken_promise_is_found(accounts: Accounts, expected: str) -> None:
    assert any(expected in found.text for found in discrepancies({JOB: "sleep 1"}, accounts))


def test_recovery_counts_from_the_kill_to_the_next_claim() -> None:
    killed = {"w1": NOON + timedelta(seconds=1)}
    assert recoveries([SUBMITTED, CLAIMED, LOST, AGAIN], killed) == [Recovery(30, last_chance=False)]
    twice = [SUBMITTED, CLAIMED, LOST, CLAIMED, LOST, AGAIN]
    assert [found.last_chance for found in recoveries(twice, killed)] == [False, True]
    assert recoveries([SUBMITTED, CLAIMED, LOST, AGAIN], {}) == []


@pytest.mark.parametrize(
    ("injected", "at_work", "kinds"),
    [
        ("DELETE FROM transcription WHERE id = $1", False, {Kind.LOST}),
        ("UPDATE transcription SET progress = 0.9 WHERE id = $1", True, {Kind.STALE, Kind.ACCOUNT}),
        ("UPDATE transcription SET status = 'failed' WHERE id = $1", False, {Kind.ENDS, Kind.ACCOUNT}),
        ("SELECT $1::uuid", True, set()),
    ],
)
async def test_changes_to_a_job_without_the_queue_are_found(
    database: Database, injected: str, at_work: bool, kinds: set[Kind]
) -> None:
    """The trigger must record a loss, a stale write and a second end of a real job that a worker claims and ends."""
    address = database.address.text
    stranger = {"application_name": "stranger"}
    async with asyncpg.create_pool(address, min_size=0, max_size=1, server_settings=stranger) as pool:
        await audit.install(pool)
        await enqueue(database)
        [job] = await claim(database, worker=socket.gethostname())  # the name under which this process is connected
        if at_work:
            await pool.execute(injected, job.id)
        await finish(database, job, SUCCESS)
        if not at_work:
            await pool.execute(injected, job.id)
        found = discrepancies({job.id: "sleep 1"}, await audit.read_accounts(pool))
    assert {finding.kind for finding in found} == kinds


async def test_a_missing_and_a_second_event_are_found_and_a_repeated_one_is_not() -> None:
    missing, doubled, repeated = uuid4(), uuid4(), uuid4()
    async with receiving() as receiver, httpx.AsyncClient(trust_env=False) as client:
        for job, event in ((doubled, "1"), (doubled, "2"), (repeated, "3"), (repeated, "3")):
            body = json.dumps({"data": {"id": str(job)}})
            await client.post(receiver.url("/204"), content=body, headers={"webhook-id": event})
        found = await Events(receiver, patience_seconds=0).discrepancies([missing, doubled, repeated])
    assert found == [
        Finding(Kind.EVENTS, f"{missing}: no event reported its end"),
        Finding(Kind.EVENTS, f"{doubled}: 2 events reported its end"),
    ]


def test_a_table_counts_and_lists_the_findings_of_each_kind() -> None:
    found = [Finding(Kind.STALE, "one"), Finding(Kind.STALE, "two")]
    figures = Settled(GOOD, found).figures
    assert [figure for figure in figures if not figure.kept] == [Figure("stale writes", 2, "0", False, ["one", "two"])]
    assert len(figures) == len(Kind)


def test_claims_of_a_worker_that_lost_its_device_are_counted() -> None:
    device, other = uuid4(), uuid4()
    lost = Step(NOON, device, "in_progress", "pending", "w1", None, "w1", False)
    claims = [
        Step(NOON + timedelta(seconds=seconds), other, "pending", "in_progress", None, worker, worker, False)
        for seconds, worker in [(-1, "w1"), (0.5, "w1"), (3, "w2"), (3, "w1"), (4, "w1")]
    ]
    assert claims_without_a_device([claims[0], lost, *claims[1:]], {device}) == 2
    assert claims_without_a_device([claims[0], lost, *claims[1:]], {other}) == 0


@pytest.mark.parametrize(("seconds", "expected"), [([], 0), ([0], 0), ([0, 0], 0), ([5, 0, 10], 0.2)])
def test_a_rate_needs_no_minimum_of_moments(seconds: list[float], expected: float) -> None:
    assert rate([NOON + timedelta(seconds=after) for after in seconds]) == expected


def test_a_wait_that_times_out_is_reported_as_a_broken_promise(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    @asynccontextmanager
    async def no_stage(*_: object, **__: object) -> AsyncIterator[None]:
        yield

    async def time_out(_: object) -> list[Figure]:
        raise TimeoutError

    monkeypatch.setattr(harness, "stage", no_stage)
    monkeypatch.setattr(harness, "SHORT", {"kills": harness.Scenario(time_out)})
    monkeypatch.setattr("sys.argv", ["chaos", "--seed", "7f3a"])
    assert harness.main() == 1
    printed, errors = capsys.readouterr()
    assert "MISS waits that took too long" in printed
    assert "7f3a-kills.log; again: make chaos SEED=7f3a ONLY=kills" in errors
