"""Clears the accepted recordings away when their jobs have ended.

It goes by the jobs in the database, so any process can do it for all, and after any crash.
"""

import json
import time
from collections.abc import Sequence
from contextlib import suppress
from functools import partial
from uuid import UUID

import structlog

from app.database.connections import Database
from app.errors import AppError
from app.intake.folder.disk import Disk, Unreadable
from app.intake.folder.fates import Fate, fate_of
from app.intake.folder.names import Seen, is_recording, shown
from app.intake.folder.place import ACCEPTED, DONE, REFUSED, Gone, Place
from app.intake.folder.refusing import ERROR_ENDING, refuse
from app.intake.problem import as_json, problem_of
from app.jobs.changes import followed
from app.jobs.changes.followed import Followed
from app.storage.file_url import file_url

BATCH = 200
FORGET_SECONDS = 3600.0
MOST_REASON_BYTES = 64 * 1024

log = structlog.stdlib.get_logger("callscribe.watch")


class Clearing:
    """If `keep` is set, the recordings of completed jobs stay, in a folder of their own."""

    def __init__(self, disk: Disk, database: Database, *, keep: bool) -> None:
        self._disk = disk
        self._database = database
        self._keep = keep
        self._forget_at = 0.0

    async def run(self) -> None:
        """Look at every accepted recording once, and at what was deleted."""
        await self._erase_deleted()
        ids = await self._disk.run(self._accepted)
        for start in range(0, len(ids), BATCH):
            batch = ids[start : start + BATCH]
            async with self._database.transaction() as session:
                jobs = await followed.states(session, batch)
                deleted = await followed.erased_among(session, set(batch) - jobs.keys())
            for job_id in batch:
                job = jobs.get(job_id)
                if job is None or (job.status.final and not job.outputs_left):
                    await self._try_to_clear(job_id, job, was_deleted=job_id in deleted)

    async def _try_to_clear(self, job_id: UUID, job: Followed | None, *, was_deleted: bool) -> None:
        try:
            await self._disk.run(partial(self._clear, job_id, job, was_deleted=was_deleted))
        except Unreadable as error:
            log.warning("an accepted recording was not cleared away", job=str(job_id), error=str(error))

    def _accepted(self) -> list[UUID]:
        found = []
        place = self._disk.place
        for name in place.folders((ACCEPTED,)):
            with suppress(ValueError):  # it is not ours
                found.append(UUID(name))
        return found

    def _clear(self, job_id: UUID, job: Followed | None, *, was_deleted: bool) -> None:
        place, folder = self._disk.place, (ACCEPTED, str(job_id))
        files = place.files(folder)
        recording = next((file for file in files if is_recording(file.name)), None)
        side_file = next((file.parts for file in files if file != recording), None)
        fate = fate_of(job, recording.size if recording else None, was_deleted=was_deleted)
        match fate:
            case Fate.STAYS:
                return
            case Fate.RETURNS:
                for file in sorted(files, key=lambda file: is_recording(file.name)):  # the side file first
                    place.move_to_free_name(file.parts, file.parts[len(folder) :])
                log.warning("a recording went back into the folder, because its job is unknown", job=str(job_id))
            case Fate.DONE if self._keep:
                for file in files:
                    place.move_to_free_name(file.parts, (DONE, *file.parts[1:]))
            case AppError() if recording is not None:
                problem = as_json(problem_of(fate, transcription=str(job_id)))
                path = recording.parts[len(folder) :]
                if refuse(place, recording.parts, path, side_file, problem):
                    log.warning("a recording was put aside", job=str(job_id), file=shown("/".join(path)), why=fate.code)
            case Fate.DONE | Fate.ERASED:
                for file in files:
                    place.remove(file.parts)
        place.remove_if_empty(folder)  # another process may be moving the recording into it in this moment

    async def _erase_deleted(self) -> None:
        """Erase what is left in the folder of transcriptions that were deleted."""
        below = file_url(self._disk.place.root) + "/"
        async with self._database.transaction() as session:
            ids = await followed.newly_erased(session, below, BATCH)
        if ids:
            await self._disk.run(partial(_erase, self._disk.place, ids))
            async with self._database.transaction() as session:
                await followed.used(session, ids)
        if time.monotonic() >= self._forget_at:
            self._forget_at = time.monotonic() + FORGET_SECONDS
            async with self._database.transaction() as session:
                await followed.forget_old(session)


def _erase(place: Place, ids: Sequence[UUID]) -> None:
    names = {str(job_id) for job_id in ids}
    for name in names:
        place.remove_tree((ACCEPTED, name))
        place.remove_tree((DONE, name))
    for reason in place.files((REFUSED,)):
        if reason.name.endswith(ERROR_ENDING) and _job_of(place, reason) in names:
            place.remove((*reason.parts[:-1], reason.name.removesuffix(ERROR_ENDING)))
            place.remove(reason.parts)


def _job_of(place: Place, reason: Seen) -> str | None:
    """The transcription that a file names as refused."""
    with suppress(Gone, ValueError):
        found = place.small_file(reason.parts, MOST_REASON_BYTES)
        problem = json.loads(found[0]) if found else None
        return str(problem.get("transcription")) if isinstance(problem, dict) else None
    return None
