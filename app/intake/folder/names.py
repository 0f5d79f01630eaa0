"""Which files of a watched folder are recordings, and what their names say. Pure.

A name may hold bytes that are not UTF-8. Python keeps those as surrogates, so that the file can be opened again.
"""

import hashlib
import os
from dataclasses import dataclass
from pathlib import PurePosixPath

HIDDEN = "."
SIDE_ENDING = ".json"
# What clients and browsers call a file until its last byte has come.
UNFINISHED = (".part", ".partial", ".filepart", ".tmp", ".temp", ".crdownload", "~")
MOST_NAME_BYTES = 255
OF_DESKTOPS = frozenset({"thumbs.db", "desktop.ini"})

Parts = tuple[str, ...]


@dataclass(frozen=True)
class Seen:
    """A file as it was found. `parts` is its path below the watched folder. Times are the file system's own."""

    parts: Parts
    size: int
    mtime_ns: int
    ctime_ns: int
    inode: int

    @classmethod
    def of(cls, parts: Parts, status: os.stat_result) -> "Seen":
        return cls(parts, status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino)

    @property
    def name(self) -> str:
        return self.parts[-1]

    @property
    def identity(self) -> str:
        """The idempotency key of the file's job. Every process finds the same one, and no later file has it.

        A file that is uploaded again, or moved back into the folder, gets a new time of change, which no program can
        set. So it becomes a new job, even if its size and its time of modification are those of the first one. The
        inode is left out, because some network mounts number files differently on each machine.
        """
        facts = f"{self.size} {self.mtime_ns} {self.ctime_ns} ".encode()
        return "watch-" + hashlib.sha256(facts + os.fsencode("/".join(self.parts))).hexdigest()

    def is_same_content(self, status: os.stat_result) -> bool:
        """Whether a file that may have been renamed since then is this one, unchanged."""
        return (status.st_ino, status.st_size, status.st_mtime_ns) == (self.inode, self.size, self.mtime_ns)


def is_recording(name: str) -> bool:
    """Whether a file of this name is to be transcribed when it is complete."""
    lower = name.lower()
    return not (lower.startswith(HIDDEN) or lower.endswith((*UNFINISHED, SIDE_ENDING)) or lower in OF_DESKTOPS)


def is_side_file(name: str) -> bool:
    return name.lower().endswith(SIDE_ENDING) and not name.startswith(HIDDEN)


def is_watched_folder(name: str) -> bool:
    return not name.startswith(HIDDEN)


def side_names(name: str) -> tuple[str, str]:
    """The names that a recording's side file may have. The first is exact: `call.mp3` may be beside `call.wav`."""
    return name + SIDE_ENDING, stem(name) + SIDE_ENDING


def stem(name: str) -> str:
    return PurePosixPath(name).stem


def shown(name: str) -> str:
    """The name as text. Bytes that are not UTF-8 become U+FFFD."""
    return os.fsencode(name).decode(errors="replace")


def numbered(name: str, number: int, room: int = 0) -> str:
    """A name that is used if the file's own is taken: `call~2.wav`. It leaves `room` for so many more bytes."""
    ending = PurePosixPath(name).suffix
    mark = f"~{number}" if number > 1 else ""
    most = MOST_NAME_BYTES - room - len(os.fsencode(mark + ending))
    kept = os.fsencode(name.removesuffix(ending) if ending else name)[: max(1, most)]
    return os.fsdecode(kept) + mark + ending
