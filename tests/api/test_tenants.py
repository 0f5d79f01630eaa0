"""Calls of one tenant do not exist for another one, on every route of the service."""

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
from sqlmodel import select

from app.access.callers import Scope
from app.database.connections import Database
from app.jobs.changes import awaited
from app.jobs.models import Transcription
from testing.listening import Listening, listening
from testing.recordings import tone
from testing.routes import Route, all_routes
from testing.rows import SUCCESS, claim, finish
from tests.access.test_keys import made
from tests.analysis.conftest import JUDGED

EXTERNAL_ID = "acme-48151-dispute"
OF_TENANTS = {"transcription_id", "batch_id", "delivery_id", "category", "scorecard"}
WITH_PUT: Sequence[Route] = [route for route in all_routes() if OF_TENANTS & set(route.declared.param_convertors)]
# With PUT, a tenant makes something of its own that has the same name.
ROUTES: Sequence[Route] = [route for route in WITH_PUT if route.method != "PUT"]
CATEGORY, SCORECARD = "acme-refunds", "acme-quality"
DEFINITIONS: dict[str, dict[str, Any]] = {
    f"/v1/categories/{CATEGORY}": {"any_of": ["refund"]},
    f"/v1/scorecards/{SCORECARD}": {"questions": [{"question": "Polite?", "by": "model"}]},
}
NEEDS_NO_KEY = {"/", "/page/{name}", "/docs", "/docs/{name}", "/openapi.json", "/healthz", "/readyz"}


@dataclass(frozen=True)
class Tenants:
    """A service with two tenants, and the ids of what the first one owns."""

    served: Listening
    ids: dict[str, str]
    owner: dict[str, str]
    stranger: dict[str, str]
    foreign_admin: dict[str, str]

    async def ask(self, route: Route, headers: dict[str, str]) -> httpx.Response:
        return await self.served.client.request(route.method, route.path(**self.ids), headers=headers)

    async def key(self, name: str, scope: Scope) -> dict[str, str]:
        """A new key of the first tenant, as a header."""
        service = self.served.service
        headers = bearer(await made(service.database, name, "acme", scopes=[scope]))
        await service.api_keys.load(service.database)
        return headers


