"""`callscribe models` lists the models, downloads one, and prints the folder of one."""

from typing import Annotated

import typer

from app.cli.preparation import checked_settings
from app.speech.families import Families
from app.speech.model import ModelUnavailable

models_cli = typer.Typer(
    help="List the models that are bundled, on disk or served. Or download one, or print its folder.",
    invoke_without_command=True,
)
ModelName = Annotated[str, typer.Argument(help="Size, such as small, or name on the hub; either may have @commit.")]


@models_cli.callback()
def list_models(context: typer.Context) -> None:
    """Prints the models, and for each whether it is bundled, on disk, or served."""
    if context.invoked_subcommand is not None:
        return
    settings = checked_settings()
    families, remote = Families(settings.remote_models), [endpoint.name for endpoint in settings.remote_models]
    bundled, on_disk = families.bundled(), families.downloaded(settings.models_dir)
    for name in sorted({*bundled, *on_disk, *settings.models}):
        facts = [
            *(["bundled"] if name in bundled else []),
            *(["on disk"] if name in on_disk else []),
            *(["remote"] if name in remote else []),
            *(["default"] if name == settings.models[0] else ["served"] if name in settings.models else []),
        ]
        typer.echo(f"{name}\t{', '.join(facts)}")


@models_cli.command("fetch")
def fetch_model(name: ModelName) -> None:
    """Download a model if it is not on this machine, and print its folder."""
    typer.echo(Families().fetch(name, checked_settings().models_dir))


@models_cli.command("path")
def print_model_path(name: ModelName) -> None:
    """Print the folder of a model that is on this machine."""
    path = Families().locate(name, checked_settings().models_dir)
    if path is None:
        raise ModelUnavailable(f"{name} is not on this machine; `callscribe models fetch {name}` gets it")
    typer.echo(path)
