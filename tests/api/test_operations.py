"""Health, readiness, and the documentation page."""

import re
from pathlib import Path

import asyncpg
import httpx
import pytest
from sqlalchemy import make_url

from app.access.registry import ApiKeys
from app.database.connections import Database
from app.readiness import Readiness
from testing.forms import refused
from testing.listening import app_with
from testing.rows import enqueue, execute
from testing.service import Service, eventually, starting


def test_a_living_process_is_healthy(guarded: Service) -> None:
    assert guarded.read("/healthz") == {"status": "ok"}


def test_a_service_whose_parts_all_work_is_ready(service: Service) -> None:
    assert service.read("/readyz") == {"status": "ready", "reasons": [], "warnings": []}


async def test_a_service_with_a_broken_part_is_not_ready_and_says_why() -> None:
    async def fine() -> None:
        pass

    async def broken() -> None:
        raise PermissionError("/secret/folder cannot be written")

    app = app_with(Readiness({"database": fine, "storage": broken}), ApiKeys({"alice": ["secret"]}))
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://callscribe") as client:
        response = await client.get("/readyz")
    assert response.status_code == 503
    assert response.json() == {"status": "not_ready", "reasons": ["storage: cannot be used"], "warnings": []}


async def test_readiness_warns_of_several_machines_with_a_folder_each(guarded: Service, guarded_database: str) -> None:
    elsewhere = await asyncpg.connect(guarded_database, server_settings={"application_name": "callscribe@elsewhere"})
    try:
        eventually(lambda: "elsewhere" in str(guarded.read("/readyz")["warnings"]))
        readiness = guarded.read("/readyz")
        strangers = guarded.client.get("/readyz", headers={"Authorization": ""}).json()
    finally:
        await elsewhere.close()
    assert readiness["status"] == strangers["status"] == "ready"
    [warning] = [warning for warning in readiness["warnings"] if warning.startswith("storage: ")]
    assert warning.startswith("storage: a folder, which has to be shared by ")
    assert "storage: a folder, which has to be shared by several machines" in strangers["warnings"]


async def test_readiness_warns_of_jobs_that_no_worker_claims(guarded: Service, guarded_database: str) -> None:
    database = Database(guarded_database)
    job = await enqueue(database)
    try:
        await execute(
            database, "UPDATE transcription SET run_at = now() - interval '2 minutes' WHERE id = :id", id=job.id
        )
        warning = "jobs: some have been waiting for a minute, and none is running: is there a worker?"
        eventually(lambda: warning in guarded.read("/readyz")["warnings"])
        readiness = guarded.read("/readyz")
    finally:
        await execute(database, "DELETE FROM transcription WHERE id = :id", id=job.id)
        await database.close()
    assert readiness["status"] == "ready"


def test_a_service_is_healthy_but_not_ready_until_its_database_answers(workspace: Path, postgres: str) -> None:
    sockets = make_url(postgres).query["host"]
    absent = workspace / "absent"
    address = f"postgresql://postgres@/postgres?host={absent}"
    with starting(workspace / "early", "--no-executor", DATABASE_URL=address) as service:
        eventually(lambda: "waiting for the database" in service.log())
        assert service.read("/healthz") == {"status": "ok"}
        unready = service.client.get("/readyz")
        assert (unready.status_code, unready.json()["reasons"]) == (503, ["service: starting: waits for the database"])
        refused(service.client.get("/v1/transcriptions"), 503, "unavailable")
        openais = service.client.get("/v1/models/base")
        assert (openais.status_code, openais.json()["error"]["code"]) == (503, "unavailable")
        assert (openais.headers["Retry-After"], "x-should-retry" in openais.headers) == ("5", False)
        absent.symlink_to(str(sockets))
        eventually(lambda: service.client.get("/readyz").status_code == 200)
        assert service.read("/v1/transcriptions")["items"] == []


def test_a_service_that_waits_for_its_database_stops_on_request(workspace: Path) -> None:
    nowhere = f"postgresql://postgres@/postgres?host={workspace / 'nowhere'}"
    with starting(workspace / "hopeless", "--no-executor", DATABASE_URL=nowhere) as service:
        eventually(lambda: "waiting for the database" in service.log())
        service.stop()


def test_the_documentation_needs_no_internet(guarded: Service) -> None:
    page = guarded.client.get("/docs").text
    addresses = re.findall(r"""(?:src|href)\s*=\s*["']([^"']+)["']|url\(([^)]+)\)""", page)
    assets = [first or second for first, second in addresses]
    assert "http" not in page.replace("http-equiv", "")
    for asset in assets:
        response = guarded.client.get(asset)
        assert response.status_code == 200, asset
        assert response.content, asset
    assert len(assets) >= 4


@pytest.mark.parametrize("path", ["/docs", "/docs/static/swagger-ui-bundle.js", "/openapi.json"])
def test_the_documentation_is_cached_and_cannot_be_framed(guarded: Service, path: str) -> None:
    answer = guarded.client.get(path, headers={"Authorization": ""})
    policy = answer.headers["Content-Security-Policy"]
    assert "frame-ancestors 'none'" in policy
    assert "script-src 'self';" in policy
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    again = guarded.client.get(path, headers={"If-None-Match": answer.headers["ETag"]})
    assert (again.status_code, again.content) == (304, b"")


def test_the_documentation_serves_no_other_files(guarded: Service) -> None:
    refused(guarded.client.get("/docs/static/redoc.standalone.js"), 404, "not_found")
