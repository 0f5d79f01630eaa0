"""Which pages of other sites may use the API, as their browsers see it."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from app.database.connections import Database
from testing.listening import Listening, listening
from testing.recordings import tone

CRM, OTHER = "https://crm.example", "https://elsewhere.example"
KEY = {"Authorization": "Bearer alice-secret-1"}
PREFLIGHT = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "authorization, x-stainless-os"}


@pytest.fixture
async def service(database: Database, tmp_path: Path) -> AsyncIterator[Listening]:
    async with listening(
        database, tmp_path, api_keys="alice:alice-secret-1", cors_origins=f"{CRM}, http://localhost:3000"
    ) as service:
        yield service


@pytest.fixture
async def keyless(database: Database, tmp_path: Path) -> AsyncIterator[Listening]:
    async with listening(database, tmp_path, cors_origins=CRM) as service:
        yield service


@pytest.mark.parametrize("path", ["/v1/transcriptions", "/v1/audio/transcriptions", "/readyz"])
@pytest.mark.parametrize("origin", [CRM, "http://localhost:3000"])
async def test_a_preflight_needs_no_key(service: Listening, origin: str, path: str) -> None:
    answer = await service.client.options(path, headers={"Origin": origin, **PREFLIGHT})
    assert answer.status_code == 204
    assert answer.content == b""
    assert answer.headers["Access-Control-Allow-Origin"] == origin
    assert answer.headers["Access-Control-Allow-Headers"] == "authorization, x-stainless-os"
    assert "POST" in answer.headers["Access-Control-Allow-Methods"]
    assert "Access-Control-Allow-Credentials" not in answer.headers


@pytest.mark.parametrize("origin", [OTHER, f"{CRM}.evil.example", f"{CRM}:8443", "http://crm.example", "null"])
async def test_other_origins_get_no_answer_to_a_preflight(service: Listening, origin: str) -> None:
    answer = await service.client.options("/v1/transcriptions", headers={"Origin": origin, **PREFLIGHT})
    assert (answer.status_code, answer.json()["code"]) == (405, "method_not_allowed")
    assert not [name for name in answer.headers if name.startswith("access-control")]
    assert answer.headers["Vary"] == "Origin"


async def test_a_page_reads_answers_refusals_and_the_headers_that_it_needs(service: Listening) -> None:
    files = {"file": ("call.wav", tone())}
    accepted = await service.client.post("/v1/transcriptions", files=files, headers={"Origin": CRM, **KEY})
    refused = await service.client.get("/v1/transcriptions", headers={"Origin": CRM})
    missing = await service.client.get("/nowhere", headers={"Origin": CRM})
    assert [answer.status_code for answer in (accepted, refused, missing)] == [202, 401, 404]
    for answer in (accepted, refused, missing):
        assert answer.headers["Access-Control-Allow-Origin"] == CRM
        readable = {name.lower() for name in answer.headers["Access-Control-Expose-Headers"].split(", ")}
        assert {"location", "retry-after", "x-request-id", "ratelimit", "ratelimit-policy"} <= readable
    same_site = await service.client.get("/v1/transcriptions", headers=KEY)
    assert "Access-Control-Allow-Origin" not in same_site.headers


async def test_two_origins_are_none(service: Listening) -> None:
    headers = [("Origin", CRM), ("Origin", CRM), *KEY.items()]
    answer = await service.client.get("/v1/transcriptions", headers=headers)
    assert "Access-Control-Allow-Origin" not in answer.headers


async def test_a_hostile_list_of_headers_is_not_repeated(service: Listening) -> None:
    hostile = {**PREFLIGHT, "Access-Control-Request-Headers": "x" * 5000}
    answer = await service.client.options("/v1/models", headers={"Origin": CRM, **hostile})
    assert "Access-Control-Allow-Headers" not in answer.headers


async def test_a_named_page_may_use_a_service_without_keys_and_no_other_page(keyless: Listening) -> None:
    def headers(origin: str, **more: str) -> dict[str, str]:
        return {"Origin": origin, "Sec-Fetch-Site": "cross-site", **more}

    statuses = [
        (await keyless.client.get("/v1/transcriptions", headers=sent)).status_code
        for sent in (
            headers(CRM),
            headers(OTHER),
            headers(CRM, Host="rebound.example"),
            {"Sec-Fetch-Site": "cross-site"},
        )
    ]
    assert statuses == [200, 403, 403, 403]


async def test_any_origin_needs_a_key(database: Database, tmp_path: Path) -> None:
    async with listening(database, tmp_path, cors_origins="*") as keyless:
        answer = await keyless.client.get("/v1/transcriptions", headers={"Origin": OTHER})
        assert answer.status_code == 403
        assert answer.headers["Access-Control-Allow-Origin"] == "*"
        assert "Vary" not in answer.headers


async def test_without_the_setting_nothing_changes(database: Database, tmp_path: Path) -> None:
    async with listening(database, tmp_path) as plain:
        answer = await plain.client.options("/v1/transcriptions", headers={"Origin": CRM, **PREFLIGHT})
        assert answer.status_code == 405
        assert "Vary" not in answer.headers
