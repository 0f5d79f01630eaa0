"""The SQL of claims. Only `queue` runs it.

There are two queues: jobs whose recording is in the store, and jobs whose recording must be fetched. Each has its own
index, so that a claim from one does not read through the other.

The most urgent priority goes first. Within a priority, the tenant with the fewest running jobs is next, then the one
that was served longest ago. The same holds for the API keys of the tenant. The jobs of one key go by `run_at` and id. A
job that returns after a crash or a deploy keeps its `run_at`, so that it starts again before newer jobs of its priority
and key.

A job on its last chance would fail after one more crash. A separate statement claims such jobs, one at a time for each
worker. Otherwise several could fail because they ran beside one recording that kills its worker.

While an operator has paused the claims, no statement finds a job.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Self
from uuid import UUID

from sqlalchemy import BindParameter, Integer, Text, TextClause, bindparam, text
from sqlalchemy.dialects.postgresql import ARRAY

from app.access.callers import tenant_of
from app.control.pauses import CLAIMS_GO_ON
from app.jobs.claims.capacity import Capacity
from app.jobs.claims.fair_claim import AMONG_KEYS, AMONG_TENANTS, CONTENDED, MORE_TENANT_LANES
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


LAST_CHANCE = bindparam("last_chance", MAX_CRASHES - 1, type_=Integer, literal_execute=True)

# A job whose model this worker does not serve stays for other workers. CASE keeps PostgreSQL from a guess that few rows
# match, because it would then read all rows of a key and sort them instead of stopping at the first ones.
_SERVED = "CASE WHEN :models IS NULL OR options ->> 'model' = ANY(:models) THEN true ELSE false END"

# A trigger keeps jobs that redact from workers that do not set this, because older ones would not redact.
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
    FROM claimable, set_config('callscribe.redacts', 'on', true) WHERE transcription.id = claimable.id
    RETURNING transcription.*
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
# That key and its tenant must have capacity for it, and the running job's own key must not have a more urgent job that
# would get the place. Otherwise the worker would give jobs back again and again without an end.
_OF_ANOTHER_KEY = """
    SELECT priority, caller FROM transcription
    WHERE status = 'pending' AND {recording} AND caller <> ALL(:full_callers) {more_urgent}
        AND tenant <> ALL(:full_tenants) AND (:only_tenant IS NULL OR tenant = :only_tenant)
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

    among_keys: TextClause
    among_tenants: TextClause
    one_on_its_last_chance: TextClause
    more_urgent: TextClause
    of_another_key: TextClause

    def filling(self, capacity: Capacity, **lease: object) -> TextClause:
        """The statement that fills `capacity`."""
        given = {
            "slots": capacity.places,
            "each_caller": capacity.most_of_a_caller,
            "each_host": capacity.most_of_a_host,
            "callers": list(capacity.of_caller),
            "free_of_callers": list(capacity.of_caller.values()),
            "hosts": list(capacity.of_host),
            "free_of_hosts": list(capacity.of_host.values()),
            "full_hosts": _full(capacity.of_host),
            "models": _models(capacity),
        }
        if capacity.each_tenant is None:
            return self.among_keys.bindparams(**given, **lease)
        return self.among_tenants.bindparams(
            each_tenant=capacity.each_tenant,
            tenants=list(capacity.of_tenant),
            free_of_tenants=list(capacity.of_tenant.values()),
            undivided=list(capacity.undivided),
            full_callers=_full(capacity.of_caller),
            **given,
            **lease,
        )

    def one_more(self, capacity: Capacity, **lease: object) -> TextClause:
        """The statement that claims one job on its last chance."""
        return self.one_on_its_last_chance.bindparams(models=_models(capacity), **lease)

    def waiting_for_place_of(
        self, statement: TextClause, caller: str, capacity: Capacity, only_tenant: str | None = None
    ) -> TextClause:
        """The statement that looks for a job of another key than `caller` which would get the place of its job.

        If `only_tenant` is named, only jobs of this tenant would get it.
        """
        return statement.bindparams(
            own_caller=caller,
            only_tenant=only_tenant,
            full_tenants=[tenant for tenant in _full(capacity.of_tenant) if tenant != tenant_of(caller)],
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
    numbers = _numbers("slots", "each_caller", "each_host")
    texts = _arrays(Text, "callers", "hosts", "full_hosts", "models")
    counts = _arrays(Integer, "free_of_callers", "free_of_hosts")
    constants = [*numbers, *texts, *counts, *_numbers(contended=CONTENDED), LAST_CHANCE]

    def taking(claimable: str) -> TextClause:
        return text(_filled_in(claimable, recording, host=host) + _TAKE)

    return Claims(
        taking(AMONG_KEYS).bindparams(*constants),
        taking(AMONG_TENANTS).bindparams(
            *constants,
            *_numbers("each_tenant", more_tenant_lanes=MORE_TENANT_LANES),
            *_arrays(Text, "tenants", "undivided", "full_callers"),
            *_arrays(Integer, "free_of_tenants"),
        ),
        taking(_ONE_ON_ITS_LAST_CHANCE).bindparams(LAST_CHANCE, *_arrays(Text, "models")),
        _of_another_key(recording, host, "AND priority < :priority"),
        _of_another_key(recording, host, ""),
    )


def _numbers(*names: str, **constants: int) -> list[BindParameter[Any]]:
    """Parameters whose values are written into the text."""
    named = [bindparam(name, type_=Integer, literal_execute=True) for name in names]
    return named + [bindparam(name, value, type_=Integer, literal_execute=True) for name, value in constants.items()]


def _of_another_key(recording: str, host: str, more_urgent: str) -> TextClause:
    texts = _arrays(Text, "full_tenants", "full_callers", "callers", "full_hosts", "models")
    statement = text(_filled_in(_OF_ANOTHER_KEY, recording, host=host, more_urgent=more_urgent))
    return statement.bindparams(*texts, bindparam("only_tenant", type_=Text), LAST_CHANCE)


def _arrays(kind: type[Text | Integer], *names: str) -> list[BindParameter[Any]]:
    return [bindparam(name, type_=ARRAY(kind)) for name in names]


def _filled_in(statement: str, recording: str, **parts: str) -> str:
    return statement.format(recording=recording, served=_SERVED, go_on=CLAIMS_GO_ON, **parts)


STORED = _claims("audio_key IS NOT NULL", "id::text")  # no host is asked, so none is limited
TO_FETCH = _claims("audio_key IS NULL", "coalesce(source_host, '')")
