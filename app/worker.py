"""The parts of the service without HTTP, put together, and the worker that is nothing else."""

import asyncio
import os
import signal
import socket
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import structlog

from app.audio.store import AudioStore, LocalAudioStore
from app.db import Database, open_database
from app.jobs.runner import JobRunner
from app.settings import Settings
from app.signals import Signals
from app.speech.engine import Engine, EngineConfig
from app.speech.models import ModelUnavailable

GRACE_SECONDS = 10.0

log = structlog.stdlib.get_logger("callscribe")


@dataclass
class Parts:
    """What a process works with. `engine` and `runner` are None where it only answers HTTP."""

    database: Database
    signals: Signals
    store: AudioStore
    engine: Engine | None
    runner: JobRunner | None
    stop: asyncio.Event
    failed: bool = False

    async def drain(self) -> None:
        if self.runner is not None:
            await self.runner.drain(GRACE_SECONDS)


@asynccontextmanager
async def open_parts(settings: Settings, *, executor: bool) -> AsyncIterator[Parts]:
    """Open everything; models load in the background. SIGTERM, SIGINT or a part's failure set `stop`."""
    opening = asyncio.current_task()
    assert opening is not None
    _on_signals(opening.cancel)
    async with open_database(settings.database_url, settings.data_dir) as database:
        signals = Signals(database)
        store = LocalAudioStore(settings.audio_dir)
        parts = Parts(database, signals, store, engine=None, runner=None, stop=asyncio.Event())
        _on_signals(parts.stop.set)
        work = [signals.run()]
        if executor:
            parts.engine = Engine(engine_config(settings))
            parts.runner = JobRunner(
                database,
                signals,
                store,
                parts.engine,
                worker=f"{socket.gethostname()}:{os.getpid()}",
                max_audio_seconds=settings.max_audio_seconds,
            )
            work.append(_load_and_run(parts.engine, parts.runner))
        tasks = [asyncio.create_task(_or_stop(part, parts)) for part in work]
        try:
            yield parts
            await parts.drain()
            if executor and not parts.failed:
                await tasks[1]
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            if parts.engine is not None:
                parts.engine.close()


def _on_signals(stop: Callable[[], object]) -> None:
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop)


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
    await asyncio.to_thread(engine.load)
    log.info("models loaded", models=[model.name for model in engine.models])
    await runner.run()


async def _or_stop(part: Coroutine[Any, Any, None], parts: Parts) -> None:
    """A part that fails takes the process down, rather than leaving half a service."""
    try:
        await part
    except ModelUnavailable as error:
        log.critical(str(error))
        parts.failed = True
        parts.stop.set()
    except Exception:
        log.critical("a part of the service failed", exc_info=True)
        parts.failed = True
        parts.stop.set()


async def run(settings: Settings) -> bool:
    """Work on jobs until told to stop. Returns whether that was the reason."""
    async with open_parts(settings, executor=True) as parts:
        await parts.stop.wait()
        return not parts.failed
