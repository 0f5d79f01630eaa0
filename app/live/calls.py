"""All live calls of this process: opens them, limits them, and makes a job of each spool when its call has ended.

Spools of processes that are gone are made into jobs too. A call whose job cannot be written now, because the store or
the database is away, stays in its spool until that works.
"""

import asyncio
import secrets
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from math import inf
from uuid import UUID

import structlog
from uuid_utils.compat import uuid7

from app import metrics
from app.access.callers import Caller, tenant_of
from app.access.keys import hash_of
from app.database.connections import DATABASE_TROUBLE, Database
from app.database.retries import despite_database_trouble, every
from app.errors import AppError, FieldError, InvalidRequest, NotFound, ShuttingDown, TryAgainLater
from app.intake.intake import Intake
from app.jobs.models import NewJob
from app.live import events, rows
from app.live.asking import NewCall
from app.live.call import SHUTDOWN, LiveCall
from app.live.events import LiveEvent
from app.live.models import LiveCallRow
from app.live.spool import ANSWER_SECONDS, THREADS, Promise, Spool, Spools
from app.process.places import Holders, Rank
from app.process.shares import Shares
from app.process.tasks import within
from app.process.threads import BoundedThreads
from app.speech.call.assemble import label_of
from app.speech.engine import LiveTranscriber
from app.storage.disk import FreeSpace
from app.storage.workspace import Workspace

SOURCE = "live"
WRITE_SECONDS = 0.25
BEAT_SECONDS = 5.0
RECOVER_SECONDS = 5.0
FORGET_SECONDS = 60.0
RESUME_SECONDS = 60.0
RESUME_TRIES, RESUME_PAUSE_SECONDS = 10, 0.1
"""Somebody else may look at a spool for a moment."""
KEEP_SECONDS = 5.0
"""How long the client of a call that has ended waits until its job is written."""
LONGEST_PAUSE_SECONDS = 60.0
"""Between two tries to make a job of a spool."""
STOPPING = "The service is stopping."

log = structlog.stdlib.get_logger("callscribe.live")


