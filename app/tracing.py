"""Traces: what happened to a call from its request to its webhook, as the spans of OpenTelemetry.

It uses only OpenTelemetry's API, which does nothing until `app.collector` has set up the SDK. A trace goes from one
process to the next as a `traceparent`, the text of W3C's Trace Context. It is in requests, in the rows of jobs and
events, and in webhooks.

Spans leave this machine. So their attributes are ids of our own, names of models and numbers, and never a text of a
call, a key, a URL or the message of an error.
"""

import re
import time
from collections.abc import Iterator
from contextlib import contextmanager

from opentelemetry import trace
from opentelemetry.context import Context, attach, detach
from opentelemetry.trace import INVALID_SPAN, NonRecordingSpan, Span, SpanContext, SpanKind, StatusCode, TraceFlags

__all__ = ["HEADER", "ROOT", "Span", "SpanKind"]

HEADER = "traceparent"
ROOT = Context()
"""The parent of a span that begins a trace."""
# Version ff is forbidden, and so are ids of zeros. Later versions may have more after the flags than version 00 has.
TRACEPARENT = re.compile(
    r"(?:00|(?!ff)[0-9a-f]{2}(?=.{53}(?:-|$)))-(?!0{32})([0-9a-f]{32})-(?!0{16})([0-9a-f]{16})-([0-9a-f]{2})(-[!-~]*)?"
)
LONGEST = 512

_tracer = trace.get_tracer("callscribe")
_are_recorded = False


def begin() -> bool:
    """Makes spans from now on if something has set up the SDK. Returns whether that is so.

    The API would ask this again for each span, which takes longer than all that is done for a span without the SDK.
    """
    global _are_recorded
    _are_recorded = not isinstance(trace.get_tracer_provider(), trace.ProxyTracerProvider)
    return _are_recorded


def are_recorded() -> bool:
    """Whether this process records spans at all."""
    return _are_recorded


def of_client(text: str | None) -> Context:
    """Returns the parent that a client names with a `traceparent`, or ROOT if it names none, or not as W3C demands."""
    return _parent(text, is_remote=True)


def of_row(text: str | None) -> Context:
    """Returns the parent that an earlier stage wrote into a row with `traceparent`, or ROOT if it wrote none.

    Unlike a client's, it is believed to say whether the trace is recorded.
    """
    return _parent(text, is_remote=False)


def _parent(text: str | None, *, is_remote: bool) -> Context:
    found = TRACEPARENT.fullmatch(text) if text and len(text) <= LONGEST else None
    if text is None or found is None or (text.startswith("00") and found[4]):
        return ROOT
    flags = TraceFlags(int(found[3], 16) & TraceFlags.SAMPLED)
    return trace.set_span_in_context(
        NonRecordingSpan(SpanContext(int(found[1], 16), int(found[2], 16), is_remote, flags)), ROOT
    )


def traceparent() -> str | None:
    """Returns the current span as the parent of what comes later or elsewhere, or None if there is no trace."""
    context = trace.get_current_span().get_span_context()
    if not context.is_valid:
        return None
    return f"00-{context.trace_id:032x}-{context.span_id:016x}-{context.trace_flags & TraceFlags.SAMPLED:02x}"


def headers() -> dict[str, str]:
    """Returns the headers with which a request to another server continues the current trace."""
    text = traceparent()
    return {} if text is None else {HEADER: text}


def log_fields(context: Context | None = None) -> dict[str, str]:
    """Returns what log lines say of a trace, so that one leads to the other. Without `context`, of the current one."""
    found = trace.get_current_span(context).get_span_context()
    return {"trace_id": f"{found.trace_id:032x}"} if found.is_valid else {}


@contextmanager
def span(
    name: str,
    parent: Context | None = None,
    kind: SpanKind = SpanKind.INTERNAL,
    **attributes: str | float | None,
) -> Iterator[Span]:
    """Makes a span of the block. Without `parent`, it is a part of the current span.

    In the names of attributes, two underscores stand for a dot. If the block raises an error, the span has its code or
    its type, and not its message. If this process records no spans, the parent is passed on to what is in the block.
    """
    if not _are_recorded:
        token = None if parent is None else attach(parent)
        try:
            yield INVALID_SPAN
        finally:
            if token is not None:
                detach(token)
        return
    with _tracer.start_as_current_span(
        name, parent, kind, record_exception=False, set_status_on_exception=False
    ) as current:
        describe(current, **attributes)
        try:
            yield current
        except Exception as error:
            fail(current, getattr(error, "code", type(error).__name__))
            raise


def past_span(name: str, parent: Context, seconds: float, **attributes: str | float | None) -> None:
    """Makes a span of a time that ends now and was not under the eyes of this process."""
    if not _are_recorded:
        return
    now = time.time_ns()
    past = _tracer.start_span(name, parent, start_time=now - round(max(0.0, seconds) * 1e9))
    describe(past, **attributes)
    past.end(now)


def describe(span: Span, **attributes: str | float | None) -> None:
    """Adds attributes, but not those that are None."""
    if span.is_recording():
        for name, value in attributes.items():
            if value is not None:
                span.set_attribute(name.replace("__", "."), value)


def fail(span: Span, error: object) -> None:
    """Marks the span as failed. `error` is a code or a type."""
    if span.is_recording():
        span.set_attribute("error.type", str(error))
        span.set_status(StatusCode.ERROR)
