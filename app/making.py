"""Makes single parts of a process from the settings, and checks before the start that they can work.

`app.service` opens the parts in order and runs them. This module only knows what each part needs to be made.
"""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import httpx
import structlog

from app import __version__
from app.access.neighbours import Neighbours
from app.access.registry import ApiKeys
from app.analysis import queue as analysis_queue
from app.analysis.embedding import SentenceModel, is_installed
from app.analysis.judgement import prompts
from app.analysis.judgement.client import Endpoint, open_chat
from app.analysis.judgement.dividing import Room
from app.analysis.judgement.judging import Judge
from app.analysis.judgement.ladder import Ladder
from app.analysis.queue import Notifying
from app.analysis.runner import AnalysisRunner
from app.analysis.stage import Stage
from app.analysis.wanted import Wanted
from app.control.away import known_troubles, never_away
from app.control.presence import Presence
from app.control.switches import Switches
from app.database.connections import Database
from app.database.notifications import Signals
from app.deliveries import signing_secrets
from app.deliveries.channels import Channels
from app.deliveries.folder import FolderChannel
from app.deliveries.http import http_channels, open_client
from app.deliveries.models import Style
from app.deliveries.outputs import Output, Outputs, values_of
from app.deliveries.receivers import PlaceholderValues, Receivers
from app.deliveries.s3 import S3Channel
from app.deliveries.sender import DeliverySender
from app.deliveries.stream import StreamChannel
from app.errors import AppError
from app.intake.folder.asking import Asking
from app.intake.folder.opening import WatchOptions
from app.intake.folder.place import FolderUnavailable, Place
from app.intake.folder.taking import FOLDER
from app.intake.intake import Intake, Limits
from app.intake.model_names import ModelNames
from app.intake.offered import options_in_force
from app.intake.stream.consumer import STREAM
from app.jobs.changes.queue_limit import QueueLimit
from app.jobs.claims.ending import AtEnd
from app.jobs.events import event_of
from app.jobs.reads.rendering import rendered
from app.jobs.upkeep import erasure
from app.jobs.upkeep.retention import Retention
from app.jobs.worker.executor import Executor
from app.jobs.worker.recording import Decoder
from app.live import tokens
from app.live.calls import LiveCalls
from app.live.spool import Spools
from app.network.guard import NetworkGuard
from app.network.redis_server import RedisServer
from app.process.shares import Shares
from app.process.shutdown import Shutdown
from app.process.threads import in_daemon_thread
from app.settings import Settings, SettingsError
from app.sources.fetch import Fetcher
from app.sources.s3_source import S3Source
from app.sources.web import WebSource
from app.speech.engine import EngineConfig, LiveTranscriber, check
from app.speech.families import Families
from app.storage.disk import FreeSpace
from app.storage.folder_store import MARKER, LocalAudioStore
from app.storage.s3_store import S3AudioStore
from app.storage.s3_url import S3Url
from app.storage.store import AudioStore
from app.storage.workspace import Workspace

log = structlog.stdlib.get_logger("callscribe")


def open_intake(
    settings: Settings,
    database: Database,
    guard: NetworkGuard,
    store: AudioStore,
    fetcher: Fetcher,
    free_space: FreeSpace,
    switches: Switches,
    shares: Shares,
    is_away: Callable[[str], bool] = never_away,
) -> Intake:
    queue = QueueLimit(settings.max_pending)
    limits = Limits(settings.max_upload_bytes, settings.max_audio_seconds, queue, shares)
    receivers = Receivers(guard, settings.webhook_urls, settings.callback_urls)
    models = model_names_of(settings)
    outputs = Outputs(
        settings.output_buckets,
        None if settings.output_url is None else Output(settings.output_url),
        settings.output_formats,
    )
    return Intake(
        database,
        store,
        fetcher,
        models,
        receivers,
        outputs,
        free_space,
        limits,
        switches.require_intake,
        settings.redact,
        is_away,
    )


