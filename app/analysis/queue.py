"""The queue of analyses: all SQL that changes their tables.

A runner takes a lease on an analysis, extends it while the work goes on, and names its token when it records the end.
So a runner that hung until its lease ended changes nothing. All times come from the database's clock.
"""

import random
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from typing import Any
from uuid import UUID

import structlog
from sqlalchemy import Text, Uuid, bindparam, func, text
from sqlalchemy.dialects.postgresql import ARRAY
from sqlmodel import col, select, update
from sqlmodel.ext.asyncio.session import AsyncSession

from app import metrics
from app.access import audit
from app.access.audit import Action
from app.access.callers import Caller
from app.analysis.defining import any_defined
from app.analysis.events import event_of
from app.analysis.judgement.judging import Judged
from app.analysis.models import Analysis, AnalysisStatus
from app.analysis.schedule import MOST_ATTEMPTS, next_attempt, next_day
from app.analysis.wanted import Wanted
from app.control.pauses import CLAIMS_GO_ON
from app.database.commits import after_commit
from app.database.notifications import notify
from app.deliveries import outbox, outputs_of_events
from app.errors import AppError, NotCompleted, NothingToAnalyse, WorkerCrashed
from app.jobs.lifecycle import Status
from app.jobs.models import Transcription, unknown
from app.jobs.reads import listing
from app.jobs.scope import seen_by
from app.jobs.views import TranscriptionOut

DUE_TOPIC = "analysis_due"
LEASE = timedelta(seconds=30)
NOTHING = "There is no category, no scorecard, and no language model that judges the calls of this tenant."
LATELY, MOST_ADDED = timedelta(hours=1), 1000
LOCK = 0x616E61  # "ana": one process looks for missing analyses at a time

log = structlog.stdlib.get_logger("callscribe.analysis")


@dataclass(frozen=True)
class Leased:
    """An analysis on which this process has a lease. `attempts` counts the attempt that begins with it.

    It is to be judged now if it `waits_for_model`. Otherwise the rules are to be applied. `traceparent` is the span of
    the call's request.
    """

    transcription_id: UUID
    tenant: str
    token: UUID
    attempts: int
    waits_for_model: bool
    is_bulk: bool
    traceparent: str | None = None


@dataclass(frozen=True)
class Ended:
    """How an attempt ended: that of the rules, or that of the language model.

    What is None stays as it is stored, so rules keep their results if the model fails. `error` says why there is no
    judgement. If it is transient, another attempt follows. If the `budget_is_spent`, the attempt does not count, and
    the analysis waits for the next day. `tokens` are those of this attempt.
    """

    categories: list[dict[str, Any]] | None = None
    scores: list[dict[str, Any]] | None = None
    judged: Judged | None = None
    error: AppError | None = None
    budget_is_spent: bool = False
    tokens: int = 0

    @property
    def found(self) -> dict[str, Any]:
        """What rules found, by the columns of the table."""
        return {"categories": self.categories, "scores": self.scores}


@dataclass(frozen=True)
class Notifying:
    """What the events of analyses need to know: how links begin, and the stream of results, if there is one."""

    root_path: str = ""
    stream: str | None = None


_ADD = text("""
    INSERT INTO analysis (transcription_id, tenant, wants_judgement, waits_for_model, status, run_at, created_at)
    VALUES (:id, :tenant, :wants_judgement, :waits_for_model, 'pending', now(), now())
    ON CONFLICT (transcription_id) DO NOTHING
""")


async def add_if_wanted(session: AsyncSession, job: Transcription, *, wanted: Wanted) -> None:
    """Queue the analysis of a job that has ended, in the transaction that ends it, if there is something to find out.

    Nothing is written for other jobs, and hardly ever read, so that they pay nothing for it. An error here must not
    undo the end of the job, so it undoes only this. `add_missing` makes up for it.
    """
    if job.status is not Status.COMPLETED or wanted.surely_nothing(job.tenant):
        return
    await session.flush()  # outside of the block, because an error of the job itself must undo its end
    try:
        async with session.begin_nested():
            has_rules, judged = await wanted.rules(session, job.tenant), wanted.judgement(job.tenant)
            if has_rules or judged:
                await _add(session, job, judged=judged, has_rules=has_rules)
                await notify(session, DUE_TOPIC)
    except Exception:  # whatever it is, the transcript comes first
        log.exception("the analysis of a call was not queued; a sweep makes up for it", job=str(job.id))
        metrics.analysis_not_queued()


