"""Takes one recording of the folder: it becomes a durable job, and then the file goes to the accepted ones.

The job is written first. If the process is killed before it has moved the file, the next scan finds the job by the
file's identity and only moves the file.
"""

import os
from collections.abc import Awaitable, Callable
from dataclasses import replace
from functools import partial
from uuid import UUID

import structlog
from uuid_utils.compat import uuid7

from app import tracing, wording
from app.access.callers import EVERY_SCOPE, Caller
from app.database.connections import Database
from app.deliveries.outputs import Output, files_of
from app.errors import AppError, BadMedia, IdempotencyKeyReused, NoAudio, TooLarge, UnsupportedMedia
from app.intake.ask import Accepted, Ask, Stored
from app.intake.folder.asking import MOST_SIDE_BYTES, Asking, SideFileInvalid
from app.intake.folder.disk import Disk, Unreadable
from app.intake.folder.names import Parts, Seen, shown, side_names
from app.intake.folder.place import ACCEPTED, Gone, Opened, is_being_written
from app.intake.folder.refusing import refuse
from app.intake.folder.settling import HEAD_BYTES, Settling, looks_incomplete
from app.intake.folder.written import transcript_in
from app.intake.intake import Intake
from app.intake.problem import as_json, may_pass, problem_of
from app.jobs.changes import followed
from app.jobs.claims.ending import AtEnd
from app.process.threads import BoundedThreads
from app.storage.file_url import file_url
from app.storage.store import StoredAudio
from app.transcripts.transcript import Transcript

FOLDER = Caller("folder", scopes=EVERY_SCOPE)
OF_INCOMPLETE_FILES = (BadMedia, NoAudio, UnsupportedMedia, SideFileInvalid)

log = structlog.stdlib.get_logger("callscribe.watch")

Seconds = float
OUTPUT_THREADS = 2
OUTPUT_SECONDS = 30.0


class NotYet(Exception):
    """The file is not complete yet. It may be after `seconds`."""

    def __init__(self, seconds: Seconds) -> None:
        super().__init__(f"not before {seconds:g} s")
        self.seconds = seconds


