"""Samples → transcript: the protocol that the worker and the command line see, and the engine of this machine.

The engine loads the models, starts their threads, and puts the parts of this room together.
"""

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Protocol

from app import metrics
from app.audio.pcm import PcmFile
from app.process.memory import return_memory
from app.process.places import FairPlaces, Rank
from app.process.shares import Shares
from app.speech import families
from app.speech.batching.batcher import Batcher, EngineStopped
from app.speech.call.assemble import Call, assemble
from app.speech.live.events import OnEvent
from app.speech.live.listener import ChannelListener
from app.speech.live.passes import LivePass
from app.speech.model import DEFAULT_BEAM_SIZE, Device, DeviceChoice, Model
from app.speech.reader import ChannelScan
from app.speech.reports import FinalReports, OnFinal
from app.speech.session import Session
from app.speech.settling import Work, recognize_batch
from app.speech.windows import voice_activity
from app.speech.windows.levels import measure
from app.transcripts.transcript import Options, Transcript

USUAL_RANK = Rank()
WINDOWS_BESIDE_LIVE = 2  # of a batch on a processor, which takes half a second
CALLS_PER_CORE, CALLS_PER_GPU = 4, 50
logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class EngineConfig:
    """Which models to serve and where to run them. The first of `models` is the default.

    `device` is `auto`, `cpu` or `cuda`. An empty `device_index` means all GPUs. The `compute_type` `auto` is int8 on a
    processor and float16 on a GPU. `batch_size` is the most windows that a batch holds; None means the number of the
    model's device, or the smallest of these numbers if there are several models. `beam_size` is that of DeviceChoice.
    """

    models: tuple[str, ...]
    models_dir: Path
    device: str = "auto"
    device_index: tuple[int, ...] = ()
    compute_type: str = "auto"
    batch_size: int | None = None
    beam_size: int = DEFAULT_BEAM_SIZE

    @property
    def device_choice(self) -> DeviceChoice:
        return DeviceChoice(self.device, self.device_index, self.compute_type, self.beam_size)


def check(config: EngineConfig) -> None:
    """Raises ModelUnavailable if this machine lacks the device, or if a name is not that of a model. Loads nothing."""
    for name in config.models:
        families.check(name, config.device_choice)


class Transcriber(Protocol):
    async def transcribe(
        self,
        channels: Sequence[PcmFile],
        options: Options,
        on_progress: Callable[[float], None],
        rank: Rank = USUAL_RANK,
        on_final: OnFinal | None = None,
    ) -> Transcript: ...


class Listener(Protocol):
    """Hears one channel of a live call. Its methods are called on the event loop."""

    def advance(self, samples: int) -> None:
        """The channel's file has grown to so many samples."""

    async def finish(self) -> None:
        """The channel has ended. Returns when its last event was given."""

    def close(self) -> None:
        """Gives no more events. May be called again."""


class LiveTranscriber(Protocol):
    """Gives the text of live calls."""

    @property
    def ready(self) -> bool: ...

    @property
    def most_live_calls(self) -> int:
        """How many live calls the devices can follow at the same time."""

    def listen(
        self,
        pcm: PcmFile,
        channel: int,
        options: Options,
        rank: Rank,
        on_event: OnEvent,
        *,
        silence_ms: int = 500,
        partial_ms: int | None = 1000,
    ) -> Listener:
        """Hears a channel whose file grows. Calls `on_event` on the event loop. No partials if `partial_ms` is None.

        Raises EngineStopped.
        """


