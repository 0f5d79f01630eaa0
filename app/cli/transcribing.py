"""`callscribe transcribe` transcribes files and folders on this machine, without a server or a database.

The engine is slow to import, so the command imports it when it runs.
"""

import asyncio
import os
import signal
import sys
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.progress import Progress

from app.audio.containment.fence import close_to_other_processes
from app.cli.leaving import leave
from app.cli.options import (
    ChannelsOption,
    DiarizeOption,
    EncodingOption,
    HotwordsOption,
    LabelsOption,
    LanguageOption,
    LanguagesOption,
    PromptOption,
    SampleRateOption,
    SpeakersOption,
    TaskOption,
    WordTimestampsOption,
    listed,
)
from app.cli.preparation import checked_settings
from app.cli.tally import Tally
from app.process.memory import share_memory
from app.settings import Settings
from app.transcripts.formats import Format
from app.transcripts.transcript import Options

if TYPE_CHECKING:
    from app.cli.files import Output

WARNED = 3

FormatName = StrEnum("FormatName", [*((form.name, form.value) for form in Format), ("ALL", "all")])  # type: ignore[misc]


def transcribe(
    paths: Annotated[
        list[Path], typer.Argument(exists=True, help="Recordings, and folders with recordings.", metavar="PATH…")
    ],
    channels: ChannelsOption = "mix",
    channel_label: LabelsOption = None,
    diarize: DiarizeOption = False,
    speakers: SpeakersOption = None,
    form: Annotated[
        list[FormatName] | None,
        typer.Option("--format", "-f", help="Repeat the option for several formats.", show_default="text"),
    ] = None,
    output_dir: Annotated[
        Path | None,
        typer.Option(
            "--output-dir",
            "-o",
            file_okay=False,
            help="Folder for the transcripts. Without it, they are printed one after the other.",
        ),
    ] = None,
    language: LanguageOption = "auto",
    languages: LanguagesOption = "",
    task: TaskOption = "transcribe",
    model: Annotated[
        str | None,
        typer.Option(help="Model, written as in CALLSCRIBE_MODEL. Without it, the first one of CALLSCRIBE_MODEL."),
    ] = None,
    word_timestamps: WordTimestampsOption = False,
    prompt: PromptOption = None,
    hotwords: HotwordsOption = None,
    encoding: EncodingOption = None,
    sample_rate: SampleRateOption = None,
    skip_existing: Annotated[
        bool, typer.Option("--skip-existing", help="Leave out recordings whose transcripts are in the output folder.")
    ] = False,
    strict: Annotated[
        bool, typer.Option("--strict", help="End with status 3 if there are warnings for a transcript.")
    ] = False,
) -> None:
    """Transcribe files and folders on this machine, without a server or a database.

    The command skips folders inside a folder.
    In a folder, it takes the files with a usual ending, such as .wav or .mp3.
    With --output-dir, the transcripts of call.wav are call.txt, .srt, .vtt, .tsv, .json and .whisper.json.
    A transcript is written completely or not at all, so --skip-existing can continue after an interruption.
    The exit status is 0 if all recordings were transcribed, and 1 if some failed.
    It is 2 if an option, a path, a setting or the model cannot be used, and 130 after Ctrl-C.
    With --strict it is 3 if all were transcribed, but some have warnings.
    """
    close_to_other_processes()
    share_memory()
    from app.cli import arguments
    from app.cli.files import Output
    from app.speech.families import Families

    settings = checked_settings()
    try:
        settings = settings.with_model(model) if model else settings
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="--model") from None
    options = arguments.options(
        Options(
            model=settings.models[0],
            language=language,
            languages=listed(languages),
            task=task,
            channels=channels,
            channel_labels=tuple(channel_label or ()),
            diarize=diarize,
            speakers=speakers,
            word_timestamps=word_timestamps,
            prompt=prompt,
            hotwords=tuple(hotwords or ()),
            encoding=encoding,
            sample_rate=sample_rate,
        ),
        Families(settings.remote_models),
    )
    files = arguments.files(paths, named_apart=output_dir is not None)
    forms = arguments.formats(form or [Format.TEXT], printed=output_dir is None, recordings=len(files))
    output = Output(forms, output_dir, headed=len(files) > 1)
    if skip_existing:
        files = arguments.without_finished(files, output)
    leave(_exit_status(settings, files, options, output, strict=strict))


def _exit_status(settings: Settings, files: list[Path], options: Options, output: "Output", *, strict: bool) -> int:
    """Transcribes the files, and prints to standard error what went wrong. Returns the exit status of the command."""
    from app.speech.batching.batcher import EngineStopped
    from app.speech.model import DeviceLost

    try:
        if output.folder:
            output.folder.mkdir(parents=True, exist_ok=True)
        done = asyncio.run(_transcribe(settings, files, options, output)) if files else Tally()
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
    if output.folder and files:
        typer.echo(f"callscribe: {len(files) - done.failed} of {len(files)} transcribed, in {output.folder}", err=True)
    if done.failed:
        return 1
    return WARNED if strict and done.warned else 0


def _print(text: str) -> None:
    """Prints the text, with `?` for characters that standard output cannot show."""
    encoding = sys.stdout.encoding or "utf-8"
    typer.echo(text.rstrip("\n").encode(encoding, "replace").decode(encoding))


async def _transcribe(settings: Settings, files: list[Path], options: Options, output: "Output") -> Tally:
    """Prints the transcripts or writes them to files."""
    from app.cli.files import Transcription
    from app.making import engine_config
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