def model_names_of(settings: Settings) -> ModelNames:
    return ModelNames(settings.models, settings.model_aliases, Families(settings.remote_models))


def neighbours_of(settings: Settings) -> Neighbours:
    """The folder and the stream share the service with the API keys, or with everybody if there are none."""
    keys = settings.api_keys if settings.auth == "on" else ()
    return Neighbours(
        keys, [FOLDER.label] * (settings.watch is not None) + [STREAM.label] * (settings.redis_url is not None)
    )


def channels_of(
    settings: Settings, database: Database, client: httpx.AsyncClient, redis: RedisServer | None
) -> Channels:
    """Returns the channels of this process. Deliveries of other styles stay for processes that have their channel."""
    render = partial(rendered, database)
    channels = {**http_channels(client), Style.S3: S3Channel(render)}
    if settings.output_folders:
        channels[Style.FOLDER] = FolderChannel(render, settings.output_folders)
    if redis:
        channels[Style.STREAM] = StreamChannel(redis, settings.redis_results_maxlen)
    return channels


def open_fetcher(settings: Settings, guard: NetworkGuard, store: AudioStore, free_space: FreeSpace) -> Fetcher:
    web, buckets = WebSource(guard), S3Source(settings.source_buckets)
    return Fetcher({"http": web, "https": web, "s3": buckets}, store, free_space, max_bytes=settings.max_upload_bytes)


