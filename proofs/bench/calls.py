"""The recordings that all contenders transcribe, with their reference texts if these are known."""

import asyncio
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from app.audio.decode import decode
from app.errors import MediaError

LONGEST_SECONDS = 4 * 3600  # the service's default limit


@dataclass(frozen=True)
class Call:
    """A recording. `texts` holds one reference text per channel, one for the whole call, or none.

    `language` is an ISO 639-1 code, or None if it is not known. The results group calls by `condition`.
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
    """Text that a contender recognized on a channel. It begins at `start`, in seconds."""

    channel: int
    start: float
    text: str


def channel_seconds(calls: Sequence[Call]) -> float:
    return sum(call.channel_seconds for call in calls)


def recordings_in(folder: Path) -> list[Call]:
    """Returns the recordings in a folder.

    A `.txt` file with the same stem holds the text of the whole call, in order of time.

    Hidden files are ignored. Other files that cannot be decoded are reported on stderr.
    """
    shown = [path for path in sorted(folder.iterdir()) if path.is_file() and not path.name.startswith(".")]
    return [call for path in shown if path.suffix != ".txt" and (call := _recording(path))]


def save(calls: Sequence[Call], path: Path) -> None:
    path.write_text(json.dumps([asdict(call) for call in calls], default=str))


def load(path: Path) -> list[Call]:
    rows = json.loads(path.read_text())
    return [Call(**{**row, "path": Path(row["path"]), "texts": tuple(row["texts"])}) for row in rows]


def _recording(path: Path) -> Call | None:
    """Returns the recording with its decoded length, or None if it cannot be decoded.

    Its header may announce another length, or none. Returns None if it has no audio.
    """
    try:
        with TemporaryDirectory() as folder:
            audio = asyncio.run(decode(path, Path(folder), split=False, max_seconds=LONGEST_SECONDS))
    except MediaError as error:
        print(f"{path.name} is left out: {error}", file=sys.stderr)
        return None
    text = path.with_suffix(".txt")
    texts = (text.read_text(),) if text.exists() else ()
    return Call(path, audio.info.channels, audio.duration_seconds, "given", texts=texts)
