"""The options that `transcribe` and `batch` share: how a recording is transcribed, with the help of each option."""

from collections.abc import Sequence
from typing import Annotated

import typer

from app.audio.raw import HIGHEST_RATE, LOWEST_RATE
from app.intake.requests import MOST_SPEAKERS
from app.transcripts.transcript import Channels, Encoding, Task

ChannelsOption = Annotated[
    Channels, typer.Option(help="split if each channel has a speaker of its own, mix to join all channels.")
]
LabelsOption = Annotated[
    list[str] | None,
    typer.Option(help="With split, the name of the first channel. Repeat the option for the next ones."),
]
DiarizeOption = Annotated[bool, typer.Option("--diarize", help="Tell speakers on one channel apart by their voices.")]
SpeakersOption = Annotated[
    int | None,
    typer.Option(min=2, max=MOST_SPEAKERS, help="With --diarize, how many speakers there are on a channel."),
]
LanguageOption = Annotated[str, typer.Option(help="Language such as en, en-US or English, or auto to detect it.")]
LanguagesOption = Annotated[
    str,
    typer.Option(help="Languages such as en,es: the language is detected among these only.", show_default=False),
]
TaskOption = Annotated[Task, typer.Option(help="translate gives the words in English.")]
WordTimestampsOption = Annotated[
    bool, typer.Option("--word-timestamps", help="Add the times of words to json and whisper.")
]
PromptOption = Annotated[str | None, typer.Option(help="Text with names and terms that the model should expect.")]
HotwordsOption = Annotated[
    list[str] | None, typer.Option(help="Word that the model should expect. Repeat the option for more words.")
]
EncodingOption = Annotated[
    Encoding | None,
    typer.Option(
        help="What recordings without a header hold. Without it, the ending of a name says it, such as .ulaw."
    ),
]
SampleRateOption = Annotated[
    int | None,
    typer.Option(min=LOWEST_RATE, max=HIGHEST_RATE, help="Sample rate in Hz of recordings with that --encoding."),
]


def listed(names: str) -> tuple[str, ...]:
    """Returns the names that commas separate."""
    return tuple(name for name in map(str.strip, names.split(",")) if name)


def check_speakers(diarize: bool, speakers: int | None) -> None:
    """Raises typer.BadParameter if there is a number of speakers, and they are not to be told apart."""
    if speakers is not None and not diarize:
        raise typer.BadParameter("needs --diarize, which tells the speakers apart", param_hint="--speakers")


def check_labels(channels: Channels, labels: Sequence[str]) -> None:
    """Raises typer.BadParameter if the labels cannot name the channels."""
    if labels and channels != "split":
        raise typer.BadParameter("needs --channels split, which separates the channels", param_hint="--channel-label")
    if twice := [label for label in labels if labels.count(label) > 1]:
        raise typer.BadParameter(f"two channels are called {twice[0]!r}", param_hint="--channel-label")
