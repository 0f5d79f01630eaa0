"""`callscribe tenants` lists tenants, and limits what the keys of a tenant, or one of them, may use."""

import json
from typing import Annotated, Any

import typer

from app.access.callers import NO_LIMITS
from app.cli.admin.keys import AsJson
from app.cli.admin.opening import actor, in_database
from app.wording import of_count

tenants_cli = typer.Typer(help="List tenants, and limit what they may use.", no_args_is_help=True)

NONE = "none"


@tenants_cli.command("list")
def list_tenants(as_json: AsJson = False) -> None:
    """List the tenants that have keys or limits in the database, and their keys that have limits."""
    from app.access import keys

    async def read(session: Any) -> Any:
        return await keys.tenants(session), await keys.in_force(session)

    rows, found = in_database(read)
    limited = [key for key in found if key.limits != NO_LIMITS]
    if as_json:
        typer.echo(json.dumps([row.model_dump(mode="json") for row in rows], indent=2))
        return
    for row in rows:
        typer.echo(f"{row.name}  {_shown(row.limits)}")
        for name, limits in sorted({key.name: key.limits for key in limited if key.tenant == row.name}.items()):
            typer.echo(f"  key {name}  {_shown(limits)}")
    if not rows:
        typer.echo("There are no tenants in the database.", err=True)


@tenants_cli.command("limit")
def limit_tenant(
    name: Annotated[str, typer.Argument(help="The tenant.")],
    key: Annotated[
        str | None, typer.Option(help="Limit the keys of this name. Without it, all keys of the tenant together.")
    ] = None,
    requests_per_minute: Annotated[
        str | None, typer.Option(help="How many requests a minute are answered, or none.")
    ] = None,
    pending_jobs: Annotated[str | None, typer.Option(help="How many calls may wait, or none.")] = None,
    audio_hours_per_day: Annotated[
        str | None, typer.Option(help="How many hours of recordings are taken on one day in UTC, or none.")
    ] = None,
) -> None:
    """Limit what a tenant or one of its keys may use. What you do not name stays. `none` removes a limit."""
    from app.access import limits

    asked = {
        "requests_per_minute": _number(requests_per_minute, "--requests-per-minute", int, least=1),
        "pending_jobs": _number(pending_jobs, "--pending-jobs", int),
        "audio_hours_per_day": _number(audio_hours_per_day, "--audio-hours-per-day", float),
    }
    given = (requests_per_minute, pending_jobs, audio_hours_per_day)
    changes = {field: number for (field, number), text in zip(asked.items(), given, strict=True) if text is not None}
    if not changes:
        raise typer.BadParameter("name at least one limit, such as --requests-per-minute 600")

    async def change(session: Any) -> Any:
        if key is not None:
            return await limits.change_keys(session, name, key, changes, actor()), False
        row, is_new = await limits.change_tenant(session, name, changes, actor())
        return row.limits, is_new

    who = f"The tenant {name}" if key is None else f"The key {key} of the tenant {name}"
    changed, is_new = in_database(change)
    typer.echo(f"{who}: {_shown(changed)}")
    if is_new:
        typer.echo(f"The tenant {name} is new.", err=True)


def _number(text: str | None, option: str, kind: type[float], least: float = 0) -> float | None:
    if text is None or text == NONE:
        return None
    try:
        number = kind(text)
    except ValueError:
        number = -1
    if not least <= number <= 100_000_000:
        raise typer.BadParameter(f"write a number from {least}, or {NONE}", param_hint=option)
    return number


def _shown(limits: Any) -> str:
    words = (
        (limits.requests_per_minute, "request a minute", "requests a minute"),
        (limits.pending_jobs, "waiting call", "waiting calls"),
        (limits.audio_hours_per_day, "hour of audio a day", "hours of audio a day"),
    )
    known = (of_count(number, one, many) for number, one, many in words if number is not None)
    return ", ".join(known) or "no limits"