_ADD_MISSING = text("""
    WITH has_rules AS MATERIALIZED (SELECT tenant FROM category UNION SELECT tenant FROM scorecard),
    missing AS MATERIALIZED (
        SELECT id, tenant, :judges AND (cardinality(:judged_tenants) = 0 OR tenant = ANY(:judged_tenants)) AS judged,
               tenant IN (SELECT tenant FROM has_rules) AS has_rules
        FROM transcription AS job
        WHERE completed_at > now() - :lately AND status = 'completed' AND (:judges OR EXISTS (SELECT FROM has_rules))
            AND NOT EXISTS (SELECT FROM analysis WHERE transcription_id = job.id)
        ORDER BY completed_at FOR KEY SHARE SKIP LOCKED
    )
    INSERT INTO analysis (transcription_id, tenant, wants_judgement, waits_for_model, status, run_at, created_at)
    SELECT id, tenant, judged, NOT has_rules, 'pending', now(), now() FROM missing WHERE judged OR has_rules
    LIMIT :most ON CONFLICT (transcription_id) DO NOTHING
""").bindparams(bindparam("judged_tenants", type_=ARRAY(Text)))


async def add_missing(session: AsyncSession, wanted: Wanted) -> int:
    """Queue the analyses of calls that ended LATELY and have none, although they are wanted. Returns how many.

    Returns 0 if another process is looking.
    """
    if not (await session.exec(select(func.pg_try_advisory_xact_lock(LOCK)))).one():
        return 0
    values = {"judges": wanted.judges, "judged_tenants": [*wanted.judged_tenants], "lately": LATELY, "most": MOST_ADDED}
    added: int = (await session.exec(_ADD_MISSING.bindparams(**values))).rowcount  # type: ignore[call-overload]
    if added:
        await notify(session, DUE_TOPIC)
    return added


async def _add(session: AsyncSession, job: Transcription, *, judged: bool, has_rules: bool) -> bool:
    """Returns whether there was no analysis yet."""
    values = {"id": job.id, "tenant": job.tenant, "wants_judgement": judged, "waits_for_model": not has_rules}
    added: int = (await session.exec(_ADD.bindparams(**values))).rowcount  # type: ignore[call-overload]
    return added == 1


async def ask(session: AsyncSession, transcription_id: UUID, caller: Caller, wanted: Wanted) -> Analysis:
    """Queue the analysis of a call for a client, once more if it has ended.

    One that waits for its next attempt is due now, with all its attempts. One that runs stays as it is. Earlier results
    stay until there are new ones.

    Raises NotFound, NotCompleted and NothingToAnalyse.
    """
    statement = select(Transcription).where(Transcription.id == transcription_id, seen_by(caller))
    job = (await session.exec(statement.with_for_update(read=True, key_share=True))).first()
    if job is None:
        raise unknown(transcription_id)
    if job.status != Status.COMPLETED:
        raise NotCompleted(f"The transcription is {job.status}, so there is no text to analyse.")
    has_rules, judged = await any_defined(session, job.tenant), wanted.judgement(job.tenant)
    if not (has_rules or judged):
        raise NothingToAnalyse(NOTHING)
    is_new = await _add(session, job, judged=judged, has_rules=has_rules)
    row = (await session.exec(select(Analysis).where(Analysis.transcription_id == job.id).with_for_update())).one()
    if not is_new and row.completed_at is None:
        if row.status == AnalysisStatus.PENDING:
            row.sqlmodel_update({"attempts": 0, "run_at": await _now(session)})
            if row.is_bulk:
                row.is_bulk, row.wants_judgement = False, judged
            session.add(row)
            await session.flush()
            await notify(session, DUE_TOPIC)
        return row
    if not is_new:
        if judged or not row.waits_for_model:
            row.error_code = row.error_message = None
        row.sqlmodel_update(
            {"status": AnalysisStatus.PENDING, "attempts": 0, "is_bulk": False}
            | {"wants_judgement": judged, "waits_for_model": not has_rules}
            | {"started_at": None, "completed_at": None, "run_at": await _now(session)}
            | {"tokens": 0 if judged else row.tokens}
        )
        session.add(row)
        await session.flush()
    await audit.note_change(session, Action.CALL_ANALYSED, caller.label, calls=[job.id])
    await notify(session, DUE_TOPIC)
    return row


