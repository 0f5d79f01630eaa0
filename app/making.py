"""Makes single parts of a process from the settings, and checks before the start that they can work.

`app.service` opens the parts in order and runs them. This module only knows what each part needs to be made.
"""

from datetime import UTC, datetime
from functools import partial

import httpx

from app.database.connections import Database
from app.deliveries.channels import Channels
from app.deliveries.folder import FolderChannel
from app.deliveries.http import http_channels
from app.deliveries.models import Style
from app.deliveries.outputs import Output, Outputs, values_of
from app.deliveries.receivers import PlaceholderValues, Receivers
from app.deliveries.s3 import S3Channel
from app.deliveries.stream import StreamChannel
from app.errors import AppError
from app.intake.folder.asking import Asking
from app.intake.folder.opening import WatchOptions
from app.intake.folder.place import FolderUnavailable, Place
from app.intake.intake import Intake, Limits
from app.intake.model_names import ModelNames
from app.intake.offered import options_in_force
from app.jobs.queue_limit import QueueLimit
from app.jobs.recording import Decoder
from app.jobs.rendering import rendered
from app.network.guard import NetworkGuard
from app.network.redis_server import RedisServer
from app.settings import Settings, SettingsError
from app.sources.fetch import Fetcher
from app.sources.s3_source import S3Source
from app.sources.web import WebSource
from app.speech.engine import EngineConfig, check
from app.storage.disk import FreeSpace
from app.storage.store import AudioStore
from app.storage.workspace import Workspace


def open_intake(
    settings: Settings,
    database: Database,
    guard: NetworkGuard,
    store: AudioStore,
    fetcher: Fetcher,
    free_space: FreeSpace,
) -> Intake:
    limits = Limits(
        settings.max_upload_bytes,
        settings.max_audio_seconds,
        QueueLimit(settings.max_pending, _callers(settings)),
    )
    receivers = Receivers(guard, settings.webhook_urls, settings.callback_urls)
    models = ModelNames(settings.model, settings.model_aliases)
    outputs = Outputs(
        settings.output_buckets,
        None if settings.output_url is None else Output(settings.output_url),
        settings.output_formats,
    )
    return Intake(database, store, fetcher, models, receivers, outputs, free_space, limits)


def _callers(settings: Settings) -> int:
    """How many callers share the queue: the API keys, or everybody if there are none, the folder and the stream."""
    return max(1, len(settings.api_keys)) + (settings.watch is not None) + (settings.redis_url is not None)


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


def decoder_of(settings: Settings, store: AudioStore, workspace: Workspace) -> Decoder:
    """Accepted jobs may use half of the free space that uploads must leave."""
    reserve = FreeSpace(settings.disks, settings.min_free_bytes // 2)
    return Decoder(store, workspace, reserve, max_audio_seconds=settings.max_audio_seconds)


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
        options_in_force(asked.options, ModelNames(settings.model, settings.model_aliases))
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
        models=settings.model,
        models_dir=settings.models_dir,
        device=settings.device,
        device_index=settings.device_index,
        compute_type=settings.compute_type,
        batch_size=settings.batch_size,
        beam_size=settings.beam_size,
    )
