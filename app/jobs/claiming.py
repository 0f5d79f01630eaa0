"""Which waiting jobs come next, as statements. `queue.claim` runs them; nothing else may.

Jobs whose recording is in the store and those whose recording is still to be fetched stand in two lines, each with an
index of its own, so that neither is read in search of the other.

The most urgent priority goes first. Within it API keys share: the one with the fewest running jobs is next, then the
one that was served longest ago, and each key's own jobs go by `run_at`, id. A job that goes back after a crash or a
deploy keeps its `run_at`: it is begun again before newcomers of its priority and key are begun at all. A job on its
last chance, which another crash would end, is claimed by a statement of its own, one at a time for a worker: else
those that only ran beside a recording that kills its worker would end with it.
"""

from dataclasses import dataclass

from sqlalchemy import Integer, TextClause, bindparam, text

from app.jobs.lifecycle import MAX_CRASHES

# How many of the first jobs others may be claiming at this moment, before a claim finds none.
CONTENDED = 64

LAST_CHANCE = bindparam("last_chance", MAX_CRASHES - 1, type_=Integer, literal_execute=True)

_TAKE = """
    UPDATE transcription SET
        status = 'in_progress',
        lease_token = gen_random_uuid(),
        leased_by = :worker,
        lease_until = now() + :lease,
        attempts = attempts + 1,
        progress = 0,
        started_at = coalesce(started_at, now())
    FROM claimable WHERE transcription.id = claimable.id
    RETURNING transcription.*
"""

# `line` steps through the index from one (priority, caller) to the next, so its cost does not depend on how many wait.
# Numbers stand in the text (`literal_execute`): an unknown limit counts as a tenth of the table, which is then scanned.
# `claimable` looks again at each row that it locks, as another claim may have taken it since the candidates were read.
_IN_TURN = """
    WITH RECURSIVE line AS (
        (SELECT priority, caller FROM transcription WHERE status = 'pending' AND {recording}
         ORDER BY priority, caller LIMIT 1)
        UNION ALL
        SELECT following.priority, following.caller FROM line CROSS JOIN LATERAL (
            SELECT priority, caller FROM transcription
            WHERE status = 'pending' AND {recording} AND (priority, caller) > (line.priority, line.caller)
            ORDER BY priority, caller LIMIT 1
        ) AS following
    ), running AS MATERIALIZED (
        SELECT caller, count(*) AS jobs FROM transcription WHERE status = 'in_progress' GROUP BY caller
    ), share AS MATERIALIZED (
        SELECT caller, coalesce(running.jobs, 0) AS jobs, (
            SELECT max(started_at) FROM transcription WHERE caller = waiting.caller
        ) AS last
        FROM (SELECT DISTINCT caller FROM line) AS waiting LEFT JOIN running USING (caller)
    ), candidate AS (
        SELECT waiting.id, line.priority, share.jobs + waiting.place AS turn, share.last, waiting.run_at
        FROM line JOIN share USING (caller) CROSS JOIN LATERAL (
            SELECT id, run_at, row_number() OVER (ORDER BY run_at, id) AS place FROM transcription
            WHERE status = 'pending' AND {recording} AND priority = line.priority AND caller = line.caller
                AND run_at <= now() AND crashes < :last_chance
            ORDER BY run_at, id LIMIT :slots + :contended / (SELECT count(*) FROM line)
        ) AS waiting
        ORDER BY priority, turn, last NULLS FIRST, run_at, id LIMIT :slots + :contended
    ), claimable AS MATERIALIZED (
        SELECT transcription.id FROM candidate JOIN transcription ON transcription.id = candidate.id
        WHERE transcription.status = 'pending' AND transcription.run_at <= now()
        ORDER BY candidate.priority, turn, last NULLS FIRST, candidate.run_at, id
        LIMIT :slots
        FOR UPDATE OF transcription SKIP LOCKED
    )
"""
_ONE_ON_ITS_LAST_CHANCE = """
    WITH claimable AS MATERIALIZED (
        SELECT id FROM transcription
        WHERE status = 'pending' AND {recording} AND run_at <= now() AND crashes >= :last_chance
        ORDER BY priority, run_at, id
        LIMIT 1
        FOR UPDATE SKIP LOCKED
    )
"""


@dataclass(frozen=True)
class Line:
    """The statements that claim from one of the two lines."""

    in_turn: TextClause
    one_on_its_last_chance: TextClause


def _line(recording: str) -> Line:
    in_turn = text(_IN_TURN.format(recording=recording) + _TAKE).bindparams(
        bindparam("slots", type_=Integer, literal_execute=True),
        bindparam("contended", CONTENDED, type_=Integer, literal_execute=True),
        LAST_CHANCE,
    )
    return Line(in_turn, text(_ONE_ON_ITS_LAST_CHANCE.format(recording=recording) + _TAKE).bindparams(LAST_CHANCE))


STORED = _line("audio_key IS NOT NULL")
TO_FETCH = _line("audio_key IS NULL")
