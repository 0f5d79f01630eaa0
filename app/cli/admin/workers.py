"""`callscribe workers` lists the processes that run jobs, and `callscribe drain` takes one of them out."""

import asyncio
import json
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from app.cli.admin.durations import duration_of
from app.cli.admin.opening import actor, note, with_database
from app.cli.admin.tables import print_table, printable
from app.errors import NotFound

if TYPE_CHECKING:
    from app.control.models import WorkerRow
    from app.control.pauses import Pause
    from app.database.connections import Database

POLL_SECONDS = 0.5
OLDER = "older version"
"""A worker that has jobs, but does not say that it lives."""


def list_workers(as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False) -> None:
    """List the workers, how many jobs each runs, and what operators have paused."""
    workers, pauses = with_database(_read)
    if as_json:
        paused = [
            {
                "what": each.what,
                "reason": each.reason,
                "by": each.by,
                "since": _iso(each.since),
                "ends_at": _iso(each.ends_at),
            }
            for each in pauses
        ]
        typer.echo(json.dumps({"workers": workers, "pauses": paused}, indent=2))
        return
    heads = ("WORKER", "STATE", "JOBS", "MODELS", "VERSION", "STARTED", "SEEN", "DRAINED BY")
    print_table(
        heads,
        [
            (
                each["name"],
                each["state"],
                each["jobs"],
                ",".join(each["models"]) or None,
                each["version"],
                each["started_at"],
                None if each["seen_seconds_ago"] is None else f"{each['seen_seconds_ago']:.0f} s ago",
                each["drain"] and f"{each['drain']['by']}: {each['drain']['reason']}",
            )
            for each in workers
        ],
    )
    for each in workers:
        for model, trouble in each["troubles"].items() if each["state"] != "lost" else ():
            typer.echo(f"\n{each['name']} cannot use {model}: {printable(trouble)}")
    for pause in pauses:
        typer.echo(f"\n{pause.what}: {printable(pause.in_words())}")


def drain(
    worker: Annotated[str, typer.Argument(help="A worker as `callscribe workers` names it, or its host.")],
    reason: Annotated[str, typer.Option(help="Why, for other operators and for /readyz.")] = "no reason given",
    grace: Annotated[
        str | None,
        typer.Option(help="How long its running jobs may take, such as 10m. Default: its SHUTDOWN_GRACE_SECONDS."),
    ] = None,
    exit_after: Annotated[bool, typer.Option("--exit", help="End the worker's process afterwards.")] = False,
    wait: Annotated[bool, typer.Option("--wait/--no-wait", help="Wait until it has drained.")] = True,
) -> None:
    """Let one worker finish its jobs and claim no more. Jobs that take longer than its grace go to other workers.

    The process stays, answers HTTP if it did before, and claims again after `callscribe resume WORKER`.
    """
    from app.control import workers

    seconds = duration_of(grace, "--grace")

    async def run(database: "Database") -> str:
        async with database.transaction() as session:
            name = (await one_worker(session, worker)).name
            await workers.drain(
                session,
                name,
                by=actor(),
                reason=reason,
                grace_seconds=None if seconds is None else seconds.total_seconds(),
                exits=exit_after,
            )
        note("drains", worker=name, reason=reason, grace=grace, exits=exit_after)
        while wait and (state := await _state_of(database, name)) not in ("drained", None):
            if state == "lost":
                raise NotFound(f"The worker {name} has not been seen for a while. Its jobs go to other workers.")
            await asyncio.sleep(POLL_SECONDS)
        return name

    name = with_database(run)
    typer.echo(f"{name} {('has ended' if exit_after else 'has drained') if wait else 'drains'}.")


async def one_worker(session: Any, name: str) -> "WorkerRow":
    """The worker with this name, or the only one on this host. Raises NotFound."""
    from app.control import workers

    known = await workers.known(session)
    found = [each for each in known if each.name == name] or [
        each for each in known if each.name.rpartition(":")[0] == name
    ]
    if len(found) == 1:
        return found[0]
    names = ", ".join(each.name for each in found or known) or "none"
    raise NotFound(f"There {'are several workers' if found else 'is no worker'} {name}. Known: {names}.")


async def _state_of(database: "Database", name: str) -> str | None:
    """The state of a worker, or None if it has ended."""
    found, _ = await _read(database)
    return next((each["state"] for each in found if each["name"] == name), None)


async def _read(database: "Database") -> "tuple[list[dict[str, Any]], list[Pause]]":
    from app.control import pauses, workers
    from app.jobs.claims import leases
    from app.jobs.claims.ending import now

    async with database.transaction() as session:
        known, running, at = await workers.known(session), await leases.running_by_worker(session), await now(session)
        paused = list((await pauses.in_force(session)).values())
    rows = [_shown(each, running.pop(each.name, 0), at) for each in known]
    return rows + [_unknown(name, jobs) for name, jobs in running.items()], paused


def _shown(row: "WorkerRow", jobs: int, at: datetime) -> dict[str, Any]:
    from app.control.workers import LOST

    silent = at - row.seen_at
    is_asked = row.drain_since is not None and row.state == "working"
    state = "lost" if silent > LOST else "draining" if is_asked else row.state
    drain = {"by": row.drain_by, "reason": row.drain_reason, "since": _iso(row.drain_since)}
    return {
        "name": row.name,
        "state": state,
        "jobs": jobs,
        "models": row.models,
        "troubles": {model: trouble for model, trouble in row.troubles.items() if trouble is not None},
        "version": row.version,
        "started_at": _iso(row.started_at),
        "seen_seconds_ago": silent.total_seconds(),
        "drain": None if row.drain_since is None else drain,
    }


def _unknown(name: str, jobs: int) -> dict[str, Any]:
    unknown: dict[str, Any] = {
        "models": [],
        "troubles": {},
        "version": None,
        "started_at": None,
        "seen_seconds_ago": None,
        "drain": None,
    }
    return {"name": name, "state": OLDER, "jobs": jobs, **unknown}


def _iso(at: datetime | None) -> str | None:
    return None if at is None else at.isoformat(timespec="seconds")
