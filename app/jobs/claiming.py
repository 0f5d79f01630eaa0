"""The SQL of claims. Only `queue` runs it.

There are two queues: jobs whose recording is in the store, and jobs whose recording must be fetched. Each has its own
index, so that a claim from one does not read through the other.

The most urgent priority goes first. Within a priority, the API key with the fewest running jobs is next, then the
one that was served longest ago. The jobs of one key go by `run_at` and id. A job that returns after a crash or a
deploy keeps its `run_at`, so that it starts again before newer jobs of its priority and key.

A job on its last chance would fail after one more crash. A separate statement claims such jobs, one at a time for each
worker. Otherwise several could fail because they ran beside one recording that kills its worker.

While an operator has paused the claims, no statement finds a job.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Self
from uuid import UUID

from sqlalchemy import Integer, Text, TextClause, bindparam, text
from sqlalchemy.dialects.postgresql import ARRAY

from app.control.pauses import CLAIMS_GO_ON
from app.jobs.capacity import Capacity
from app.jobs.lifecycle import MAX_CRASHES
from app.jobs.models import Transcription


@dataclass(frozen=True)
class Claimed:
    """What a worker needs to know of a job that it has claimed."""

    id: UUID
    lease_token: UUID
    caller: str
    priority: int
    options: dict[str, Any]
    source: str
    source_host: str | None
    filename: str | None
    audio_key: str | None
    run_at: datetime
    attempts: int
    crashes: int
    hindrances: int
    slow_fetches: int
    traceparent: str | None
    created_at: datetime
    started_at: datetime | None
    lease_until: datetime | None

    @classmethod
    def of(cls, job: Transcription) -> Self:
        return cls(**{name: getattr(job, name) for name in cls.__dataclass_fields__})


# A claim looks at this many more jobs than it takes, because other claims may hold the first ones locked.
CONTENDED = 64

LAST_CHANCE = bindparam("last_chance", MAX_CRASHES - 1, type_=Integer, literal_execute=True)

# A job whose model this worker does not serve stays for other workers. CASE keeps PostgreSQL from a guess that few rows
# match, because it would then read all rows of a key and sort them instead of stopping at the first ones.
_SERVED = "CASE WHEN :models IS NULL OR options ->> 'model' = ANY(:models) THEN true ELSE false END"

_TAKE = """
    UPDATE transcription SET
        status = 'in_progress',
        lease_token = gen_random_uuid(),
        leased_by = :worker,
        lease_until = now() + :lease,
        attempts = attempts + 1,
        progress = 0,
        retry_code = NULL,
        retry_message = NULL,
        started_at = coalesce(started_at, now())
    FROM claimable WHERE transcription.id = claimable.id
    RETURNING transcription.*
