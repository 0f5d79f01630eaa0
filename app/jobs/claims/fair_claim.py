"""The SQL text of fair claims: among API keys, and among tenants and then their keys. `claiming` gives it its values.

The first is for an installation with one tenant. The second would claim the same jobs there, and need more time.

A tenant lane holds the waiting jobs of one priority and one tenant, and a lane those of one priority and one key. Both
are found by steps through an index from one to the next, so the cost does not depend on how many jobs wait. Lanes are
only looked up in the first tenant lanes, so the cost depends little on how many tenants wait.
"""

# Among 10 priorities, an installation with one tenant has at most 10 tenant lanes, so all of them are reached there.
MORE_TENANT_LANES = 9

# A claim looks at this many more jobs than it takes, because other claims may hold the first ones locked.
CONTENDED = 64

# `lane` steps through the index from one (priority, caller) to the next, so its cost does not depend on how many wait.
# Numbers are written into the text (`literal_execute`), because PostgreSQL takes an unknown limit for a tenth of the
# table and scans it.
# `locked` checks each row again when it locks it, because another claim may have taken it since it was read.
# Candidates beyond the share of their key or host come last. They replace candidates that other claims have locked, and
# `claimable` drops them if they would exceed the share. The first job of a key without running jobs may go to any host,
# because it should not wait for the jobs of other keys that hold the host's share.
AMONG_KEYS = """
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

# `reached` goes through the tenant lanes in the order in which they are served, and collects their keys, until enough
# of them have a job that may be claimed: one for each slot, because each of them could be served first, and some more.
_LANES = """
    WITH RECURSIVE tenant_lane AS (
        (SELECT priority, tenant FROM transcription WHERE status = 'pending' AND {recording} AND {go_on}
         ORDER BY priority, tenant LIMIT 1)
        UNION ALL
        SELECT following.priority, following.tenant FROM tenant_lane CROSS JOIN LATERAL (
            SELECT priority, tenant FROM transcription
            WHERE status = 'pending' AND {recording}
                AND (priority, tenant) > (tenant_lane.priority, tenant_lane.tenant)
            ORDER BY priority, tenant LIMIT 1
        ) AS following
    ), running AS MATERIALIZED (
        SELECT tenant, caller, count(*) AS jobs FROM transcription WHERE status = 'in_progress' GROUP BY tenant, caller
    ), tenant_share AS MATERIALIZED (
        SELECT tenant, coalesce(own.free, :each_tenant) AS free,
               coalesce((SELECT sum(jobs) FROM running WHERE running.tenant = waiting.tenant), 0) AS jobs,
               (SELECT max(started_at) FROM transcription WHERE tenant = waiting.tenant) AS last
        FROM (SELECT DISTINCT tenant FROM tenant_lane) AS waiting
        LEFT JOIN unnest(:tenants, :free_of_tenants) AS own(tenant, free) USING (tenant)
    ), in_order AS MATERIALIZED (
        SELECT priority, tenant, free >= row_number() OVER (PARTITION BY tenant ORDER BY priority) AS counts,
               row_number() OVER (ORDER BY priority, jobs, last NULLS FIRST, tenant) AS place
        FROM tenant_lane JOIN tenant_share USING (tenant) WHERE free > 0
    ), reached AS (
        SELECT 0::bigint AS place, 0 AS enough, 0::smallint AS priority, NULL::text AS tenant, NULL::text[] AS callers
        UNION ALL
        SELECT in_order.place, enough + (counts AND EXISTS (
            SELECT FROM unnest(lanes.callers) AS own(caller) WHERE own.caller <> ALL(:full_callers) AND EXISTS (
                SELECT FROM transcription
                WHERE status = 'pending' AND {recording} AND priority = in_order.priority AND caller = own.caller
                    AND run_at <= now() AND crashes < :last_chance AND {served}
                    AND (own.caller <> ALL(:callers) OR NOT {host} = ANY(:full_hosts))
            )
        ))::int, in_order.priority, in_order.tenant, lanes.callers
        FROM reached JOIN in_order ON in_order.place = reached.place + 1 CROSS JOIN LATERAL (
            WITH RECURSIVE lane AS (
                (SELECT caller FROM transcription
                 WHERE status = 'pending' AND {recording} AND priority = in_order.priority AND tenant = in_order.tenant
                 ORDER BY caller LIMIT 1)
                UNION ALL
                SELECT following.caller FROM lane CROSS JOIN LATERAL (
                    SELECT caller FROM transcription
                    WHERE status = 'pending' AND {recording} AND priority = in_order.priority
                        AND tenant = in_order.tenant AND caller > lane.caller
                    ORDER BY caller LIMIT 1
                ) AS following
            )
            SELECT array_agg(caller) AS callers FROM lane
        ) AS lanes
        WHERE enough < :slots + :more_tenant_lanes
    ), lane AS MATERIALIZED (
        SELECT priority, tenant, own.caller FROM reached CROSS JOIN unnest(callers) AS own(caller)
    )
