"""`callscribe models`: which models are on this machine, and how to get one."""

import typer

from app.cli.preparation import checked_settings
from app.speech.families import bundled_models, downloaded_models, fetch, locate
from app.speech.model import ModelUnavailable

models_cli = typer.Typer(help="Models: what is bundled, on disk, configured.", invoke_without_command=True)


@models_cli.callback()
def list_models(context: typer.Context) -> None:
    """List the models that are bundled, on disk or configured."""
    if context.invoked_subcommand is not None:
        return
    settings = checked_settings()
    bundled, on_disk = bundled_models(), downloaded_models(settings.models_dir)
    for name in sorted({*bundled, *on_disk, *settings.model}):
        facts = [
            *(["bundled"] if name in bundled else []),
            *(["on disk"] if name in on_disk else []),
            *(["default"] if name == settings.model[0] else ["served"] if name in settings.model else []),
        ]
        typer.echo(f"{name}\t{', '.join(facts)}")


@models_cli.command("fetch")
def fetch_model(name: str) -> None:
    """Make a model ready for use. Download it if it is not on this machine."""
    typer.echo(fetch(name, checked_settings().models_dir))


@models_cli.command("path")
def print_model_path(name: str) -> None:
    """Print the folder of a model that is on this machine."""
    path = locate(name, checked_settings().models_dir)
    if path is None:
        raise ModelUnavailable(f"{name} is not on this machine; `callscribe models fetch {name}` gets it")
    typer.echo(path)
