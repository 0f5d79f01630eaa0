"""The export of chosen transcriptions: a table, or a ZIP archive of transcripts."""

import csv
import io
import json
import zipfile
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from app.database.connections import Database
from testing.forms import refused
from testing.listening import Listening, listening
from testing.rows import enqueue
from testing.said import ids, said

NOBODY = "01989d2e-7c1b-7f9e-8a54-2f0f6f1f9c3e"
PATH = "/v1/transcriptions/export"


@pytest.fixture
async def service(database: Database, tmp_path: Path) -> AsyncIterator[Listening]:
    async with listening(database, tmp_path) as service:
        yield service


def rows_of(table: bytes) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(table.decode("utf-8-sig"))))


async def test_a_table_has_a_row_for_each_call_in_the_order_of_the_request(
    database: Database, service: Listening
) -> None:
    first = await said(database, "Guten Tag.", "=1+1", external_id="@crm", metadata={"agent": "Jörg"}, language="de")
    waiting = await enqueue(database)
    chosen = [NOBODY, *ids([waiting, first])]
    answer = await service.client.post(PATH, json={"ids": [*chosen, chosen[0]]})
    assert answer.headers["content-type"].startswith("text/csv")
    assert 'filename="transcriptions-' in answer.headers["content-disposition"]
    rows = rows_of(answer.content)
    assert [row["id"] for row in rows] == chosen
    assert [row["status"] for row in rows] == ["not_found", "pending", "completed"]
    assert rows[2]["text"] == "[00:00] agent: Guten Tag.\n[00:10] customer: =1+1\n"
    assert (rows[2]["external_id"], rows[2]["language"]) == ("'@crm", "de")
    assert rows[2]["speakers"] == "agent 9 s; customer 9 s"
    assert rows[2]["agent"] == "Jörg"
    assert json.loads(rows[2]["metadata"]) == {"agent": "Jörg"}


@pytest.mark.parametrize(
    ("metadata", "agent"),
    [
        ({"agent": "=1+1"}, "'=1+1"),
        ({"agent": 7}, "7"),
        ({"agent": {"id": 7, "name": "@Eva"}}, "'@Eva"),
        ({"agent": {"id": 7}}, "7"),
        ({"agent": ["Eva", "Jörg"]}, ""),
        ({"agent": None}, ""),
        ({"team": "Eva"}, ""),
    ],
)
async def test_the_agent_has_a_column_of_its_own(
    database: Database, service: Listening, metadata: dict[str, Any], agent: str
) -> None:
    call = await said(database, "Hello.", metadata=metadata)
    for form in ("csv", "zip"):
        answer = await service.client.post(PATH, json={"ids": [NOBODY, str(call.id)], "format": form})
        table = answer.content
        if form == "zip":
            table = zipfile.ZipFile(io.BytesIO(table)).read("calls.csv")
        assert [row["agent"] for row in rows_of(table)] == ["", agent]


async def test_an_archive_has_a_file_for_each_transcript_and_a_table(database: Database, service: Listening) -> None:
    call = await said(database, "Hello.", external_id="../../crm 1")
    waiting = await enqueue(database)
    asked: dict[str, Any] = {"ids": ids([call, waiting]), "format": "zip", "transcript_format": "srt"}
    answer = await service.client.post(PATH, json=asked)
    archive = zipfile.ZipFile(io.BytesIO(answer.content))
    assert archive.testzip() is None
    name = f"crm_1-{call.id}.srt"
    assert archive.namelist() == [name, "calls.csv"]
    transcript = await service.client.get(f"/v1/transcriptions/{call.id}/transcript?format=srt")
    assert archive.read(name).decode() == transcript.text
    assert [row["file"] for row in rows_of(archive.read("calls.csv"))] == [name, ""]


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "ids"),
        ({"ids": []}, "ids"),
        ({"ids": [NOBODY] * 1001}, "ids"),
        ({"ids": ["x"]}, "ids.0"),
        ({"ids": [NOBODY], "format": "xlsx"}, "format"),
        ({"ids": [NOBODY], "columns": "all"}, "columns"),
    ],
)
async def test_the_error_names_what_is_wrong(service: Listening, body: dict[str, Any], field: str) -> None:
    problem = refused(await service.client.post(PATH, json=body), 422, "invalid_request")
    assert [error["field"] for error in problem["errors"]] == [field]
