"""`/v1/reports` counts calls, and each of its figures leads to the calls that it counts."""

import asyncio
import codecs
import csv
import io
import json
import os
import sys
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote
from uuid import UUID

import pytest
from sqlalchemy import text
from uuid_utils.compat import uuid7

from app.access.callers import Scope
from app.analysis.reports import reading
from app.database.connections import Database
from app.jobs.lifecycle import AudioFacts, Failed, Outcome, Succeeded, Timings
from app.jobs.upkeep.search_filling import SearchFilling
from app.transcripts.transcript import Channel, ChannelTalk, Hold, Overlap, Segment, Talk, Transcript
from testing.forms import refused
from testing.keys import bearer
from testing.listening import Listening, listening
from testing.rows import claim, enqueue, execute, finish

LABELS = ("agent", "customer")
EXAMPLE = Path(__file__).parents[2] / "examples" / "python" / "report.py"


@dataclass(frozen=True)
class Analysed:
    """What an analysis found out. `mood` are the shares of the customer's positive and negative turns."""

    categories: Sequence[str] = ()
    unsure: Sequence[str] = ()
    points: float | None = None
    intent: str | None = None
    mood: tuple[float, float] | None = None
    resolved: bool | None = None

    @property
    def judgement(self) -> dict[str, Any]:
        shares = {} if self.mood is None else {"positive": self.mood[0], "negative": self.mood[1]}
        sides = [
            {"speaker": "agent", "turns": 1, "shares": {"positive": 1.0, "neutral": 0.0, "negative": 0.0}},
            {"speaker": "customer", "turns": len(shares), "shares": shares},
        ]
        return {
            "intent": self.intent and {"value": self.intent, "turns": [1]},
            "resolved": None if self.resolved is None else {"value": self.resolved, "turns": [1]},
            "sentiment": {"turns": [], "sides": sides},
        }


@dataclass(frozen=True)
class Said:
    text: str = "Good morning."
    language: str = "en"
    seconds: float = 100.0
    talk: Talk = field(default_factory=Talk)


def transcript(said: Said) -> Transcript:
    segments = (
        Segment(0, 0, "agent", 0.0, 5.0, "Hello, how can I help you?", said.language),
        Segment(1, 1, "customer", 6.0, 9.0, said.text, said.language),
    )
    channels = tuple(Channel(index, label, said.language, 1.0, 2.0) for index, label in enumerate(LABELS))
    return Transcript(said.language, 1.0, said.seconds, channels, segments, talk=said.talk)


def talk(*, hold: float = 0.0, interruptions: int = 0, share: float = 0.5) -> Talk:
    return Talk(
        speech_seconds=60.0,
        silence_seconds=40.0,
        interruptions=interruptions,
        channels=(
            ChannelTalk(0, 30.0, share, 0, None, words_per_minute=120.0, median_response_seconds=1.0),
            ChannelTalk(1, 30.0, 1 - share, interruptions, None),
        ),
        holds=(Hold(10.0, 10.0 + hold, "silence"),) if hold else (),
        overlap_instances=tuple(Overlap(7.0 + at, 7.5 + at, 0, (1,), True) for at in range(interruptions)),
    )


async def ended(
    database: Database,
    agent: object = "Mary",
    said: Said | None = None,
    found: Analysed | None = None,
    *,
    at: str = "2026-11-10T12:00:00Z",
    caller: str = "crm",
) -> UUID:
    """A call that was added at this time. Without anything said, it has failed."""
    created_at = datetime.fromisoformat(at)
    job_id = UUID(int=(int(created_at.timestamp() * 1000) << 80) | uuid7().int & ((1 << 80) - 1))
    metadata = {} if agent is None else {"agent": agent}
    await enqueue(database, id=job_id, created_at=created_at, caller=caller, metadata=metadata)
    [claimed] = await claim(database)
    outcome: Outcome = Failed("bad_media", "broken")
    if said is not None:
        facts = AudioFacts(said.seconds, "pcm_mulaw", 8000, 2)
        outcome = Succeeded(transcript(said), facts, Timings(0.1, 0.2))
    await finish(database, claimed, outcome)
    if found is not None:
        await execute(
            database,
            """
            INSERT INTO analysis (transcription_id, tenant, wants_judgement, status, run_at, created_at, completed_at,
                categories, scores, judgement)
            SELECT id, tenant, true, 'completed', now(), now(), now(), CAST(:categories AS jsonb),
                CAST(:scores AS jsonb), CAST(:judgement AS jsonb) FROM transcription WHERE id = :id
            """,
            id=job_id,
            categories=json.dumps(
                [{"name": name, "sure": name not in found.unsure} for name in (*found.categories, *found.unsure)]
            ),
            scores=json.dumps(
                [{"scorecard": "quality", "points": found.points or 0.0, "possible": 10.0 * (found.points is not None)}]
            ),
            judgement=json.dumps(found.judgement),
        )
    return job_id