class Engine:
    """The models of this machine. Any number of recordings are transcribed at the same time."""

    def __init__(self, config: EngineConfig, shares: Shares | None = None) -> None:
        self._config = config
        self._models: Mapping[str, Model] = {}
        self.devices: Mapping[str, Device] = {}
        """Where each model runs, after `load`."""
        self._batcher: Batcher[Work] | None = None
        self._voices: ThreadPoolExecutor | None = None
        self._listeners = 0
        self._live_passes: set[LivePass] = set()  # that are under way
        self._whole_reads = FairPlaces(
            3, 2, shares
        )  # each reads a whole recording, in threads that other work needs too

    @property
    def ready(self) -> bool:
        """Whether the models are loaded and all threads run. If it becomes false after `load`, only a restart helps."""
        return self._batcher is not None and self._batcher.alive

    def load(self) -> None:
        """Fetches, checks, loads and warms up every model, then starts the threads. Blocks. Raises ModelUnavailable."""
        config = self._config
        loaded = {name: families.load(name, config.models_dir, config.device_choice) for name in config.models}
        self._models = {name: each.model for name, each in loaded.items()}
        self.devices = {name: each.device for name, each in loaded.items()}
        voice_activity.load()
        return_memory()
        devices = list(self.devices.values())
        batch_size = config.batch_size or min(device.batch_size for device in devices)
        for name, each in loaded.items():
            _log_loaded(name, each.device, batch_size)
            metrics.model_loaded(name, each.device.kind)
        self._voices = ThreadPoolExecutor(1, "live-voices")
        batcher = Batcher(max(device.threads for device in devices), batch_size, recognize_batch)
        batcher.start()
        self._batcher = batcher

    async def transcribe(
        self,
        channels: Sequence[PcmFile],
        options: Options,
        on_progress: Callable[[float], None],
        rank: Rank = USUAL_RANK,
        on_final: OnFinal | None = None,
    ) -> Transcript:
        """Transcribes one recording. `channels` holds its mix, or a file for each channel: 16 kHz, 16 bits.

        A channel that copies another is not transcribed. `on_progress` is called on the event loop with the part of
        the speech that is done, 0–1. `on_final` is called on the event loop with the text that became final meanwhile,
        and with the rest of the text at the end. If the caller is cancelled, the windows that are queued are dropped.

        Raises OSError if the samples cannot be read, MemoryError, GpuOutOfMemory, EngineStopped, and DeviceLost if the
        device broke during a batch with windows of this recording. Any other error is a fault of the model or of this
        program.
        """
        batcher = self._batcher
        if batcher is None:
            raise EngineStopped
        if not channels:
            raise ValueError("a recording needs a channel")
        loop = asyncio.get_running_loop()

        def call_back(progress: float) -> None:
            if not job.result.cancelled():
                on_progress(progress)

        def report(progress: float) -> None:
            with suppress(RuntimeError):  # the loop may have ended before the thread calls it
                loop.call_soon_threadsafe(call_back, progress)

        duration = max(pcm.duration_seconds for pcm in channels)
        async with self._whole_reads.place(rank):
            levels = await asyncio.to_thread(measure, channels)
        call = Call(tuple(channels), options, levels, duration)
        reports = FinalReports(call, on_final) if on_final else None
        job = Session(self._models[options.model], call, rank, report, reports.frontier if reports else None)
        batcher.submit(job, [ChannelScan(job, index) for index in call.levels.distinct])
        with reports.of(job) if reports else nullcontext():
            listened = await asyncio.wrap_future(job.result)
        async with self._whole_reads.place(rank):
            transcript = await asyncio.to_thread(assemble, call, listened)
        if reports:
            reports.end(transcript)
        return transcript

    @property
    def most_live_calls(self) -> int:
        """How many live calls the devices can follow at the same time, as measured (docs/live.md)."""
        return sum(
            CALLS_PER_CORE * device.threads if device.kind == "cpu" else CALLS_PER_GPU * max(1, len(device.indexes))
            for device in list(self.devices.values())[:1]
        )

    def listen(
        self,
        pcm: PcmFile,
        channel: int,
        options: Options,
        rank: Rank,
        on_event: OnEvent,
        *,
        silence_ms: int = 500,
        partial_ms: int | None = 1000,
    ) -> ChannelListener:
        """As LiveTranscriber says. While somebody listens, batches on a processor hold only a few windows."""
        batcher, voices = self._batcher, self._voices
        if batcher is None or voices is None:
            raise EngineStopped

        def submit(work: LivePass) -> None:
            batcher.submit(work, [work])
            self._live_passes.add(work)
            work.result.add_done_callback(lambda _: self._live_passes.discard(work))

        threads = max(device.threads for device in self.devices.values())
        self._count_listeners(batcher, 1)
        return ChannelListener(
            self._models[options.model],
            pcm,
            channel,
            options,
            rank,
            on_event,
            submit,
            voices,
            partial(self._count_listeners, batcher, -1),
            silence_ms=silence_ms,
            partial_ms=partial_ms,
            first_sample=pcm.samples if pcm.path.exists() else 0,
            may_draft=lambda: len(self._live_passes) < threads,
        )

    def _count_listeners(self, batcher: Batcher[Work], more: int) -> None:
        self._listeners += more
        is_cpu = any(device.kind == "cpu" for device in self.devices.values())
        most = WINDOWS_BESIDE_LIVE if is_cpu else max(device.batch_size for device in self.devices.values())
        batcher.keep_batches_small(most if self._listeners else None)

    def close(self) -> None:
        """Ends the threads after their current batches. All other jobs end with EngineStopped. Models stay in memory.

        Do not call it on an event loop, because it blocks until the batches are done, which may take seconds.
        """
        if self._batcher:
            self._batcher.close()
        self._batcher = None
        if self._voices:
            self._voices.shutdown(wait=False, cancel_futures=True)


def _log_loaded(name: str, device: Device, batch_size: int) -> None:
    logger.info(
        "model %s loaded on %s as %s, %d threads, batches of up to %d",
        name,
        device.kind,
        device.compute_type,
        device.threads,
        batch_size,
    )
