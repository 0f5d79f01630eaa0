"""`callscribe`: serve, worker, transcribe, models, webhooks.

What is slow to import, the engine and the web stack, is imported by the commands that use it.
"""

import asyncio
import os
import signal
import sys
from collections.abc import Coroutine
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import structlog
import typer
import uvloop
from rich.console import Console
from rich.progress import Progress

from app import __version__
from app.audio.containment.fence import close_to_other_processes
from app.errors import AppError
from app.settings import Settings, SettingsError, load_settings, unknown_settings
from app.speech.model import ModelUnavailable
from app.speech.whisper.processor import share_memory
from app.speech.whisper.weights import bundled_models, fetch, locate
from app.telemetry import set_up_logging
from app.transcripts.formats import Format
from app.transcripts.transcript import Options

if TYPE_CHECKING:
    from app.cli.files import Output

cli = typer.Typer(
    help="Phone-call recordings into text.", no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False
)
models_cli = typer.Typer(help="Whisper models: what is bundled, on disk, configured.", invoke_without_command=True)
cli.add_typer(models_cli, name="models")
webhooks_cli = typer.Typer(help="Webhooks: their secret, and a receiver to try them with.", no_args_is_help=True)
cli.add_typer(webhooks_cli, name="webhooks")


@cli.callback(invoke_without_command=True)
def about(version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False) -> None:
    """Phone-call recordings into text."""
    if version:
        typer.echo(__version__)


def _settings() -> Settings:
    settings = load_settings()
    for line in unknown_settings():
        typer.echo(f"callscribe: warning: {line}", err=True)
    try:
        settings.data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        (settings.data_dir / "models").mkdir(exist_ok=True)
    except OSError as error:
        raise SettingsError(f"CALLSCRIBE_DATA_DIR: {error.filename}: {error.strerror}") from None
    return settings


def _keep_to_ourselves(settings: Settings) -> None:
    """Recordings are for this user alone, those of earlier versions too. An operator's own folder is left as it is."""
    os.umask(0o077)
    ours = ["work", *(["audio"] if settings.store_url is None else [])]
    for folder in (settings.data_dir / name for name in ours):
        with suppress(OSError):  # it is not there yet, or belongs to somebody else
            folder.chmod(0o700)


def _run_until_stopped(service: Coroutine[Any, Any, bool]) -> None:
    from app.database.connections import DatabaseUnavailable
    from app.process.open_files import raise_limit
    from app.storage.store import StoreUnavailable

    raise_limit()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        try:
            stopped_as_told = runner.run(service)
        except (DatabaseUnavailable, StoreUnavailable) as error:
            typer.echo(f"callscribe: {error}", err=True)
            raise typer.Exit(1) from None
        except asyncio.CancelledError:  # a signal came before the service was up
            stopped_as_told = True
    structlog.stdlib.get_logger("callscribe").info("stopped", clean=stopped_as_told)
    _leave(0 if stopped_as_told else 1)


