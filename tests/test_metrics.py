"""The labels of the metrics: what they may hold, and how many values."""

import pytest

from app import metrics
from app.database.connections import Database
from app.errors import Abandoned
from app.jobs.changes import changing
from app.metrics import MOST_VALUES, OTHER, Reading
from testing.rows import KEEP_AUDIO, TESTER, enqueue

NUMBERS = Reading({"pending": 3}, 540.0, 12.0, 0.0, 10**9)


def lines(name: str, accept: str = "") -> list[str]:
    body, _ = metrics.exposition(NUMBERS, accept)
    return [line for line in body.decode().splitlines() if line.startswith(f"callscribe_{name}")]


def test_a_label_has_a_bounded_number_of_values(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("_models", "_codes", "_routes", "_channels"):
        monkeypatch.setattr(metrics, name, metrics._Values())
    for number in range(3 * MOST_VALUES):
        value = f"value-{number}"
        metrics.job_ended("failed", value)
        metrics.audio_transcribed(value, 1.0, 0.1)
        metrics.delivery_attempted(value, "failed")
        metrics.request_answered(value, value, 200, 0.1)
    for name in ("jobs_ended_total", "audio_seconds_total", "deliveries_total", "http_requests_total"):
        assert len([line for line in lines(name) if "value-" in line]) == MOST_VALUES
        assert [line for line in lines(name) if f'"{OTHER}"' in line]
    assert not [line for line in lines("http_requests_total") if 'method="value-' in line]


async def test_an_abandoned_job_is_counted_as_cancelled_with_its_code(database: Database) -> None:
    [before] = lines('jobs_ended_total{code="abandoned"')
    assert 'status="cancelled"' in before
    for why in (Abandoned("It hung up."), None):
        job = await enqueue(database)
        async with database.transaction() as session:
            await changing.request_cancel(session, job.id, TESTER, KEEP_AUDIO, why=why)
    [after] = lines('jobs_ended_total{code="abandoned"')
    assert float(after.split()[-1]) == float(before.split()[-1]) + 1


def test_requests_without_a_route_count_as_one_route() -> None:
    metrics.request_answered(None, "GET", 404, 0.1)
    assert [line for line in lines("http_requests_total") if 'route="unmatched",status="404"' in line]


@pytest.mark.parametrize(
    ("accept", "media_type"),
    [
        ("", "text/plain; version=0.0.4; charset=utf-8"),
        ("*/*", "text/plain; version=0.0.4; charset=utf-8"),
        (
            "application/openmetrics-text;version=1.0.0;q=0.5,text/plain;version=0.0.4;q=0.3",
            "application/openmetrics-text; version=1.0.0; charset=utf-8",
        ),
        (
            "application/openmetrics-text; version=nonsense",
            "application/openmetrics-text; version=1.0.0; charset=utf-8",
        ),
    ],
)
def test_the_client_chooses_the_format(accept: str, media_type: str) -> None:
    body, answered = metrics.exposition(NUMBERS, accept)
    assert answered == media_type
    assert body.endswith(b"# EOF\n") is answered.startswith(metrics.OPENMETRICS)
    assert b'callscribe_jobs{status="pending"} 3.0\n' in body


def test_what_could_not_be_found_out_is_left_out() -> None:
    body, _ = metrics.exposition(Reading(disk_free_bytes=7), "")
    assert b"callscribe_disk_free_bytes 7.0" in body
    assert b"queue_" not in body
    assert b"callscribe_jobs{" not in body
