"""Looks into a recording before its job is accepted, so that a client learns immediately that it is none."""

from collections.abc import Iterator
from contextlib import contextmanager

from app.access.callers import tenant_of
from app.audio.decode import MediaInfo, probe
from app.audio.raw import raw_sound
from app.errors import TooLong, Unavailable
from app.jobs.models import NewJob
from app.process.places import FairPlaces, Holders, Rank
from app.process.shares import Shares
from app.storage.store import AudioStore

PROBES = 3
PROBES_OF_ONE_KEY = 2
MAX_PENDING_PROBES = 128  # a probe costs 0.1 s of a core, so the last one waits about 10 s: clients wait that long
MAX_PENDING_PROBES_OF_ONE_KEY = 96
PROBE_RETRY_SECONDS = 3
PATIENCE = 4  # times as many recordings may wait whose sender waits for the transcription anyway
# Their duration may be a guess by the bit rate, or a placeholder of a recorder that could not go back to correct it.
ESTIMATING_CONTAINERS = frozenset({"aac", "ac3", "aiff", "amr", "eac3", "mp3"})


class Prober:
    """Probes recordings of `store`, few at the same time. A recording may last `longest_seconds`."""

    def __init__(self, store: AudioStore, longest_seconds: float, shares: Shares | None = None) -> None:
        self._store = store
        self._longest_seconds = longest_seconds
        self._places = FairPlaces(PROBES, PROBES_OF_ONE_KEY, shares)
        self._pending = Holders(MAX_PENDING_PROBES, MAX_PENDING_PROBES_OF_ONE_KEY, shares)
        most, of_one = PATIENCE * MAX_PENDING_PROBES, PATIENCE * MAX_PENDING_PROBES_OF_ONE_KEY
        self._patiently_pending = Holders(most, of_one, shares)

    async def probe(self, job: NewJob, *, is_patient: bool = False) -> MediaInfo:
        """What the job's recording holds. Raises MediaError, and Unavailable if too many recordings wait for this.

        More recordings may wait whose sender `is_patient`, because it waits for the whole transcription anyway.
        """
        assert job.audio_key is not None
        rank = Rank(job.priority, job.caller, tenant_of(job.caller))
        with self._counted(rank, is_patient=is_patient):
            async with self._places.place(rank), self._store.local_path(job.audio_key) as path:
                info = await probe(path, raw_sound(job.options, job.filename))
        announced = None if info.container in ESTIMATING_CONTAINERS else info.duration_seconds
        if announced is not None and announced > self._longest_seconds:
            raise TooLong(f"The recording is longer than {self._longest_seconds:g} s.")
        return info

    @contextmanager
    def _counted(self, rank: Rank, *, is_patient: bool) -> Iterator[None]:
        """Raises Unavailable if too many recordings in all, or of this caller, are being probed or wait for that."""
        pending = self._patiently_pending if is_patient else self._pending
        if not pending.has_room(rank.owner, rank.tenant):
            raise Unavailable("Too many recordings wait to be looked at.", retry_after=PROBE_RETRY_SECONDS)
        with pending.holding(rank.owner, rank.tenant):
            yield
