"""`callscribe pause` and `callscribe resume`: operators stop new jobs from beginning, or from being accepted."""

import asyncio
from typing import TYPE_CHECKING, Annotated

import typer

from app.cli.admin.durations import duration_of
from app.cli.admin.opening import actor, note, with_database
from app.cli.admin.workers import one_worker
from app.control.pausable import Pausable
from app.wording import of_count

if TYPE_CHECKING:
    from app.database.connections import Database

POLL_SECONDS = 0.5
EFFECTS = {
    Pausable.CLAIMS: "Running jobs end, and no other job begins.",
    Pausable.INTAKE: "Requests are answered with 503 intake_paused. The watched folder, the stream and batches wait.",
}


def pause(
    what: Annotated[Pausable, typer.Argument(help="`claims` begin jobs, and the `intake` accepts recordings.")],
    reason: Annotated[str, typer.Option(help="Why, for other operators and for /readyz.")] = "no reason given",
    lasts: Annotated[
        str | None, typer.Option("--for", help="End the pause by itself after this time, such as 30m or 2h.")
    ] = None,
    wait: Annotated[bool, typer.Option("--wait", help="With `claims`: wait until no job runs any more.")] = False,
) -> None:
    """Pause claims or the intake, in all processes, until `callscribe resume`.

    Processes of a version that is older than this command do not obey.
    """
    from app.control import pauses
    from app.jobs.claims import leases

    duration = duration_of(lasts, "--for")

    async def run(database: "Database") -> int:
        async with database.transaction() as session:
            await pauses.pause(session, what, reason=reason, by=actor(), lasts=duration)
        note("paused", what=what, reason=reason, lasts=lasts)
        while True:
            async with database.transaction() as session:
                running = sum((await leases.running_by_worker(session)).values())
            if not (wait and running and what == Pausable.CLAIMS):
                return running
            await asyncio.sleep(POLL_SECONDS)

    running = with_database(run)
    until = f" for {lasts}" if lasts else ""
    typer.echo(f"The {what} {'are' if what == Pausable.CLAIMS else 'is'} paused{until}. {EFFECTS[what]}")
    if what == Pausable.CLAIMS:
        typer.echo(f"{of_count(running, 'job runs', 'jobs run')}.")


def resume(
    what: Annotated[str, typer.Argument(help="`claims`, `intake`, or a worker that drains.")],
) -> None:
    """End a pause, or let a worker that drains claim jobs again."""
    from app.control import pauses, workers

    async def run(database: "Database") -> str:
        if what in list(Pausable):
            async with database.transaction() as session:
                was_paused = await pauses.resume(session, Pausable(what))
            name, goes_on = f"The {what}", "goes on" if what == Pausable.INTAKE else "go on"
            done = f"{name} {goes_on}." if was_paused else f"{name} had no pause."
        else:
            async with database.transaction() as session:
                worker = await one_worker(session, what)
                was_paused = await workers.work_again(session, worker.name)
            done = f"{worker.name} claims jobs again." if was_paused else f"{worker.name} did not drain."
        if was_paused:
            note("resumed", what=what)
        return done

    typer.echo(with_database(run))
