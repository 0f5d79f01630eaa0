"""Adds the view `call_transtxt` for programs that poll the database, and the table `polled_job` that makes polls fast.

Triggers keep `polled_job`, so that processes of an older version, which do not know it, keep it too. It is filled
before any table is locked. While `transcription` and `delivery` are locked, only what has changed meanwhile is written.
"""

import sqlalchemy as sa

from alembic import op

revision = "20261206"
down_revision = "20261205"

SHOWN_STATUS = "CASE {job}.status WHEN 'cancelled' THEN 'failed' ELSE {job}.status END"

# The rule is that of app/deliveries/notify_status.py.
NOTIFY_STATE = """
    CASE WHEN count(*) FILTER (WHERE attempts > 0 OR lease_token IS NOT NULL) = 0 THEN 'not_notified'
         WHEN count(*) FILTER (WHERE delivery.status = 'pending') > 0 THEN 'notifying'
         WHEN count(*) FILTER (WHERE delivery.status = 'failed') > 0 THEN 'notification_failed'
         ELSE 'notified' END AS notify_status,
    CASE WHEN bool_and(delivery.status = 'delivered') THEN max(finished_at) END AS notified_at
"""

FILL = f"""
    INSERT INTO polled_job (transcription_id, status, filename, notify_status, notified_at)
    SELECT job.id, {SHOWN_STATUS.format(job="job")}, job.filename, coalesce(counted.notify_status, 'not_notified'),
           counted.notified_at
    FROM transcription AS job LEFT JOIN (
        SELECT event.transcription_id, {NOTIFY_STATE}
        FROM event JOIN delivery ON delivery.event_id = event.id
        WHERE style NOT IN ('s3', 'folder') GROUP BY event.transcription_id
    ) AS counted ON counted.transcription_id = job.id
    ORDER BY job.created_at, job.id
"""
ADD_NEW = f"""
    INSERT INTO polled_job (transcription_id, status, filename)
    SELECT id, {SHOWN_STATUS.format(job="job")}, filename FROM transcription AS job
    WHERE NOT EXISTS (SELECT FROM polled_job WHERE transcription_id = job.id) ORDER BY created_at, id
"""

# A transaction that began before this one may have ended after the tables were read. None takes as long as a minute.
LATELY = "now() - interval '1 minute'"
CATCH_UP = (
    ADD_NEW,
    "DELETE FROM polled_job WHERE NOT EXISTS (SELECT FROM transcription WHERE id = transcription_id)",
    f"""
    UPDATE polled_job SET status = {SHOWN_STATUS.format(job="job")}, filename = job.filename,
        notify_status = counted.notify_status, notified_at = counted.notified_at
    FROM transcription AS job CROSS JOIN LATERAL (
        SELECT {NOTIFY_STATE} FROM event JOIN delivery ON delivery.event_id = event.id
        WHERE event.transcription_id = job.id AND style NOT IN ('s3', 'folder')
    ) AS counted
    WHERE polled_job.transcription_id = job.id AND job.id IN (
        SELECT id FROM transcription WHERE completed_at IS NULL OR completed_at >= {LATELY}
        UNION SELECT event.transcription_id FROM event JOIN delivery ON delivery.event_id = event.id
        WHERE delivery.status = 'pending' OR finished_at >= {LATELY}
    ) AND (polled_job.status, polled_job.filename, polled_job.notify_status, polled_job.notified_at)
        IS DISTINCT FROM ({SHOWN_STATUS.format(job="job")}, job.filename, counted.notify_status, counted.notified_at)
    """,
)

FOLLOW_JOB = f"""
    CREATE FUNCTION follow_job() RETURNS trigger LANGUAGE plpgsql AS $$
    DECLARE
        ended bigint;
    BEGIN
        IF TG_OP = 'INSERT' THEN
            INSERT INTO polled_job (transcription_id, status, filename)
            VALUES (NEW.id, {SHOWN_STATUS.format(job="NEW")}, NEW.filename);
        ELSE
            UPDATE polled_job SET status = {SHOWN_STATUS.format(job="NEW")}, filename = NEW.filename
            WHERE transcription_id = NEW.id RETURNING number INTO ended;
            IF NEW.completed_at IS NOT NULL AND OLD.completed_at IS NULL THEN
                PERFORM pg_notify('callscribe_ended', ended::text);
            END IF;
        END IF;
        RETURN NULL;
    END $$
"""

