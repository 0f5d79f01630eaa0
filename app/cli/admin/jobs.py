"""`callscribe jobs` lists, shows, retries, cancels and erases transcriptions of all tenants."""

import json
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any
from uuid import UUID

import typer

from app.cli.admin.opening import Hands, actor, note, with_database, with_hands
from app.cli.admin.tables import print_facts, print_table
from app.errors import AppError
from app.jobs.lifecycle import Status

if TYPE_CHECKING:
    from app.database.connections import Database
    from app.jobs.reads.listing import Wanted
    from app.jobs.reads.reading import Read
    from app.search.query import Query

jobs_cli = typer.Typer(help="List, show, retry, cancel and erase transcriptions.", no_args_is_help=True)

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Ids = Annotated[list[UUID], typer.Argument(help="Ids of transcriptions.", show_default=False)]


@jobs_cli.command("list")
def list_jobs(
    status: Annotated[list[Status], typer.Option(help="Only those with this status. May be repeated.")] = [],  # noqa: B006
    language: Annotated[list[str], typer.Option(help="Only those in this language. May be repeated.")] = [],  # noqa: B006
    external_id: Annotated[str | None, typer.Option(help="Only those that were posted with this external_id.")] = None,
    metadata: Annotated[list[str], typer.Option(help="Only those with this NAME=VALUE. May be repeated.")] = [],  # noqa: B006
    created_after: Annotated[datetime | None, typer.Option(help="Only those since this time, in UTC.")] = None,
    created_before: Annotated[datetime | None, typer.Option(help="Only those before this time, in UTC.")] = None,
    search: Annotated[str | None, typer.Option("--search", "-q", help="Only calls in which this was said.")] = None,
    tenant: Annotated[str | None, typer.Option(help="Only those of this tenant.")] = None,
    not_retried: Annotated[bool, typer.Option("--not-retried", help="Only those without a retry.")] = False,
    limit: Annotated[
        int | None,
        typer.Option(min=1, max=10_000, help="How many. Default: 20, or all with --ids.", show_default=False),
    ] = None,
    oldest_first: Annotated[bool, typer.Option("--oldest-first", help="Begin with the oldest.")] = False,
    ids_only: Annotated[bool, typer.Option("--ids", help="Print only the ids, for `xargs callscribe jobs …`.")] = False,
    as_json: AsJson = False,
) -> None:
    """List transcriptions of all tenants, newest first. The filters are those of the API and two more."""
    from app.jobs.reads.listing import Wanted

    wanted = Wanted(
        statuses=status,
        languages=language,
        external_id=external_id,
        metadata=[_named(text) for text in metadata],
        created_after=_in_utc(created_after),
        created_before=_in_utc(created_before),
        query=_query(search),
        tenant=tenant,
        not_retried=not_retried,
        order="oldest" if oldest_first else "newest",
    )
    shown = _as_json if as_json else _id if ids_only else _row
    many = 20 if limit is None and shown is not _id else limit
    found = with_database(partial(_read, wanted, many, shown))
    if as_json:
        typer.echo(json.dumps(found, indent=2))
    elif ids_only:
        typer.echo("\n".join(found), nl=bool(found))
    else:
        print_table(("ID", "STATUS", "CREATED", "LENGTH", "CALLER", "EXTERNAL ID", "ERROR"), found)


@jobs_cli.command("show")
def show_job(
    transcription: Annotated[UUID, typer.Argument(help="The id of a transcription.")], as_json: AsJson = False
) -> None:
    """Show one transcription, without its transcript."""
    from app.jobs.reads.reading import Reader

    read = with_database(lambda database: Reader(database).read(transcription, None))
    if as_json:
        typer.echo(json.dumps(_as_json(read), indent=2))
        return
    job, shown = read.job, _as_json(read)
    print_facts(
        [
            ("id", job.id),
            ("status", job.status),
            ("error", job.error_code and f"{job.error_code}: {job.error_message}"),
            ("waits because", job.retry_code and f"{job.retry_code}: {job.retry_message}"),
            ("not before", job.run_at if job.status == Status.PENDING else None),
            ("worker", job.leased_by),
            ("progress", f"{job.progress:.0%}" if job.status == Status.IN_PROGRESS else None),
            ("attempts", job.attempts),
            ("crashes", job.crashes or None),
            ("caller", job.caller),
            ("tenant", job.tenant),
            ("external_id", job.external_id),
            ("metadata", json.dumps(job.metadata_, ensure_ascii=False) if job.metadata_ else None),
            ("recording", f"{shown['audio']['filename'] or '-'}, {shown['audio']['source']}, {_length(job.duration)}"),
            ("kept", "yes" if job.audio_key else "no"),
            ("model", job.options.get("model")),
            ("language", job.language),
            ("priority", job.priority),
            ("batch", job.batch_id),
            ("retry of", job.retry_of),
            ("retried as", read.retried_as),
            ("created", job.created_at),
            ("started", job.started_at),
            ("completed", job.completed_at),
            ("notify status", shown["notify_status"]),
        ]
    )