DAYS = "from=2026-11-01&to=2026-11-30"


@pytest.fixture
async def served(database: Database, tmp_path: Path) -> AsyncIterator[Listening]:
    async with listening(database, tmp_path) as served:
        yield served


async def read(served: Listening, query: str, key: dict[str, str] | None = None) -> Any:
    answer = await served.client.get(f"/v1/reports?{DAYS}&{query}", headers=key)
    assert answer.status_code == 200, answer.text
    return answer.json()


async def listed(served: Listening, link: str) -> set[str]:
    answer = await served.client.get(f"{link}&limit=100")
    assert answer.status_code == 200, answer.text
    return {item["id"] for item in answer.json()["items"]}


async def test_the_figures_of_each_agent_and_of_the_days_before(database: Database, served: Listening) -> None:
    positive = Analysed(categories=["refund"], points=8.0, intent="order", mood=(0.5, 0.1), resolved=True)
    negative = Analysed(categories=["refund", "rude"], unsure=["long"], points=2.0, mood=(0.0, 0.3), resolved=False)
    await ended(database, "Mary", Said(talk=talk(hold=20.0, interruptions=2, share=0.4)), positive)
    await ended(database, {"name": "Mary", "id": 7}, Said(seconds=300.0, talk=talk(share=0.6)), negative)
    await ended(database, "Tom")
    await ended(database, None, Said())
    await ended(database, "Mary", Said(seconds=50.0), positive, at="2026-10-20T12:00:00Z")
    await ended(database, "Mary", Said(), at="2026-12-01T00:00:00Z")
    report = await read(served, "by=agent")
    assert [(group["value"], group["calls"]) for group in report["groups"]] == [("Mary", 2), (None, 1), ("Tom", 1)]
    assert report["previous"] == {"from": "2026-10-02", "to": "2026-10-31"}
    mary = report["groups"][0]
    assert (mary["completed"], mary["failed"], mary["seconds"], mary["mean_seconds"]) == (2, 0, 400.0, 200.0)
    assert mary["talk"] == {
        "calls": 2,
        "speech_share": 0.3,
        "silence_share": 0.2,
        "holds": 1,
        "calls_with_holds": 1,
        "hold_seconds": 20.0,
        "interruptions": 2,
        "interruption_calls": 2,
    }
    assert mary["agent"] == {"calls": 2, "talk_share": 0.5, "words_per_minute": 120.0, "median_response_seconds": 1.0}
    assert mary["sentiment"] == {"calls": 2, "positive": 1, "neutral": 0, "negative": 1, "score": 0.05}
    assert mary["resolved"] == {"calls": 2, "yes": 1, "no": 1, "share": 0.5}
    assert (mary["categories"], mary["intents"]) == ({"refund": 2, "rude": 1}, {"order": 1})
    assert mary["scores"] == {"quality": {"calls": 2, "points": 10.0, "possible": 20.0, "percent": 50.0}}
    assert (mary["previous"]["calls"], mary["previous"]["scores"]["quality"]["percent"]) == (1, 80.0)
    tom = report["groups"][2]
    assert (tom["failed"], tom["mean_seconds"], tom["sentiment"]["score"], tom["scores"]) == (1, None, None, {})
    assert (report["totals"]["calls"], report["totals"]["previous"]["calls"]) == (4, 1)