def _leave(status: int) -> NoReturn:
    """End the process without waiting for the model's threads, which may be in the middle of a batch."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


@cli.command()
def serve(
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port to listen on.")] = 8000,
    executor: Annotated[bool, typer.Option("--executor/--no-executor", help="Run jobs in this process.")] = True,
) -> None:
    """Run the service: HTTP, and the executor in the same process."""
    close_to_other_processes()
    if executor:
        share_memory()
    from app.api.app import check_exposure, listen
    from app.api.app import serve as serve_http
    from app.service import check_engine

    settings = _settings()
    _keep_to_ourselves(settings)
    check_exposure(settings, host)
    if executor:
        check_engine(settings)
    listener = listen(host, port)
    set_up_logging(settings.log_format)
    _run_until_stopped(serve_http(settings, listener, executor=executor))


@cli.command()
def worker() -> None:
    """Run jobs without HTTP, beside any number of other processes on the same database."""
    close_to_other_processes()
    share_memory()
    from app.service import check_engine, run

    settings = _settings()
    _keep_to_ourselves(settings)
    check_engine(settings)
    set_up_logging(settings.log_format)
    _run_until_stopped(run(settings))


@cli.command()
def transcribe(
    paths: Annotated[list[Path], typer.Argument(exists=True, help="Recordings and folders of them.", metavar="PATH…")],
    channels: Annotated[str, typer.Option(help="mix or split.")] = "mix",
    channel_label: Annotated[list[str] | None, typer.Option(help="Names by channel order; repeat it.")] = None,
    form: Annotated[str, typer.Option("--format", "-f", help=f"{', '.join(Format)}, or all.")] = Format.TEXT,
    output_dir: Annotated[
        Path | None, typer.Option("--output-dir", "-o", file_okay=False, help="Left out: print the transcripts.")
    ] = None,
    language: Annotated[str, typer.Option(help="ISO 639-1 code, or auto.")] = "auto",
    task: Annotated[str, typer.Option(help="transcribe, or translate to English.")] = "transcribe",
    model: Annotated[str | None, typer.Option(help="Left out: the configured default.")] = None,
    word_timestamps: Annotated[bool, typer.Option("--word-timestamps", help="Times of words, in json.")] = False,
) -> None:
    """Transcribe files and folders here and now, without a server or a database.

    Folders inside a folder are left out. With --output-dir, call.wav becomes call.txt, .srt, .vtt, .tsv or .json.
    `all` writes these five as the whisper command line does. Ends with 0 when all is done, 1 when some recordings
    failed, 2 when the command is wrong.
    """
    close_to_other_processes()
    share_memory()
    from app.cli import arguments
    from app.cli.files import Output
    from app.speech.batching.batcher import EngineStopped
    from app.speech.model import DeviceLost

    settings = _settings()
    settings = settings.model_copy(update={"model": (model,)}) if model else settings
    options = arguments.options(
        settings.model[0], language, task, channels, channel_label or (), word_timestamps=word_timestamps
    )
    files = arguments.files(paths, named_apart=output_dir is not None)
    output = Output(arguments.formats(form, printed=output_dir is None), output_dir)
    try:
        if output_dir:
            output_dir.mkdir(parents=True, exist_ok=True)
        failed = asyncio.run(_transcribe(settings, files, options, output))
        if output_dir:
            typer.echo(f"callscribe: {len(files) - failed} of {len(files)} transcribed, in {output_dir}", err=True)
    except KeyboardInterrupt:
        _leave(130)
    except (EngineStopped, DeviceLost):
        typer.echo("callscribe: the engine stopped before all was done", err=True)
        _leave(1)
    except BrokenPipeError:  # who reads has read enough, as `head` has
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        _leave(128 + signal.SIGPIPE)
    except OSError as error:
        raise typer.BadParameter(f"{error.filename}: {error.strerror}", param_hint="--output-dir") from None
    _leave(1 if failed else 0)


def _print(text: str) -> None:
    """The text, with `?` for what standard output cannot show."""
    encoding = sys.stdout.encoding or "utf-8"
    typer.echo(text.rstrip("\n").encode(encoding, "replace").decode(encoding))


async def _transcribe(settings: Settings, files: list[Path], options: Options, output: "Output") -> int:
    """Print or write the transcripts; returns how many files had none."""
    from app.cli.files import Transcription
    from app.service import engine_config
    from app.speech.engine import Engine

    engine = Engine(engine_config(settings))
    await asyncio.to_thread(engine.load)
    with Progress(
        console=Console(stderr=True),
        disable=not sys.stderr.isatty(),
        transient=True,
        redirect_stdout=sys.stdout.isatty(),  # else rich would take what goes to a file for the terminal's
    ) as progress:
        work = Transcription(engine, options, output, settings.max_audio_seconds, progress)
        return await work.run(files, _print)


@models_cli.callback()
def list_models(context: typer.Context) -> None:
    """List the models that are bundled, on disk or configured."""
    if context.invoked_subcommand is not None:
        return
    settings = _settings()
    on_disk = {path.name for path in settings.models_dir.glob("*") if (path / "model.bin").is_file()}
    for name in sorted({*bundled_models(), *on_disk, *settings.model}):
        facts = [
            *(["bundled"] if name in bundled_models() else []),
            *(["on disk"] if name in on_disk else []),
            *(["default"] if name == settings.model[0] else ["served"] if name in settings.model else []),
        ]
        typer.echo(f"{name}\t{', '.join(facts)}")


@models_cli.command("fetch")
def fetch_model(name: str) -> None:
    """Make a model ready to be served, downloading it if need be."""
    typer.echo(fetch(name, _settings().models_dir))


@models_cli.command("path")
def print_model_path(name: str) -> None:
    """Print the folder of a model that is here already."""
    path = locate(name, _settings().models_dir)
    if path is None:
        raise ModelUnavailable(f"{name} is not on this machine; `callscribe models fetch {name}` gets it")
    typer.echo(path)


async def _webhook_secrets(settings: Settings, *, rotate: bool = False) -> list[str]:
    """The valid secrets, the newest first: those of the setting, else the database's."""
    from app.database.embedded import open_database
    from app.deliveries import signing_secrets

    if settings.webhook_secret:
        return [secret.get_secret_value() for secret in settings.webhook_secret]
    async with open_database(settings.database_url, settings.data_dir) as database, database.transaction() as session:
        await signing_secrets.ensure(session)
        if rotate:
            await signing_secrets.rotate(session)
        return list(await signing_secrets.valid(session))


