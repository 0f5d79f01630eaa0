"""Runs the analyses that are due. Every process of the service has one runner, as it has one sender.

It claims analyses, runs a step of the stage on each, and records how that ended. It extends the leases of those that
run whenever it claims, which is every two seconds. If the language model cannot be used, it claims no more judgements
for a while, so that a model that is away does not use up the attempts of all calls that wait. Rules have slots of their
own, so that they never wait for a model.
"""

import time
import traceback
from collections.abc import Sequence
from contextlib import suppress
from functools import partial
from typing import Any

import structlog

from app import tracing
from app.analysis import queue
from app.analysis.judgement.client import Spent
from app.analysis.models import Analysis, AnalysisStatus
from app.analysis.queue import DUE_TOPIC, NOTHING_FREE, Ended, Free, Leased, Notifying
from app.analysis.stage import Stage
from app.database.connections import DATABASE_TROUBLE, Database, is_bad_data
from app.database.notifications import Signals
from app.database.retries import write_down
from app.database.work import WorkLoop
from app.errors import InternalError

JUDGEMENTS = 4
RULES = 4
RECORD_PAUSES_SECONDS = (0.2, 0.5, 1.0)
FIRST_REST_SECONDS = 2.0
LONGEST_REST_SECONDS = 120.0
BUDGET_REST_SECONDS = 60.0  # then the next analysis looks whether a new day has begun

log = structlog.stdlib.get_logger("callscribe.analysis")


class AnalysisRunner:
    """Has up to `judgements` calls judged at the same time, and applies the rules to up to RULES other ones.

    At most half of each are calls for which somebody asked in bulk, so that a new call need not wait for them.
    """

    def __init__(
        self, database: Database, signals: Signals, stage: Stage, notifying: Notifying, *, judgements: int = JUDGEMENTS
    ) -> None:
        self._database = database
        self._stage = stage
        self._notifying = notifying
        self._judgements = judgements
        self._spent: dict[Leased, Spent] = {}
        self._rest_until = 0.0
        self._rest_seconds = FIRST_REST_SECONDS
        self._loop: WorkLoop[Leased, Ended] = WorkLoop(
            signals, DUE_TOPIC, claim=self._claim, run=self._run, record=self._record
        )

    async def run(self) -> None:
        """Work on what is due until `drain` is called. Returns when nothing is under way any more."""
        await self._loop.work()

    async def drain(self, grace_seconds: float) -> None:
        """Claim no more, wait up to `grace_seconds` for what is under way, then stop the rest.

        Stopped analyses do not count an attempt. `idle` waits until they are given back to other processes.
        """
        await self._loop.drain(grace_seconds)

    async def idle(self) -> None:
        """Wait until all analyses have ended and were recorded or given back. There is no limit on this wait."""
        await self._loop.idle()

    async def _claim(self) -> list[Leased]:
        running = self._loop.running
        judges = self._stage.judge is not None and time.monotonic() >= self._rest_until
        rules = _free(RULES, [each for each in running if not each.waits_for_model])
        judged = _free(self._judgements, [each for each in running if each.waits_for_model]) if judges else NOTHING_FREE
        async with self._database.transaction() as session:
            held = await queue.extend(session, running) if running else set()
            claimed = await queue.claim(session, rules, judged) if rules.slots or judged.slots else []
        for lost in (each for each in running if each.token not in held):
            self._loop.stop(lost, None)  # the call was erased, or another process has it
        return claimed

    async def _run(self, leased: Leased) -> Ended:
        if (error := queue.crashed(leased)) is not None:
            return Ended(error=error)
        self._spent[leased] = spent = Spent()
        with tracing.span(
            "judge" if leased.waits_for_model else "apply rules",
            tracing.of_row(leased.traceparent),
            callscribe__job__id=str(leased.transcription_id),
            callscribe__attempt=leased.attempts,
        ) as span:
            ended = await self._stage.analyse(leased, spent)
            if ended.error is not None:
                tracing.fail(span, ended.error.code)
            if spent.requests:
                tracing.describe(span, callscribe__requests=spent.requests, callscribe__tokens=spent.tokens)
            return ended

    async def _record(self, leased: Leased, ended: Ended | Exception | None) -> None:
        """An error that nobody expected fails the analysis, because it would otherwise be repeated forever."""
        spent = self._spent.pop(leased, Spent())
        if ended is None or isinstance(ended, DATABASE_TROUBLE):
            await self._give_back(leased)
            return
        if isinstance(ended, Exception):
            _log_error(leased, ended)
            ended = Ended(error=InternalError("The service's log says why."), tokens=spent.tokens)
        self._rest_after(ended)
        try:
            await self._write(leased, ended)
        except DATABASE_TROUBLE as error:
            if not is_bad_data(error):
                raise
            await self._write(leased, Ended(error=InternalError("The database refused it."), tokens=ended.tokens))

    def _rest_after(self, ended: Ended) -> None:
        """Claim no judgements for a while after a model that could not be used, and longer each time."""
        error = ended.error
        if ended.budget_is_spent:
            self._rest(BUDGET_REST_SECONDS, "the budget of tokens for this day is spent")
        elif error is not None and error.transient:
            self._rest(max(self._rest_seconds, min(error.retry_after or 0, LONGEST_REST_SECONDS)), error.detail)
            self._rest_seconds = min(2 * self._rest_seconds, LONGEST_REST_SECONDS)
        elif ended.judged is not None:
            self._rest_seconds = FIRST_REST_SECONDS

    def _rest(self, seconds: float, why: str) -> None:
        now = time.monotonic()
        if now >= self._rest_until:  # once for all that were under way
            log.warning("no calls are judged for a while", why=why, seconds=seconds)
        self._rest_until = max(self._rest_until, now + seconds)

    async def _write(self, leased: Leased, ended: Ended) -> None:
        record = partial(queue.record, leased=leased, ended=ended, notifying=self._notifying)
        row = await write_down(self._database, record, RECORD_PAUSES_SECONDS)
        _log_end(leased, ended, row)

    async def _give_back(self, leased: Leased) -> None:
        with suppress(*DATABASE_TROUBLE):  # the lease ends by itself, only later
            async with self._database.transaction() as session:
                await queue.give_back(session, leased)