async def test_every_figure_leads_to_its_calls(database: Database, served: Listening) -> None:
    first = await ended(database, "Ma & ry", Said("I want a refund.", "en"), Analysed(["refund"], mood=(0.0, 0.9)))
    other = Analysed(["other, long"], points=5.0, intent="order", mood=(0.5, 0.5), resolved=True)
    second = await ended(database, "Tom", Said("Guten Tag", "de"), other)
    third = await ended(database, "Tom")
    groups: dict[str, dict[str | None, set[UUID]]] = {
        "agent": {"Ma & ry": {first}, "Tom": {second, third}},
        "language": {"en": {first}, "de": {second}},
        "status": {"completed": {first, second}, "failed": {third}},
        "category": {"refund": {first}, "other, long": {second}},
        "intent": {"order": {second}},
        "sentiment": {"negative": {first}, "neutral": {second}},
        "model": {"base": {first, second, third}},
        "day": {"2026-11-10": {first, second, third}, "2026-11-11": set()},
        "week": {"2026-W46": {first, second, third}},
        "month": {"2026-11": {first, second, third}},
    }
    for by, expected in groups.items():
        report = await read(served, f"by={by}")
        found = {group["value"]: group for group in report["groups"]}
        for value, calls in expected.items():
            assert await listed(served, found[value]["links"]["calls"]) == set(map(str, calls)), (by, value)
            assert found[value]["calls"] == len(calls)
        if None in found:
            assert found[None]["links"]["calls"] is None
    link = report["totals"]["links"]["calls"]
    for figure, calls in {
        "status=failed": {third},
        "category=refund&category=other,%20long": {first, second},
        "scorecard=quality": {second},
        "sentiment=negative": {first},
        "resolved=true": {second},
        "resolved=false": set(),
        "q=refund": {first},
    }.items():
        assert await listed(served, f"{link}&{figure}") == set(map(str, calls)), figure
    for value, calls in {"refund": {first}, "nothing": set()}.items():
        report = await read(served, f"by=agent&category={value}")
        assert report["totals"]["calls"] == len(calls)
        assert await listed(served, report["totals"]["links"]["calls"]) == set(map(str, calls))


async def test_days_begin_in_the_time_zone_also_when_clocks_change(database: Database, served: Listening) -> None:
    await ended(database, "Mary", at="2026-11-09T16:30:00Z")  # it is the 10th in Shanghai
    for zone, day in (("UTC", "2026-11-09"), ("Asia/Shanghai", "2026-11-10")):
        report = await read(served, f"timezone={quote(zone)}")
        assert [group["value"] for group in report["groups"] if group["calls"]] == [day]
        assert len(report["groups"]) == 30
    answer = await served.client.get("/v1/reports?from=2026-10-24&to=2026-10-26&timezone=Europe/Berlin")
    starts = [group["links"]["calls"].split("created_after=")[1][:13] for group in answer.json()["groups"]]
    assert starts == ["2026-10-23T22", "2026-10-24T22", "2026-10-25T23"]


async def test_keywords_are_those_that_the_rest_does_not_say(database: Database, served: Listening) -> None:
    for number in range(6):
        await ended(database, "Mary", Said(f"My invoice number {number}, please. The contract is [PHONE]."))
        await ended(database, "Tom", Said("我想要退款，合同在哪里？", "zh"))
        await ended(database, "Eva", Said("Die Rechnung, bitte.", "de"))
    report = await read(served, "by=agent")
    words = {group["value"]: [word["word"] for word in group["keywords"]] for group in report["groups"]}
    assert words == {"Mary": ["contract", "invoice", "number"], "Tom": ["合同", "退款"], "Eva": ["rechnung"]}
    assert report["keywords_from_calls"] == 18
    every = {(word["word"], word["calls"], word["score"]) for word in report["totals"]["keywords"]}
    assert every >= {("invoice", 6, None), ("退款", 6, None)}


