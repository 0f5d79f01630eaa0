"""Opens and closes every part of a process, in order, from the settings.

It is the one place that knows how the parts fit together. `app.api` answers requests with the `Service` that is opened
here. A worker runs the same parts without HTTP.
"""

import asyncio
import os
import socket
from collections.abc import AsyncIterator, Coroutine, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, closing
from dataclasses import dataclass
from functools import partial
from typing import Any

import structlog

from app import readiness
from app.access.registry import ApiKeys
from app.analysis.analyses import Analyses
from app.analysis.missing import MissingAnalyses
from app.analysis.reports.reading import Reports
from app.audio.containment.report import log_containment
from app.control.away import ModelsAway
from app.control.pausable import Pausable
from app.control.presence import Presence
from app.control.switches import Switches
from app.database.connections import Database
from app.database.embedded import open_database
from app.database.notifications import Signals
from app.intake.folder.opening import open_watch
from app.intake.folder.watching import FolderWatch
from app.intake.intake import Intake
from app.intake.stream.consumer import open_consumer
from app.jobs.changes.interest import Interest
from app.jobs.claims.ending import AtEnd
from app.jobs.reads.reading import Reader
from app.jobs.reads.waiting import Waiting
from app.jobs.upkeep.retention import Retention
from app.jobs.upkeep.search_filling import SearchFilling
from app.jobs.upkeep.unserved import UnservedModels
from app.jobs.worker.executor import Executor
from app.jobs.worker.recording import Recordings
from app.jobs.worker.runner import JobRunner
from app.live.calls import LiveCalls
from app.live.following import Following
from app.making import (
    analysis_wanted,
    api_keys_of,
    at_end_of,
    decoder_of,
    engine_config,
    live_calls_of,
    neighbours_of,
    open_analysis,
    open_fetcher,
    open_intake,
    open_sender,
    open_store,
    presence_of,
    retention_of,
    watch_options,
)
from app.network.guard import NetworkGuard
from app.network.redis_server import RedisServer, open_redis
from app.numbers import Numbers
from app.process.shares import Shares
from app.process.shutdown import Drainable, Shutdown, on_signals
from app.readiness import Readiness
from app.recording_batches.accepting import BatchIntake
from app.recording_batches.feeder import Feeder
from app.recording_batches.reading import BatchReader
from app.recording_batches.retrying import Retries
from app.scraping import open_metrics_port
from app.settings import Settings, SettingsError
from app.sources.fetch import Fetcher
from app.sources.s3_listing import S3Listing
from app.speech.engine import Engine
from app.speech.model import ModelUnavailable
from app.storage.disk import FreeSpace
from app.storage.store import AudioStore
from app.storage.workspace import Workspace

SENDING_GRACE_SECONDS = 5.0
NO_KEYS = (
    "CALLSCRIBE_API_KEYS: to serve other machines, set it or make a key with `callscribe keys create`, or set "
    "CALLSCRIBE_AUTH=off to serve everybody"
)

log = structlog.stdlib.get_logger("callscribe")


@dataclass(frozen=True)
class Parts:
    """The parts that jobs, deliveries and requests use. `executor` is None if this process only answers HTTP."""

    database: Database
    signals: Signals
    guard: NetworkGuard
    workspace: Workspace
    store: AudioStore
    free_space: FreeSpace
    fetcher: Fetcher
    retention: Retention
    at_end: AtEnd
    executor: Executor | None
    redis: RedisServer | None
    watch: FolderWatch | None
    numbers: Numbers
    switches: Switches
    away: ModelsAway
    presence: Presence | None
    shutdown: Shutdown
    shares: Shares
    live: LiveCalls


@dataclass(frozen=True)
class Service:
    """What routes work with.

    `database` has connections of its own, so that requests cannot take those of jobs and deliveries.
    """

    parts: Parts
    database: Database
    intake: Intake
    reader: Reader
    waiting: Waiting
    interest: Interest
    batch_intake: BatchIntake
    batch_reader: BatchReader
    feeder: Feeder
    retries: Retries
    analyses: Analyses
    reports: Reports
    following: Following
    api_keys: ApiKeys
    readiness: Readiness

    def close(self) -> None:
        """Accept no more jobs, and answer the requests that wait for one."""
        self.intake.closed = True
        self.parts.signals.wake()