def _free(slots: int, running: Sequence[Leased]) -> Free:
    in_bulk = sum(leased.is_bulk for leased in running)
    return Free(max(0, slots - len(running)), max(0, (slots + 1) // 2 - in_bulk))


def _log_error(leased: Leased, error: Exception) -> None:
    """Log where an error that nobody expected was raised, without its text, which may have what was said."""
    *_, last = traceback.extract_tb(error.__traceback__) or [None]
    where = None if last is None else f"{last.filename}:{last.lineno}"
    log.error("an analysis raised an error", job=str(leased.transcription_id), error=type(error).__name__, where=where)


def _log_end(leased: Leased, ended: Ended, row: Analysis | None) -> None:
    facts: dict[str, Any] = {"job": str(leased.transcription_id), "attempts": leased.attempts, "tokens": ended.tokens}
    if row is None:
        log.warning("the lease of an analysis is lost, so its end was not recorded", **facts)
        return
    match row.status:
        case AnalysisStatus.COMPLETED:
            log.info("the call was analysed", dropped=row.dropped, **facts)
        case AnalysisStatus.FAILED:
            log.warning("the call could not be analysed", code=row.error_code, error=row.error_message, **facts)
        case _ if ended.error is None and not ended.budget_is_spent:
            log.info("the rules were applied, and the call waits for the language model", **facts)
        case _:
            at = row.run_at.isoformat(timespec="seconds")
            log.info("the call is analysed later", code=row.error_code, error=row.error_message, not_before=at, **facts)
