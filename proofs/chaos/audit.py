"""Records every step of every job with a trigger in the database, and checks the records at the end.

This module must not use the queries of `app.jobs.claims.queue`, because it must find the faults in them.
"""

from collections import Counter, defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from uuid import UUID

import asyncpg

from app.database.connecting import APPLICATION
from app.jobs.lifecycle import FINAL, MAX_CRASHES, TRANSITIONS, Crashed, Status

WITHIN_SECONDS = 1.0

# A process may write to a running job for three reasons: it holds the lease, it takes the job back after the lease
# ended, or it requests cancellation. Any other write is stale.
TRIGGER = f"""
    CREATE TABLE step (
        number bigserial PRIMARY KEY, at timestamptz NOT NULL DEFAULT clock_timestamp(), job uuid NOT NULL,
        before text, after text NOT NULL, holder text, claimer text, writer text NOT NULL, stale boolean NOT NULL
    );
    CREATE FUNCTION note_step() RETURNS trigger LANGUAGE plpgsql AS $$
    DECLARE
        writer text := replace(current_setting('application_name'), '{APPLICATION}', '');
        stale boolean := false;
    BEGIN
        IF TG_OP = 'INSERT' THEN
            INSERT INTO step (job, after, writer, stale) VALUES (NEW.id, NEW.status, writer, false);
            RETURN NULL;
        END IF;
        IF OLD.status = 'in_progress' THEN
            stale := writer <> OLD.leased_by
                AND NOT (OLD.lease_until < now() AND NEW.lease_token IS NULL)
                AND NOT (NEW.cancel_requested AND NOT OLD.cancel_requested);
        END IF;
        IF stale OR OLD.status <> NEW.status OR OLD.lease_token IS DISTINCT FROM NEW.lease_token THEN
            INSERT INTO step (job, before, after, holder, claimer, writer, stale)
            VALUES (NEW.id, OLD.status, NEW.status, OLD.leased_by, NEW.leased_by, writer, stale);
        END IF;
        RETURN NULL;
    END $$;
    CREATE TRIGGER note_step AFTER INSERT OR UPDATE ON transcription FOR EACH ROW EXECUTE FUNCTION note_step();
"""


@dataclass(frozen=True)
class Step:
    """A change of a job. `before` is None if the job is new.

    `holder` had the lease before the change, `claimer` has it afterwards, and `writer` made the change. `stale` marks
    a change that its writer had no right to make.
    """

    at: datetime
    job: UUID
    before: str | None
    after: str
    holder: str | None
    claimer: str | None
    writer: str
    stale: bool


@dataclass(frozen=True)
class End:
    """A job's row at the end of the scenario."""

    job: UUID
    status: str
    error_code: str | None
    attempts: int
    crashes: int
    has_transcript: bool


@dataclass(frozen=True)
class Accounts:
    """All steps in order, and the final row of each job."""

    steps: Sequence[Step]
    ends: Sequence[End]


class Kind(StrEnum):
    """The kinds of findings, in the words that the scenarios' tables print."""

    LOST = "jobs lost"
    UNASKED = "jobs that no client knows"
    ENDS = "jobs without exactly one end"
    STALE = "stale writes"
    EVENTS = "jobs without exactly one event"
    ACCOUNT = "jobs with other contradictions"


@dataclass(frozen=True)
class Finding:
    """Something that is not as promised."""

    kind: Kind
    text: str


async def install(pool: "asyncpg.Pool[asyncpg.Record]") -> None:
    await pool.execute(TRIGGER)


async def read_accounts(pool: "asyncpg.Pool[asyncpg.Record]") -> Accounts:
    steps = await pool.fetch("SELECT at, job, before, after, holder, claimer, writer, stale FROM step ORDER BY number")
    ends = await pool.fetch("""
        SELECT id AS job, status, error_code, attempts, crashes, transcription_id IS NOT NULL AS has_transcript
        FROM transcription LEFT JOIN transcript ON transcription_id = id
    """)
    return Accounts([Step(*row) for row in steps], [End(*row) for row in ends])