_ASK_MANY = text("""
    INSERT INTO analysis AS known
        (transcription_id, tenant, wants_judgement, waits_for_model, is_bulk, status, run_at, created_at)
    SELECT id, tenant, :judged, :waits_for_model, true, 'pending', now(), now() FROM transcription WHERE id = ANY(:ids)
    ON CONFLICT (transcription_id) DO UPDATE SET
        wants_judgement = excluded.wants_judgement, waits_for_model = excluded.waits_for_model, is_bulk = true,
        status = 'pending', run_at = now(), attempts = 0, started_at = NULL, completed_at = NULL,
        error_code = CASE WHEN known.waits_for_model AND NOT excluded.wants_judgement THEN known.error_code END,
        error_message = CASE WHEN known.waits_for_model AND NOT excluded.wants_judgement THEN known.error_message END,
        tokens = CASE WHEN excluded.wants_judgement THEN 0 ELSE known.tokens END
    WHERE known.completed_at IS NOT NULL
""").bindparams(bindparam("ids", type_=ARRAY(Uuid)))


async def completed_calls(session: AsyncSession, calls: listing.Wanted, caller: Caller, limit: int) -> Sequence[UUID]:
    """The first calls in the order of the list, locked so that nobody erases them meanwhile."""
    found = listing.ids(calls, caller, limit).with_for_update(read=True, key_share=True, skip_locked=True)
    return (await session.exec(found)).all()


async def ask_many(session: AsyncSession, ids: Sequence[UUID], caller: Caller, wanted: Wanted, *, judge: bool) -> int:
    """Queue the analyses of calls of the caller's tenant, behind those of new calls.

    Those that wait or run stay as they are. Earlier results stay until there are new ones, and earlier judgements stay
    for good unless the model is to `judge` the calls. Returns how many were queued. Raises NothingToAnalyse.
    """
    has_rules, judged = await any_defined(session, caller.tenant), judge and wanted.judgement(caller.tenant)
    if not (has_rules or judged):
        raise NothingToAnalyse(NOTHING)
    asked = _ASK_MANY.bindparams(ids=list(ids), judged=judged, waits_for_model=not has_rules)
    queued: int = (await session.exec(asked)).rowcount  # type: ignore[call-overload]
    if queued:
        details = {"calls": queued, "judge": judged}
        await audit.note_change(session, Action.CALLS_ANALYSED, caller.label, details=details)
        await notify(session, DUE_TOPIC)
    return queued


async def count_waiting(session: AsyncSession, tenant: str) -> dict[AnalysisStatus, int]:
    statement = text("""
        SELECT status, count(*) FROM analysis WHERE tenant = :tenant AND status = 'pending' GROUP BY status
        UNION ALL
        SELECT status, count(*) FROM analysis WHERE tenant = :tenant AND status = 'in_progress' GROUP BY status
    """).bindparams(tenant=tenant)
    rows = await session.exec(statement)  # type: ignore[call-overload]
    return {AnalysisStatus(status): count for status, count in rows}


