"""`callscribe database`: backups, and the role with which other programs read the view `call_transtxt`.

The database is slow to import, so the command imports it when it runs.
"""

import asyncio
import sys
from typing import Annotated

import typer

from app.cli.database_copies import backup, downgrade, restore
from app.cli.preparation import checked_settings
from app.settings import Settings, SettingsError

database_cli = typer.Typer(
    help="Back up and restore the database, go back to an older schema, or let other programs read the table of calls.",
    no_args_is_help=True,
)
for copies in (backup, restore, downgrade):
    database_cli.command()(copies)


@database_cli.command("reader")
def write_reader_role(
    password: Annotated[
        str | None,
        typer.Option(help="Password of the role. Other users of this machine can see it in the list of processes."),
    ] = None,
) -> None:
    """Make the role callscribe_reader, or change its password. It may read the view call_transtxt and nothing else.

    Without --password, the command asks for the password, or reads it from standard input.
    """
    chosen = _checked(_asked() if password is None else password)
    settings = checked_settings()
    is_new = asyncio.run(_write_reader(settings, chosen))
    done = "The role callscribe_reader is made" if is_new else "The role callscribe_reader has the new password"
    typer.echo(f"{done}. It may read the view call_transtxt and nothing else.")
    if settings.database_url is None:
        typer.echo(
            f"The embedded database listens only on a socket in {settings.data_dir / 'postgres'}, which only its owner "
            "may enter. Set CALLSCRIBE_DATABASE_URL for programs of other users or machines.",
            err=True,
        )


def _asked() -> str:
    if sys.stdin.isatty():
        return str(typer.prompt("Password", hide_input=True, confirmation_prompt=True))
    return sys.stdin.readline().rstrip("\r\n")


def _checked(password: str) -> str:
    if not password:
        raise typer.BadParameter("the password is empty", param_hint="--password")
    if not (password.isascii() and password.isprintable()):
        raise typer.BadParameter("only printable ASCII characters may be in the password", param_hint="--password")
    return password


async def _write_reader(settings: Settings, password: str) -> bool:
    from app.database.embedded import open_database
    from app.jobs.upkeep.reader_role import ReaderRefused, write_reader

    try:
        async with (
            open_database(settings.database_url, settings.data_dir) as database,
            database.transaction() as session,
        ):
            return await write_reader(session, password)
    except ReaderRefused as error:
        raise SettingsError(str(error)) from None
