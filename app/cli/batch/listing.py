"""Lists the recordings of a folder and its sub-folders, and names the files of their transcripts. Knows no server."""

import hashlib
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path, PurePath

from app.cli.recordings import EXTENSIONS, SUFFIXES
from app.transcripts.formats import Format

MAX_NAME_BYTES = 240  # of 255 that file systems allow, because a file that is being written has a longer name


@dataclass(frozen=True)
class Fingerprint:
    """What tells that a recording is still the same file."""

    size: int
    mtime_ns: int

    @classmethod
    def of(cls, found: os.stat_result) -> "Fingerprint":
        return cls(found.st_size, found.st_mtime_ns)


def recordings_below(folder: Path, without: Path, unreadable: Callable[[str, OSError], None]) -> list[str]:
    """Returns the paths of the recordings, relative to the folder, in the order of their names.

    It leaves out hidden files and folders, links to folders, and the folder `without`. It calls `unreadable` with each
    sub-folder that cannot be listed.
    """
    found: list[str] = []
    waiting = [""]
    while waiting:
        below = waiting.pop()
        try:
            entries = sorted(os.scandir(folder / below), key=lambda entry: entry.name)
        except OSError as error:
            unreadable(below, error)
            continue
        visible = [entry for entry in entries if not entry.name.startswith(".")]
        folders = [entry for entry in visible if entry.is_dir(follow_symlinks=False) and Path(entry.path) != without]
        found += [
            os.path.join(below, entry.name)  # noqa: PTH118  a path object would need five times the memory
            for entry in visible
            if os.path.splitext(entry.name)[1].lower() in SUFFIXES and entry.is_file()  # noqa: PTH122
        ]
        waiting += [os.path.join(below, entry.name) for entry in reversed(folders)]  # noqa: PTH118
    return found


def output_name(path: str, form: Format) -> str:
    """Returns the transcript's path. It has the whole name of the recording, so `a.wav` and `a.mp3` stay apart.

    A name that is too long is replaced by a number that is computed from it.
    """
    name = PurePath(path).name
    if len(os.fsencode(name)) + len(EXTENSIONS[form]) + 1 > MAX_NAME_BYTES:
        name = hashlib.sha256(os.fsencode(name)).hexdigest()
    return str(PurePath(path).with_name(f"{name}.{EXTENSIONS[form]}"))