@asynccontextmanager
async def open_service(
    settings: Settings, *, executor: bool, is_exposed: bool, metrics_listener: socket.socket | None = None
) -> AsyncIterator[Service]:
    """Open everything that `serve` needs besides its HTTP server. `is_exposed` says that other machines may reach it.

    Raises SettingsError if strangers could use the service without a key.
    """
    opening = open_parts(settings, executor=executor, metrics_listener=metrics_listener)
    async with opening as parts, parts.database.second_pool() as database:
        service = assemble_service(settings, parts, database, is_exposed=is_exposed)
        await service.api_keys.load(database)
        if is_exposed and settings.auth == "on" and not service.api_keys.has_keys:
            raise SettingsError(NO_KEYS)
        work = [service.interest.run(), service.feeder.run(), service.api_keys.run(database, parts.signals)]
        async with _running(work, parts.shutdown):
            yield service


@asynccontextmanager
async def open_parts(
    settings: Settings, *, executor: bool, metrics_listener: socket.socket | None = None
) -> AsyncIterator[Parts]:
    """Open the parts and run them. Models load in the background. Prometheus is answered on `metrics_listener`.

    SIGTERM, SIGINT and SIGHUP cancel the opening, and request the shutdown afterwards.
    """
    if opening := asyncio.current_task():
        on_signals(opening.cancel)
    async with (
        open_metrics_port(metrics_listener) as metrics_port,
        open_database(settings.database_url, settings.data_dir) as database,
        AsyncExitStack() as stack,
    ):
        signals, guard = Signals(database), NetworkGuard(settings.allowed_networks)
        await (switches := Switches(database, signals)).refresh()
        away = ModelsAway(database, signals)
        workspace = stack.enter_context(closing(Workspace(settings.data_dir / "work")))
        store = await open_store(settings.audio_place, workspace, database)
        free_space = FreeSpace(settings.disks, settings.min_free_bytes)
        metrics_port.numbers = (numbers := Numbers(database, free_space)).text
        fetcher = open_fetcher(settings, guard, store, free_space)
        retention = retention_of(settings, database, store, free_space)
        at_end = at_end_of(settings, retention)
        redis = await stack.enter_async_context(open_redis(settings.redis_url))
        sender = await stack.enter_async_context(open_sender(settings, database, signals, guard, redis))
        analysis = await stack.enter_async_context(open_analysis(settings, database, signals))
        neighbours = neighbours_of(settings)
        async with database.transaction() as session:
            await neighbours.load(session)
        shares, jobs, engine, name = neighbours.shares, None, None, f"{socket.gethostname()}:{os.getpid()}"
        if executor:
            engine = Engine(engine_config(settings), shares)
            recordings = Recordings(database, store, fetcher, decoder_of(settings, store, workspace, shares))
            runner = JobRunner(
                database,
                signals,
                recordings,
                engine,
                retention,
                at_end,
                worker=name,
                models=settings.models,
                remote=[endpoint.name for endpoint in settings.remote_models],
                shares=shares,
            )
            jobs = Executor(engine, runner)
        workers: list[tuple[Drainable, float]] = [(jobs.runner, settings.shutdown_grace_seconds)] if jobs else []
        intake = open_intake(settings, database, guard, store, fetcher, free_space, switches, shares)
        live = live_calls_of(settings, database, intake, engine, workspace, free_space, shares)
        if redis:
            consumer = open_consumer(redis, settings.redis_stream, intake)
            workers = [(consumer, SENDING_GRACE_SECONDS), *workers]
        watch = None
        if (watched := watch_options(settings)) is not None:
            watch = open_watch(watched, intake, database, at_end)
            workers = [(watch, SENDING_GRACE_SECONDS), *workers]
        # The sender last: it reports how jobs and analyses ended.
        shutdown = Shutdown([*workers, (analysis, SENDING_GRACE_SECONDS), (sender, SENDING_GRACE_SECONDS)])
        on_signals(shutdown.request)
        presence = None if jobs is None else presence_of(settings, database, signals, jobs, name, shutdown)
        unserved = UnservedModels(database, settings.models)
        work = [signals.run(), switches.run(), neighbours.run(database, signals), retention.run(), sender.run()]
        work += [
            analysis.run(),
            MissingAnalyses(database, analysis_wanted(settings)).run(),
            unserved.run(),
            log_containment(),
            SearchFilling(database).run(),
            live.run(),
            *([jobs.run(), presence.run()] if jobs and presence else []),
        ]
        if redis:
            work += [redis.watch(), consumer.run()]
        work += [watch.run()] if watch else []
        work += [away.run()] if settings.remote_models else []  # other models are never away
        async with _running(work, shutdown):
            yield Parts(
                database,
                signals,
                guard,
                workspace,
                store,
                free_space,
                fetcher,
                retention,
                at_end,
                jobs,
                redis,
                watch,
                numbers,
                switches,
                away,
                presence,
                shutdown,
                shares,
                live,
            )
            await shutdown.drain()


