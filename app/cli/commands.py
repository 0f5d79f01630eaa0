"""Puts the commands of `callscribe` together, and prints errors that an operator can correct without a traceback.

The engine and the web framework are slow to import. Commands import them when they run, so that `--help` is fast.
"""

from typing import Annotated

import typer

from app import __version__
from app.cli.models import models_cli
from app.cli.serving import serve, worker
from app.cli.transcribing import transcribe
from app.cli.webhooks import webhooks_cli
from app.errors import AppError
from app.settings import SettingsError
from app.speech.model import ModelUnavailable

cli = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)
for command in (serve, worker, transcribe):
    cli.command()(command)
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
        typer.echo(f"callscribe: {error}", err=True)
        raise SystemExit(2) from None