async def test_calls_that_stand_out_say_where(database: Database, served: Listening) -> None:
    held = await ended(database, "Mary", Said(talk=talk(hold=30.0)), Analysed(points=9.0))
    interrupted = await ended(database, None, Said(talk=talk(interruptions=3)), Analysed(points=1.0))
    report = await read(served, "by=day")
    [hold] = report["longest_holds"]
    assert (hold["id"], hold["value"], hold["start"], hold["turn"], hold["agent"]) == (str(held), 30.0, 10.0, 2, "Mary")
    [most] = report["most_interrupted"]
    assert (most["id"], most["value"], most["start"], most["turn"]) == (str(interrupted), 3, 7.0, 2)
    assert [(call["value"], call["scorecard"]) for call in report["lowest_scores"]] == [
        (10.0, "quality"),
        (90.0, "quality"),
    ]
    assert (await served.client.get(most["links"]["self"])).status_code == 200


async def test_a_table_has_a_row_for_each_group(database: Database, served: Listening) -> None:
    await ended(database, "=cmd()", Said(), Analysed(["refund"], points=5.0))
    await ended(database, "Tom")
    answer = await served.client.get(f"/v1/reports?{DAYS}&by=agent", headers={"Accept": "text/csv"})
    assert answer.headers["content-disposition"] == 'attachment; filename="report-agent-2026-11-01-2026-11-30.csv"'
    assert answer.content.startswith(codecs.BOM_UTF8)  # spreadsheets need it
    rows = list(csv.DictReader(io.StringIO(answer.content.decode("utf-8-sig"))))
    assert [row["value"] for row in rows] == ["'=cmd()", "Tom"]
    assert [row["category refund"] for row in rows] == ["1", "0"]
    assert [row["score quality percent"] for row in rows] == ["50.0", ""]
    assert [row["talk.calls"] for row in rows] == ["0", "0"]


async def test_an_erased_call_and_those_of_other_tenants_are_in_no_report(
    database: Database, served: Listening
) -> None:
    key = await bearer(served, "crm", scopes=list(Scope))
    erased = await ended(database, "Mary", Said())
    await ended(database, "Tom", Said(), caller="acme:crm")
    assert (await read(served, "by=agent", key))["totals"]["calls"] == 1
    assert [group["value"] for group in (await read(served, "by=agent", key))["groups"]] == ["Mary"]
    assert (await served.client.delete(f"/v1/transcriptions/{erased}", headers=key)).status_code == 204
    report = await read(served, "by=agent", key)
    assert (report["totals"]["calls"], report["groups"], report["keywords_from_calls"]) == (0, [], 0)
    unable = await bearer(served, "writer", scopes=[Scope.TRANSCRIBE])
    assert (await served.client.get("/v1/reports", headers=unable)).status_code == 403


async def test_older_calls_get_their_figures_in_the_background(database: Database, served: Listening) -> None:
    await ended(database, "Mary", Said(talk=talk()))
    await execute(database, "DELETE FROM call_facts")
    assert (await read(served, "by=agent"))["totals"]["talk"]["calls"] == 0
    await SearchFilling(database, pause_seconds=0).sweep()
    assert (await read(served, "by=agent"))["totals"]["talk"]["calls"] == 1


@pytest.mark.parametrize(
    ("query", "name"),
    [
        ("timezone=Mars/Olympus", "timezone"),
        ("timezone=../etc", "timezone"),
        ("from=2026-11-02&to=2026-11-01", "from"),
        ("from=2020-01-01&to=2026-11-01", "from"),
        ("from=0001-01-01&to=0001-01-05", "from"),
        ("from=2024-01-01&to=2026-01-01", "by"),
        ("by=hour", "by"),
        ("limit=401", "limit"),
        ("category=", "category.0"),
        ("sentiment=angry", "sentiment.0"),
    ],
)
async def test_what_makes_no_report_is_refused(served: Listening, query: str, name: str) -> None:
    problem = refused(await served.client.get(f"/v1/reports?{query}"), 422, "invalid_request")
    assert [error["field"] for error in problem["errors"]] == [f"query.{name}"]


