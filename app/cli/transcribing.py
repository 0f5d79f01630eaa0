"""`callscribe transcribe` transcribes files and folders on this machine, without a server or a database.

The engine is slow to import, so the command imports it when it runs.
"""

import asyncio
import os
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, get_args

import typer
from rich.console import Console
from rich.progress import Progress

from app.audio.containment.fence import close_to_other_processes
from app.cli.preparation import checked_settings, leave
from app.process.memory import share_memory
from app.settings import Settings
from app.transcripts.formats import Format
from app.transcripts.transcript import Encoding, Options

if TYPE_CHECKING:
    from app.cli.files import Output


def transcribe(
    paths: Annotated[
        list[Path], typer.Argument(exists=True, help="Recordings, and folders with recordings.", metavar="PATH…")
    ],
    channels: Annotated[
        str, typer.Option(help="split if each channel has a speaker of its own, mix to join all channels.")
    ] = "mix",
    channel_label: Annotated[
        list[str] | None, typer.Option(help="Name of the first channel. Repeat the option for the next ones.")
    ] = None,
    form: Annotated[str, typer.Option("--format", "-f", help=f"One of {', '.join(Format)}, or all.")] = Format.TEXT,
    output_dir: Annotated[
        Path | None,
        typer.Option(
            "--output-dir",
            "-o",
            file_okay=False,
            help="Folder for the transcripts. Without it, they are printed one after the other.",
        ),
    ] = None,
    language: Annotated[str, typer.Option(help="ISO 639-1 code such as en, or auto to detect it.")] = "auto",
    task: Annotated[str, typer.Option(help="transcribe, or translate (into English).")] = "transcribe",
    model: Annotated[
        str | None, typer.Option(help="Whisper model. Without it, the first one of CALLSCRIBE_MODEL.")
    ] = None,
    word_timestamps: Annotated[
        bool, typer.Option("--word-timestamps", help="Add the times of words to json and whisper.")
    ] = False,
    encoding: Annotated[
        str | None,
        typer.Option(
            help=f"What recordings without a header hold: {', '.join(get_args(Encoding))}. "
            "Without it, the ending of the name says it, such as .ulaw."
        ),
    ] = None,
    sample_rate: Annotated[
        int | None, typer.Option(min=4_000, max=192_000, help="Sample rate in Hz of recordings with that --encoding.")
    ] = None,
) -> None:
    """Transcribe files and folders on this machine, without a server or a database.

    The command skips folders inside a folder.
    In a folder, it takes the files with a usual ending, such as .wav or .mp3.
    With --output-dir, the transcript of call.wav is call.txt, .srt, .vtt, .tsv or .json.
    The formats json and whisper both write call.json.
    With --format all, the command writes text, srt, vtt, tsv and whisper, as the whisper command does.
    The exit status is 0 if all recordings were transcribed, 1 if some failed, and 2 if an option is wrong.
    """
    close_to_other_processes()
    share_memory()
    from app.cli import arguments
    from app.cli.files import Output

    settings = checked_settings()
    settings = settings.model_copy(update={"model": (model,)}) if model else settings
    options = arguments.options(
        settings.model[0],
        language,
        task,
        channels,
        channel_label or (),
        word_timestamps=word_timestamps,
        raw=(encoding, sample_rate),
    )
    files = arguments.files(paths, named_apart=output_dir is not None)
    output = Output(arguments.formats(form, printed=output_dir is None), output_dir)
    leave(_exit_status(settings, files, options, output, output_dir))


def _exit_status(
    settings: Settings, files: list[Path], options: Options, output: "Output", output_dir: Path | None
) -> int:
    """Transcribes the files, and prints to standard error what went wrong. Returns the exit status of the command."""
    from app.speech.batching.batcher import EngineStopped
    from app.speech.model import DeviceLost

    try:
        if output_dir:
            output_dir.mkdir(parents=True, exist_ok=True)
        failed = asyncio.run(_transcribe(settings, files, options, output))
    except KeyboardInterrupt:
        return 128 + signal.SIGINT
    except (EngineStopped, DeviceLost):
        typer.echo("callscribe: the engine stopped before all recordings were transcribed", err=True)
        return 1
    except BrokenPipeError:  # the program that reads the pipe has closed it, as `head` does
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 128 + signal.SIGPIPE
    except OSError as error:
        raise typer.BadParameter(f"{error.filename}: {error.strerror}", param_hint="--output-dir") from None
    if output_dir:
        typer.echo(f"callscribe: {len(files) - failed} of {len(files)} transcribed, in {output_dir}", err=True)
    return 1 if failed else 0


def _print(text: str) -> None:
    """Prints the text, with `?` for characters that standard output cannot show."""
    encoding = sys.stdout.encoding or "utf-8"
    typer.echo(text.rstrip("\n").encode(encoding, "replace").decode(encoding))


async def _transcribe(settings: Settings, files: list[Path], options: Options, output: "Output") -> int:
    """Prints the transcripts or writes them to files. Returns how many recordings failed."""
    from app.cli.files import Transcription
    from app.service import engine_config
    from app.speech.engine import Engine

    engine = Engine(engine_config(settings))
    await asyncio.to_thread(engine.load)
    with Progress(
        console=Console(stderr=True),
        disable=not sys.stderr.isatty(),
        transient=True,
        redirect_stdout=sys.stdout.isatty(),  # otherwise rich would treat a file as the terminal
    ) as progress:
        work = Transcription(engine, options, output, settings.max_audio_seconds, progress)
        return await work.run(files, _print)