class LiveCalls:
    """`engine` is None in a process without models, which makes jobs of spools and takes no calls.

    `most` is how many calls this process takes at the same time. If `resumes`, a call whose client can go on with it on
    a new connection is left to that when this process stops. Otherwise it becomes a job, because no other process may
    reach this machine's disk.
    """

    def __init__(
        self,
        database: Database,
        intake: Intake,
        engine: LiveTranscriber | None,
        spools: Spools,
        workspace: Workspace,
        free_space: FreeSpace,
        *,
        most: int | None,
        shares: Shares,
        resumes: bool,
        root_path: str = "",
    ) -> None:
        self._database = database
        self._intake = intake
        self._engine = engine
        self._spools = spools
        self._workspace = workspace
        self._free_space = free_space
        self._most = most
        self._shares = shares
        self._resumes = resumes
        self._root_path = root_path
        self._threads = BoundedThreads("live-calls", THREADS)
        self._calls: dict[UUID, LiveCall] = {}
        self._places: Holders | None = None
        self._shared: dict[tuple[str, str], LiveCall] = {}
        self._opening_shared = asyncio.Lock()
        self._held: set[UUID] = set()  # spools that this process works on
        self._try_again_at: dict[UUID, tuple[float, float]] = {}  # the time, and the pause before the next one
        self._beaten_at: dict[UUID, float] = {}
        self._draining = False
        self._keeping: set[asyncio.Task[events.Stopped]] = set()
        self._none_goes_on = asyncio.Event()
        self._none_goes_on.set()

    @property
    def count(self) -> int:
        return len(self._calls)

    async def open(
        self, caller: Caller, new: NewCall, send: Callable[[LiveEvent], None], *, shared_as: str | None = None
    ) -> LiveCall:
        """A new call, or an interrupted one that `new.resume` names. Calls `send` with each event of the call.

        Connections of one caller with the same `shared_as` are tracks of one call. Only the first of them gets events.

        Raises TryAgainLater if there is no place for one more call, ShuttingDown, NotFound for a call that cannot be
        resumed, and what the intake raises for a request that it refuses.
        """
        if shared_as is None:
            return await self._open(caller, new, send)
        async with self._opening_shared:
            shared = self._shared.get((caller.label, shared_as))
            if shared is not None and shared.is_open:
                shared.legs += 1
                return shared
            call = await self._open(caller, new, send)
            self._shared[caller.label, shared_as] = call
            return call

    async def run(self) -> None:
        """Write what followers read, and make jobs of what is left in spools, until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(every(WRITE_SECONDS, self._write_news))
            group.create_task(every(RECOVER_SECONDS, self._recover))
            group.create_task(every(FORGET_SECONDS, self._forget))

    async def drain(self, grace_seconds: float) -> None:
        """Open no new calls, let those that go on end for this time, and then end or interrupt them."""
        self._draining = True
        with suppress(TimeoutError):
            await within(grace_seconds, self._none_goes_on.wait())
        await asyncio.gather(*map(self._give_up, list(self._calls.values())), return_exceptions=True)

    async def idle(self) -> None:
        await self._none_goes_on.wait()
        with suppress(*DATABASE_TROUBLE):
            await self._write_news()

    async def _open(self, caller: Caller, new: NewCall, send: Callable[[LiveEvent], None]) -> LiveCall:
        engine = self._engine
        if self._draining:
            raise ShuttingDown(STOPPING)
        if engine is None or not engine.ready:
            raise TryAgainLater("The models of this process are not loaded. Try again in a moment.", retry_after=5)
        places = self._places_of(engine)
        if not places.has_room(caller.label, caller.tenant):
            metrics.live_call_refused()
            raise TryAgainLater("There are as many live calls as this process can follow.", retry_after=10)
        with places.holding(caller.label, caller.tenant):  # until the call itself holds its place
            spool, new, last_number, token = await self._spool_of(caller, new)
        self._held.add(spool.id)
        call = LiveCall(
            spool,
            new,
            engine,
            self._threads,
            self._free_space,
            rank=Rank(0, caller.label, caller.tenant),
            most_bytes=self._intake.limits.upload_bytes,
            most_seconds=self._intake.limits.audio_seconds,
            links=self._links(spool.id),
            resume_token=token,
            last_number=last_number,
            send=send,
            end=self._end,
        )
        places.enter(caller.label, caller.tenant)
        self._calls[spool.id] = call
        self._none_goes_on.clear()
        metrics.live_calls(self.count)
        try:
            await call.begin(self._workspace)
        except BaseException:
            self._release(call)
            raise
        log.info("live call begins", call=str(call.id), dialect=new.dialect, caller=caller.label)
        return call

    def _places_of(self, engine: LiveTranscriber) -> Holders:
        """The places for calls. How many there are depends on the engine's device, unless the operator sets it."""
        if self._places is None:
            most = engine.most_live_calls if self._most is None else self._most
            self._places = Holders(most, max(1, most - most // 4), self._shares)
        return self._places

    async def _spool_of(self, caller: Caller, new: NewCall) -> tuple[Spool, NewCall, int, str | None]:
        """The spool of a new or a resumed call, the number of its last event, and what resumes it."""
        if new.resume is not None:
            return await self._resumed(caller, new, new.resume)
        call_id, secret = uuid7(), secrets.token_urlsafe(24)
        ask = new.ask_for_its_recording
        job = await self._intake.promise(call_id, ask, caller, SOURCE)
        promise = Promise(job, new.sound, _hash(secret))
        async with self._database.transaction() as session:
            await rows.add(session, _row_of(job, caller, new))
        try:
            spool = await self._threads.run(partial(self._spools.create, promise), ANSWER_SECONDS)
        except BaseException:
            await despite_database_trouble(partial(self._end_row, call_id, events.Stopped(None, {}, "failed")))
            raise
        is_raw = new.sound.encoding != "container"  # the header of a container comes only once
        return spool, new, 0, f"{call_id}.{secret}" if new.can_resume and is_raw else None

    async def _resumed(self, caller: Caller, new: NewCall, token: str) -> tuple[Spool, NewCall, int, str | None]:
        gone = NotFound("There is no interrupted call with this `resume`. Begin a new call.")
        call_id = _id_of(token)
        if call_id is None:
            raise gone
        spool = await self._taken_over(call_id)
        if spool is None:
            raise gone
        self._held.add(call_id)
        try:
            if spool.interrupted_at is None or not _may_resume(spool.promise, caller, token):
                raise gone
            if new.sound != spool.promise.sound:
                detail = "must be the same sound as before the interruption"
                raise InvalidRequest("The sound has changed.", errors=(FieldError("encoding", detail),))
            async with self._database.transaction() as session:
                await rows.resume(session, call_id)
                last_number = await rows.last_number(session, call_id)
            await self._threads.run(spool.resume, ANSWER_SECONDS)
        except BaseException:
            self._held.discard(call_id)
            spool.close()
            raise
        return spool, new, last_number, token

    async def _taken_over(self, call_id: UUID) -> Spool | None:
        for _ in range(RESUME_TRIES):
            if call_id not in self._held:
                self._held.add(call_id)
                try:
                    spool = await self._threads.run(partial(self._spools.take_over, call_id), ANSWER_SECONDS)
                finally:
                    self._held.discard(call_id)
                if spool is not None:
                    return spool
            await asyncio.sleep(RESUME_PAUSE_SECONDS)
        return None

    async def _end(self, call: LiveCall, reason: str) -> events.Stopped:
        """Makes the call's spool into a job. If that takes long, it goes on after this returns.

        If it does not work now, it is tried again until it does.
        """
        keeping = asyncio.create_task(self._keep(call, reason))
        self._keeping.add(keeping)
        keeping.add_done_callback(self._keeping.discard)
        try:
            return await within(KEEP_SECONDS, asyncio.shield(keeping))
        except TimeoutError:
            return events.Stopped(call.id, self._links(call.id), reason)

    async def _keep(self, call: LiveCall, reason: str) -> events.Stopped:
        spool = call.spool
        try:
            await despite_database_trouble(partial(self._write_one, call))
            stopped = await self._as_job(spool, reason)
        except (AppError, OSError, *DATABASE_TROUBLE) as error:
            self._try_later(spool.id, error)
            stopped = events.Stopped(spool.id, self._links(spool.id), reason)
        finally:
            self._release(call)
        log.info("live call ended", call=str(spool.id), reason=reason, has_recording=stopped.id is not None)
        return stopped

    def _release(self, call: LiveCall) -> None:
        call.spool.close()
        self._held.discard(call.id)
        self._beaten_at.pop(call.id, None)
        self._shared = {name: each for name, each in self._shared.items() if each is not call}
        if self._calls.pop(call.id, None) is not None and self._places is not None:
            label = call.spool.promise.job.caller
            self._places.leave(label, tenant_of(label))
        if not self._calls:
            self._none_goes_on.set()
        metrics.live_calls(self.count)

    async def _give_up(self, call: LiveCall) -> None:
        if not (self._resumes and call.may_be_resumed):
            await call.stop_now(SHUTDOWN)
            return
        try:
            await call.interrupt()
            with suppress(TimeoutError):  # a client that resumes must find all of it
                await within(KEEP_SECONDS, self._write_interruption(call))
            await call.hand_over()
        finally:
            self._release(call)

    async def _write_interruption(self, call: LiveCall) -> None:
        await despite_database_trouble(partial(self._write_one, call))
        await despite_database_trouble(partial(self._note_interruption, call.id))

    async def _note_interruption(self, call_id: UUID) -> None:
        async with self._database.transaction() as session:
            await rows.interrupt(session, call_id)

    async def _as_job(self, spool: Spool, reason: str) -> events.Stopped:
        """Makes a spool into a job, and erases it. Raises AppError, OSError or one of DATABASE_TROUBLE.

        A spool without sound becomes no job.
        """
        if spool.sound_bytes:
            await self._threads.run(spool.seal, ANSWER_SECONDS)
            stopped = events.Stopped(spool.id, self._links(spool.id), reason)
            record = partial(rows.end, call_id=spool.id, event=stopped.as_json(), has_recording=True)
            await self._intake.keep(spool.promise.job, spool.blocks(self._threads), record)
        else:
            stopped = events.Stopped(None, {}, reason)
            await self._end_row(spool.id, stopped)
        await self._threads.run(spool.erase, ANSWER_SECONDS)
        self._try_again_at.pop(spool.id, None)
        return stopped

    async def _end_row(self, call_id: UUID, stopped: events.Stopped) -> None:
        async with self._database.transaction() as session:
            await rows.end(session, call_id, stopped.as_json(), has_recording=stopped.id is not None)

    def _try_later(self, call_id: UUID, error: BaseException) -> None:
        _, pause = self._try_again_at.get(call_id, (0.0, RECOVER_SECONDS / 2))
        pause = min(2 * pause, LONGEST_PAUSE_SECONDS)
        self._try_again_at[call_id] = time.monotonic() + pause, pause
        log.warning("a live call waits to become a job", call=str(call_id), error=repr(error), seconds=pause)

    async def _recover(self) -> None:
        """Make jobs of the spools that no process holds."""
        try:
            ids = await self._threads.run(self._spools.ids, ANSWER_SECONDS)
        except OSError as error:
            log.warning("the spools of live calls cannot be read", error=repr(error))
            return
        for call_id in ids:
            if call_id not in self._held and self._try_again_at.get(call_id, (0.0,))[0] <= time.monotonic():
                await self._recover_one(call_id)

    async def _recover_one(self, call_id: UUID) -> None:
        self._held.add(call_id)
        spool = None
        try:
            spool = await self._threads.run(partial(self._spools.take_over, call_id), ANSWER_SECONDS)
            if spool is None or _waits_for_its_client(spool):
                return
            async with self._database.transaction() as session:
                is_erased = await rows.is_erased(session, call_id)
            if is_erased:
                await self._threads.run(spool.erase, ANSWER_SECONDS)
                return
            stopped = await self._as_job(spool, "interrupted")
            log.info("the call of a process that is gone was kept", call=str(call_id), has_recording=bool(stopped.id))
        except (AppError, OSError, *DATABASE_TROUBLE) as error:
            self._try_later(call_id, error)
        except Exception as error:  # one call that cannot be kept must not end the process again and again
            log.exception("a live call cannot be kept", call=str(call_id))
            self._try_later(call_id, error)
        finally:
            if spool is not None:
                spool.close()
            self._held.discard(call_id)

    async def _write_news(self) -> None:
        for call in list(self._calls.values()):
            due = time.monotonic() - self._beaten_at.get(call.id, -inf) >= BEAT_SECONDS
            if call.news.changed or due:
                await self._write_one(call)

    async def _write_one(self, call: LiveCall) -> None:
        """Write what is new of a call. If the database is away, it stays to be written later."""
        news = call.news.taken()
        try:
            async with self._database.transaction() as session:
                await rows.write(session, call.id, news)
        except BaseException:
            call.news.give_back(news)
            raise
        self._beaten_at[call.id] = time.monotonic()

    async def _forget(self) -> None:
        async with self._database.transaction() as session:
            await rows.forget(session)

    def _links(self, call_id: UUID) -> dict[str, str]:
        return {
            "self": f"{self._root_path}/v1/live/{call_id}",
            "events": f"{self._root_path}/v1/live/{call_id}/events",
            "transcription": f"{self._root_path}/v1/transcriptions/{call_id}",
        }


def _waits_for_its_client(spool: Spool) -> bool:
    """Whether its client may still resume it. If the clock was set back, nobody waits for longer."""
    interrupted_at = spool.interrupted_at
    return interrupted_at is not None and 0 <= time.time() - interrupted_at < RESUME_SECONDS


def _row_of(job: NewJob, caller: Caller, new: NewCall) -> LiveCallRow:
    channels = new.sound.channels
    return LiveCallRow(
        id=job.id,
        tenant=caller.tenant,
        caller=caller.label,
        dialect=new.dialect,
        external_id=job.external_id,
        metadata_=job.metadata,
        speakers=[label_of(job.options, channel, channels) for channel in range(channels)],
        sound_channels=channels,
    )


def _id_of(token: str) -> UUID | None:
    with suppress(ValueError):
        return UUID(token.partition(".")[0])
    return None


def _hash(secret: str) -> str:
    return hash_of(secret).hex()


def _may_resume(promise: Promise, caller: Caller, token: str) -> bool:
    same = secrets.compare_digest(_hash(token.partition(".")[2]), promise.resume_hash)
    return same and promise.job.caller == caller.label