# The recursive query looks up one tenant after the other in the index. `place` shares the slots: each tenant gets its
# first analysis before any tenant gets a second one at the same time. What is asked for in bulk comes after everything
# else of all tenants, and gets only some of the slots.
_CLAIM = text(f"""
    WITH RECURSIVE owner AS (
        (SELECT tenant AS name FROM analysis WHERE status = 'pending' ORDER BY tenant LIMIT 1)
        UNION ALL
        SELECT (SELECT tenant FROM analysis WHERE status = 'pending' AND tenant > owner.name ORDER BY tenant LIMIT 1)
        FROM owner WHERE owner.name IS NOT NULL
    ), busy AS MATERIALIZED (
        SELECT tenant AS name, waits_for_model AS judged, count(*) AS running
        FROM analysis WHERE status = 'in_progress' GROUP BY tenant, waits_for_model
    ), kind (judged, is_bulk, slots) AS (
        VALUES (false, false, CAST(:rules AS integer)), (false, true, CAST(:bulk_rules AS integer)),
               (true, false, CAST(:judgements AS integer)), (true, true, CAST(:bulk_judgements AS integer))
    ), due AS MATERIALIZED (
        SELECT picked.transcription_id, picked.run_at, kind.*, coalesce(busy.running, 0)
               + row_number() OVER (PARTITION BY owner.name, judged ORDER BY kind.is_bulk, picked.run_at) AS place
        FROM owner CROSS JOIN kind LEFT JOIN busy USING (name, judged) CROSS JOIN LATERAL (
            SELECT transcription_id, run_at FROM analysis
            WHERE status = 'pending' AND tenant = owner.name AND waits_for_model = kind.judged
                AND analysis.is_bulk = kind.is_bulk AND run_at <= now()
            ORDER BY run_at, transcription_id LIMIT greatest(:rules, :judgements) FOR UPDATE SKIP LOCKED
        ) AS picked
        WHERE kind.slots > 0 AND {CLAIMS_GO_ON}
    ), bounded AS (
        SELECT *, row_number() OVER (PARTITION BY judged, is_bulk ORDER BY place, run_at) AS number FROM due
    ), ranked AS (
        SELECT *, row_number() OVER (PARTITION BY judged ORDER BY is_bulk, number) AS rank
        FROM bounded WHERE number <= slots
    ), chosen AS (
        SELECT transcription_id FROM ranked WHERE rank <= CASE WHEN judged THEN :judgements ELSE :rules END
    )
    UPDATE analysis SET status = 'in_progress', attempts = attempts + 1, started_at = coalesce(started_at, now()),
        lease_token = gen_random_uuid(), lease_until = now() + :lease
    FROM chosen WHERE analysis.transcription_id = chosen.transcription_id
    RETURNING analysis.transcription_id, tenant, lease_token AS token, attempts, waits_for_model, is_bulk,
        (SELECT traceparent FROM transcription WHERE id = analysis.transcription_id) AS traceparent
""")

_TAKE_BACK = text("""
    WITH lost AS MATERIALIZED (
        SELECT transcription_id FROM analysis WHERE status = 'in_progress' AND lease_until < now()
        FOR UPDATE SKIP LOCKED
    )
    UPDATE analysis SET status = 'pending', run_at = now(), lease_token = NULL, lease_until = NULL
    FROM lost WHERE analysis.transcription_id = lost.transcription_id
""")

_EXTEND = text("""
    UPDATE analysis SET lease_until = now() + :lease
    WHERE status = 'in_progress' AND lease_token = ANY(:tokens) RETURNING lease_token
""").bindparams(bindparam("tokens", type_=ARRAY(Uuid)))


@dataclass(frozen=True)
class Free:
    """How many analyses a process can begin. `bulk` is how many of them may be such that were asked for in bulk."""

    slots: int
    bulk: int


NOTHING_FREE = Free(0, 0)


async def claim(session: AsyncSession, rules: Free, judgements: Free) -> list[Leased]:
    """Take leases on analyses that are due, of the tenants by turns.

    First those are taken back whose process was lost. While an operator has paused the claims, none is found. `rules`
    and `judgements` are how many of each may be claimed.
    """
    await session.exec(_TAKE_BACK)  # type: ignore[call-overload]
    claimed = _CLAIM.bindparams(
        rules=rules.slots,
        bulk_rules=min(rules.bulk, rules.slots),
        judgements=judgements.slots,
        bulk_judgements=min(judgements.bulk, judgements.slots),
        lease=LEASE,
    )
    rows = await session.exec(claimed)  # type: ignore[call-overload]
    return [Leased(**row._mapping) for row in rows]


async def extend(session: AsyncSession, leased: Collection[Leased]) -> set[UUID]:
    """Extend the leases. Returns the tokens of those that still hold; the calls of others may be erased."""
    statement = _EXTEND.bindparams(tokens=[each.token for each in leased], lease=LEASE)
    return set((await session.exec(statement)).scalars())  # type: ignore[call-overload]


async def give_back(session: AsyncSession, leased: Leased) -> None:
    """Return an analysis that was stopped to the queue. The attempt does not count."""
    values = {"status": AnalysisStatus.PENDING, "lease_token": None, "lease_until": None}
    statement = update(Analysis).where(*_still_leased(leased))
    await session.exec(statement.values(**values, attempts=col(Analysis.attempts) - 1))
    await notify(session, DUE_TOPIC)