@jobs_cli.command("retry")
def retry_jobs(transcriptions: Ids) -> None:
    """Transcribe recordings of failed or cancelled transcriptions once more, as new transcriptions.

    This does not ask whether the queue is full or the intake is paused.
    """

    async def retry(hands: Hands, job_id: UUID) -> str:
        accepted = await hands.retries.retry(job_id, None, operator=actor())
        note("transcription retried", job=str(accepted.job.id), retry_of=str(job_id), is_new=accepted.is_new)
        return f"{job_id} is retried as {accepted.job.id}"

    _change_each(transcriptions, retry)


@jobs_cli.command("cancel")
def cancel_jobs(transcriptions: Ids) -> None:
    """Cancel transcriptions. A job that waits ends immediately, and a job that runs ends within seconds."""
    from app.jobs.changes import changing

    async def cancel(hands: Hands, job_id: UUID) -> str:
        async with hands.database.transaction() as session:
            written = await changing.request_cancel(session, job_id, None, hands.at_end, operator=actor())
        await hands.retention.erase_audio(job_id, written.forgotten_audio)
        note("transcription cancelled", job=str(job_id), status=written.job.status)
        return f"{job_id} is {'cancelled' if written.job.status.final else 'being cancelled'}"

    _change_each(transcriptions, cancel)


@jobs_cli.command("erase")
def erase_jobs(
    transcriptions: Ids, yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False
) -> None:
    """Erase transcriptions with their recordings, transcripts and everything else about them."""
    from app.jobs.changes import changing
    from app.jobs.models import audio_keys

    if not yes:
        many = len(transcriptions)
        what = "1 transcription and its recording" if many == 1 else f"{many} transcriptions and their recordings"
        typer.confirm(f"Erase {what} for good?", abort=True)

    async def erase(hands: Hands, job_id: UUID) -> str:
        async with hands.database.transaction() as session:
            job = await changing.erase(session, job_id, None, actor())
        await hands.retention.erase_audio(job.id, audio_keys(job))
        note("transcription erased", job=str(job_id))
        return f"{job_id} is erased"

    _change_each(transcriptions, erase)


async def _read(wanted: "Wanted", limit: int | None, shown: "Callable[[Read], Any]", database: "Database") -> list[Any]:
    """What to show of up to `limit` jobs, or of all that fit."""
    from app.jobs.reads.reading import Reader

    reader, found = Reader(database), list[Any]()
    while limit is None or len(found) < limit:
        page = await reader.page(replace(wanted, limit=100 if limit is None else min(100, limit - len(found))), None)
        found += map(shown, page.items)
        if page.cursor is None:
            break
        wanted = replace(wanted, cursor=page.cursor)
    return found


def _named(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not (name and equals):
        raise typer.BadParameter("write NAME=VALUE, such as agent=Eva", param_hint="--metadata")
    return name, value


def _in_utc(at: datetime | None) -> datetime | None:
    return None if at is None else at.replace(tzinfo=UTC)


def _query(text: str | None) -> "Query | None":
    from app.search.query import parse

    try:
        return None if text is None else parse(text)
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="--search") from None


def _change_each(ids: Sequence[UUID], change: Callable[[Hands, UUID], Awaitable[str]]) -> None:
    """Change one after the other. What is refused does not stop the others, but makes the exit status 1."""

    async def run(hands: Hands) -> int:
        refused = 0
        for job_id in ids:
            try:
                typer.echo(await change(hands, job_id))
            except AppError as error:
                typer.echo(f"callscribe: {job_id}: {error.code}: {error.reason}", err=True)
                refused += 1
        return refused

    if with_hands(run):
        raise typer.Exit(1)


def _as_json(read: "Read") -> dict[str, Any]:
    """What the API shows, and what only operators may know."""
    job = read.job
    return read.shown("").model_dump(mode="json") | {
        "caller": job.caller,
        "tenant": job.tenant,
        "worker": job.leased_by,
        "crashes": job.crashes,
    }


def _id(read: "Read") -> str:
    return str(read.job.id)


def _row(read: "Read") -> tuple[object, ...]:
    job = read.job
    created = f"{job.created_at:%Y-%m-%d %H:%M:%S}"
    code = job.error_code or job.retry_code
    return job.id, job.status, created, _length(job.duration), job.caller, job.external_id, code


def _length(seconds: float | None) -> str:
    return "?" if seconds is None else f"{int(seconds // 60)}:{int(seconds % 60):02}"
