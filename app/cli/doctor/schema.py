"""Checks of what is in the database: its schema, its clock, secrets and keys, and whether a worker is at work."""

from datetime import UTC, datetime, timedelta

from alembic.script import ScriptDirectory
from sqlalchemy import Connection, inspect, text

from app.access import keys as access_keys
from app.cli.doctor.database import NAME
from app.cli.doctor.findings import Finding, failed, fine, warning
from app.cli.doctor.surroundings import Surroundings
from app.database import schema as database_schema
from app.database.connections import Database, alembic_config
from app.database.schema import SchemaTooNew
from app.deliveries import signing_secrets
from app.jobs.claims import queue
from app.wording import of_count

NOTICEABLE = timedelta(seconds=5)
TOO_MUCH = timedelta(minutes=15)  # S3 refuses requests whose clock is off by more
SESSIONS = """
    SELECT count(DISTINCT split_part(application_name, 'callscribe@', 2)) AS machines, count(*) AS sessions
    FROM pg_stat_activity WHERE datname = current_database() AND strpos(application_name, 'callscribe@') > 0
        AND application_name NOT LIKE :own
"""
JOBS = """
    SELECT count(*) FILTER (WHERE status = 'pending') AS waiting,
        count(*) FILTER (WHERE status = 'in_progress') AS running,
        count(*) FILTER (WHERE status = 'in_progress' AND lease_until < now()) AS lost
    FROM transcription WHERE status IN ('pending', 'in_progress')
"""
PAUSED = "SELECT what, paused_by FROM pause WHERE ends_at IS NULL OR ends_at > now() ORDER BY what"
NO_SCHEMA_YET = "the database has no tables yet"


async def schema(at: Surroundings) -> Finding:
    if at.database is None:
        return fine("there is no database yet, so there are no tables")
    known = ScriptDirectory.from_config(alembic_config(at.database.address))
    newest = known.get_current_head()
    async with at.database.engine.connect() as connection:
        found = await connection.run_sync(_read)
    if found is None:
        return warning(f"{NO_SCHEMA_YET}: the service makes them when it first starts", "Start the service.")
    revision = ", ".join(found.revisions)
    try:
        if database_schema.is_newer(found, known):
            return warning(
                f"a newer version made its schema {revision}. This version, with {newest}, can work with it",
                "If this is not a roll-back or a rolling upgrade, install the newer version.",
            )
    except SchemaTooNew as error:
        return failed(str(error), "Install the newer version, or go back as docs/backup-and-upgrade.md says.")
    pending = [script.revision for script in known.iterate_revisions(newest, found.revisions)]
    if pending:
        waiting = of_count(len(pending), "migration is pending", "migrations are pending")
        return warning(
            f"its schema is {revision}, and {waiting}, up to {newest}",
            "Make a backup. The service migrates when it starts.",
            pending=len(pending),
        )
    return fine(f"its schema is {revision}, the newest", revision=revision)


def _read(connection: Connection) -> database_schema.Schema | None:
    if not inspect(connection).has_table("alembic_version"):
        return None
    revisions = tuple(connection.execute(text("SELECT version_num FROM alembic_version")).scalars())
    return database_schema.read(connection, revisions) if revisions else None


async def clock(at: Surroundings) -> Finding:
    """Compares the database's clock with ours, at the middle of the question."""
    if at.database is None:
        return fine("there is no database yet, so there is no clock to compare")
    async with at.database.engine.connect() as connection:
        await connection.execute(text("SELECT 1"))  # so that the login is not measured
        asked = now()
        theirs = (await connection.execute(text("SELECT clock_timestamp()"))).scalar_one()
        answered = now()
    return compared(asked + (answered - asked) / 2, theirs)


def now() -> datetime:
    return datetime.now(UTC)


def compared(ours: datetime, theirs: datetime) -> Finding:
    seconds = (ours - theirs).total_seconds()
    off = timedelta(seconds=abs(seconds))
    text = f"this machine's clock is {abs(seconds):.1f} s {'ahead of' if seconds > 0 else 'behind'} the database's"
    advice = "Let both machines take the time by NTP."
    if off >= TOO_MUCH:
        return failed(f"{text}. S3 and TLS refuse such a clock", advice, seconds=round(seconds, 1))
    if off >= NOTICEABLE:
        return warning(f"{text}. Times in logs do not fit those of jobs", advice, seconds=round(seconds, 1))
    return fine("this machine's clock and the database's agree", seconds=round(seconds, 3))


async def signing_secret(at: Surroundings) -> Finding:
    if at.settings.webhook_secret:
        return fine(f"{len(at.settings.webhook_secret)} in CALLSCRIBE_WEBHOOK_SECRET")
    if at.database is None or not await _has_table(at.database, "webhook_secret"):
        return fine("the service makes one when it first starts")
    async with at.database.transaction() as session:
        secrets = await signing_secrets.valid(session)
    if not secrets:
        return warning("the database has none, so that no webhook can be signed", "Start the service, which makes one.")
    return fine(f"{len(secrets)} in the database; `callscribe webhooks secret` prints it")


async def keys(at: Surroundings) -> Finding:
    """Counts the keys of the settings and of the database."""
    if at.settings.auth == "off":
        return warning(
            "every address is served without a key, because CALLSCRIBE_AUTH=off",
            "Leave it so only in a network that strangers cannot reach.",
        )
    set_here = sum(len(many) for many in at.settings.api_keys.values())
    made = 0
    if at.database is not None and await _has_table(at.database, "api_key"):
        async with at.database.transaction() as session:
            made = len(await access_keys.in_force(session))
    if not (set_here or made):
        return fine("there is none, so that only this machine is served", settings=0, database=0)
    return fine(f"{set_here} in CALLSCRIBE_API_KEYS and {made} in the database", settings=set_here, database=made)


async def worker(at: Surroundings) -> Finding:
    if at.database is None or not await _has_table(at.database, "transcription"):
        return fine("there are no jobs yet")
    has_pauses = await _has_table(at.database, "pause")
    async with at.database.transaction() as session:
        connection = await session.connection()
        sessions = (await connection.execute(text(SESSIONS), {"own": f"{NAME} %"})).one()
        jobs = (await connection.execute(text(JOBS))).one()
        untended = await queue.is_untended(session)
        paused = (await connection.execute(text(PAUSED))).all() if has_pauses else []
    facts = {"machines": sessions.machines, "waiting": jobs.waiting, "running": jobs.running}
    text_ = f"waiting jobs: {jobs.waiting:,}, running jobs: {jobs.running:,}"
    if paused:
        who = " and ".join(f"{pause.what} by {pause.paused_by}" for pause in paused)
        return warning(f"paused: {who}; {text_}", "Resume when the reason for the pause is gone.")
    start = "Start the service (`callscribe serve`) or a worker (`callscribe worker`), and look at its log."
    if not sessions.sessions:
        none = f"no process of the service is connected to the database; {text_}"
        return warning(none, start, **facts) if jobs.waiting or jobs.running else fine(none, **facts)
    on = f"on {sessions.machines} machines" if sessions.machines > 1 else "on one machine"
    if untended:
        return warning(f"{text_}, and some have waited for a minute: no worker seems to claim them", start, **facts)
    if jobs.lost:
        text_ += f", {jobs.lost} of them with a lease that has ended"
        return warning(f"{text_}: their workers have died or hang", "Look at the logs of the workers.", **facts)
    return fine(f"the service runs {on}; {text_}", **facts)


async def _has_table(database: Database, name: str) -> bool:
    async with database.engine.connect() as connection:
        return await connection.run_sync(lambda sync: inspect(sync).has_table(name))
