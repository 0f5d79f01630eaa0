"""`callscribe batch` sends the recordings of a folder to a server and writes their transcripts.

It is a client of the server: it must not need the engine, the database or the settings of a service.
"""

from pathlib import Path
from typing import Annotated, Any
from urllib.parse import urlsplit

import typer

from app.cli.batch.running import Order, exit_status
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
    check_labels,
    check_speakers,
    listed,
)
from app.transcripts.formats import Format

MOST_TOGETHER = 200  # of the 400 clients with one key that may wait for jobs


def batch(
    folder: Annotated[
        Path,
        typer.Argument(
            exists=True, file_okay=False, help="Folder with recordings. Its sub-folders count too.", metavar="FOLDER"
        ),
    ],
    server: Annotated[str, typer.Option(help="Address of the server, such as https://callscribe.example.com.")],
    output_dir: Annotated[
        Path, typer.Option("--output-dir", "-o", file_okay=False, help="Folder for transcripts, report and state.")
    ],
    api_key: Annotated[
        str | None,
        typer.Option(
            envvar="CALLSCRIBE_API_KEY",
            help="API key of the server. Other users of this machine see options, so set the variable instead.",
        ),
    ] = None,
    form: Annotated[Format, typer.Option("--format", "-f", help="Format of the transcripts.")] = Format.JSON,
    channels: ChannelsOption = "mix",
    channel_label: LabelsOption = None,
    diarize: DiarizeOption = False,
    speakers: SpeakersOption = None,
    language: LanguageOption = "auto",
    languages: LanguagesOption = "",
    task: TaskOption = "transcribe",
    model: Annotated[
        str | None, typer.Option(help="Model of the server. Without it, the server's first model.")
    ] = None,
    word_timestamps: WordTimestampsOption = False,
    prompt: PromptOption = None,
    hotwords: HotwordsOption = None,
    encoding: EncodingOption = None,
    sample_rate: SampleRateOption = None,
    priority: Annotated[
        int, typer.Option(min=0, max=9, help="From 0, the most urgent, to 9. With 8, the calls of the day go first.")
    ] = 8,
    together: Annotated[
        int, typer.Option(min=1, max=MOST_TOGETHER, help="How many recordings are at work at the same time.")
    ] = 8,
    retry_failed: Annotated[
        bool, typer.Option("--retry-failed", help="Try the recordings again that failed in an earlier run.")
    ] = False,
) -> None:
    """Transcribe a folder of old recordings on a running server.

    The command uploads a few recordings at a time, waits for their transcripts and writes one file for each: the
    transcript of sub/call.wav is sub/call.wav.json. In the folder and its sub-folders, it takes the files with a usual
    ending, such as .wav or .mp3, and skips hidden ones. At the end it writes report.csv.
    To resume after an interruption, run the same command again. Its state is in the output folder, in
    .callscribe-batch.jsonl. While the server restarts or is full, the command waits for it.
    The exit status is 0 if all recordings were transcribed, and 1 if some failed or a disk is full. It is 2 if an
    option, the server or the API key cannot be used, and 130 after Ctrl-C.
    """
    check_labels(channels, channel_label or ())
    check_speakers(diarize, speakers)
    options: dict[str, Any] = {
        "channels": channels,
        "channel_labels[]": channel_label,
        "diarize": "true" if diarize else None,
        "speakers": speakers and str(speakers),
        "language": None if language == "auto" else language,
        "languages[]": list(listed(languages)),
        "task": task,
        "model": model,
        "word_timestamps": str(word_timestamps).lower(),
        "prompt": prompt,
        "hotwords[]": hotwords,
        "encoding": encoding,
        "sample_rate": sample_rate and str(sample_rate),
        "priority": str(priority),
    }
    fields = {name: value for name, value in options.items() if value}
    order = Order(
        folder.resolve(),
        output_dir.resolve(),
        _address(server),
        _key(api_key),
        form,
        fields,
        together=together,
        retry_failed=retry_failed,
    )
    leave(exit_status(order))


def _address(server: str) -> str:
    """Returns the address if requests can be sent to it."""
    try:
        parts = urlsplit(server)
        usable = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
    except ValueError:
        usable = False
    if not usable or parts.query or parts.fragment:
        raise typer.BadParameter("must be an address such as https://callscribe.example.com", param_hint="--server")
    if parts.username is not None:
        raise typer.BadParameter("must have no user and password; set CALLSCRIBE_API_KEY", param_hint="--server")
    return server.rstrip("/")


def _key(api_key: str | None) -> str | None:
    """Returns the key if a header can hold it."""
    if api_key and not (api_key.isascii() and api_key.isprintable() and " " not in api_key):
        raise typer.BadParameter("an API key has ASCII characters and no spaces", param_hint="CALLSCRIBE_API_KEY")
    return api_key or None
