"""Gives the recordings of batches to the intake, a few at a time. Every process with an intake runs a feeder.

At most some hundreds of a batch's jobs wait, so that they cannot hold up the calls of the day and a batch of any size
needs little memory. A bucket is listed page by page in the same way. Between two steps nothing is kept in memory, so a
process may die at any time, and another one goes on where it was.
"""

import asyncio
from dataclasses import replace
from datetime import timedelta
from functools import partial

import structlog

from app.access.callers import EVERY_SCOPE, Caller
from app.database.connections import DATABASE_TROUBLE, Database
from app.database.notifications import Signals
from app.database.retries import every
from app.errors import IntakePaused, UrlNotAllowed
from app.intake.intake import Intake
from app.jobs.changes import changing as jobs
from app.jobs.claims.ending import AtEnd
from app.jobs.upkeep.retention import Retention
from app.recording_batches import changing, feeding
from app.recording_batches.key_patterns import KeyPattern
from app.recording_batches.models import BatchStatus, RecordingBatch
from app.recording_batches.requests import asked_or_error
from app.sources.s3_listing import S3Listing
from app.storage.s3 import BucketUnavailable

LEASE = timedelta(seconds=5)
POLL_SECONDS = 0.5
IDLE_SECONDS = 10.0  # without a batch that is open; a new one is notified
IMMEDIATELY, SOON, LATER = timedelta(0), timedelta(seconds=0.5), timedelta(seconds=10)
SWEEP_SECONDS = 60.0
KEYS_AT_ONCE = 1000
ENOUGH_ROWS = 2000  # if so many wait, the bucket is not listed further
JOBS_AT_ONCE = 50
ROWS_AT_ONCE = 5000

log = structlog.stdlib.get_logger("callscribe.batches")


class Feeder:
    """Looks after recording batches until it is cancelled."""

    def __init__(
        self,
        database: Database,
        signals: Signals,
        intake: Intake,
        listing: S3Listing,
        retention: Retention,
        at_end: AtEnd,
        keep_days: int | None = None,
    ) -> None:
        self._database = database
        self._signals = signals
        self._intake = intake
        self._listing = listing
        self._retention = retention
        self._at_end = at_end
        self._any_open = True
        self._keep = None if keep_days is None else timedelta(days=keep_days)

    async def run(self) -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(self._signals.follow(changing.BATCHES_TOPIC, self.look_after_all, self._longest_pause))
            group.create_task(every(SWEEP_SECONDS, self.sweep))

    def _longest_pause(self) -> float:
        return POLL_SECONDS if self._any_open else IDLE_SECONDS

    async def look_after_all(self) -> None:
        """Look after each batch that is due, until none is."""
        while not self._intake.closed:
            async with self._database.transaction() as session:
                batch = await feeding.claim(session, LEASE)
                self._any_open = batch is not None or await feeding.any_open(session)
            if batch is None:
                return
            try:
                await self._look_after(batch)
            except DATABASE_TROUBLE:
                raise
            except Exception:  # one batch must not end the process, and the lease makes it wait for a while
                log.exception("batch not looked after", batch=str(batch.id))

    async def sweep(self) -> None:
        """Erase batches that ended as long ago as transcripts are kept."""
        if self._keep is not None:
            async with self._database.transaction() as session:
                await feeding.erase_ended(session, self._keep)

    async def _look_after(self, batch: RecordingBatch) -> None:
        pause, trouble = IMMEDIATELY, batch.trouble
        match batch.status:
            case BatchStatus.FEEDING:
                trouble = await self._list(batch)
                is_busy = await self._feed(batch)
                pause = IMMEDIATELY if is_busy else SOON if trouble is None else LATER
                if not is_busy and await self._has_ended(batch):
                    return
            case BatchStatus.RUNNING:
                if await self._has_ended(batch):
                    return
                pause = SOON
            case BatchStatus.CANCELLED:
                if not await self._cancel_some(batch):
                    if await self._has_ended(batch):
                        return
                    pause = SOON
            case _:  # it is to be erased, or the request that brought it was interrupted
                if await self._erase_some(batch):
                    return
        async with self._database.transaction() as session:
            await feeding.look_again(session, batch.id, pause, trouble)

    async def _list(self, batch: RecordingBatch) -> str | None:
        """List a part of the bucket if rows will be needed soon. Returns why that was not possible."""
        if batch.is_listed or batch.source is None or batch.waiting >= ENOUGH_ROWS:
            return batch.trouble
        pattern = KeyPattern.parse(batch.source)
        try:
            keys = await self._listing.keys_after(pattern.bucket, pattern.folder, batch.listed_after, KEYS_AT_ONCE)
        except (BucketUnavailable, FileNotFoundError, UrlNotAllowed) as error:
            log.warning("bucket not listed; it is tried again", batch=str(batch.id), error=str(error))
            return f"The bucket could not be listed: {getattr(error, 'reason', error)}."
        urls = [pattern.url_of(key) for key in keys if pattern.matches(key) and not key.endswith("/")]
        after, is_last = keys[-1] if keys else batch.listed_after, len(keys) < KEYS_AT_ONCE
        async with self._database.transaction() as session:
            await feeding.record_listed(session, batch, urls, after, is_last=is_last)
        return None

    async def _feed(self, batch: RecordingBatch) -> bool:
        """Give some rows to the intake. Returns whether there may be more to do immediately.

        While the intake is paused, the rows wait.
        """
        try:
            self._intake.require_open()
        except IntakePaused:
            return False
        async with self._database.transaction() as session:
            seen = await changing.lock(session, batch.id)
            rows = await feeding.waiting_rows(session, seen) if seen is not None else []
        if seen is None or seen.status != BatchStatus.FEEDING:
            return True
        if not rows:
            return not seen.is_listed and seen.listed_after != batch.listed_after
        common = seen.asked
        asked = await asyncio.to_thread(lambda: [asked_or_error(common, row.url, row.fields) for row in rows])
        record = partial(feeding.record_fed, seen=seen, numbers=[row.number for row in rows])
        caller = replace(Caller.of_label(seen.caller), scopes=EVERY_SCOPE)  # its key was checked with the batch
        await self._intake.accept_many(asked, caller, seen.id, record)
        return True

    async def _has_ended(self, batch: RecordingBatch) -> bool:
        async with self._database.transaction() as session:
            return await feeding.end_if_done(session, batch.id)

    async def _cancel_some(self, batch: RecordingBatch) -> bool:
        """Returns whether there was a job to cancel."""
        async with self._database.transaction() as session:
            locked = await changing.lock(session, batch.id)
            if locked is None or locked.status != BatchStatus.CANCELLED:
                return True
            caller = Caller.of_label(batch.caller)
            written = await jobs.cancel_some_of_batch(session, batch.id, caller, self._at_end, JOBS_AT_ONCE)
        for each in written:
            await self._retention.erase_audio(each.job.id, each.forgotten_audio)
        return bool(written)

    async def _erase_some(self, batch: RecordingBatch) -> bool:
        """Erase some jobs, or some rows when no job is left. Returns whether the batch is erased."""
        async with self._database.transaction() as session:
            await feeding.require_erasing(session, batch.id)
            erased = await jobs.erase_some_of_batch(session, batch.id, batch.tenant, JOBS_AT_ONCE)
            is_gone = not erased and await feeding.erase_rows(session, batch.id, ROWS_AT_ONCE)
        for job_id, keys in erased:
            await self._retention.erase_audio(job_id, keys)
        return is_gone
