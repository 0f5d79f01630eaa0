"""Samples → transcript: the protocol that the worker and the command line see, and the engine of this machine.

The engine loads the models, starts their threads, and puts the parts of this room together.
"""

import asyncio
import logging
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
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
from app.process.threads import in_daemon_thread
from app.speech.batching.batcher import Batcher, EngineStopped
from app.speech.call.assemble import Call, Listened, Voices, assemble
from app.speech.call.final_text import rest_of
from app.speech.endpoints import Endpoint
from app.speech.families import Families
from app.speech.live.events import OnEvent
from app.speech.live.listener import ChannelListener
from app.speech.live.passes import LivePass
from app.speech.model import DEFAULT_BEAM_SIZE, REMOTE, Device, DeviceChoice, LoadedModel, ModelUnavailable
from app.speech.reader import ChannelScan
from app.speech.reports import FinalReports, OnFinal
from app.speech.session import Session
from app.speech.settling import Work, recognize_batch
from app.speech.speakers.voices import MOST_SPEAKERS, VoiceModels
from app.speech.windows import voice_activity
from app.speech.windows.levels import measure
from app.transcripts.transcript import Options, Transcript, TranscriptWarning, WarningCode

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
    `endpoints` are those of the models that other servers run.
    """

    models: tuple[str, ...]
    models_dir: Path
    device: str = "auto"
    device_index: tuple[int, ...] = ()
    compute_type: str = "auto"
    batch_size: int | None = None
    beam_size: int = DEFAULT_BEAM_SIZE
    endpoints: tuple[Endpoint, ...] = ()

    @property
    def families(self) -> Families:
        return Families(self.endpoints)

    @property
    def device_choice(self) -> DeviceChoice:
        return DeviceChoice(self.device, self.device_index, self.compute_type, self.beam_size)


def check(config: EngineConfig) -> None:
    """Raises ModelUnavailable if this machine lacks the device, or if a name is not that of a model. Loads nothing."""
    families = config.families
    for name in config.models:
        families.check(name, config.device_choice)


class Transcriber(Protocol):
    @property
    def troubles(self) -> Mapping[str, str]:
        """Why models cannot be used at the moment, by their names. Models that can be used are not in it."""

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
        self._models: Mapping[str, LoadedModel] = {}
        self.devices: Mapping[str, Device] = {}
        """Where each model runs, after `load`."""
        self._batchers: Mapping[str, Batcher[Work]] = {}  # by the model's name; models of one kind of device share one
        self._voices: ThreadPoolExecutor | None = None
        self._listeners: Counter[Batcher[Work]] = Counter()
        self._live_passes: set[LivePass] = set()  # that are under way
        self._whole_reads = FairPlaces(
            3, 2, shares
        )  # each reads a whole recording, in threads that other work needs too
        self._separations = FairPlaces(1, 1, shares)  # of voices; each takes a core for seconds a minute of the call

    @property
    def ready(self) -> bool:
        """Whether the models are loaded and all threads run. If it becomes false after `load`, only a restart helps."""
        return bool(self._batchers) and all(batcher.alive for batcher in self._batchers.values())

    @property
    def troubles(self) -> Mapping[str, str]:
        found = {name: loaded.trouble() for name, loaded in self._models.items()}
        return {name: trouble for name, trouble in found.items() if trouble is not None}

    def load(self) -> None:
        """Fetches, checks, loads and warms up every model, then starts the threads. Blocks. Raises ModelUnavailable."""
        config = self._config
        self._models = config.families.load(config.models, config.models_dir, config.device_choice)
        self.devices = {name: loaded.device for name, loaded in self._models.items()}
        voice_activity.load()
        return_memory()
        for name, device in self.devices.items():
            metrics.model_loaded(name, device.kind)
        self._voices = ThreadPoolExecutor(1, "live-voices")
        batchers: dict[str, Batcher[Work]] = {}
        groups: dict[tuple[str, str], list[str]] = {}
        for name, device in self.devices.items():
            groups.setdefault((device.kind, name if device.kind == REMOTE else ""), []).append(name)
        for names in groups.values():
            batchers |= dict.fromkeys(names, self._started_batcher(names))
        self._batchers = batchers

    def _started_batcher(self, names: Iterable[str]) -> Batcher[Work]:
        devices = {name: self.devices[name] for name in names}
        least = min(device.batch_size for device in devices.values())
        is_remote = any(device.kind == REMOTE for device in devices.values())
        batch_size = least if is_remote else self._config.batch_size or least
        for name, device in devices.items():
            _log_loaded(name, device, batch_size)
        batcher = Batcher(max(device.threads for device in devices.values()), batch_size, recognize_batch)
        batcher.start()
        return batcher

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
        device broke during a batch with windows of this recording, and ModelAway if the model is on another server that
        cannot be used at the moment. Any other error is a fault of the model or of this program.
        """
        batcher = self._batchers.get(options.model)
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
        # Voices are told apart at the end, so no text is final before that.
        reports = FinalReports(call, on_final) if on_final and not options.diarize else None
        job = Session(self._models[options.model].model, call, rank, report, reports.frontier if reports else None)
        batcher.submit(job, [ChannelScan(job, index) for index in call.levels.distinct])
        with reports.of(job) if reports else nullcontext():
            listened = await asyncio.wrap_future(job.result)
        voices = await self._voices_of(call, listened, rank) if options.diarize else None
        async with self._whole_reads.place(rank):
            transcript = await asyncio.to_thread(assemble, call, listened, voices)
        if reports:
            reports.end(transcript)
        elif on_final:
            on_final(rest_of(transcript.segments, 0.0))
        return transcript

    async def _voices_of(self, call: Call, listened: Listened, rank: Rank) -> Voices:
        """Tells the voices of each channel apart. A fault in there costs no transcript: it becomes a warning."""
        try:
            async with self._separations.place(rank):
                return await in_daemon_thread(partial(_separated, call, listened), "voices")
        except ModelUnavailable as error:
            logger.warning("speech.voices_unavailable: %s", error)
            return Voices(warning=_speakers_unknown("the worker that transcribed the call has no models of voices"))
        except Exception:
            logger.exception("speech.voices_failed")
            return Voices(warning=_speakers_unknown("the models of voices failed"))

    @property
    def most_live_calls(self) -> int:
        """How many live calls the default model can follow at the same time, as measured (docs/live.md)."""
        return sum(
            CALLS_PER_GPU * max(1, len(device.indexes)) if device.kind == "cuda" else CALLS_PER_CORE * device.threads
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
        """As LiveTranscriber says. While somebody listens, batches on a processor hold only a few windows.

        A remote model gets no drafts, because each would be a request to its server, which may cost money.
        """
        batcher, voices = self._batchers.get(options.model), self._voices
        if batcher is None or voices is None:
            raise EngineStopped

        def submit(work: LivePass) -> None:
            batcher.submit(work, [work])
            self._live_passes.add(work)
            work.result.add_done_callback(lambda _: self._live_passes.discard(work))

        loaded, device = self._models[options.model], self.devices[options.model]
        self._count_listeners(batcher, device, 1)
        return ChannelListener(
            loaded.model,
            pcm,
            channel,
            options,
            rank,
            on_event,
            submit,
            voices,
            partial(self._count_listeners, batcher, device, -1),
            silence_ms=silence_ms,
            partial_ms=None if device.kind == REMOTE else partial_ms,
            first_sample=pcm.samples if pcm.path.exists() else 0,
            may_draft=lambda: len(self._live_passes) < device.threads,
            trouble=loaded.trouble,
        )

    def _count_listeners(self, batcher: Batcher[Work], device: Device, more: int) -> None:
        self._listeners[batcher] += more
        most = WINDOWS_BESIDE_LIVE if device.kind == "cpu" else device.batch_size
        batcher.keep_batches_small(most if self._listeners[batcher] else None)

    def close(self) -> None:
        """Ends the threads after their current batches. All other jobs end with EngineStopped. Models stay in memory.

        Do not call it on an event loop, because it blocks until the batches are done, which may take seconds.
        """
        for loaded in self._models.values():
            loaded.close()
        for batcher in set(self._batchers.values()):
            batcher.close()
        self._batchers = {}
        if self._voices:
            self._voices.shutdown(wait=False, cancel_futures=True)


def _separated(call: Call, listened: Listened) -> Voices:
    """Blocks for seconds a minute of the call. On one track there are exactly as many speakers as the client says."""
    models, speakers = VoiceModels.load(), call.options.speakers
    most, exact = speakers or MOST_SPEAKERS, speakers if call.is_one_track else None
    return Voices(
        {
            channel: models.separate(call.channels[channel], each.runs, most, exact)
            for channel, each in listened.read.items()
            if each.runs
        }
    )


def _speakers_unknown(why: str) -> TranscriptWarning:
    message = f"The speakers could not be told apart by their voices, because {why}"
    return TranscriptWarning(WarningCode.SPEAKERS_UNKNOWN, message)


def _log_loaded(name: str, device: Device, batch_size: int) -> None:
    if device.kind == REMOTE:
        logger.info("model %s runs on another server, which gets up to %d requests at a time", name, device.threads)
        return
    logger.info(
        "model %s loaded on %s as %s, %d threads, batches of up to %d",
        name,
        device.kind,
        device.compute_type,
        device.threads,
        batch_size,
    )
