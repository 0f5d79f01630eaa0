"""The queue on a real database and a model of it agree after any steps in any order."""

import asyncio
from collections.abc import Coroutine
from functools import partial
from typing import Any, TypeVar
from uuid import UUID

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

from app.database.connections import Database
from app.errors import AlreadyFinal
from app.jobs.changes import changing
from app.jobs.claims import leases
from app.jobs.claims.claiming import Claimed
from app.jobs.lifecycle import (
    FINAL,
    MAX_CRASHES,
    TRANSITIONS,
    Cancelled,
    Crashed,
    Failed,
    Interrupted,
    Outcome,
    Status,
)
from testing.rows import KEEP_AUDIO, SUCCESS, TESTER, claim, enqueue, execute, finish, take_back_lost

OUTCOMES: list[Outcome] = [
    SUCCESS,
    Failed("bad_media", "broken"),
    Failed("transcription_failed", "a fault", transient=True),
    Cancelled(),
    Interrupted(),
    Crashed(),
]
CRM = "https://crm.example/calls"  # receives the event of a job's end
ResultT = TypeVar("ResultT")


class Queue(RuleBasedStateMachine):
    """The model: it knows the leases that are held, and the last status of each job."""

    def __init__(self, address: str) -> None:
        super().__init__()
        self.loop = asyncio.Runner()
        self.database = Database(address, pool_size=2)
        self.leases: dict[UUID, Claimed] = {}
        self.stale: list[Claimed] = []
        self.statuses: dict[UUID, Status] = {}
        self.do(execute(self.database, "TRUNCATE transcription CASCADE"))

    def do(self, work: Coroutine[Any, Any, ResultT]) -> ResultT:
        return self.loop.run(work)

    def teardown(self) -> None:
        self.do(self.database.close())
        self.loop.close()

    @rule(caller=st.sampled_from("ab"), priority=st.integers(4, 6))
    def submit(self, caller: str, priority: int) -> None:
        job = self.do(enqueue(self.database, caller=caller, priority=priority, webhook_urls=[CRM]))
        self.statuses[job.id] = Status.PENDING

    @rule(slots=st.integers(1, 3))
    def claim(self, slots: int) -> None:
        jobs = self.do(claim(self.database, slots))
        waiting = [job for job, status in self.statuses.items() if status is Status.PENDING]
        assert len(jobs) <= slots
        assert {job.id for job in jobs} <= set(waiting)
        assert sum(job.crashes == MAX_CRASHES - 1 for job in jobs) <= 1
        self.leases |= {job.id: job for job in jobs}

    @rule(choice=st.randoms(use_true_random=False), outcome=st.sampled_from(OUTCOMES))
    def finish(self, choice: Any, outcome: Outcome) -> None:
        if self.leases:
            job = self.leases.pop(choice.choice(sorted(self.leases)))
            assert self.do(finish(self.database, job, outcome)) is not None
            self.stale.append(job)

    @rule(outcome=st.sampled_from(OUTCOMES))
    def finish_too_late(self, outcome: Outcome) -> None:
        for job in self.stale[-3:]:
            assert self.do(finish(self.database, job, outcome)) is None

    @rule()
    def beat(self) -> None:
        """The heartbeat answers for the jobs whose lease is held, and for no job whose lease was lost."""
        held = [*self.leases.values(), *self.stale[-3:]]
        tokens = {job.id: job.lease_token for job in self.leases.values()}

        async def beat() -> dict[UUID, bool]:
            beats = [leases.Beat(job.id, job.lease_token, 0.5) for job in held]
            async with self.database.transaction() as session:
                return await leases.heartbeat(session, beats)

        assert set(self.do(beat())) == set(tokens)

    @rule(choice=st.randoms(use_true_random=False))
    def expire(self, choice: Any) -> None:
        if self.leases:
            job = self.leases.pop(choice.choice(sorted(self.leases)))
            change = "UPDATE transcription SET lease_until = now() - interval '1 s' WHERE id = :id"
            self.do(execute(self.database, change, id=job.id))
            self.do(take_back_lost(self.database))
            self.stale.append(job)

    @rule(choice=st.randoms(use_true_random=False))
    def cancel(self, choice: Any) -> None:
        if self.statuses:
            job = choice.choice(sorted(self.statuses))

            async def cancel() -> None:
                async with self.database.transaction() as session:
                    await changing.request_cancel(session, job, TESTER, KEEP_AUDIO)

            try:
                self.do(cancel())
            except AlreadyFinal:
                assert self.statuses[job] in FINAL

    @rule()
    def let_time_pass(self) -> None:
        self.do(execute(self.database, "UPDATE transcription SET run_at = now() WHERE status = 'pending'"))

    @invariant()
    def rows_are_as_the_leases_say(self) -> None:
        for row in self.do(self.rows()):
            if (step := (self.statuses[row.id], Status(row.status)))[0] is not step[1]:
                assert step in TRANSITIONS
            self.statuses[row.id] = step[1]
            held = self.leases.get(row.id)
            assert (row.status == Status.IN_PROGRESS) == (held is not None)
            assert row.lease_token == (held.lease_token if held else None)
            assert (row.status in FINAL) == (row.completed_at is not None)
            assert (row.status == Status.COMPLETED) == row.has_transcript
            assert (row.status in FINAL) == row.has_event
            assert 0 <= row.crashes <= min(row.attempts, MAX_CRASHES)

    async def rows(self) -> list[Any]:
        statement = """
            SELECT *, EXISTS (SELECT FROM transcript WHERE transcription_id = transcription.id) AS has_transcript,
                EXISTS (SELECT FROM event WHERE transcription_id = transcription.id) AS has_event
            FROM transcription
        """
        async with self.database.engine.connect() as connection:
            return list((await connection.exec_driver_sql(statement)).all())


def test_the_queue_agrees_with_its_model_after_steps_in_any_order(database: Database) -> None:
    address = database.address.text
    thorough = settings(max_examples=10, stateful_step_count=30, deadline=None, suppress_health_check=list(HealthCheck))
    run_state_machine_as_test(partial(Queue, address), settings=thorough)  # type: ignore[arg-type]  # any factory
