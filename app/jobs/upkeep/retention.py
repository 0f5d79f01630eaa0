"""Erases recordings and transcriptions of ended jobs after the time that they are kept, and old entries of the audit.

Every process does so. It also adds up the usage, which stays.

The row forgets its recording before the store erases it. If recordings are not kept, that happens in the transaction
that ends the job. Recordings of failed and cancelled jobs may be kept for longer, so that they can be retried.
If a crash interrupts the erasing, the recording is an orphan: a file that no row needs.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Sequence
from datetime import timedelta
from itertools import chain
from uuid import UUID

import structlog
from sqlmodel.ext.asyncio.session import AsyncSession

from app.access import audit
from app.database.connections import Database
from app.database.retries import every
from app.errors import InsufficientStorage
from app.jobs.upkeep import erasure, usage
from app.storage.disk import FreeSpace
from app.storage.store import AudioStore, StoreUnavailable

SWEEP_SECONDS = 60.0
ORPHAN_SECONDS = 3600.0
BATCH = 500
REFUSALS_IN_A_ROW = 3
ORPHAN_BATCH = 1000
ROWS_AT_ONCE = 5000
KEEP_AUDIT_DAYS = 365

log = structlog.stdlib.get_logger("callscribe.retention")


class Retention:
    """Erases recordings `keep_audio_days` after their job's end, transcriptions `keep_transcript_days` after it.

    0 days keep a recording until its job ends; None keeps transcriptions for ever. Recordings that somebody may
    want again (`lifecycle.may_be_wanted_again`) are kept for `keep_failed_audio_days` if that is longer, but only while
    there is `free_space`, if that is not None. `others` erase rows of other parts, some in each call, and return how
    many.
    """

    def __init__(
        self,
        database: Database,
        store: AudioStore,
        *,
        keep_audio_days: int = 0,
        keep_failed_audio_days: int = 0,
        keep_transcript_days: int | None = None,
        keep_audit_days: int = KEEP_AUDIT_DAYS,
        free_space: FreeSpace | None = None,
        others: Sequence[Callable[[AsyncSession], Awaitable[int]]] = (),
    ) -> None:
        self._database = database
        self._store = store
        self._free_space = free_space
        self._others = others
        self._keep_audio = timedelta(days=keep_audio_days)
        self._keep_failed_audio = timedelta(days=max(keep_audio_days, keep_failed_audio_days))
        self._keep_transcript = None if keep_transcript_days is None else timedelta(days=keep_transcript_days)
        self._keep_audit = timedelta(days=keep_audit_days)
        self._unneeded = set[str]()  # found by the last search for orphans

    async def run(self) -> None:
        """Sweep until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(every(SWEEP_SECONDS, self.sweep))
            group.create_task(every(ORPHAN_SECONDS, self.erase_orphans))
            group.create_task(every(SWEEP_SECONDS, self.add_up_usage))

    @property
    def forgets_audio(self) -> bool:
        """Whether a recording is erased as soon as its job ends."""
        return not self._keep_audio

    @property
    def forgets_failed_audio(self) -> bool:
        """Whether that holds for a job that fails or that a client cancels, too."""
        return not self._keep_failed_audio

    async def erase_audio(self, job_id: UUID, keys: Iterable[str]) -> None:
        """Erase recordings that their row has forgotten. If that fails, the recording is an orphan."""
        for key in keys:
            await self._erase(key, job=str(job_id))

    async def sweep(self) -> None:
        """Erase what has been kept for its time, one batch in each transaction."""
        keep_transcript = self._keep_transcript
        if keep_transcript is not None:
            await self._erase_batches(lambda session: erasure.erase_ended(session, keep_transcript, BATCH))
        await self._forget_audio(self._keep_failed_audio)
        if self._keep_failed_audio > self._keep_audio and await self._is_disk_short():
            erased = await self._forget_audio(self._keep_audio)
            if erased:
                log.warning(
                    "recordings of failed and cancelled jobs were erased early: the disk is almost full", erased=erased
                )

        await self._in_batches(lambda session: audit.erase_old(session, self._keep_audit, ROWS_AT_ONCE))
        for erase in self._others:
            await self._in_batches(erase)

    async def add_up_usage(self) -> None:
        """Add the entries of usage to the sums."""
        await self._in_batches(usage.add_up)

    async def _in_batches(self, work: Callable[[AsyncSession], Awaitable[int]]) -> None:
        """Do the work in one transaction after the other, until it finds nothing more."""
        found = 1
        while found:
            async with self._database.transaction() as session:
                found = await work(session)

    async def _forget_audio(self, keep_failed: timedelta) -> int:
        return await self._erase_batches(
            lambda session: erasure.forget_audio(session, self._keep_audio, keep_failed, BATCH)
        )

    async def _is_disk_short(self) -> bool:
        if self._free_space is None:
            return False
        try:
            await self._free_space.require()
        except InsufficientStorage:
            return True
        except StoreUnavailable:  # the disk does not answer
            pass
        return False

    async def _erase_batches(self, erase: Callable[[AsyncSession], Awaitable[list[list[str]]]]) -> int:
        """Returns how many rows were changed."""
        changed = 0
        while True:
            async with self._database.transaction() as session:
                keys = await erase(session)
            refused = await self._erase_all(list(chain.from_iterable(keys)))
            changed += len(keys)
            if len(keys) < BATCH or refused:  # make no more orphans for now while the store is in trouble
                return changed

    async def _erase_all(self, keys: Sequence[str]) -> int:
        """Erase recordings. Returns how many of them the store refused.

        After several refusals in a row, the others are left as orphans.
        """
        refused = in_a_row = 0
        for key in keys:
            erased = await self._erase(key)
            refused, in_a_row = refused + (not erased), 0 if erased else in_a_row + 1
            if in_a_row == REFUSALS_IN_A_ROW:
                break
        return refused

    async def erase_orphans(self) -> None:
        """Erase recordings that no job needs, because an upload was interrupted or an erasing failed.

        A recording that has just arrived is in no row yet. A folder dates it by its last byte, but Amazon's bucket by
        its first. So only recordings that the search an hour ago found too are erased.
        """
        try:
            found = list(filter(_is_ours, await self._store.untouched(ORPHAN_SECONDS)))
        except OSError as error:
            log.warning("store not searched for orphans; the search is repeated in an hour", error=repr(error))
            return
        unneeded = set[str]()
        for start in range(0, len(found), ORPHAN_BATCH):
            batch = found[start : start + ORPHAN_BATCH]
            async with self._database.transaction() as session:
                unneeded |= set(batch) - await erasure.needed_audio(session, batch)
        orphans = unneeded & self._unneeded
        self._unneeded = unneeded
        for key in orphans:
            if await self._erase(key):
                log.info("orphaned recording erased", key=key)

    async def _erase(self, key: str, **facts: str) -> bool:
        """Erase one recording. Returns whether the store could, because it may refuse one and erase the next."""
        try:
            await self._store.delete(key)
        except OSError as error:
            facts["error"] = repr(error)
            log.warning("recording not erased; the search for orphans tries again", key=key, **facts)
            return False
        return True


def _is_ours(key: str) -> bool:
    """Whether a recording may have this key. Other files in the store are not ours."""
    try:
        return str(UUID(key)) == key
    except ValueError:
        return False
