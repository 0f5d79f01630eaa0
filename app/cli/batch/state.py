"""The state of a batch: `.callscribe-batch.jsonl`, one JSON object on each line, so that a command can be resumed.

The first line says what the batch is. Each other line says how far a recording is, and the last line of a recording
counts. A line is written whole or not at all: a command that is killed leaves no part of one that is believed. Memory
holds a position for each recording, not its line.
"""

import fcntl
import hashlib
import json
import os
import uuid
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass, fields, replace
from enum import StrEnum
from pathlib import Path
from typing import Any

from app.cli.batch.listing import Fingerprint

FILE_NAME = ".callscribe-batch.jsonl"
VERSION = 1
BLOCK_BYTES = 4096


class Unusable(Exception):
    """Says in one line why the command cannot go on as it was called."""


class Progress(StrEnum):
    POSTED = "posted"
    COMPLETED = "completed"
    FAILED = "failed"


@dataclass(frozen=True)
class Entry:
    """How far a recording is. `number` counts the times that it was tried again after a failure."""

    path: str
    status: Progress
    size: int = 0
    mtime_ns: int = 0
    number: int = 0
    id: str | None = None
    sha256: str | None = None
    code: str | None = None
    message: str | None = None
    duration: float | None = None
    language: str | None = None
    output: str | None = None
    seconds: float | None = None

    @property
    def fingerprint(self) -> Fingerprint:
        return Fingerprint(self.size, self.mtime_ns)


KNOWN = frozenset(field.name for field in fields(Entry))


@dataclass(frozen=True)
class About:
    """What a batch is: its recordings and how they are transcribed. A command goes on only with the same."""

    folder: str
    format: str
    options: dict[str, Any]


class State:
    """The open file. Only one command has it open. Raises OSError if the disk cannot take a line."""

    def __init__(self, path: Path, about: About) -> None:
        """Opens or begins the batch. Raises Unusable if it is in use, or if it is another batch."""
        self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o644)
        self._positions: dict[str, int] = {}
        try:
            self._lock(path)
            self.batch = self._begin(path, about)
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        os.close(self._descriptor)

    def __getitem__(self, path: str) -> Entry | None:
        position = self._positions.get(path)
        if position is None:
            return None
        line = b""
        while not line.endswith(b"\n") and (part := os.pread(self._descriptor, BLOCK_BYTES, position + len(line))):
            line += part[: part.find(b"\n") + 1 or None]
        return _entry(line)

    def __iter__(self) -> Iterator[str]:
        return iter(self._positions)

    def write(self, entry: Entry) -> None:
        values = {name: value for name, value in asdict(entry).items() if value is not None}
        self._positions[entry.path] = self._append(values)

    def idempotency_key(self, path: str, fingerprint: Fingerprint, number: int) -> str:
        """Returns the same key for the same file, also after a kill, because it is computed and not stored."""
        facts = json.dumps([path, fingerprint.size, fingerprint.mtime_ns, number])
        return f"batch-{self.batch}-{hashlib.sha256(facts.encode()).hexdigest()[:32]}"

    def _lock(self, path: Path) -> None:
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise Unusable(f"another callscribe batch is at work in {path.parent}") from None
        except OSError as error:
            raise Unusable(f"{path.parent} cannot be locked: {error.strerror}; choose a folder on a disk") from None

    def _begin(self, path: Path, about: About) -> str:
        """Reads the file, and returns the id of the batch. One without a recording begins anew."""
        whole = 0
        with os.fdopen(os.dup(self._descriptor), "rb") as file:
            file.seek(0)
            first = file.readline()
            if not first.endswith(b"\n"):
                return self._new(about)
            head = _json(first)
            if head.get("callscribe_batch") != VERSION or not isinstance(head.get("id"), str):
                raise Unusable(f"{path} is no state of a batch that this version knows; choose another --output-dir")
            whole = len(first)
            for line in file:
                if line.endswith(b"\n"):
                    if entry := _entry(line):
                        self._positions[entry.path] = whole
                    whole += len(line)
        kept = About(head.get("folder", ""), head.get("format", ""), head.get("options", {}))
        if kept != about:
            if not self._positions:
                return self._new(about)
            raise Unusable(_difference(kept, about, path.parent))
        if whole < os.fstat(self._descriptor).st_size:  # a command ended while it wrote the last line
            os.ftruncate(self._descriptor, whole)
        return str(head["id"])

    def _new(self, about: About) -> str:
        os.ftruncate(self._descriptor, 0)
        batch = uuid.uuid4().hex
        self._append({"callscribe_batch": VERSION, "id": batch, **asdict(about)})
        return batch

    def _append(self, values: dict[str, Any]) -> int:
        """Writes a line that survives a power cut, and returns its position. Raises OSError, and leaves no part."""
        line = json.dumps(values).encode() + b"\n"
        position = os.fstat(self._descriptor).st_size
        try:
            if os.write(self._descriptor, line) < len(line):
                os.write(self._descriptor, b"\n")  # fails with the reason, because the disk is full
                raise OSError("the disk took only a part of a line")
            os.fsync(self._descriptor)
        except OSError:
            with suppress(OSError):
                os.ftruncate(self._descriptor, position)
            raise
        return position


def _json(line: bytes) -> dict[str, Any]:
    """Returns the object, or an empty one for what a power cut may leave."""
    try:
        found = json.loads(line)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _entry(line: bytes) -> Entry | None:
    values = {name: value for name, value in _json(line).items() if name in KNOWN}
    try:
        entry = Entry(**values)
        return replace(entry, status=Progress(entry.status))
    except (TypeError, ValueError):
        return None


def _difference(kept: About, about: About, folder: Path) -> str:
    if kept.folder != about.folder:
        return f"{folder} belongs to a batch of {kept.folder}; choose another --output-dir"
    options = " ".join(f"{name}={value}" for name, value in {"format": kept.format, **kept.options}.items())
    return f"{folder} has a batch with other options ({options}); choose another --output-dir"