def decoder_of(settings: Settings, store: AudioStore, workspace: Workspace, shares: Shares) -> Decoder:
    """Accepted jobs may use half of the free space that uploads must leave."""
    reserve = FreeSpace(settings.disks, settings.min_free_bytes // 2)
    return Decoder(store, workspace, reserve, max_audio_seconds=settings.max_audio_seconds, shares=shares)


def check_engine(settings: Settings) -> None:
    """Raises ModelUnavailable for models and devices that cannot work, before anything slow begins."""
    check(engine_config(settings))


def watch_options(settings: Settings) -> WatchOptions | None:
    if settings.watch is None:
        return None
    return WatchOptions(
        settings.watch,
        settings.watch_settle_seconds,
        settings.watch_options,
        keep=settings.watch_after == "keep",
        output=settings.watch_output,
        formats=settings.watch_formats,
    )


def check_watch(settings: Settings) -> None:
    """Raises SettingsError if a folder is to be watched and cannot be, or if its options are not allowed."""
    if settings.watch is None:
        return
    try:
        Place(settings.watch).prepare()
        asked = Asking.checked(settings.watch_options).ask("call.wav", None)
        options_in_force(asked.options, model_names_of(settings))
        receivers = Receivers(NetworkGuard(settings.allowed_networks))
        receivers.webhooks(asked.webhook_url)
        receivers.callbacks(asked.callback_url, PlaceholderValues("call.wav", asked.external_id, "file"))
        values = values_of("0" * 36, asked.external_id, "call.wav", datetime.now(UTC))
        Outputs(settings.output_buckets).of(asked.output, values, "file")
    except FolderUnavailable as error:
        raise SettingsError(f"CALLSCRIBE_WATCH: {error}") from None
    except AppError as error:
        raise SettingsError(f"CALLSCRIBE_WATCH_OPTIONS: {error.reason}") from None


def engine_config(settings: Settings) -> EngineConfig:
    return EngineConfig(
        models=settings.models,
        models_dir=settings.models_dir,
        device=settings.device,
        device_index=settings.device_index,
        compute_type=settings.compute_type,
        batch_size=settings.batch_size,
        beam_size=settings.beam_size,
        endpoints=settings.remote_models,
    )


def api_keys_of(settings: Settings, *, is_exposed: bool) -> ApiKeys:
    keys = {name: [key.get_secret_value() for key in keys] for name, keys in settings.api_keys.items()}
    return ApiKeys(keys if settings.auth == "on" else None, settings.priority_ceilings, is_exposed=is_exposed)


def retention_of(settings: Settings, database: Database, store: AudioStore, free_space: FreeSpace) -> Retention:
    return Retention(
        database,
        store,
        keep_audio_days=settings.keep_audio_days,
        keep_failed_audio_days=settings.keep_failed_audio_days,
        keep_transcript_days=settings.keep_transcript_days,
        keep_audit_days=settings.keep_audit_days,
        free_space=free_space if isinstance(settings.audio_place, Path) else None,
        others=[tokens.erase_expired],
    )


def at_end_of(settings: Settings, retention: Retention) -> AtEnd:
    return AtEnd(
        partial(event_of, root_path=settings.root_path, stream=settings.redis_results),
        retention.forgets_audio,
        retention.forgets_failed_audio,
        (partial(analysis_queue.add_if_wanted, wanted=analysis_wanted(settings)),),
    )


def analysis_wanted(settings: Settings) -> Wanted:
    return Wanted(settings.llm_url is not None, settings.llm_tenants)


@asynccontextmanager
async def open_judge(settings: Settings) -> AsyncIterator[Judge | None]:
    """Gives None if there is no language model."""
    if settings.llm_url is None or settings.llm_model is None:
        yield None
        return
    key = settings.llm_api_key
    endpoint = Endpoint(
        settings.llm_url,
        settings.llm_model,
        None if key is None else key.get_secret_value(),
        settings.llm_timeout_seconds,
    )
    texts = prompts.load(settings.llm_prompts)
    async with open_chat(endpoint, settings.llm_concurrency) as chat:
        ladder = Ladder(chat, lambda problem: texts.filled("correct", problem=problem))
        room = Room.of(settings.llm_context_tokens)
        yield Judge(ladder, texts, room, settings.llm_language, settings.llm_intents)


@asynccontextmanager
async def open_analysis(settings: Settings, database: Database, signals: Signals) -> AsyncIterator[AnalysisRunner]:
    async with open_judge(settings) as judge:
        stage = Stage(database, judge, settings.llm_tokens_per_day, SentenceModel() if is_installed() else None)
        notifying = Notifying(settings.root_path, settings.redis_results)
        yield AnalysisRunner(database, signals, stage, notifying, judgements=settings.llm_concurrency)


@asynccontextmanager
async def open_sender(
    settings: Settings, database: Database, signals: Signals, guard: NetworkGuard, redis: RedisServer | None
) -> AsyncIterator[DeliverySender]:
    async with database.transaction() as session:
        await signing_secrets.ensure(session)
    async with open_client(guard) as client:
        keys = [secret.get_secret_value() for secret in settings.webhook_secret]
        yield DeliverySender(database, signals, channels_of(settings, database, client, redis), keys)


async def open_store(place: Path | S3Url, workspace: Workspace, database: Database) -> AudioStore:
    """If the database has recordings, a folder without its mark counts as a disk that is not mounted."""
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


def live_calls_of(
    settings: Settings,
    database: Database,
    intake: Intake,
    engine: LiveTranscriber | None,
    workspace: Workspace,
    free_space: FreeSpace,
    shares: Shares,
) -> LiveCalls:
    return LiveCalls(
        database,
        intake,
        engine,
        Spools(settings.data_dir / "live"),
        workspace,
        free_space,
        most=settings.max_live,
        shares=shares,
        resumes=isinstance(settings.audio_place, Path),
        root_path=settings.root_path,
    )


def presence_of(
    settings: Settings, database: Database, signals: Signals, jobs: Executor, name: str, shutdown: Shutdown
) -> Presence:
    engine, fitness, remote = jobs.engine, jobs.runner.fitness, [model.name for model in settings.remote_models]
    return Presence(
        database,
        signals,
        jobs.runner,
        name=name,
        version=__version__,
        models=settings.models,
        troubles=lambda: known_troubles(remote, engine.troubles, works=engine.ready and fitness.trouble is None),
        grace_seconds=settings.shutdown_grace_seconds,
        end=shutdown.requested.set,
    )