"""

# `lane` steps through the index from one (priority, caller) to the next, so its cost does not depend on how many wait.
# Numbers are written into the text (`literal_execute`), because PostgreSQL takes an unknown limit for a tenth of the
# table and scans it.
# `locked` checks each row again when it locks it, because another claim may have taken it since it was read.
# Candidates beyond the share of their key or host come last. They replace candidates that other claims have locked, and
# `claimable` drops them if they would exceed the share. The first job of a key without running jobs may go to any host,
# because it should not wait for the jobs of other keys that hold the host's share.
_FAIR = """
    WITH RECURSIVE lane AS (
        (SELECT priority, caller FROM transcription WHERE status = 'pending' AND {recording} AND {go_on}
         ORDER BY priority, caller LIMIT 1)
        UNION ALL
        SELECT following.priority, following.caller FROM lane CROSS JOIN LATERAL (
            SELECT priority, caller FROM transcription
            WHERE status = 'pending' AND {recording} AND (priority, caller) > (lane.priority, lane.caller)
            ORDER BY priority, caller LIMIT 1
        ) AS following
    ), running AS MATERIALIZED (
        SELECT caller, count(*) AS jobs FROM transcription WHERE status = 'in_progress' GROUP BY caller
    ), share AS MATERIALIZED (
        SELECT caller, coalesce(running.jobs, 0) AS jobs, coalesce(own.free, :each_caller) AS free,
               own.caller IS NULL AS new, (
            SELECT max(started_at) FROM transcription WHERE caller = waiting.caller
        ) AS last
        FROM (SELECT DISTINCT caller FROM lane) AS waiting
        LEFT JOIN running USING (caller)
        LEFT JOIN unnest(:callers, :free_of_callers) AS own(caller, free) USING (caller)
    ), candidate AS (
        SELECT waiting.id, waiting.host, lane.priority, share.caller, share.free, share.last, waiting.run_at,
               share.jobs + waiting.place AS load, share.new AND waiting.place = 1 AS welcome
        FROM lane JOIN share USING (caller) CROSS JOIN LATERAL (
            SELECT id, {host} AS host, run_at, row_number() OVER (ORDER BY run_at, id) AS place FROM transcription
            WHERE status = 'pending' AND {recording} AND priority = lane.priority AND caller = lane.caller
                AND run_at <= now() AND crashes < :last_chance AND {served}
                AND (share.new OR NOT {host} = ANY(:full_hosts))
            ORDER BY run_at, id LIMIT :slots + :contended / (SELECT count(*) FROM lane)
        ) AS waiting
        WHERE share.free > 0
    ), at_host AS (
        SELECT candidate.*, coalesce(of_host.free, :each_host) AS host_free,
               NOT welcome AND row_number() OVER (
                   PARTITION BY host ORDER BY priority, load, last NULLS FIRST, run_at, id
               ) > coalesce(of_host.free, :each_host) AS beyond_host
        FROM candidate LEFT JOIN unnest(:hosts, :free_of_hosts) AS of_host(host, free) USING (host)
    ), ranked AS (
        SELECT at_host.*, beyond_host OR row_number() OVER (
            PARTITION BY caller ORDER BY beyond_host, priority, run_at, id
        ) > free AS beyond
        FROM at_host
        ORDER BY beyond, priority, load, last NULLS FIRST, run_at, id LIMIT :slots + :contended
    ), locked AS MATERIALIZED (
        SELECT ranked.* FROM ranked JOIN transcription ON transcription.id = ranked.id
        WHERE transcription.status = 'pending' AND transcription.run_at <= now()
        ORDER BY beyond, ranked.priority, load, last NULLS FIRST, ranked.run_at, ranked.id
        LIMIT :slots
        FOR UPDATE OF transcription SKIP LOCKED
    ), claimable AS MATERIALIZED (
        SELECT id FROM (
            SELECT id, free, host_free, welcome,
                   row_number() OVER (PARTITION BY caller ORDER BY beyond, priority, run_at, id) AS of_caller,
                   row_number() OVER (
                       PARTITION BY host ORDER BY beyond, priority, load, last NULLS FIRST, run_at, id
                   ) AS of_host
            FROM locked
        ) AS taken
        WHERE of_caller <= free AND (welcome OR of_host <= host_free)
    )
"""
_ONE_ON_ITS_LAST_CHANCE = """
    WITH claimable AS MATERIALIZED (
        SELECT id FROM transcription
        WHERE status = 'pending' AND {recording} AND run_at <= now() AND crashes >= :last_chance
            AND {served} AND {go_on}
        ORDER BY priority, run_at, id
        LIMIT 1
        FOR UPDATE SKIP LOCKED
    )
"""


# Finds a job of another key that would get the place of a running job, if the running job returned to the queue.
# That key must have capacity for it, and the running job's own key must not have a more urgent job that would get the
# place. Otherwise the worker would give jobs back again and again without an end.
_OF_ANOTHER_KEY = """
    SELECT priority, caller FROM transcription
    WHERE status = 'pending' AND {recording} AND caller <> ALL(:full_callers) {more_urgent}
        AND (caller <> ALL(:callers) OR NOT {host} = ANY(:full_hosts))
        AND run_at <= now() AND crashes < :last_chance AND {served} AND {go_on}
        AND priority <= coalesce((
            SELECT min(urgency) FROM generate_series(0, 9) AS urgency WHERE EXISTS (
                SELECT FROM transcription
                WHERE status = 'pending' AND {recording} AND priority = urgency AND caller = :own_caller
                    AND run_at <= now() AND crashes < :last_chance AND {served}
            )
        ), 9)
    ORDER BY priority, caller LIMIT 1
