"""Checks the arguments of `callscribe transcribe` before anything slow starts.

Each function raises typer.BadParameter if an argument cannot be used.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import get_args

import typer

from app.audio.raw import rate_trouble
from app.cli.files import ALL, clashes, recordings
from app.speech.families import abilities
from app.transcripts.formats import Format
from app.transcripts.transcript import Encoding, Options


def options(
    model: str,
    language: str,
    task: str,
    channels: str,
    labels: Sequence[str],
    *,
    word_timestamps: bool,
    raw: tuple[str | None, int | None] = (None, None),
) -> Options:
    """Returns the options for all recordings. Raises if the model cannot do what they ask for.

    `raw` has the encoding and the sample rate of recordings without a header.
    """
    encoding, sample_rate = _raw(*raw)
    if channels not in ("mix", "split"):
        raise typer.BadParameter("must be mix or split", param_hint="--channels")
    if task not in ("transcribe", "translate"):
        raise typer.BadParameter("must be transcribe or translate", param_hint="--task")
    if language != "auto" and language not in abilities(model).languages:
        raise typer.BadParameter(f"is not a language of the model {model}", param_hint="--language")
    if task == "translate" and not abilities(model).translates:
        raise typer.BadParameter(f"the model {model} was not trained to translate", param_hint="--task")
    if len(set(labels)) < len(labels):
        raise typer.BadParameter("must differ from one another", param_hint="--channel-label")
    return Options(
        model=model,
        language=None if language == "auto" else language,
        task="translate" if task == "translate" else "transcribe",
        channels="split" if channels == "split" else "mix",
        channel_labels=tuple(labels),
        word_timestamps=word_timestamps,
        encoding=encoding,
        sample_rate=sample_rate,
    )


def _raw(encoding: str | None, sample_rate: int | None) -> tuple[Encoding | None, int | None]:
    known = next((each for each in get_args(Encoding) if each == encoding), None)
    if encoding is not None and known is None:
        raise typer.BadParameter(f"must be one of {', '.join(get_args(Encoding))}", param_hint="--encoding")
    if trouble := rate_trouble(known, sample_rate):
        raise typer.BadParameter(trouble.replace("the field encoding", "--encoding"), param_hint="--sample-rate")
    return known, sample_rate


def files(paths: Sequence[Path], *, named_apart: bool) -> list[Path]:
    """Returns the recordings that the paths name. With `named_apart`, raises if two transcripts would have one name."""
    found = recordings(paths)
    if not found:
        raise typer.BadParameter("the folder holds no recording; folders inside it are not searched", param_hint="PATH")
    if named_apart and (same := clashes(found)):
        names = ", ".join(map(str, same))
        raise typer.BadParameter(f"these would be written over one another: {names}", param_hint="PATH")
    return found


def formats(name: str, *, printed: bool) -> tuple[Format, ...]:
    """Returns the formats that the name means. It may not mean several if they are printed."""
    if name == "all":
        if printed:
            raise typer.BadParameter("all needs --output-dir", param_hint="--format")
        return ALL
    if name not in list(Format):
        raise typer.BadParameter(f"must be one of {', '.join(Format)}, all", param_hint="--format")
    return (Format(name),)
