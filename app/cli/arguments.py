"""Checks the arguments of `callscribe transcribe` before anything slow starts.

Each function raises typer.BadParameter if an argument cannot be used.
"""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import typer

from app.audio.raw import rate_trouble
from app.cli.files import Output, clashes, recordings
from app.cli.options import check_labels, check_speakers
from app.speech.families import Families
from app.speech.language_tags import AUTO, code_of
from app.speech.model import Abilities
from app.speech.speakers import voices
from app.transcripts.formats import Format
from app.transcripts.transcript import Options

# In the other formats, readers could not tell where one recording ends and the next one begins.
PRINTABLE_TOGETHER = (Format.TEXT, Format.JSON)


def options(given: Options, families: Families) -> Options:
    """Returns the options for all recordings. Raises if the model cannot do what they ask for."""
    model, able = given.model, families.abilities(given.model)
    language = _language(model, able, given.language or "", "--language")
    languages = tuple(dict.fromkeys(_language(model, able, each, "--languages") for each in given.languages))
    if languages and language:
        raise typer.BadParameter(
            "is for calls whose language is detected: leave --language out", param_hint="--languages"
        )
    candidates = tuple(each for each in languages if each)
    if len(candidates) < len(languages):
        raise typer.BadParameter("write languages such as en,es; auto is none of them", param_hint="--languages")
    if found := able.lack(given):
        field, lack = found
        raise typer.BadParameter(f"the model {model} {lack}", param_hint=f"--{field.replace('_', '-')}")
    if trouble := rate_trouble(given.encoding, given.sample_rate):
        raise typer.BadParameter(trouble.replace("the field encoding", "--encoding"), param_hint="--sample-rate")
    check_labels(given.channels, given.channel_labels)
    check_speakers(given.diarize, given.speakers)
    if given.diarize and not voices.installed():
        raise typer.BadParameter("the models of voices are not installed: make speakers", param_hint="--diarize")
    return replace(given, language=language, languages=candidates)


def _language(model: str, able: Abilities, language: str, option: str) -> str | None:
    """Returns the code of the language, or None if it should be detected."""
    try:
        code = code_of(language)
    except ValueError:
        detail = f"{language!r} is no language; write auto, or a language such as en, en-US, eng or English"
        raise typer.BadParameter(detail, param_hint=option) from None
    if code != AUTO and code not in able.languages:
        raise typer.BadParameter(f"{language!r} is not a language of the model {model}", param_hint=option)
    return None if code == AUTO else code


def files(paths: Sequence[Path], *, named_apart: bool) -> list[Path]:
    """Returns the recordings that the paths name. With `named_apart`, raises if two transcripts would have one name."""
    found = recordings(paths)
    if not found:
        raise typer.BadParameter(
            f"no recording in {', '.join(map(str, paths))}; name files, or the folders inside, which are not searched",
            param_hint="PATH",
        )
    if named_apart and (same := clashes(found)):
        names = ", ".join(map(str, same))
        raise typer.BadParameter(f"these would be written over one another: {names}", param_hint="PATH")
    return found


def without_finished(files: Sequence[Path], output: Output) -> list[Path]:
    """Returns the recordings that have no transcript yet, and prints how many have one. Raises without a folder."""
    if output.folder is None:
        raise typer.BadParameter("needs --output-dir", param_hint="--skip-existing")
    left = [file for file in files if not all(path.exists() for path in output.paths(file).values())]
    if len(left) < len(files):
        typer.echo(f"callscribe: {len(files) - len(left)} skipped, because their transcripts exist", err=True)
    return left


def formats(names: Sequence[str], *, printed: bool, recordings: int) -> tuple[Format, ...]:
    """Returns the formats that the names mean. If they are printed, there is one, and one reader can separate files."""
    chosen = tuple(Format) if "all" in names else tuple(dict.fromkeys(map(Format, names)))
    if printed and len(chosen) > 1:
        raise typer.BadParameter("several formats need --output-dir", param_hint="--format")
    if printed and recordings > 1 and chosen[0] not in PRINTABLE_TOGETHER:
        raise typer.BadParameter(f"{chosen[0]} of several recordings needs --output-dir", param_hint="--format")
    return chosen
