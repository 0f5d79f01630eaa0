"""`callscribe keys` makes, lists and revokes API keys in the service's database.

The database is slow to import, so the commands import it when they run.
"""

import json
import re
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any
from uuid import UUID

import typer

from app.access.callers import DEFAULT_TENANT, Scope
from app.cli.admin.opening import actor, in_database

keys_cli = typer.Typer(help="Make, list and revoke API keys.", no_args_is_help=True)

PERIOD = re.compile(r"(\d{1,5})([dh])")
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def expiry_of(text: str, now: datetime) -> datetime:
    """Returns the time that a text such as 90d, 12h, 2027-01-31 or 2027-01-31T18:00:00Z means. Raises ValueError.

    A time without an offset is in UTC.
    """
    if (period := PERIOD.fullmatch(text)) is not None:
        number = int(period[1])
        return now + (timedelta(days=number) if period[2] == "d" else timedelta(hours=number))
    at = datetime.fromisoformat(text)
    return at if at.tzinfo else at.replace(tzinfo=UTC)


def _expiry(text: str | None) -> datetime | None:
    if text is None:
        return None
    try:
        return expiry_of(text, datetime.now(UTC))
    except (ValueError, OverflowError):
        raise typer.BadParameter("write days or hours such as 90d or 12h, or a date", param_hint="--expires") from None


@keys_cli.command("create")
def create_key(
    name: Annotated[str, typer.Argument(help="Who will use the key, such as crm.")],
    tenant: Annotated[str, typer.Option(help="The tenant whose calls the key reaches.")] = DEFAULT_TENANT,
    scopes: Annotated[
        str, typer.Option(help=f"What it may do, comma separated: {', '.join(Scope)}.")
    ] = "transcribe,read",
    expires: Annotated[str | None, typer.Option(help="When it ends: 90d, 12h, or a date such as 2027-01-31.")] = None,
    priority_ceiling: Annotated[
        int, typer.Option(min=0, max=9, help="The most urgent priority that it may ask for. 0 is the most urgent.")
    ] = 0,
    requests_per_minute: Annotated[int | None, typer.Option(min=1, help="How many requests it may send.")] = None,
    pending_jobs: Annotated[int | None, typer.Option(min=0, help="How many of its calls may wait.")] = None,
    audio_hours_per_day: Annotated[
        float | None, typer.Option(min=0, help="How many hours of recordings it may send on one day in UTC.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Make a key and print it. It is not shown again, because the database keeps only its hash."""
    from app.access import keys
    from app.access.callers import Limits
    from app.access.views import CreatedKey

    new = keys.NewKey(
        name=name,
        tenant=tenant,
        scopes=_scopes(scopes),
        created_by=actor(),
        expires_at=_expiry(expires),
        most_urgent=priority_ceiling,
        limits=Limits(requests_per_minute, pending_jobs, audio_hours_per_day),
    )
    row, key = in_database(lambda session: keys.create(session, new))
    if as_json:
        typer.echo(CreatedKey.with_text(row, key).model_dump_json(indent=2))
        return
    typer.echo(key)
    typer.echo(
        f"This is the only time that the key of {row.name} is shown. Every request to the service needs a key now.",
        err=True,
    )


@keys_cli.command("list")
def list_keys(
    tenant: Annotated[str | None, typer.Option(help="Only the keys of this tenant.")] = None, as_json: AsJson = False
) -> None:
    """List the keys of the database. Those of CALLSCRIBE_API_KEYS are not among them."""
    from app.access import keys
    from app.access.views import KeyOut

    rows = in_database(lambda session: keys.listed(session, tenant))
    if as_json:
        typer.echo(json.dumps([KeyOut.of(row).model_dump(mode="json") for row in rows], indent=2))
        return
    for row in rows:
        typer.echo(f"{row.id}  {row.hint}…  {row.tenant}  {row.name}  {','.join(row.scopes)}  {_state(row)}")
    if not rows:
        typer.echo("There are no keys in the database.", err=True)


@keys_cli.command("revoke")
def revoke_key(key: Annotated[str, typer.Argument(help="The key's id, as `callscribe keys list` shows it.")]) -> None:
    """End a key. Every process refuses it within seconds."""
    from app.access import keys

    try:
        key_id = UUID(key)
    except ValueError:
        raise typer.BadParameter("must be the id of a key, which `callscribe keys list` shows") from None
    row = in_database(lambda session: keys.revoke(session, key_id, actor()))
    typer.echo(f"The key {row.hint}… of {row.name} is revoked.")


def _scopes(text: str) -> list[Scope]:
    names = [name.strip() for name in text.split(",") if name.strip()]
    unknown = [name for name in names if name not in list(Scope)]
    if unknown or not names:
        raise typer.BadParameter(f"write some of {', '.join(Scope)}, comma separated", param_hint="--scopes")
    return [Scope(name) for name in names]


def _state(row: Any) -> str:
    if row.revoked_at is not None:
        return f"revoked {row.revoked_at:%Y-%m-%d}"
    if row.expires_at is not None and row.expires_at <= datetime.now(UTC):
        return f"expired {row.expires_at:%Y-%m-%d}"
    used = f"last used {row.last_used_at:%Y-%m-%d %H:%M}" if row.last_used_at else "never used"
    return used if row.expires_at is None else f"{used}, expires {row.expires_at:%Y-%m-%d}"