async def report_ready(parts: Parts, event: str, **facts: str) -> None:
    """Log the event when the process can do its work, which is when the models are loaded."""
    if parts.executor:
        await parts.executor.loaded.wait()
    log.info(event, **facts)


def assemble_service(settings: Settings, parts: Parts, database: Database, *, is_exposed: bool = False) -> Service:
    intake = open_intake(
        settings,
        database,
        parts.guard,
        parts.store,
        parts.fetcher,
        parts.free_space,
        parts.switches,
        parts.shares,
        parts.away.is_away,
    )
    listing = S3Listing(settings.source_buckets)
    return Service(
        parts=parts,
        database=database,
        intake=intake,
        reader=Reader(database, parts.away.is_away),
        waiting=Waiting(database, parts.signals, shares=parts.shares),
        interest=Interest(parts.database, parts.retention, parts.at_end, keep_abandoned=settings.openai_keep_abandoned),
        batch_intake=BatchIntake(database, intake, listing, parts.workspace, parts.free_space),
        batch_reader=BatchReader(database),
        feeder=Feeder(
            parts.database,
            parts.signals,
            intake,
            listing,
            parts.retention,
            parts.at_end,
            settings.keep_transcript_days,
        ),
        retries=Retries(database, parts.store, parts.fetcher, intake),
        analyses=Analyses(database, analysis_wanted(settings)),
        reports=Reports(database),
        following=Following(database, parts.signals),
        api_keys=api_keys_of(settings, is_exposed=is_exposed),
        readiness=_readiness(settings, parts, intake),
    )


def _readiness(settings: Settings, parts: Parts, intake: Intake) -> Readiness:
    """It asks the database with the connections of jobs, so that many requests do not make the service unready."""
    engine, runner = (parts.executor.engine, parts.executor.runner) if parts.executor else (None, None)
    troubles = partial(_troubles, engine, parts.away)
    least_free = settings.min_free_bytes.human_readable()
    return Readiness(
        {
            "service": partial(readiness.not_stopping, intake),
            "database": parts.database.check,
            "model": partial(readiness.models_loaded, engine),
            "storage": partial(readiness.storage_usable, parts.store, parts.free_space, least_free),
            "workspace": partial(readiness.workspace_usable, parts.workspace, runner),
        },
        {
            "storage": partial(readiness.one_machine, parts.store, parts.database),
            "jobs": partial(readiness.workers_at_work, parts.database, parts.switches, troubles),
            "models": partial(readiness.models_served, parts.database, settings.models),
            **({"worker": partial(readiness.not_drained, parts.presence)} if parts.presence else {}),
            **{what: partial(readiness.not_paused, parts.switches, what) for what in Pausable},
            "deliveries": partial(readiness.neighbours_reached, parts.database),
            **({"remote": partial(readiness.models_answer, troubles)} if settings.remote_models else {}),
            **({"redis": partial(readiness.redis_usable, parts.redis)} if parts.redis else {}),
            **({"watch": partial(readiness.folder_watched, parts.watch)} if parts.watch else {}),
        },
    )


def _troubles(engine: Engine | None, away: ModelsAway) -> Mapping[str, str]:
    """Why this process or all workers cannot use models, by their names."""
    return {**away.troubles, **(engine.troubles if engine else {})}


@asynccontextmanager
async def _running(work: list[Coroutine[Any, Any, None]], shutdown: Shutdown) -> AsyncIterator[None]:
    tasks = [asyncio.create_task(_or_fail(part, shutdown)) for part in work]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for part in work:
            part.close()  # one that was cancelled before it began would be reported as never awaited


async def _or_fail(part: Coroutine[Any, Any, None], shutdown: Shutdown) -> None:
    """A part that fails ends the process, because half a service would go unnoticed."""
    try:
        await part
    except Exception as error:
        log.critical(str(error) or "a part failed", exc_info=None if isinstance(error, ModelUnavailable) else error)
        shutdown.failed = True
        shutdown.requested.set()
