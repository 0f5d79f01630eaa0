"""When spans are sent, who decides which are recorded, and which parents are believed."""

import os
import subprocess
import sys

import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.sampling import ALWAYS_ON, ParentBased, Sampler, TraceIdRatioBased
from opentelemetry.trace import get_current_span

from app import tracing
from app.collector import careful, exporters_of

TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
ENDPOINT = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:4318"}
PROGRAM = """
import sys
from app.telemetry import set_up_logging
set_up_logging("json")
{before}
from app import collector, tracing
finish = collector.send_traces()
with tracing.span("one"):
    print(tracing.are_recorded(), tracing.traceparent() is not None)
finish()
"""
NO_SDK = "sys.modules.update({'opentelemetry.sdk': None, 'opentelemetry.sdk.resources': None})"


@pytest.mark.parametrize(
    ("environment", "exporters"),
    [
        ({}, []),
        ({"OTEL_SERVICE_NAME": "calls"}, []),
        (ENDPOINT, ["otlp_proto_http"]),
        ({"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://collector/v1/traces"}, ["otlp_proto_http"]),
        ({"OTEL_TRACES_EXPORTER": "otlp"}, ["otlp_proto_http"]),
        ({"OTEL_TRACES_EXPORTER": "console, otlp"}, ["console", "otlp_proto_http"]),
        (ENDPOINT | {"OTEL_TRACES_EXPORTER": "none"}, []),
        (ENDPOINT | {"OTEL_SDK_DISABLED": "TRUE"}, []),
        (ENDPOINT | {"OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"}, ["otlp_proto_grpc"]),
        (
            ENDPOINT | {"OTEL_EXPORTER_OTLP_PROTOCOL": "grpc", "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL": "http/protobuf"},
            ["otlp_proto_http"],
        ),
        (ENDPOINT | {"OTEL_EXPORTER_OTLP_PROTOCOL": "http/json"}, ["otlp with the protocol http/json"]),
    ],
)
def test_spans_are_sent_only_if_the_standard_variables_ask_for_it(
    environment: dict[str, str], exporters: list[str]
) -> None:
    assert exporters_of(environment) == exporters


def run(before: str = "", **variables: str) -> subprocess.CompletedProcess[str]:
    program, environment = PROGRAM.format(before=before), {**os.environ, **variables}
    command = [sys.executable, "-c", program]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=True, timeout=60)


@pytest.mark.parametrize(
    ("before", "variables", "warning"),
    [
        (NO_SDK, ENDPOINT, "OpenTelemetry's SDK is not installed; install callscribe[otel]"),
        ("", ENDPOINT | {"OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"}, "the exporter otlp_proto_grpc is not installed"),
        ("", ENDPOINT | {"OTEL_BSP_MAX_QUEUE_SIZE": "-1"}, "the OTEL_ variables cannot be used: ValueError"),
    ],
)
def test_without_the_sdk_or_with_wrong_variables_the_service_warns_and_goes_on(
    before: str, variables: dict[str, str], warning: str
) -> None:
    ended = run(before, **variables)
    assert ended.stdout == "False False\n"
    assert f'"error": "{warning}"' in ended.stderr


def test_a_collector_that_is_away_holds_up_nothing_and_is_named_without_its_address() -> None:
    ended = run(OTEL_EXPORTER_OTLP_ENDPOINT="http://user:geheim@127.0.0.1:9", OTEL_SERVICE_NAME="calls")
    assert ended.stdout == "True True\n"
    assert "geheim" not in ended.stderr


def recorded(sampler: Sampler, parent: str) -> bool:
    provider = TracerProvider(sampler=careful(sampler), shutdown_on_exit=False)
    return provider.get_tracer("test").start_span("one", tracing.of_client(parent)).is_recording()


@pytest.mark.parametrize(
    ("sampler", "flags", "is_recorded"),
    [
        (ParentBased(ALWAYS_ON), "01", True),
        (ParentBased(ALWAYS_ON), "00", False),
        (ParentBased(TraceIdRatioBased(0.0)), "01", False),
        (ParentBased(TraceIdRatioBased(1.0)), "01", True),
        (ParentBased(TraceIdRatioBased(1.0)), "00", False),
        (ALWAYS_ON, "00", True),
    ],
)
def test_a_client_may_ask_for_fewer_records_but_not_for_more(sampler: Sampler, flags: str, is_recorded: bool) -> None:
    assert recorded(sampler, f"00-{TRACE}-{SPAN}-{flags}") is is_recorded


def test_later_stages_follow_the_decision_of_the_first_one() -> None:
    provider = TracerProvider(sampler=careful(ParentBased(TraceIdRatioBased(0.0))), shutdown_on_exit=False)
    tracer = provider.get_tracer("test")
    assert tracer.start_span("one", tracing.of_row(f"00-{TRACE}-{SPAN}-01")).is_recording()
    assert not tracer.start_span("one", tracing.of_row(f"00-{TRACE}-{SPAN}-00")).is_recording()


@pytest.mark.parametrize(
    ("text", "is_believed"),
    [
        (f"00-{TRACE}-{SPAN}-01", True),
        (f"00-{TRACE}-{SPAN}-ff", True),
        (f"cc-{TRACE}-{SPAN}-01", True),
        (f"cc-{TRACE}-{SPAN}-01-what-a-later-version-adds", True),
        (f"cc-{TRACE}-{SPAN}-01.what-no-version-adds", False),
        (f"cc-{TRACE}-{SPAN}-01-{'x' * 500}", False),
        (f"00-{TRACE}-{SPAN}-01-more", False),
        (f"ff-{TRACE}-{SPAN}-01", False),
        (f"00-{'0' * 32}-{SPAN}-01", False),
        (f"00-{TRACE}-{'0' * 16}-01", False),
        (f"00-{TRACE.upper()}-{SPAN}-01", False),
        (f" 00-{TRACE}-{SPAN}-01", False),
        (f"00-{TRACE}-{SPAN}-01\n", False),
        (f"00-{TRACE}-{SPAN}-1", False),
        (f"00_{TRACE}_{SPAN}_01", False),
        ("", False),
        (None, False),
    ],
)
def test_only_a_parent_as_w3c_demands_is_believed(text: str | None, is_believed: bool) -> None:
    context = get_current_span(tracing.of_client(text)).get_span_context()
    assert context.is_valid is is_believed
    if is_believed:
        assert (f"{context.trace_id:032x}", f"{context.span_id:016x}") == (TRACE, SPAN)