@webhooks_cli.command("secret")
def print_webhook_secret() -> None:
    """Print the secret that webhooks are signed with; receivers verify with it."""
    typer.echo(asyncio.run(_webhook_secrets(_settings()))[0])


@webhooks_cli.command("rotate")
def rotate_webhook_secret() -> None:
    """Make a new secret and print it. For a day webhooks are signed with the old one too."""
    settings = _settings()
    if settings.webhook_secret:
        raise SettingsError("CALLSCRIBE_WEBHOOK_SECRET: rotate by setting it to new,old; a day later to new")
    typer.echo(asyncio.run(_webhook_secrets(settings, rotate=True))[0])


def _verifying_with(secret: str | None) -> tuple[list[str], str]:
    """The secrets to verify signatures with, and where they come from."""
    from app.deliveries.signing import key_of

    if secret is not None:
        try:
            key_of(secret)
        except ValueError as error:
            raise typer.BadParameter(str(error), param_hint="--secret") from None
        return [secret], "--secret"
    settings = _settings()
    origin = "CALLSCRIBE_WEBHOOK_SECRET" if settings.webhook_secret else "the database, where it was made up"
    return asyncio.run(_webhook_secrets(settings)), origin


@webhooks_cli.command("listen")
def listen_for_webhooks(
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port on 127.0.0.1 to listen on.")] = 9000,
    secret: Annotated[str | None, typer.Option(help="Verify with this one. Left out: the service's own.")] = None,
) -> None:
    """Receive webhooks on this machine, print them and verify their signatures. Stop with Ctrl-C.

    The service calls this machine only with CALLSCRIBE_ALLOWED_NETWORKS=127.0.0.0/8.
    """
    from app.cli.webhook_listener import listener

    secrets, origin = _verifying_with(secret)
    try:
        with listener("127.0.0.1", port, secrets, typer.echo) as receiver:
            address = f"http://127.0.0.1:{receiver.server_port}/"
            typer.echo(f"Receiving at {address} until Ctrl-C; verifying with the secret of {origin}", err=True)
            receiver.serve_forever()
    except OSError as error:
        raise SettingsError(f"--port {port}: {error.strerror}") from None
    except KeyboardInterrupt:
        return


def main() -> None:
    try:
        cli()
    except (SettingsError, ModelUnavailable, AppError) as error:
        typer.echo(f"callscribe: {error}", err=True)
        raise SystemExit(2) from None