"""


@dataclass(frozen=True)
class Claims:
    """The statements that claim from one of the two queues, and those that look for waiting jobs of other keys."""

    fair: TextClause
    one_on_its_last_chance: TextClause
    more_urgent: TextClause
    of_another_key: TextClause

    def filling(self, capacity: Capacity, **lease: object) -> TextClause:
        """The statement that fills `capacity`."""
        return self.fair.bindparams(
            slots=capacity.places,
            each_caller=capacity.most_of_a_caller,
            each_host=capacity.most_of_a_host,
            callers=list(capacity.of_caller),
            free_of_callers=list(capacity.of_caller.values()),
            hosts=list(capacity.of_host),
            free_of_hosts=list(capacity.of_host.values()),
            full_hosts=_full(capacity.of_host),
            models=_models(capacity),
            **lease,
        )

    def one_more(self, capacity: Capacity, **lease: object) -> TextClause:
        """The statement that claims one job on its last chance."""
        return self.one_on_its_last_chance.bindparams(models=_models(capacity), **lease)

    def waiting_for_place_of(self, statement: TextClause, caller: str, capacity: Capacity) -> TextClause:
        """The statement that looks for a job of another key than `caller` which would get the place of its job."""
        return statement.bindparams(
            own_caller=caller,
            full_callers=[caller, *_full(capacity.of_caller)],
            callers=list(capacity.of_caller),
            full_hosts=_full(capacity.of_host),
            models=_models(capacity),
        )


def _models(capacity: Capacity) -> list[str] | None:
    return None if capacity.models is None else list(capacity.models)


def _full(names: Mapping[str, int]) -> list[str]:
    return [name for name, left in names.items() if left == 0]


def _claims(recording: str, host: str) -> Claims:
    numbers = [bindparam(name, type_=Integer, literal_execute=True) for name in ("slots", "each_caller", "each_host")]
    texts = [bindparam(name, type_=ARRAY(Text)) for name in ("callers", "hosts", "full_hosts", "models")]
    counts = [bindparam(name, type_=ARRAY(Integer)) for name in ("free_of_callers", "free_of_hosts")]
    fair = text(_filled_in(_FAIR, recording, host=host) + _TAKE).bindparams(
        *numbers, *texts, *counts, bindparam("contended", CONTENDED, type_=Integer, literal_execute=True), LAST_CHANCE
    )
    return Claims(
        fair,
        text(_filled_in(_ONE_ON_ITS_LAST_CHANCE, recording) + _TAKE).bindparams(
            LAST_CHANCE, bindparam("models", type_=ARRAY(Text))
        ),
        _of_another_key(recording, host, "AND priority < :priority"),
        _of_another_key(recording, host, ""),
    )


def _of_another_key(recording: str, host: str, more_urgent: str) -> TextClause:
    names = [bindparam(name, type_=ARRAY(Text)) for name in ("full_callers", "callers", "full_hosts", "models")]
    statement = text(_filled_in(_OF_ANOTHER_KEY, recording, host=host, more_urgent=more_urgent))
    return statement.bindparams(*names, LAST_CHANCE)


def _filled_in(statement: str, recording: str, **parts: str) -> str:
    return statement.format(recording=recording, served=_SERVED, go_on=CLAIMS_GO_ON, **parts)


STORED = _claims("audio_key IS NOT NULL", "id::text")  # no host is asked, so none is limited
TO_FETCH = _claims("audio_key IS NULL", "coalesce(source_host, '')")
