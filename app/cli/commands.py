"""Puts the commands of `callscribe` together, and prints errors that an operator can correct without a traceback.

The engine and the web framework are slow to import. Commands import them when they run, so that `--help` is fast.
"""

import re
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from app import __version__, wording
from app.cli.admin.jobs import jobs_cli
from app.cli.admin.keys import keys_cli
from app.cli.admin.pausing import pause, resume
from app.cli.admin.tenants import tenants_cli
from app.cli.admin.workers import drain, list_workers
from app.cli.batch.command import batch
from app.cli.database import database_cli
from app.cli.doctor.command import doctor
from app.cli.models import models_cli
from app.cli.serving import serve, worker
from app.cli.transcribing import transcribe
from app.cli.webhooks import webhooks_cli
from app.errors import AppError
from app.settings import SettingsError
from app.speech.model import ModelUnavailable


class Commands(TyperGroup):
    """The commands. Typer checks options with pydantic, so this class puts pydantic's messages into plain words."""

    def invoke(self, ctx: typer.Context) -> Any:  # type: ignore[override]
        try:
            return super().invoke(ctx)
        except typer.BadParameter as error:
            error.message = _in_words(error.message)
            raise


def _in_words(message: str) -> str:
    choice = re.fullmatch(r"(?:Value error, )?'(.*)' is not one of (.*)\.", message)
    near = wording.suggestion(choice[1], re.findall(r"'(\S+)'", choice[2])) if choice else ""
    return wording.of_pydantic(message).removesuffix(".") + near


cli = typer.Typer(cls=Commands, no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)
for command in (serve, worker, transcribe, batch, doctor, pause, resume, drain):
    cli.command()(command)
cli.command("workers")(list_workers)
cli.add_typer(jobs_cli, name="jobs")
cli.add_typer(keys_cli, name="keys")
cli.add_typer(tenants_cli, name="tenants")
cli.add_typer(database_cli, name="database")
cli.add_typer(models_cli, name="models")
cli.add_typer(webhooks_cli, name="webhooks")


@cli.callback(invoke_without_command=True)
def about(version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False) -> None:
    """Turn recordings of phone calls into text."""
    if version:
        typer.echo(__version__)


def main() -> None:
    try:
        cli()
    except (SettingsError, ModelUnavailable, AppError) as error:
        typer.echo(f"callscribe: {error.reason if isinstance(error, AppError) else error}", err=True)
        raise SystemExit(2) from None
