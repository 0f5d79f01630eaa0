"""The numbers of this process for Prometheus: plain calls that count what happens, and the text that Prometheus reads.

Every room may call it, so it must know none of them. No label holds an id, a text or a key, and a label has a bounded
number of values: from MOST_VALUES different ones on, all others count as OTHER.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Info, disable_created_metrics
from prometheus_client import generate_latest as as_text
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.openmetrics.exposition import generate_latest as as_openmetrics
from prometheus_client.registry import Collector

from app import __version__

PREFIX = "callscribe"
MOST_VALUES = 100
OTHER = "other"
UNMATCHED = "unmatched"
METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
STAGES = ("queued", "fetch", "decode", "transcribe", "total")
REMOTE_RESULTS = ("answered", "busy", "failed", "refused")
MODEL_RESULTS = ("answered", "failed", "timeout", "unreachable")
WINDOW_RESULTS = ("accepted", "retried", "dropped")
TEXT, OPENMETRICS = "text/plain", "application/openmetrics-text"
TEXT_TYPE, OPENMETRICS_TYPE = f"{TEXT}; version=0.0.4; charset=utf-8", f"{OPENMETRICS}; version=1.0.0; charset=utf-8"
JOB_BUCKETS = (0.1, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600, 1800, 3600, 14_400)
HTTP_BUCKETS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 5, 60)
FACTOR_BUCKETS = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5)
MODEL_BUCKETS = (0.5, 1, 2.5, 5, 10, 20, 40, 60, 120, 300)
LIVE_BUCKETS = (0.25, 0.5, 1, 1.5, 2, 3, 4, 6, 10, 30)
LIVE_KINDS = ("partial", "final")
BATCH_BUCKETS = (1, 2, 4, 8, 16, 32, 64)

disable_created_metrics()  # type: ignore[no-untyped-call]  # they would be a second time series for each counter, and Prometheus does not need them
_registry = CollectorRegistry()


def _counter(name: str, what: str, *labels: str) -> Counter:
    return Counter(name, what, labels, namespace=PREFIX, registry=_registry)


def _histogram(name: str, what: str, buckets: Iterable[float], *labels: str) -> Histogram:
    return Histogram(name, what, labels, namespace=PREFIX, buckets=tuple(buckets), registry=_registry)


class _Values:
    """The values of a label that were seen so far. There are at most MOST_VALUES of them, and OTHER."""

    def __init__(self) -> None:
        self._known: set[str] = set()

    def bounded(self, value: str) -> str:
        if value not in self._known:
            if len(self._known) >= MOST_VALUES:
                return OTHER
            self._known.add(value)
        return value


_build = Info("build", "The version of Callscribe that runs.", namespace=PREFIX, registry=_registry)
_build.info({"version": __version__})
_ended = _counter(
    "jobs_ended", "Jobs that this process has ended, and the error code of those that have one.", "status", "code"
)
_job_seconds = _histogram("job_seconds", "Seconds that each stage of a completed job took.", JOB_BUCKETS, "stage")
_audio_seconds = _counter("audio_seconds", "Seconds of audio in completed jobs.", "model")
_realtime_factor = _histogram(
    "realtime_factor",
    "Seconds that a completed job was transcribed, for each second of its audio.",
    FACTOR_BUCKETS,
    "model",
)
_batch_windows = _histogram("batch_windows", "Windows that were recognized together.", BATCH_BUCKETS, "model")
_windows = _counter("windows", "Windows by what became of their recognition.", "model", "result")
_remote_requests = _histogram(
    "remote_request_seconds", "Seconds that requests to models of other servers took.", MODEL_BUCKETS, "model", "result"
)
_leases_lost = _counter("leases_lost", "Jobs that this process took back because their worker was lost.")
_deliveries = _counter("deliveries", "Attempts to deliver an event or a file.", "channel", "result")
_requests = _counter("http_requests", "Requests that were answered.", "route", "method", "status")
_request_seconds = _histogram(
    "http_request_seconds", "Seconds from a request's head to the end of its answer.", HTTP_BUCKETS, "route"
)
_model_loaded = Gauge(
    "model_loaded", "1 if the model is in memory.", ["model", "device"], namespace=PREFIX, registry=_registry
)
_analyses = _counter(
    "analysis_ended",
    "Analyses that this process has ended, and the error code of those that have one.",
    "status",
    "code",
)
_analysis_requests = _histogram(
    "analysis_request_seconds", "Seconds that requests to the language model took.", MODEL_BUCKETS, "result"
)
_analysis_tokens = _counter("analysis_tokens", "Tokens that the language model has read and written.")
_analyses_not_queued = _counter(
    "analysis_not_queued", "Ended calls whose analysis this process could not queue. A sweep queues it later."
)
_live_calls = Gauge("live_calls", "Live calls that go on in this process.", namespace=PREFIX, registry=_registry)
_live_refused = _counter("live_calls_refused", "Live calls that were refused, because there was no place for them.")
_live_delay = _histogram(
    "live_delay_seconds",
    "Seconds from the end of what was said in a live call to its text.",
    LIVE_BUCKETS,
    "kind",
)
_models, _codes, _routes, _channels = _Values(), _Values(), _Values(), _Values()
for _stage in STAGES:
    _job_seconds.labels(_stage)
for _kind in LIVE_KINDS:
    _live_delay.labels(_kind)
for _result in MODEL_RESULTS:
    _analysis_requests.labels(_result)


def live_calls(count: int) -> None:
    _live_calls.set(count)


def live_delay(kind: str, seconds: float) -> None:
    """`kind` is one of LIVE_KINDS."""
    _live_delay.labels(kind).observe(max(0.0, seconds))


def live_call_refused() -> None:
    _live_refused.inc()


def expect_ends(failed: Iterable[str], cancelled: Iterable[str]) -> None:
    """Begin the counters of jobs at 0. Otherwise Prometheus would not notice the first job with a code.

    `failed` are the codes of failed jobs, and `cancelled` those of jobs that the service cancels by itself.
    """
    ends = [("failed", code) for code in failed] + [("cancelled", code) for code in cancelled]
    for status, code in (("completed", ""), ("cancelled", ""), *ends):
        _ended.labels(status, _codes.bounded(code))


def job_ended(status: str, code: str | None) -> None:
    """`code` is that of the job's error, if it has one."""
    _ended.labels(status, _codes.bounded(code or "")).inc()