async def record(session: AsyncSession, leased: Leased, ended: Ended, notifying: Notifying) -> Analysis | None:
    """Write how an attempt ended, and the event if the analysis has ended and was not asked for in bulk.

    The job's row is locked first, as its erasure does, so that both wait for each other in the same order. Returns the
    changed analysis. If the lease was lost, this counts the tokens, writes nothing else and returns None.
    """
    if ended.tokens:
        await _count_tokens(session, leased.tenant, ended.tokens)
    job_id = leased.transcription_id
    of_job = select(Transcription).where(Transcription.id == job_id).with_for_update(read=True, key_share=True)
    job = (await session.exec(of_job)).first()
    row = (await session.exec(select(Analysis).where(*_still_leased(leased)).with_for_update())).first()
    if job is None or row is None:
        return None
    now = await _now(session)
    row.lease_token = row.lease_until = None
    row.tokens += ended.tokens
    row.sqlmodel_update({name: content for name, content in ended.found.items() if content is not None})
    _write_state(row, ended, now)
    if ended.judged is not None:
        row.sqlmodel_update(ended.judged.columns())
    session.add(row)
    await session.flush()
    if row.completed_at is not None and row.is_bulk:
        after_commit(session, partial(metrics.analysis_ended, row.status, row.error_code))
    elif row.completed_at is not None:
        shown = await _shown(session, job, notifying.root_path)
        if (event := event_of(row, job, shown, stream=notifying.stream)) is not None:
            await outbox.add(session, event)
        after_commit(session, partial(metrics.analysis_ended, row.status, row.error_code))
    elif row.run_at <= now:
        await notify(session, DUE_TOPIC)
    return row


def _write_state(row: Analysis, ended: Ended, now: datetime) -> None:
    error = ended.error
    if error is None and not row.wants_judgement and row.error_code is not None:
        # Only rules were asked for, so the call is still without the judgement that has failed before.
        row.status, row.completed_at, row.waits_for_model = AnalysisStatus.FAILED, now, True
        return
    row.error_code, row.error_message = (None, None) if error is None else (error.code, error.detail)
    row.status, row.completed_at = AnalysisStatus.PENDING, None
    chance = random.random()  # noqa: S311  spreads attempts, guards nothing
    if ended.budget_is_spent:
        row.attempts, row.run_at = row.attempts - 1, next_day(now, chance)
        return
    due = next_attempt(row.attempts, now, chance, error.retry_after) if error is not None and error.transient else None
    if due is not None:
        row.run_at = due
        return
    if error is None and row.wants_judgement and not row.waits_for_model:
        row.waits_for_model, row.attempts, row.run_at = True, 0, now
        return
    row.status = AnalysisStatus.COMPLETED if error is None else AnalysisStatus.FAILED
    row.completed_at = now


async def tokens_today(session: AsyncSession) -> int:
    """How many tokens all tenants together have used since the day began in UTC."""
    statement = text("""
        SELECT coalesce(sum(tokens), 0)::bigint FROM language_model_use WHERE day = (now() AT TIME ZONE 'UTC')::date
    """)
    return int((await session.exec(statement)).scalar_one())  # type: ignore[call-overload]


async def _count_tokens(session: AsyncSession, tenant: str, tokens: int) -> None:
    statement = text("""
        INSERT INTO language_model_use AS known (day, tenant, tokens)
        VALUES ((now() AT TIME ZONE 'UTC')::date, :tenant, :tokens)
        ON CONFLICT (day, tenant) DO UPDATE SET tokens = known.tokens + excluded.tokens
    """)
    await session.exec(statement.bindparams(tenant=tenant, tokens=tokens))  # type: ignore[call-overload]


def crashed(leased: Leased) -> WorkerCrashed | None:
    """The error of an analysis whose processes were lost too often."""
    return WorkerCrashed("Every process that analysed this call was lost.") if leased.attempts > MOST_ATTEMPTS else None


async def _shown(session: AsyncSession, job: Transcription, root_path: str) -> TranscriptionOut:
    states = await outbox.notify_states(session, [job.id])
    statuses: Mapping[UUID, Any] = await outputs_of_events.output_statuses(session, [job.id]) if job.outputs else {}
    return TranscriptionOut.of(job, states.get(job.id), statuses.get(job.id, {}), is_analysed=True, root_path=root_path)


async def _now(session: AsyncSession) -> datetime:
    return (await session.exec(select(func.now()))).one()


def _still_leased(leased: Leased) -> Sequence[Any]:
    return col(Analysis.transcription_id) == leased.transcription_id, col(Analysis.lease_token) == leased.token