# The row is locked first. Otherwise two deliveries of a job that end together would not see each other, and the job
# would stay `notifying`.
FOLLOW_DELIVERY = f"""
    CREATE FUNCTION follow_delivery() RETURNS trigger LANGUAGE plpgsql AS $$
    DECLARE
        job uuid;
    BEGIN
        SELECT transcription_id INTO job FROM event WHERE id = NEW.event_id;
        PERFORM FROM polled_job WHERE transcription_id = job FOR NO KEY UPDATE;
        UPDATE polled_job SET notify_status = counted.notify_status, notified_at = counted.notified_at
        FROM (
            SELECT {NOTIFY_STATE} FROM delivery WHERE event_id = NEW.event_id AND style NOT IN ('s3', 'folder')
        ) AS counted WHERE transcription_id = job;
        RETURN NULL;
    END $$
"""

FORGET_JOB = """
    CREATE FUNCTION forget_job() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        DELETE FROM polled_job WHERE transcription_id = OLD.id;
        RETURN NULL;
    END $$
"""

# A heartbeat fires none of them. Of a delivery that is notified at the first attempt, the claim and the end do.
# `forget_job` waits for the commit: until then, senders that hold deliveries of this job may write the row.
TRIGGERS = (
    "CREATE TRIGGER follow_new_job AFTER INSERT ON transcription FOR EACH ROW EXECUTE FUNCTION follow_job()",
    """
    CREATE TRIGGER follow_job AFTER UPDATE OF status, filename ON transcription FOR EACH ROW
    WHEN ((OLD.status, OLD.filename) IS DISTINCT FROM (NEW.status, NEW.filename)) EXECUTE FUNCTION follow_job()
    """,
    """
    CREATE CONSTRAINT TRIGGER forget_job AFTER DELETE ON transcription DEFERRABLE INITIALLY DEFERRED
    FOR EACH ROW EXECUTE FUNCTION forget_job()
    """,
    """
    CREATE TRIGGER follow_tried_delivery AFTER INSERT ON delivery FOR EACH ROW
    WHEN (NEW.style NOT IN ('s3', 'folder') AND (NEW.attempts > 0 OR NEW.lease_token IS NOT NULL))
    EXECUTE FUNCTION follow_delivery()
    """,
    """
    CREATE TRIGGER follow_delivery AFTER UPDATE OF status, attempts, lease_token ON delivery FOR EACH ROW
    WHEN (NEW.style NOT IN ('s3', 'folder')
        AND (OLD.status, OLD.attempts > 0 OR OLD.lease_token IS NOT NULL)
        IS DISTINCT FROM (NEW.status, NEW.attempts > 0 OR NEW.lease_token IS NOT NULL))
    EXECUTE FUNCTION follow_delivery()
    """,
)

SPACE = r"[\t\n\v\f\r\u001c-\u0020\u0085\u00a0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000]+"
WITHOUT_SPACES = r"[\u0e00-\u0eff\u1000-\u109f\u2e80-\U0003ffff]"


def one_line(text: str) -> str:
    return f"btrim(regexp_replace({text}, '{SPACE}', ' ', 'g'), ' ')"


# PostgreSQL refuses to read a NUL in JSON, which a model may write, although rarely. A backslash that is escaped itself
# does not begin one.
WITHOUT_NUL = r"""
    CASE WHEN strpos(transcript.transcript, '\u0000') = 0 THEN transcript.transcript
         ELSE regexp_replace(transcript.transcript, '(?<!\\)((\\\\)*)\\u0000', '\1', 'g') END
"""