def bearer(key: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {key}"}


@pytest.fixture
async def tenants(database: Database, tmp_path: Path) -> AsyncIterator[Tenants]:
    headers = [
        bearer(await made(database, "crm", "acme")),
        bearer(await made(database, "crm", "globex")),
        bearer(await made(database, "boss", "globex", scopes=list(Scope))),
    ]
    async with listening(database, tmp_path, allowed_networks="127.0.0.0/8") as served:
        yield Tenants(served, await _owned(served, database, headers[0]), *headers)


async def _owned(served: Listening, database: Database, owner: dict[str, str]) -> dict[str, str]:
    """Makes a completed call with a recording and a delivery, a batch, and definitions. Returns their ids."""
    client = served.client
    form = {"webhook_url": "http://127.0.0.1:9/hook", "external_id": EXTERNAL_ID}
    job = (await client.post("/v1/transcriptions", files={"file": ("a.wav", tone())}, data=form, headers=owner)).json()
    [claimed] = await claim(database)
    await finish(database, claimed, SUCCESS, JUDGED)
    [delivery] = (await client.get(f"{job['links']['self']}/deliveries", headers=owner)).json()["items"]
    source: dict[str, Any] = {"source": {"urls": ["https://127.0.0.1/a.wav"]}}
    batch = (await client.post("/v1/batches", json=source, headers=owner)).json()
    for path, definition in DEFINITIONS.items():
        assert (await client.put(path, json=definition, headers=owner)).status_code == 201
    ids = {"transcription_id": job["id"], "delivery_id": delivery["id"], "batch_id": batch["id"]}
    return ids | {"category": CATEGORY, "scorecard": SCORECARD}


async def test_no_route_shows_or_changes_what_another_tenant_owns(tenants: Tenants) -> None:
    assert len(ROUTES) >= 12
    for route in ROUTES:
        for headers in (tenants.stranger, tenants.foreign_admin):
            answer = await tenants.ask(route, headers)
            assert (answer.status_code, answer.json()["code"]) == (404, "not_found"), str(route)
    deleting_last = sorted(ROUTES, key=lambda route: route.method == "DELETE")
    for route in deleting_last:
        answer = await tenants.ask(route, tenants.owner)
        assert answer.status_code != 404, f"{route}: {answer.text}"


async def test_no_list_shows_what_another_tenant_owns(tenants: Tenants) -> None:
    lists = [route for route in all_routes() if route.method == "GET" and "items" in await _body(tenants, route)]
    paths = {route.template for route in lists}
    assert {"/v1/transcriptions", "/v1/batches"} <= paths
    for path in ("/v1/transcriptions", f"/v1/transcriptions?external_id={EXTERNAL_ID}", "/v1/batches"):
        assert len((await tenants.served.client.get(path, headers=tenants.owner)).json()["items"]) == 1
        for headers in (tenants.stranger, tenants.foreign_admin):
            assert (await tenants.served.client.get(path, headers=headers)).json()["items"] == []
    texts = set(tenants.ids.values()) | {EXTERNAL_ID}
    for route in all_routes():
        if route.method == "GET" and not route.declared.param_convertors:
            answer = await tenants.ask(route, tenants.stranger)
            assert not any(text in answer.text for text in texts), str(route)


async def _body(tenants: Tenants, route: Route) -> dict[str, Any]:
    answer = await tenants.ask(route, tenants.owner)
    body = answer.json() if answer.headers.get("content-type") == "application/json" else {}
    return body if isinstance(body, dict) else {}


async def test_every_route_but_the_public_ones_needs_a_key_with_a_scope(tenants: Tenants) -> None:
    nothing = await tenants.key("useless", Scope.UNREDACTED)
    any_key = {"/v1/models", "/v1/models/{model_id}", "/v1/keys/current"}
    for route in all_routes():
        if route.template in NEEDS_NO_KEY or not route.template.startswith("/v1/"):
            continue
        assert (await tenants.ask(route, {})).status_code == 401, str(route)
        answer = await tenants.ask(route, nothing)
        if route.template in any_key:
            assert answer.status_code == 200, str(route)
        else:
            assert answer.status_code == 403, f"{route}: {answer.text}"
            assert 'error="insufficient_scope"' in answer.headers["WWW-Authenticate"], str(route)


async def test_a_key_that_may_only_read_changes_nothing(tenants: Tenants) -> None:
    reader = await tenants.key("manager", Scope.READ)
    for route in WITH_PUT:
        answer = await tenants.ask(route, reader)
        expected = 403 if route.method in ("POST", "PUT", "DELETE") else 200
        assert answer.status_code == expected, f"{route}: {answer.text}"


async def test_definitions_of_two_tenants_may_have_the_same_name(tenants: Tenants) -> None:
    client = tenants.served.client
    for path, definition in DEFINITIONS.items():
        other = definition | {"description": "globex"}
        assert (await client.put(path, json=other, headers=tenants.stranger)).status_code == 201
        assert (await client.get(path, headers=tenants.owner)).json()["definition"] == definition
        assert (await client.delete(path, headers=tenants.stranger)).status_code == 204
        assert (await client.get(path, headers=tenants.owner)).json()["definition"] == definition


async def test_the_same_request_of_two_tenants_makes_two_calls(tenants: Tenants) -> None:
    """Neither an idempotency key nor a cursor leads to a call of another tenant."""
    client, ids = tenants.served.client, {}
    for name, headers in (("owner", tenants.owner), ("stranger", tenants.stranger)):
        sent = {**headers, "Idempotency-Key": "same"}
        first = await client.post("/v1/transcriptions", files={"file": ("a.wav", tone())}, headers=sent)
        again = await client.post("/v1/transcriptions", files={"file": ("a.wav", tone())}, headers=sent)
        assert (first.status_code, again.status_code) == (202, 200)
        assert first.json()["id"] == again.json()["id"]
        ids[name] = first.json()["id"]
    assert ids["owner"] != ids["stranger"]
    page = await client.get(f"/v1/transcriptions?cursor={ids['stranger']}", headers=tenants.stranger)
    assert page.json()["items"] == []
    export = await client.post(
        "/v1/transcriptions/export", json={"ids": [ids["owner"]], "format": "csv"}, headers=tenants.stranger
    )
    assert "not_found" in export.text
    assert "a.wav" not in export.text
    search = await client.get("/v1/transcriptions?q=wav", headers=tenants.stranger)
    assert search.json()["items"] == []


async def test_clients_of_openai_of_two_tenants_do_not_share_a_call(tenants: Tenants, database: Database) -> None:
    async with database.transaction() as session:
        for label in ("acme:crm", "globex:crm"):
            await awaited.lock(session, label, "same")
            assert await awaited.join(session, label, "same") is None
            row = select(Transcription.id).where(Transcription.tenant == "acme")
            job = (await session.exec(row)).first()
            assert job is not None
            if label == "acme:crm":
                await awaited.add(session, job, label, "same")