async def test_groups_beyond_the_limit_are_counted(database: Database, served: Listening) -> None:
    for agent in ("Mary", "Mary", "Tom", "Eva"):
        await ended(database, agent)
    report = await read(served, "by=agent&limit=1")
    assert ([group["value"] for group in report["groups"]], report["groups_left_out"]) == (["Mary"], 2)


async def test_metadata_that_no_report_can_read_breaks_none(database: Database, served: Listening) -> None:
    for agent in ("nul\0", ["Mary"], {"name": None, "id": 7}, 12, ""):
        await ended(database, agent)
    report = await read(served, "by=agent")
    assert {group["value"]: group["calls"] for group in report["groups"]} == {None: 3, "7": 1, "12": 1}


async def test_a_report_that_takes_too_long_is_stopped(
    database: Database, served: Listening, monkeypatch: pytest.MonkeyPatch
) -> None:
    await ended(database, "Mary")
    slow = reading._TOPS | {"longest_holds": "SELECT pg_sleep(60)"}
    monkeypatch.setattr(reading, "_TOPS", slow)
    monkeypatch.setattr(reading, "_SETTINGS", text("SELECT set_config('statement_timeout', '50ms', true)"))
    problem = refused(await served.client.get(f"/v1/reports?{DAYS}"), 503, "unavailable")
    assert "Ask for fewer days" in problem["detail"]
    monkeypatch.setattr(reading, "LONGEST_WAIT_SECONDS", 0.05)
    async with served.service.reports._turn:
        problem = refused(await served.client.get(f"/v1/reports?{DAYS}"), 503, "unavailable")
    assert "Other reports are being made" in problem["detail"]


async def test_a_tenant_may_have_only_a_few_reports_made_at_the_same_time(
    database: Database, served: Listening
) -> None:
    async with served.service.reports._turn:
        asked = [asyncio.create_task(served.client.get(f"/v1/reports?{DAYS}")) for _ in range(5)]
        done, waiting = await asyncio.wait(asked, return_when=asyncio.FIRST_COMPLETED)
        while len(done) < 2:
            more, waiting = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
            done |= more
    for task in done:
        problem = refused(task.result(), 503, "unavailable")
        assert "Earlier reports of yours" in problem["detail"]
    assert [(await task).status_code for task in waiting] == [200] * 3


async def test_the_example_prints_a_report(database: Database, served: Listening) -> None:
    found = Analysed(["refund"], points=8.0, intent="order", mood=(0.5, 0.1), resolved=True)
    await ended(database, "Mary", Said("My invoice is wrong.", talk=talk()), found)
    await ended(database, "Mary", Said("My invoice is wrong.", talk=talk()))
    await ended(database, None)
    program = await asyncio.create_subprocess_exec(
        sys.executable,
        EXAMPLE,
        "2026-11-01",
        "2026-11-30",
        env=os.environ | {"API_URL": f"http://127.0.0.1:{served.port}"},
        stdout=asyncio.subprocess.PIPE,
    )
    output, _ = await program.communicate()
    assert program.returncode == 0
    assert output.decode().splitlines() == [
        "Calls from 2026-11-01 to 2026-11-30",
        "  calls         3 (before: 0), of which 1 failed",
        "  mean length   1:40",
        "  sentiment     of 1 judged calls: positive 1 (100 %), neutral 0 (0 %), negative 0 (0 %)",
        "  resolved      100 % of 1 judged calls",
        "  keywords      help (2), invoice (2), wrong (2)",
        "  intents       order (1)",
        "  categories    refund (1)",
        "Agents",
        "  Mary: 2 calls, mean 1:40, speaks 50 % of the time, quality 80.0 %",
        "  (no agent): 1 calls, mean -, speaks - of the time",
    ]


async def test_a_report_leaves_an_entry_in_the_audit(database: Database, served: Listening) -> None:
    key = await bearer(served, "boss", scopes=[Scope.READ, Scope.ADMIN])
    assert (await served.client.get("/v1/reports", headers=key)).status_code == 200
    [entry] = (await served.client.get("/v1/audit?action=report.read", headers=key)).json()["items"]
    assert (entry["caller"], entry["transcription_id"]) == ("boss", None)