def job_stage(stage: str, seconds: float) -> None:
    """`stage` is one of STAGES."""
    _job_seconds.labels(stage).observe(max(0.0, seconds))


def audio_transcribed(model: str, audio_seconds: float, transcribing_seconds: float) -> None:
    _audio_seconds.labels(_models.bounded(model)).inc(audio_seconds)
    if audio_seconds:
        _realtime_factor.labels(_models.bounded(model)).observe(transcribing_seconds / audio_seconds)


def batch_recognized(model: str, windows: int) -> None:
    _batch_windows.labels(_models.bounded(model)).observe(windows)


def remote_requested(model: str, result: str, seconds: float) -> None:
    """`result` is one of REMOTE_RESULTS."""
    _remote_requests.labels(_models.bounded(model), result).observe(seconds)


def windows_recognized(model: str, result: str, count: int = 1) -> None:
    """`result` is one of WINDOW_RESULTS."""
    _windows.labels(_models.bounded(model), result).inc(count)


def leases_lost(count: int) -> None:
    _leases_lost.inc(count)


def delivery_attempted(channel: str, result: str) -> None:
    _deliveries.labels(_channels.bounded(channel), result).inc()


def request_answered(route: str | None, method: str, status: int, seconds: float) -> None:
    """`route` is the template of the path, or None if no route has the path."""
    known = UNMATCHED if route is None else _routes.bounded(route)
    _requests.labels(known, method if method in METHODS else OTHER, str(status)).inc()
    _request_seconds.labels(known).observe(seconds)


def model_loaded(model: str, device: str) -> None:
    model = _models.bounded(model)
    _model_loaded.labels(model, device).set(1)
    for result in WINDOW_RESULTS:
        _windows.labels(model, result)


def analysis_ended(status: str, code: str | None) -> None:
    """`code` is that of the analysis' error, if it has one."""
    _analyses.labels(status, _codes.bounded(code or "")).inc()


def analysis_not_queued() -> None:
    _analyses_not_queued.inc()


def analysis_requested(result: str, seconds: float) -> None:
    """`result` is one of MODEL_RESULTS."""
    _analysis_requests.labels(result).observe(seconds)


def analysis_tokens(tokens: int) -> None:
    _analysis_tokens.inc(tokens)


@dataclass(frozen=True)
class Reading:
    """What a process finds out only when it is asked. A number that is None could not be found out, and is left out."""

    jobs: Mapping[str, int] = field(default_factory=dict)
    queue_audio_seconds: float | None = None
    queue_oldest_seconds: float | None = None
    delivery_oldest_seconds: float | None = None
    disk_free_bytes: int | None = None
    analyses: Mapping[str, int] = field(default_factory=dict)
    analysis_oldest_seconds: float | None = None

    def families(self) -> Iterator[Metric]:
        for name, what, counts in (
            ("jobs", "Jobs in the database.", self.jobs),
            ("analyses", "Analyses that wait and run.", self.analyses),
        ):
            if counts:
                by_status = GaugeMetricFamily(f"{PREFIX}_{name}", what, labels=["status"])
                for status, count in counts.items():
                    by_status.add_metric([status], count)
                yield by_status
        for name, what in (
            ("queue_audio_seconds", "Seconds of audio in jobs that wait or run. An unknown length counts as 180."),
            ("queue_oldest_seconds", "For how long the job has waited that waits longest for a worker."),
            ("delivery_oldest_seconds", "For how long the delivery is overdue that is overdue longest."),
            ("analysis_oldest_seconds", "For how long the analysis is overdue that is overdue longest."),
            ("disk_free_bytes", "Free bytes on the fullest disk of the service."),
        ):
            if (value := getattr(self, name)) is not None:
                yield GaugeMetricFamily(f"{PREFIX}_{name}", what, value=value)


@dataclass(frozen=True)
class _Everything(Collector):
    reading: Reading

    def collect(self) -> Iterator[Metric]:
        yield from _registry.collect()
        yield from self.reading.families()


def exposition(reading: Reading, accept: str) -> tuple[bytes, str]:
    """Returns all numbers and their media type: OpenMetrics if the `Accept` header names it, otherwise plain text."""
    everything = _Everything(reading)
    if OPENMETRICS in accept:
        return as_openmetrics(everything), OPENMETRICS_TYPE  # type: ignore[no-untyped-call]
    return as_text(everything), TEXT_TYPE