def discrepancies(accepted: Mapping[UUID, str], accounts: Accounts) -> list[Finding]:
    """Returns everything that is not as promised.

    `accepted` has the order of each job that a client got an answer for.
    """
    ends = {end.job: end for end in accounts.ends}
    found = [Finding(Kind.LOST, f"{job} was accepted and is lost") for job in accepted.keys() - ends.keys()]
    found += [Finding(Kind.UNASKED, f"{job} exists, and no client knows it") for job in ends.keys() - accepted.keys()]
    found += [Finding(Kind.STALE, f"{step.job}: stale write by {step.writer}") for step in accounts.steps if step.stale]
    steps: defaultdict[UUID, list[Step]] = defaultdict(list)
    for step in accounts.steps:
        steps[step.job].append(step)
    for job, order in accepted.items():
        if job in ends:
            found += _of_one(ends[job], order, steps[job])
    return found


def _of_one(end: End, order: str, steps: Sequence[Step]) -> list[Finding]:
    made = [(Status(step.before), Status(step.after)) for step in steps if step.before is not None]
    kinds = Counter(made)
    claims = kinds[Status.PENDING, Status.IN_PROGRESS]
    finals = sum(count for (_, after), count in kinds.items() if after in FINAL)
    wrong = {
        Kind.ENDS: {
            "is not final": end.status not in FINAL,
            f"has {finals} final transitions": finals != 1,
        },
        Kind.ACCOUNT: {
            f"made steps that do not exist: {set(made) - TRANSITIONS}": not set(made) <= TRANSITIONS,
            f"counts {end.attempts} attempts, was claimed {claims} times": end.attempts > claims,
            f"counts {end.crashes} crashes in {end.attempts} attempts": end.crashes > min(MAX_CRASHES, end.attempts),
            "is completed, or has a transcript, without the other": (end.status == "completed") != end.has_transcript,
            f"was ordered to {order!r} and is {end.status} ({end.error_code})": not _fits(end, order),
        },
    }
    return [
        Finding(kind, f"{end.job} {what}")
        for kind, statements in wrong.items()
        for what, is_so in statements.items()
        if is_so
    ]


def _fits(end: End, order: str) -> bool:
    """Returns whether a job with this order may end like this.

    Any job may end as crashed if its workers were killed.
    """
    if end.error_code == Crashed.code:
        return end.crashes == MAX_CRASHES
    if order == "fetch":  # the server never sends the recording
        return (end.status, end.error_code) in {(Status.FAILED, "fetch_failed"), (Status.CANCELLED, None)}
    expected = {
        "hang": (Status.CANCELLED, None),
        "fail": (Status.FAILED, "transcription_failed"),
        "crash": (Status.FAILED, Crashed.code),
        "device": (Status.FAILED, Crashed.code),
    }
    return (end.status, end.error_code) == expected.get(order, (Status.COMPLETED, None))


@dataclass(frozen=True)
class Recovery:
    """How many seconds passed from the death of a worker until a job that it held was claimed again."""

    seconds: float
    last_chance: bool


def recoveries(steps: Sequence[Step], killed: Mapping[str, datetime]) -> list[Recovery]:
    """Returns one recovery for each job that a killed worker held.

    A job on its last chance may have to wait, because a worker runs such jobs one at a time.
    """
    waiting: dict[UUID, datetime] = {}
    lost: Counter[UUID] = Counter()
    found = []
    for step in steps:
        if step.holder in killed and step.writer != step.holder and step.after == Status.PENDING:
            assert step.holder is not None
            waiting[step.job] = killed[step.holder]
            lost[step.job] += 1
        elif step.after == Status.IN_PROGRESS and step.job in waiting:
            seconds = (step.at - waiting.pop(step.job)).total_seconds()
            found.append(Recovery(seconds, lost[step.job] >= MAX_CRASHES - 1))
    return found


def claims_without_a_device(steps: Sequence[Step], devices: Collection[UUID]) -> int:
    """Returns how many claims workers made after one of the jobs `devices` had broken their device.

    Claims within WITHIN_SECONDS are not counted, because they may have been under way at that moment.
    """
    broken: dict[str, datetime] = {}
    count = 0
    for step in steps:
        if step.job in devices and step.before == Status.IN_PROGRESS and step.holder == step.writer:
            broken.setdefault(step.writer, step.at)
        elif step.claimer in broken and (step.at - broken[step.claimer]).total_seconds() > WITHIN_SECONDS:
            count += 1
    return count
