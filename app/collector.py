"""Sends spans to a collector, as the standard OTEL_ variables say.

Whatever is wrong with them or with the collector, the service goes on without traces, because it works without them.
"""

import os
import threading
from collections.abc import Callable, Mapping, Sequence
from importlib.metadata import entry_points
from typing import TYPE_CHECKING, Any

import structlog
from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.trace import Link, SpanKind, TraceState
from opentelemetry.util.types import Attributes

from app import __version__, tracing

if TYPE_CHECKING:
    from opentelemetry.sdk.trace.sampling import Sampler

ENDPOINTS = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
PROTOCOLS = ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL")
OTLP = {"http/protobuf": "otlp_proto_http", "grpc": "otlp_proto_grpc"}
LAST_SPANS_SECONDS = 3.0
NAME = "callscribe"

log = structlog.stdlib.get_logger("callscribe.traces")


def exporters_of(environment: Mapping[str, str]) -> list[str]:
    """Returns the names of the exporters that the variables ask for. There are none unless a variable asks for one."""
    if environment.get("OTEL_SDK_DISABLED", "").strip().lower() == "true":
        return []
    asked = environment.get("OTEL_TRACES_EXPORTER", "")
    if not asked.strip() and any(environment.get(name) for name in ENDPOINTS):
        asked = "otlp"
    names = [name.strip() for name in asked.split(",") if name.strip() not in ("", "none")]
    protocol = next((environment[name] for name in PROTOCOLS if environment.get(name)), "http/protobuf")
    return [OTLP.get(protocol, f"otlp with the protocol {protocol}") if name == "otlp" else name for name in names]


def send_traces() -> Callable[[], None]:
    """Sets up OpenTelemetry's SDK if the variables ask for it.

    Returns what has to be called at the end of the process, so that the last spans are sent.
    """
    names = exporters_of(os.environ)
    if tracing.begin() or not names:  # or something else has set up the SDK, such as `opentelemetry-instrument`
        return _nothing
    try:
        provider = _provider(names)
    except Exception as error:  # noqa: BLE001  the SDK raises many kinds for variables that it cannot use
        log.warning("no traces are sent", error=_why_not(error))
        return _nothing
    trace.set_tracer_provider(provider)
    tracing.begin()
    log.info("traces are sent", exporters=names)

    def finish() -> None:
        last = threading.Thread(target=provider.shutdown, daemon=True)
        last.start()
        last.join(LAST_SPANS_SECONDS)

    return finish


def _nothing() -> None:
    pass


def _provider(names: Sequence[str]) -> Any:
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    exporters = [_exporter(name) for name in names]
    given = Resource.create()  # it has a name in any case, which begins so if the operator gave none
    named = {} if not str(given.attributes["service.name"]).startswith("unknown_service") else {"service.name": NAME}
    resource = Resource({"service.version": __version__}).merge(given).merge(Resource(named))
    provider = TracerProvider(resource=resource, shutdown_on_exit=False)
    provider.sampler = careful(provider.sampler)
    for exporter in exporters:
        provider.add_span_processor(BatchSpanProcessor(exporter))
    return provider


def _exporter(name: str) -> Any:
    """Raises LookupError if the exporter is not installed."""
    found = list(entry_points(group="opentelemetry_traces_exporter", name=name))
    if not found:
        raise LookupError(f"the exporter {name} is not installed")
    return found[0].load()()


def _why_not(error: Exception) -> str:
    """Returns what to do. The text of the SDK's own errors may repeat a variable with a password, so it is left out."""
    if isinstance(error, LookupError):
        return str(error.args[0])
    if isinstance(error, ImportError):
        return "OpenTelemetry's SDK is not installed; install callscribe[otel]"
    return f"the OTEL_ variables cannot be used: {type(error).__name__}"


def careful(sampler: "Sampler") -> "Sampler":
    """Returns a sampler for which a client's `traceparent` is no order to record.

    With the usual samplers, a client that marks its own traces as sampled would have all of them recorded, whatever
    share the operator chose. If a client marks its trace as not sampled, the given sampler decides what that means.
    """
    from opentelemetry.sdk.trace.sampling import Decision, Sampler, SamplingResult

    class Careful(Sampler):
        def should_sample(
            self,
            parent_context: Context | None,
            trace_id: int,
            name: str,
            kind: SpanKind | None = None,
            attributes: Attributes = None,
            links: Sequence[Link] | None = None,
            trace_state: TraceState | None = None,
        ) -> SamplingResult:
            rest = (trace_id, name, kind, attributes, links, trace_state)
            result = sampler.should_sample(parent_context, *rest)
            parent = trace.get_current_span(parent_context).get_span_context()
            if parent.is_valid and parent.is_remote and result.decision is not Decision.DROP:
                return sampler.should_sample(tracing.ROOT, *rest)
            return result

        def get_description(self) -> str:
            return f"Careful{{{sampler.get_description()}}}"

    return Careful()
