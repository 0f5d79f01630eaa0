"""Recordings to be transcribed, with what is said in them where that is known."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import av


@dataclass(frozen=True)
class Call:
    """A recording. `texts` holds a reference per channel, one for the whole call, or nothing.

    `language` is an ISO 639-1 code, or None where it is not known. `condition` groups calls in the results.
    """

    path: Path
    channels: int
    seconds: float
    condition: str
    language: str | None = None
    texts: tuple[str, ...] = ()

    @property
    def channel_seconds(self) -> float:
        return self.channels * self.seconds


@dataclass(frozen=True)
class Piece:
    """What a contender heard on a channel from `start` on, in seconds."""

    channel: int
    start: float
    text: str


def channel_seconds(calls: Sequence[Call]) -> float:
    return sum(call.channel_seconds for call in calls)


def given(folder: Path) -> list[Call]:
    """The recordings in a folder; a `.txt` of the same stem holds the text of the whole call, in order of time."""
    return [_given(path) for path in sorted(folder.iterdir()) if path.is_file() and path.suffix != ".txt"]


def save(calls: Sequence[Call], path: Path) -> None:
    path.write_text(json.dumps([asdict(call) for call in calls], default=str))


def load(path: Path) -> list[Call]:
    rows = json.loads(path.read_text())
    return [Call(**{**row, "path": Path(row["path"]), "texts": tuple(row["texts"])}) for row in rows]


def _given(path: Path) -> Call:
    with av.open(str(path)) as container:
        channels = container.streams.audio[0].channels
        seconds = (container.duration or 0) / av.time_base
    text = path.with_suffix(".txt")
    return Call(path, channels, seconds, "given", texts=(text.read_text(),) if text.exists() else ())
