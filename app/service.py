"""The parts of the service without HTTP, put together, and the worker that is nothing else."""

import asyncio
import os
import signal
import socket
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import structlog

from app.audio.containment.report import log_containment
from app.database.connections import Database, asyncpg_url
from app.database.embedded import open_database
from app.database.notifications import Signals
from app.deliveries import signing_secrets
from app.deliveries.http import open_client
from app.deliveries.sender import WebhookSender
from app.jobs import erasure
from app.jobs.recording import Decoder, Recordings
from app.jobs.retention import Retention
from app.jobs.runner import JobRunner
from app.network.guard import NetworkGuard
from app.process.garbage import spare_what_stays
from app.process.threads import in_daemon_thread
from app.settings import Settings
from app.sources.fetch import Fetcher
from app.sources.s3_source import S3Source
from app.sources.web import WebSource
from app.speech.engine import Engine, EngineConfig, check
from app.speech.model import ModelUnavailable
from app.storage.disk import FreeSpace
from app.storage.folder_store import MARKER, LocalAudioStore
from app.storage.s3_store import S3AudioStore
from app.storage.s3_url import S3Url
from app.storage.store import AudioStore
from app.storage.workspace import Workspace

GRACE_SECONDS = 10.0
SENDING_GRACE_SECONDS = 5.0
WATCH_SECONDS = 5.0

log = structlog.stdlib.get_logger("callscribe")


@dataclass
class Parts:
    """What a process works with. `engine` and `runner` are None where it only answers HTTP."""

    database: Database
    signals: Signals
    store: AudioStore
    workspace: Workspace
    free_space: FreeSpace
    fetcher: Fetcher
    retention: Retention
    stop: asyncio.Event
    guard: NetworkGuard
    sender: WebhookSender
    engine: Engine | None = None
    runner: JobRunner | None = None
    failed: bool = False
    drained: bool = False

    def ask_to_stop(self) -> None:
        """The first time to stop in order, the second time at once."""
        if self.stop.is_set():
            os._exit(1)
        self.stop.set()

    async def drain(self) -> None:
        """Let running jobs end or go back to the queue, then deliveries, and see that written. The first time only."""
        if self.drained:
            return
        self.drained = True
        if self.runner is not None:
            await self.runner.drain(GRACE_SECONDS)
            with suppress(TimeoutError):
                await asyncio.wait_for(self.runner.idle(), GRACE_SECONDS)
        await self.sender.drain(SENDING_GRACE_SECONDS)  # last, so that it tells how those jobs ended


@asynccontextmanager
async def open_parts(settings: Settings, *, executor: bool) -> AsyncIterator[Parts]:
    """Open everything; models load in the background. SIGTERM, SIGINT or a part's failure set `stop`."""
    opening = asyncio.current_task()
    assert opening is not None
    _on_signals(opening.cancel)
    async with open_database(settings.database_url, settings.data_dir) as database, AsyncExitStack() as stack:
        guard, signals = NetworkGuard(settings.allowed_networks), Signals(database)
        workspace = Workspace(settings.data_dir / "work")
        stack.callback(workspace.close)
        store = await _open_store(settings.audio_place, workspace, database)
        free_space = FreeSpace(settings.disks, settings.min_free_bytes)
        retention = Retention(
            database,
            store,
            keep_audio_days=settings.keep_audio_days,
            keep_transcript_days=settings.keep_transcript_days,
        )
        parts = Parts(
            database=database,
            signals=signals,
            store=store,
            workspace=workspace,
            stop=asyncio.Event(),
            free_space=free_space,
            fetcher=open_fetcher(settings, guard, store, free_space),
            retention=retention,
            guard=guard,
            sender=await stack.enter_async_context(_open_sender(settings, database, signals, guard)),
        )
        _on_signals(parts.ask_to_stop)
        work = [signals.run(), retention.run(), parts.sender.run(), log_containment()]
        if executor:
            parts.engine = Engine(engine_config(settings))
            parts.runner = JobRunner(
                database,
                parts.signals,
                Recordings(database, store, parts.fetcher),
                _decoder(settings, store, workspace),
                parts.engine,
                retention,
                worker=f"{socket.gethostname()}:{os.getpid()}",
            )
            work.append(_load_and_run(parts.engine, parts.runner))
        tasks = [asyncio.create_task(_or_stop(part, parts)) for part in work]
        try:
            yield parts
            await parts.drain()
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)


