"""Recordings to be transcribed, with what is said in them where that is known."""

import asyncio
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from app.audio.decode import decode
from app.errors import MediaError

LONGEST_SECONDS = 4 * 3600  # what the service takes by default


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
    """The recordings in a folder; a `.txt` of the same stem holds the text of the whole call, in order of time.

    Hidden files are passed over; others that cannot be transcribed are told on stderr.
    """
    shown = [path for path in sorted(folder.iterdir()) if path.is_file() and not path.name.startswith(".")]
    return [call for path in shown if path.suffix != ".txt" and (call := _given(path))]


def save(calls: Sequence[Call], path: Path) -> None:
    path.write_text(json.dumps([asdict(call) for call in calls], default=str))


def load(path: Path) -> list[Call]:
    rows = json.loads(path.read_text())
    return [Call(**{**row, "path": Path(row["path"]), "texts": tuple(row["texts"])}) for row in rows]


def _given(path: Path) -> Call | None:
    """The recording by what can be decoded of it: a container may claim another length, or none."""
    try:
        with TemporaryDirectory() as folder:
            audio = asyncio.run(decode(path, Path(folder), split=False, max_seconds=LONGEST_SECONDS))
    except MediaError as error:
        print(f"{path.name} is left out: {error}", file=sys.stderr)
        return None
    text = path.with_suffix(".txt")
    texts = (text.read_text(),) if text.exists() else ()
    return Call(path, audio.info.channels, audio.duration_seconds, "given", texts=texts)