# The same text as that of the format `text` (app/transcripts/formats.py). A test compares both.
TEXT = f"""
    WITH whole AS MATERIALIZED (SELECT ({WITHOUT_NUL})::json AS result),
    segment AS (
        SELECT dialogue, position, speaker, text, start, "end",
               CASE WHEN dialogue THEN start END AS by_start, CASE WHEN dialogue THEN channel END AS by_channel,
               language NOT IN ('zh', 'ja', 'th', 'lo', 'my', 'yue') OR text !~ '{WITHOUT_SPACES}' AS has_spaces
        FROM whole
        CROSS JOIN LATERAL (SELECT json_array_length(result -> 'channels') > 1 AS dialogue) AS channels
        CROSS JOIN LATERAL ROWS FROM (json_to_recordset(result -> 'segments') AS (
            start double precision, "end" double precision, channel integer, speaker text, text text, language text
        )) WITH ORDINALITY AS segments (start, "end", channel, speaker, text, language, position)
    ),
    compared AS (
        SELECT *, (NOT dialogue OR lag(speaker) OVER by_time IS DISTINCT FROM speaker
                   OR start - lag("end") OVER by_time > 3) AS begins,
               CASE WHEN has_spaces OR lag(has_spaces) OVER by_time THEN ' ' ELSE '' END AS space
        FROM segment WINDOW by_time AS (ORDER BY by_start, by_channel, position)
    ),
    numbered AS (
        SELECT *, count(*) FILTER (WHERE begins) OVER (ORDER BY by_start, by_channel, position) AS turn,
               trunc(start)::bigint AS second
        FROM compared
    ),
    turn AS (
        SELECT turn, min(CASE WHEN begins AND dialogue THEN
                   '[' || CASE WHEN second >= 3600 THEN to_char(second / 3600, 'FM9900') || ':' ELSE '' END
                   || to_char(second / 60 % 60, 'FM00') || ':' || to_char(second % 60, 'FM00')
                   || '] ' || {one_line("speaker")} || ': ' ELSE '' END COLLATE "C") FILTER (WHERE begins) AS head,
               string_agg(CASE WHEN begins THEN '' ELSE space END || text, ''
                   ORDER BY by_start, by_channel, position) AS said
        FROM numbered GROUP BY turn
    )
    SELECT coalesce(string_agg(head || {one_line("said")} || chr(10), '' ORDER BY turn), '') FROM turn
"""

# The address of a recording may hold a password or a signature. A `file://` URL encodes few characters of its path.
PATH = r"""
    CASE WHEN job.source = 'upload' THEN NULL
         WHEN job.source LIKE 'file://%' THEN replace(replace(replace(replace(replace(
             substr(job.source, 8), '%3F', '?'), '%23', '#'), '%7B', '{'), '%7D', '}'), '%25', '%')
         ELSE regexp_replace(regexp_replace(job.source, '[?#].*$', ''), '^([^:/]+://)[^/]*@', '\1') END
"""

VIEW = f"""
    CREATE VIEW call_transtxt AS SELECT
        polled_job.number AS id,
        polled_job.filename AS audio_filename,
        {PATH} AS audio_file_path,
        CASE WHEN job.duration BETWEEN 0 AND 2147483647 THEN round(job.duration)::integer END AS audio_duration,
        polled_job.status AS transcript_status,
        (SELECT ({TEXT}) FROM transcript WHERE transcript.transcription_id = job.id) AS transcript_text,
        CASE job.status WHEN 'cancelled' THEN 'cancelled' WHEN 'failed' THEN job.error_message END AS error_message,
        polled_job.notify_status,
        job.created_at,
        job.started_at AS transcription_started_at,
        job.completed_at AS transcription_completed_at,
        polled_job.notified_at,
        polled_job.transcription_id
    FROM polled_job JOIN transcription AS job ON job.id = polled_job.transcription_id
"""


def upgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '5s'")
    op.create_table(
        "polled_job",
        sa.Column("number", sa.BigInteger(), sa.Identity(), primary_key=True),
        sa.Column("transcription_id", sa.Uuid(), nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("filename", sa.Text(), nullable=True),
        sa.Column("notify_status", sa.Text(), server_default="not_notified", nullable=False),
        sa.Column("notified_at", sa.DateTime(timezone=True), nullable=True),
    )
    _execute(FILL)
    op.create_unique_constraint("polled_job_transcription", "polled_job", ["transcription_id"])
    op.create_index("polled_job_by_status", "polled_job", ["status", "number"])
    op.create_index("polled_job_by_filename", "polled_job", ["filename", "number"])
    op.create_index("polled_job_by_notify_status", "polled_job", ["notify_status", "number"])
    for statement in ("ANALYZE polled_job", FOLLOW_JOB, FOLLOW_DELIVERY, FORGET_JOB, VIEW):
        _execute(statement)
    _execute("LOCK TABLE transcription, event, delivery IN SHARE ROW EXCLUSIVE MODE")
    for statement in (*TRIGGERS, *CATCH_UP):
        _execute(statement)


def downgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '5s'")
    op.execute("DROP VIEW call_transtxt")
    for trigger, table in (
        ("follow_new_job", "transcription"),
        ("follow_job", "transcription"),
        ("forget_job", "transcription"),
        ("follow_tried_delivery", "delivery"),
        ("follow_delivery", "delivery"),
    ):
        op.execute(f"DROP TRIGGER {trigger} ON {table}")
    for function in ("follow_job", "follow_delivery", "forget_job"):
        op.execute(f"DROP FUNCTION {function}")
    op.drop_table("polled_job")


def _execute(statement: str) -> None:
    """Run SQL whose colons and percent signs are not parameters."""
    op.get_bind().exec_driver_sql(statement)