@asynccontextmanager
async def _open_sender(
    settings: Settings, database: Database, signals: Signals, guard: NetworkGuard
) -> AsyncIterator[WebhookSender]:
    async with database.transaction() as session:
        await signing_secrets.ensure(session)
    async with open_client(guard) as client:
        keys = [secret.get_secret_value() for secret in settings.webhook_secret]
        yield WebhookSender(database, signals, client, keys)


def _on_signals(stop: Callable[[], object]) -> None:
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop)


async def _open_store(place: Path | S3Url, workspace: Workspace, database: Database) -> AudioStore:
    """A folder without its mark is taken for one that is not mounted if rows of the database have recordings."""
    if isinstance(place, S3Url):
        return S3AudioStore(place, workspace)
    async with database.transaction() as session:
        in_use = await erasure.any_audio(session)
    store = await in_daemon_thread(partial(LocalAudioStore, place, may_be_new=not in_use), "open-store")
    if not store.marked:
        log.warning(
            "the audio folder has no mark, but the database has recordings: mount its disk or, if they are lost, "
            "make the folder and the mark and restart",
            folder=str(place),
            mark=MARKER,
        )
    return store


def open_fetcher(settings: Settings, guard: NetworkGuard, store: AudioStore, free_space: FreeSpace) -> Fetcher:
    web, buckets = WebSource(guard), S3Source(settings.source_buckets)
    return Fetcher({"http": web, "https": web, "s3": buckets}, store, free_space, max_bytes=settings.max_upload_bytes)


def _decoder(settings: Settings, store: AudioStore, workspace: Workspace) -> Decoder:
    """Jobs that were accepted may use half of what uploads have to leave free."""
    reserve = FreeSpace(settings.disks, settings.min_free_bytes // 2)
    return Decoder(store, workspace, reserve, max_audio_seconds=settings.max_audio_seconds)


def check_engine(settings: Settings) -> None:
    """Raises ModelUnavailable for models and devices that cannot be, before anything slow begins."""
    check(engine_config(settings))


def engine_config(settings: Settings) -> EngineConfig:
    return EngineConfig(
        models=settings.model,
        models_dir=settings.models_dir,
        device=settings.device,
        device_index=settings.device_index,
        compute_type=settings.compute_type,
        batch_size=settings.batch_size,
    )


async def _load_and_run(engine: Engine, runner: JobRunner) -> None:
    await asyncio.gather(in_daemon_thread(engine.load, "load-models"), runner.fitness.try_out())
    watching = asyncio.create_task(_watch(engine))
    running = asyncio.create_task(runner.run())
    try:
        await asyncio.wait({watching, running}, return_when=asyncio.FIRST_COMPLETED)
        if watching.done():
            watching.result()
        await running
    finally:
        watching.cancel()
        running.cancel()


async def _watch(engine: Engine) -> None:
    """Raises once the engine's threads are gone, after which only a new process helps."""
    while True:
        await asyncio.sleep(WATCH_SECONDS)
        if not engine.ready:
            raise RuntimeError("the engine stopped working")


async def _or_stop(part: Coroutine[Any, Any, None], parts: Parts) -> None:
    """A part that fails takes the process down, rather than leaving half a service."""
    try:
        await part
    except Exception as error:
        log.critical(str(error) or "a part failed", exc_info=None if isinstance(error, ModelUnavailable) else error)
        parts.failed = True
        parts.stop.set()


async def run(settings: Settings) -> bool:
    """Work on jobs until told to stop. Returns whether that was the reason."""
    async with open_parts(settings, executor=True) as parts:
        spare_what_stays()
        address = settings.database_url
        database = "embedded" if address is None else asyncpg_url(address).render_as_string()  # without the password
        log.info("working", data_dir=str(settings.data_dir), database=database)
        await parts.stop.wait()
        return not parts.failed