class Taker:
    """`output_of` says where the outputs of a recording go, by its path below the folder."""

    def __init__(
        self,
        disk: Disk,
        settling: Settling,
        asking: Asking,
        intake: Intake,
        database: Database,
        at_end: AtEnd,
        output_of: Callable[[Parts], Output | None],
    ) -> None:
        self._disk = disk
        self._settling = settling
        self._asking = asking
        self._intake = intake
        self._database = database
        self._at_end = at_end
        self._output_of = output_of
        self._output_threads = BoundedThreads("watch-output", OUTPUT_THREADS)  # it may be on another disk

    async def take(self, seen: Seen, now_ns: int, unchanged_seconds: Seconds) -> None:
        """Make a job of the file, or put it aside with the reason. If the file is gone, nothing happens.

        Raises NotYet and Unreadable for this file alone, and AppErrors that may pass for all.
        """
        patience = self._settling.more_patience(seen, now_ns, unchanged_seconds)
        try:
            with await self._disk.run(partial(self._disk.place.open_alone, seen)) as file:
                await self._take(seen, file, patience)
        except Gone:
            pass

    async def _take(self, seen: Seen, file: Opened, patience: Seconds) -> None:
        side_file = await self._disk.run(partial(self._look, seen, file.fileno(), patience))
        try:
            job_id = await self._accept(seen, file, side_file[1] if side_file else None)
        except AppError as error:
            if may_pass(error):
                raise
            if patience > 0 and isinstance(error, OF_INCOMPLETE_FILES):  # an upload may have paused
                raise NotYet(patience) from error
            await self._refuse(seen, side_file[0] if side_file else None, error)
        else:
            await self.move(seen, job_id, [side_file[0]] if side_file else [])

    def _look(self, seen: Seen, descriptor: int, patience: Seconds) -> tuple[Parts, bytes] | None:
        """The path and the bytes of the side file. Raises NotYet if it or the recording is not complete."""
        place, settling = self._disk.place, self._settling
        if not place.is_unchanged(seen, descriptor) or is_being_written(descriptor):
            raise NotYet(settling.settle_seconds)
        if patience > 0 and looks_incomplete(os.pread(descriptor, HEAD_BYTES, 0), seen.size):
            raise NotYet(patience)
        for name in side_names(seen.name):
            parts = (*seen.parts[:-1], name)
            if (found := place.small_file(parts, MOST_SIDE_BYTES)) is not None:
                content, side = found
                if patience > 0 and (missing := settling.missing_seconds(side, place.now_ns())) > 0:
                    raise NotYet(min(missing, settling.settle_seconds))
                return parts, content
        return None

    async def _accept(self, seen: Seen, file: Opened, side_file: bytes | None) -> UUID:
        """The id of the file's job. Raises AppError and NotYet."""
        name, most = shown(seen.name), self._intake.limits.upload_bytes
        ask = replace(self._asking.ask(seen.name, side_file), folder_output=self._output_of(seen.parts))
        if seen.size > most:
            raise TooLarge(f"The recording is larger than {most} bytes.")
        with tracing.span("take file", tracing.ROOT, tracing.SpanKind.CONSUMER, callscribe__bytes=seen.size) as span:
            job_id = await self._save(seen, file, name, ask)
            tracing.describe(span, callscribe__job__id=str(job_id))
            return job_id

    async def _save(self, seen: Seen, file: Opened, name: str, ask: Ask) -> UUID:
        source = file_url(self._disk.place.root.joinpath(*seen.parts))
        if (transcript := await self._written(ask)) is not None:
            unkept = StoredAudio(str(uuid7()), seen.size, "", kept=False)
            return await self._job_of(
                seen,
                self._intake.accept_written(
                    Stored(unkept, name, source), ask, FOLDER, seen.identity, transcript, self._at_end
                ),
            )
        async with self._intake.receiving(FOLDER, seen.identity, seen.size) as save:
            audio = await save(self._disk.blocks(file.fileno()))
            if not await self._disk.run(partial(self._disk.place.is_unchanged, seen, file.fileno())):
                raise NotYet(self._settling.settle_seconds)
        accepting = self._intake.accept(Stored(audio, name, source), ask, FOLDER, seen.identity)
        return await self._job_of(seen, accepting)

    async def _written(self, ask: Ask) -> Transcript | None:
        """The transcript in the recording's outputs, if they are there already.

        If it is to be redacted, nobody knows whether that transcript is, so the recording is transcribed again.
        """
        if ask.folder_output is None or self._intake.redacts(ask):
            return None
        files = files_of([ask.folder_output], {})
        try:
            return await self._output_threads.run(partial(transcript_in, files), OUTPUT_SECONDS)
        except TimeoutError:
            raise Unreadable("the folder of its output does not answer") from None
        except OSError as error:
            raise Unreadable(f"its output cannot be read: {wording.of_disk(error)}") from error

    async def _job_of(self, seen: Seen, accepting: Awaitable[Accepted]) -> UUID:
        """The id of the accepted job. Raises AppError."""
        try:
            accepted = await accepting
        except IdempotencyKeyReused:  # another process took the file, and its side file is moved already
            return await self._known(seen)
        job, file = accepted.job, shown("/".join(seen.parts))
        log.info("a recording was accepted", job=str(job.id), file=file, bytes=seen.size, repeated=not accepted.is_new)
        return job.id

    async def _known(self, seen: Seen) -> UUID:
        async with self._database.transaction() as session:
            jobs = await followed.by_keys(session, FOLDER.name, [seen.identity])
        if seen.identity not in jobs:  # it was deleted in this moment
            raise NotYet(self._settling.settle_seconds)
        return jobs[seen.identity]

    async def move(self, seen: Seen, job_id: UUID, side_files: list[Parts] | None = None) -> None:
        """Move the file of a job to the accepted ones. `side_files` is None if it is not known which it has."""
        beside = [(*seen.parts[:-1], name) for name in side_names(seen.name)] if side_files is None else side_files
        await self._disk.run(partial(self._move, seen, job_id, beside))

    def _move(self, seen: Seen, job_id: UUID, side_files: list[Parts]) -> None:
        """The side file first: if the process is killed in between, the recording leads to both again.

        A client may have replaced the recording in this moment. Then the new one goes back.
        """
        place, target = self._disk.place, (ACCEPTED, str(job_id))
        current = place.status(seen.parts)
        if current is None or not seen.is_same_content(current):
            return
        for side_file in side_files:
            if place.status(side_file) is not None:
                place.move(side_file, (*target, *side_file))
        if place.move(seen.parts, (*target, *seen.parts)):
            moved = place.status((*target, *seen.parts))
            if moved is not None and not seen.is_same_content(moved):
                place.move_to_free_name((*target, *seen.parts), seen.parts)

    async def erase(self, seen: Seen) -> None:
        """Remove a file whose transcription was deleted before the file was moved."""
        await self._disk.run(partial(self._disk.place.remove, seen.parts))
        log.info("a recording was erased, because its transcription was deleted", file=shown("/".join(seen.parts)))

    async def _refuse(self, seen: Seen, side_file: Parts | None, error: AppError) -> None:
        problem = as_json(problem_of(error))
        if await self._disk.run(partial(refuse, self._disk.place, seen.parts, seen.parts, side_file, problem)):
            log.warning("a recording was refused", file=shown("/".join(seen.parts)), code=error.code, why=error.reason)