"""

# The shares of tenants, keys and hosts are kept as above.
# The `load` of a job is the number of running jobs of its key and of those that are claimed before it, and so is its
# `tenant_load` for its tenant. Jobs beyond a share count last.
_JOBS = """
    , share AS MATERIALIZED (
        SELECT tenant, caller, coalesce(running.jobs, 0) AS jobs, own.caller IS NULL AS new,
               coalesce(own.free, CASE WHEN tenant = ANY(:undivided) THEN :each_tenant ELSE :each_caller END) AS free,
               (SELECT max(started_at) FROM transcription WHERE caller = waiting.caller) AS last
        FROM (SELECT DISTINCT tenant, caller FROM lane) AS waiting
        LEFT JOIN running USING (tenant, caller)
        LEFT JOIN unnest(:callers, :free_of_callers) AS own(caller, free) USING (caller)
    ), candidate AS (
        SELECT waiting.id, waiting.host, lane.priority, share.tenant, share.caller, share.free, share.last,
               waiting.run_at, share.jobs + waiting.place AS load, share.new AND waiting.place = 1 AS welcome
        FROM lane JOIN share USING (tenant, caller) CROSS JOIN LATERAL (
            SELECT id, {host} AS host, run_at, row_number() OVER (ORDER BY run_at, id) AS place FROM transcription
            WHERE status = 'pending' AND {recording} AND priority = lane.priority AND caller = lane.caller
                AND run_at <= now() AND crashes < :last_chance AND {served}
                AND (share.new OR NOT {host} = ANY(:full_hosts))
            ORDER BY run_at, id LIMIT :slots + :contended / (SELECT count(*) FROM lane)
        ) AS waiting
        WHERE share.free > 0
    ), of_tenants AS (
        SELECT candidate.*, tenant_share.free AS tenant_free, tenant_share.last AS tenant_last,
               tenant_share.jobs AS tenant_jobs, tenant_share.jobs + row_number() OVER (
                   PARTITION BY priority, tenant ORDER BY load, candidate.last NULLS FIRST, run_at, id
               ) AS tenant_load
        FROM candidate JOIN tenant_share USING (tenant)
    ), at_host AS (
        SELECT of_tenants.*, coalesce(of_host.free, :each_host) AS host_free,
               NOT welcome AND row_number() OVER (
                   PARTITION BY host
                   ORDER BY priority, tenant_load, tenant_last NULLS FIRST, load, last NULLS FIRST, run_at, id
               ) > coalesce(of_host.free, :each_host) AS beyond_host
        FROM of_tenants LEFT JOIN unnest(:hosts, :free_of_hosts) AS of_host(host, free) USING (host)
    ), of_callers AS (
        SELECT at_host.*, beyond_host OR row_number() OVER (
            PARTITION BY caller ORDER BY beyond_host, priority, run_at, id
        ) > free AS beyond_caller
        FROM at_host
    ), ranked AS (
        SELECT id, host, priority, tenant, caller, free, last, run_at, load, welcome, tenant_free, tenant_last,
               host_free,
               beyond_caller OR tenant_free < :slots AND row_number() OVER (
                   PARTITION BY tenant ORDER BY beyond_caller, priority, load, last NULLS FIRST, run_at, id
               ) > tenant_free AS beyond,
               tenant_jobs + row_number() OVER (
                   PARTITION BY priority, tenant ORDER BY beyond_caller, load, last NULLS FIRST, run_at, id
               ) AS tenant_load
        FROM of_callers
        ORDER BY beyond, priority, tenant_load, tenant_last NULLS FIRST, load, last NULLS FIRST, run_at, id
        LIMIT :slots + :contended
    ), locked AS MATERIALIZED (
        SELECT ranked.* FROM ranked JOIN transcription ON transcription.id = ranked.id
        WHERE transcription.status = 'pending' AND transcription.run_at <= now()
        ORDER BY beyond, ranked.priority, tenant_load, tenant_last NULLS FIRST, load, last NULLS FIRST, ranked.run_at,
            ranked.id
        LIMIT :slots
        FOR UPDATE OF transcription SKIP LOCKED
    ), claimable AS MATERIALIZED (
        SELECT id FROM (
            SELECT id, free, host_free, tenant_free, welcome,
                   row_number() OVER (PARTITION BY caller ORDER BY beyond, priority, run_at, id) AS of_caller,
                   row_number() OVER (
                       PARTITION BY tenant ORDER BY beyond, priority, load, last NULLS FIRST, run_at, id
                   ) AS of_tenant,
                   row_number() OVER (
                       PARTITION BY host ORDER BY beyond, priority, tenant_load, tenant_last NULLS FIRST, load,
                           last NULLS FIRST, run_at, id
                   ) AS of_host
            FROM locked
        ) AS taken
        WHERE of_caller <= free AND of_tenant <= tenant_free AND (welcome OR of_host <= host_free)
    )
"""

AMONG_TENANTS = _LANES + _JOBS
