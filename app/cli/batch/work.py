"""Takes the recordings of a batch to their transcripts, a few at the same time.

Each step is written to the state before the next one, so that a command that is killed loses no more than a request,
which it repeats. What is wrong with a recording becomes an entry of the state. What is wrong with the server, the disk
or the key ends the command, or is waited for.
"""

import errno
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from queue import SimpleQueue

from app.cli.batch.listing import Fingerprint, output_name
from app.cli.batch.server import Fields, FileChanged, Job, Refusal, Server
from app.cli.batch.state import Entry, Progress, State
from app.cli.recordings import printable, write_whole
from app.process.package_files import sha256_of
from app.transcripts.formats import Format

MOST_ROUNDS = 4  # of a recording that changes during its upload, or whose job the server loses
MAX_EXTERNAL_ID = 255
OF_ONE_FILE = frozenset({errno.ENAMETOOLONG, errno.EISDIR, errno.ENOTDIR, errno.EEXIST, errno.EINVAL, errno.EILSEQ})


class Stopped(Exception):
    """Says in one line why the command stops before it is done. The same command continues later."""


@dataclass(frozen=True)
class Work:
    """`folder` has the recordings, and `output_dir` gets the transcripts. `fields` are those of every request."""

    folder: Path
    output_dir: Path
    form: Format
    fields: Fields
    server: Server
    state: State
    disk: threading.Lock = field(default_factory=threading.Lock)  # held while something is written

    def needed(self, paths: Sequence[str], *, retry_failed: bool) -> list[str]:
        """Returns the recordings that have no result yet, that have changed since, or that are tried again."""
        return [path for path in paths if self._is_needed(path, retry_failed=retry_failed)]

    def run(self, paths: Sequence[str], together: int, show: Callable[[Entry], None]) -> None:
        """Calls `show` with the result of each recording. Raises Stopped, and Unusable if the server raises it.

        If it raises, nothing is written any more, so that the process can end without a half-written file.
        """
        left, lock = iter(paths), threading.Lock()
        results: SimpleQueue[Entry | BaseException] = SimpleQueue()

        def work() -> None:
            for path in _taken(left, lock):
                try:
                    results.put(self._transcribe(path))
                except BaseException as error:  # noqa: BLE001  the main thread raises it
                    results.put(error)
                    return

        for _ in range(min(together, len(paths))):
            threading.Thread(target=work, daemon=True).start()
        try:
            for _ in paths:
                result = results.get()
                if isinstance(result, BaseException):
                    raise result
                show(result)
        except BaseException:
            self.disk.acquire()
            raise

    def _is_needed(self, path: str, *, retry_failed: bool) -> bool:
        kept = self.state[path]
        if kept is None or kept.status is Progress.POSTED or (kept.status is Progress.FAILED and retry_failed):
            return True
        return not self._is_the_same(kept)

    def _is_the_same(self, kept: Entry) -> bool:
        """Returns whether the entry is about the file as it is now. A file that is gone is the same."""
        recording = self.folder / kept.path
        try:
            found = Fingerprint.of(recording.stat())
            if found == kept.fingerprint:
                return True
            return found.size == kept.size and kept.sha256 is not None and sha256_of(recording) == kept.sha256
        except OSError:
            return True

    def _transcribe(self, path: str) -> Entry:
        started, kept = time.monotonic(), self.state[path]
        number = 0 if kept is None else kept.number + (kept.status is Progress.FAILED)
        blank = Entry(path, Progress.POSTED, number=number)
        posted = kept if kept and kept.status is Progress.POSTED and self._is_the_same(kept) else None
        try:
            entry = self._result(blank, posted)
        except FileNotFoundError:
            entry = _failed(blank, "file_not_found", "The file is no longer there.")
        except OSError as error:
            entry = _failed(blank, "file_not_readable", f"The file cannot be read: {error.strerror or error}.")
        entry = replace(entry, seconds=round(time.monotonic() - started, 1))
        self._keep(entry)
        return entry

    def _result(self, blank: Entry, posted: Entry | None) -> Entry:
        """Raises OSError if the recording cannot be read."""
        changed = False
        for _ in range(MOST_ROUNDS):
            posted, changed = posted or self._posted(blank), False
            if posted is None:
                changed = True
                continue
            if posted.id is None:  # it was refused
                return posted
            job = self.server.ended(posted.id)
            if job and job["status"] != "completed":
                error = job.get("error") or {"code": job["status"], "message": f"The job was {job['status']}."}
                return _failed(posted, error["code"], error["message"])
            text = self.server.transcript(posted.id, self.form) if job else None
            if job and text is not None:
                return self._completed(posted, job, text)
            posted = None  # the server has lost the job, for example because its database was replaced
        if changed:
            return _failed(blank, "file_changed", "The file changed during each upload.")
        return _failed(blank, "not_found", "The server has lost the transcription several times.")

    def _posted(self, blank: Entry) -> Entry | None:
        """Uploads the recording. Returns None if it changed meanwhile. A refused one has no id."""
        recording = self.folder / blank.path
        found = Fingerprint.of(recording.stat())
        blank = replace(blank, size=found.size, mtime_ns=found.mtime_ns)
        key = self.state.idempotency_key(blank.path, found, blank.number)
        name = printable(blank.path)
        fields = {**self.fields, "external_id": name} if len(name) <= MAX_EXTERNAL_ID else self.fields
        try:
            answer = self.server.post(recording, found, printable(recording.name), fields, key)
        except FileChanged:
            return None
        if isinstance(answer, Refusal):
            return _failed(blank, answer.code, answer.message)
        if _has_changed(recording, found):
            self.server.delete(answer["id"])  # its recording may be half old and half new
            return None
        posted = replace(blank, id=answer["id"], sha256=(answer.get("audio") or {}).get("sha256"))
        self._keep(posted)
        return posted

    def _completed(self, posted: Entry, job: Job, text: bytes) -> Entry:
        name = output_name(posted.path, self.form)
        target = self.output_dir / name
        try:
            with self.disk:
                target.parent.mkdir(parents=True, exist_ok=True)
                write_whole(target, text, durable=True)
        except OSError as error:
            if error.errno in OF_ONE_FILE:
                return _failed(posted, "output_not_written", f"{printable(name)}: {error.strerror}")
            raise Stopped(f"{printable(str(target))}: {error.strerror or error}") from None
        facts = job.get("audio") or {}
        return replace(
            posted,
            status=Progress.COMPLETED,
            duration=facts.get("duration"),
            language=job.get("language"),
            output=name,
        )

    def _keep(self, entry: Entry) -> None:
        try:
            with self.disk:
                self.state.write(entry)
        except OSError as error:
            raise Stopped(f"the state in {self.output_dir} cannot be written: {error.strerror or error}") from None


def _taken(left: Iterator[str], lock: threading.Lock) -> Iterator[str]:
    """Yields paths that no other thread takes."""
    while True:
        with lock:
            path = next(left, None)
        if path is None:
            return
        yield path


def _failed(entry: Entry, code: str, message: str) -> Entry:
    return replace(entry, status=Progress.FAILED, code=code, message=message)


def _has_changed(recording: Path, found: Fingerprint) -> bool:
    """Returns False for a file that is gone, because it was read to its end."""
    try:
        return Fingerprint.of(recording.stat()) != found
    except OSError:
        return False
