"""Which waiting jobs come next, as statements. `queue.claim` runs them; nothing else may.

Jobs whose recording is in the store and those whose recording is still to be fetched stand in two lines, each with an
index of its own, so that neither is read in search of the other.

The most urgent priority goes first. Within it API keys share: the one with the fewest running jobs is next, then the
one that was served longest ago, and each key's own jobs go by `run_at`, id. A job that goes back after a crash or a
deploy keeps its `run_at`: it is begun again before newcomers of its priority and key are begun at all. A job on its
last chance, which another crash would end, is claimed by a statement of its own, one at a time for a worker: else
those that only ran beside a recording that kills its worker would end with it.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from sqlalchemy import Integer, Text, TextClause, bindparam, text
from sqlalchemy.dialects.postgresql import ARRAY

from app.jobs.capacity import Room
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
# `locked` looks again at each row that it locks, as another claim may have taken it since the candidates were read.
# Candidates beyond the share of their key or host come last. They replace those that other claims have locked, and
# `claimable` leaves them where they would exceed the share. The first job of a key that has none running is welcome at
# any host: that other keys' jobs hold the host's share is no reason to keep it waiting.
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
        SELECT caller, coalesce(running.jobs, 0) AS jobs, coalesce(own.room, :each_caller) AS room,
               own.caller IS NULL AS new, (
            SELECT max(started_at) FROM transcription WHERE caller = waiting.caller
        ) AS last
        FROM (SELECT DISTINCT caller FROM line) AS waiting
        LEFT JOIN running USING (caller)
        LEFT JOIN unnest(:callers, :rooms) AS own(caller, room) USING (caller)
    ), candidate AS (
        SELECT waiting.id, waiting.host, line.priority, share.caller, share.room, share.last, waiting.run_at,
               share.jobs + waiting.place AS turn, share.new AND waiting.place = 1 AS welcome
        FROM line JOIN share USING (caller) CROSS JOIN LATERAL (
            SELECT id, {host} AS host, run_at, row_number() OVER (ORDER BY run_at, id) AS place FROM transcription
            WHERE status = 'pending' AND {recording} AND priority = line.priority AND caller = line.caller
                AND run_at <= now() AND crashes < :last_chance AND (share.new OR NOT {host} = ANY(:full_hosts))
            ORDER BY run_at, id LIMIT :slots + :contended / (SELECT count(*) FROM line)
        ) AS waiting
        WHERE share.room > 0
    ), at_host AS (
        SELECT candidate.*, coalesce(of_host.room, :each_host) AS host_room,
               NOT welcome AND row_number() OVER (
                   PARTITION BY host ORDER BY priority, turn, last NULLS FIRST, run_at, id
               ) > coalesce(of_host.room, :each_host) AS beyond_host
        FROM candidate LEFT JOIN unnest(:hosts, :host_rooms) AS of_host(host, room) USING (host)
    ), ranked AS (
        SELECT at_host.*, beyond_host OR row_number() OVER (
            PARTITION BY caller ORDER BY beyond_host, priority, run_at, id
        ) > room AS beyond
        FROM at_host
        ORDER BY beyond, priority, turn, last NULLS FIRST, run_at, id LIMIT :slots + :contended
    ), locked AS MATERIALIZED (
        SELECT ranked.* FROM ranked JOIN transcription ON transcription.id = ranked.id
        WHERE transcription.status = 'pending' AND transcription.run_at <= now()
        ORDER BY beyond, ranked.priority, turn, last NULLS FIRST, ranked.run_at, ranked.id
        LIMIT :slots
        FOR UPDATE OF transcription SKIP LOCKED
    ), claimable AS MATERIALIZED (
        SELECT id FROM (
            SELECT id, room, host_room, welcome,
                   row_number() OVER (PARTITION BY caller ORDER BY beyond, priority, run_at, id) AS of_caller,
                   row_number() OVER (
                       PARTITION BY host ORDER BY beyond, priority, turn, last NULLS FIRST, run_at, id
                   ) AS of_host
            FROM locked
        ) AS taken
        WHERE of_caller <= room AND (welcome OR of_host <= host_room)
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


# For a worker without a free place: a job of another key for which it may give a running one back. The key must have
# room for it, or the running job would be claimed again, and given back again, without an end.
_OF_ANOTHER_KEY = """
    SELECT priority, caller FROM transcription
    WHERE status = 'pending' AND {recording} AND caller <> ALL(:full_callers) {more_urgent}
        AND (caller <> ALL(:callers) OR NOT {host} = ANY(:full_hosts))
        AND run_at <= now() AND crashes < :last_chance
    ORDER BY priority, caller LIMIT 1
"""


@dataclass(frozen=True)
class Line:
    """The statements that claim from one of the two queues, and those that look at who waits in it."""

    in_turn: TextClause
    one_on_its_last_chance: TextClause
    more_urgent: TextClause
    of_another_key: TextClause

    def in_turn_for(self, room: Room, **lease: object) -> TextClause:
        """The statement that fills `room`."""
        return self.in_turn.bindparams(
            slots=room.places,
            each_caller=room.places if room.each_caller is None else room.each_caller,
            each_host=room.places if room.each_host is None else room.each_host,
            callers=list(room.of_caller),
            rooms=list(room.of_caller.values()),
            hosts=list(room.of_host),
            host_rooms=list(room.of_host.values()),
            full_hosts=_without_room(room.of_host),
            **lease,
        )

    def who_would_get_the_place_of(self, statement: TextClause, caller: str, room: Room) -> TextClause:
        """The statement that looks for a job of a key other than `caller` that has room for it."""
        return statement.bindparams(
            full_callers=[caller, *_without_room(room.of_caller)],
            callers=list(room.of_caller),
            full_hosts=_without_room(room.of_host),
        )


def _without_room(names: Mapping[str, int]) -> list[str]:
    return [name for name, left in names.items() if left == 0]


def _line(recording: str, host: str) -> Line:
    numbers = [bindparam(name, type_=Integer, literal_execute=True) for name in ("slots", "each_caller", "each_host")]
    texts = [bindparam(name, type_=ARRAY(Text)) for name in ("callers", "hosts", "full_hosts")]
    rooms = [bindparam(name, type_=ARRAY(Integer)) for name in ("rooms", "host_rooms")]
    in_turn = text(_IN_TURN.format(recording=recording, host=host) + _TAKE).bindparams(
        *numbers, *texts, *rooms, bindparam("contended", CONTENDED, type_=Integer, literal_execute=True), LAST_CHANCE
    )
    return Line(
        in_turn,
        text(_ONE_ON_ITS_LAST_CHANCE.format(recording=recording) + _TAKE).bindparams(LAST_CHANCE),
        _of_another_key(recording, host, "AND priority < :priority"),
        _of_another_key(recording, host, ""),
    )


def _of_another_key(recording: str, host: str, more_urgent: str) -> TextClause:
    names = [bindparam(name, type_=ARRAY(Text)) for name in ("full_callers", "callers", "full_hosts")]
    statement = text(_OF_ANOTHER_KEY.format(recording=recording, host=host, more_urgent=more_urgent))
    return statement.bindparams(*names, LAST_CHANCE)


STORED = _line("audio_key IS NOT NULL", "id::text")  # there is no host to spare
TO_FETCH = _line("audio_key IS NULL", "coalesce(source_host, '')")
