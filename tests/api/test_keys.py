"""The routes of keys and of tenants, and their commands."""

import json
import subprocess
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from app.cli.admin.keys import expiry_of
from app.database.connections import Database
from testing.command_line import run_command
from testing.forms import refused
from testing.listening import Listening, listening
from tests.conftest import clone

ADMIN = {"Authorization": "Bearer operator-key"}
CRM = {"Authorization": "Bearer crm-key"}


@pytest.fixture
async def served(database: Database, tmp_path: Path) -> AsyncIterator[Listening]:
    async with listening(database, tmp_path, api_keys="admin:operator-key,crm:crm-key") as served:
        yield served


async def test_a_key_is_made_shown_once_used_and_revoked(served: Listening) -> None:
    asked = {"name": "crm", "tenant": "acme", "scopes": ["read"], "requests_per_minute": 60}
    answer = await served.client.post("/v1/keys", json=asked, headers=ADMIN)
    made = answer.json()
    assert answer.status_code == 201
    assert (made["tenant"], made["scopes"], made["created_by"]) == ("acme", ["read"], "admin")
    mine = {"Authorization": f"Bearer {made['key']}"}
    current = (await served.client.get("/v1/keys/current", headers=mine)).json()
    assert current == {"name": "crm", "tenant": "acme", "scopes": ["read"]}

    listed = await served.client.get("/v1/keys?tenant=acme", headers=ADMIN)
    [item] = listed.json()["items"]
    assert item == {name: value for name, value in made.items() if name != "key"}
    assert made["key"] not in listed.text

    assert (await served.client.delete(f"/v1/keys/{made['id']}", headers=ADMIN)).status_code == 204
    problem = refused(await served.client.get("/v1/transcriptions", headers=mine), 401, "unauthorized")
    assert problem["detail"] == "This API key is not valid."


async def test_only_an_admin_manages_keys(served: Listening) -> None:
    for answer in (
        await served.client.get("/v1/keys", headers=CRM),
        await served.client.post("/v1/keys", json={"name": "mine"}, headers=CRM),
        await served.client.delete("/v1/keys/01989d2e-7c1b-7f9e-8a54-2f0f6f1f9c3e", headers=CRM),
    ):
        problem = refused(answer, 403, "forbidden")
        assert problem["detail"] == "This needs an API key with the scope `admin`."
        assert answer.headers["WWW-Authenticate"] == 'Bearer error="insufficient_scope", scope="admin"'


@pytest.mark.parametrize(
    ("asked", "field"),
    [
        ({}, "name"),
        ({"name": "a:b"}, "name"),
        ({"name": "crm", "tenant": "a b"}, "tenant"),
        ({"name": "crm", "scopes": ["everything"]}, "scopes.0"),
        ({"name": "crm", "scopes": []}, "scopes"),
        ({"name": "crm", "expires_at": "2027-01-31T00:00:00"}, "expires_at"),
        ({"name": "crm", "expires_at": "2020-01-31"}, "expires_at"),
        ({"name": "crm", "expires_at": 0}, "expires_at"),
        ({"name": "crm", "requests_per_minute": 0}, "requests_per_minute"),
        ({"name": "crm", "secret": "mine"}, "secret"),
    ],
)
async def test_a_wrong_field_is_named(served: Listening, asked: dict[str, Any], field: str) -> None:
    problem = refused(await served.client.post("/v1/keys", json=asked, headers=ADMIN), 422, "invalid_request")
    assert [error["field"] for error in problem["errors"]] == [field]


async def test_a_key_ends_on_a_day_or_at_a_time_to_come(served: Listening) -> None:
    times = {"2127-01-31": "2127-01-31T00:00:00Z", "2127-01-31T12:00:00+01:00": "2127-01-31T11:00:00Z", "": None}
    for written, time in times.items():
        answer = await served.client.post("/v1/keys", json={"name": "crm", "expires_at": written}, headers=ADMIN)
        assert answer.json()["expires_at"] == time
    for wrong, detail in {
        "2020-01-31": "must be in the future",
        "soon": "must be a time such as 2026-11-28T09:30:00Z, or a day such as 2026-11-28",
    }.items():
        answer = await served.client.post("/v1/keys", json={"name": "crm", "expires_at": wrong}, headers=ADMIN)
        assert refused(answer, 422, "invalid_request")["errors"] == [{"field": "expires_at", "detail": detail}]


async def test_a_new_tenant_is_answered_with_201(served: Listening) -> None:
    limits = {"pending_jobs": 3}
    for status in (201, 200):
        answer = await served.client.put("/v1/tenants/acme", json=limits, headers=ADMIN)
        assert (answer.status_code, answer.json()["name"]) == (status, "acme")


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/v1/keys"),
        ("PUT", "/v1/tenants/acme"),
        ("POST", "/v1/transcriptions/export"),
        ("POST", "/v1/transcriptions/from-url"),
    ],
)
@pytest.mark.parametrize("kind", ["", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x"])
async def test_a_route_that_takes_only_json_asks_for_its_header(
    served: Listening, method: str, path: str, kind: str
) -> None:
    answer = await served.client.request(method, path, content=b"{}", headers={**ADMIN, "Content-Type": kind})
    problem = refused(answer, 415, "unsupported_media")
    assert problem["title"] == "The body is not JSON"
    assert problem["detail"] == "Send JSON with the header `Content-Type: application/json`."


async def test_an_unknown_key_cannot_be_revoked(served: Listening) -> None:
    answer = await served.client.delete("/v1/keys/01989d2e-7c1b-7f9e-8a54-2f0f6f1f9c3e", headers=ADMIN)
    refused(answer, 404, "not_found")


async def test_the_command_makes_lists_and_revokes_keys(postgres: str, template: str, tmp_path: Path) -> None:
    async with clone(postgres, template) as address:

        def keys(*arguments: str) -> "subprocess.CompletedProcess[str]":
            return run_command("keys", *arguments, folder=tmp_path, DATABASE_URL=address)

        made = keys("create", "crm", "--tenant", "acme", "--expires", "90d")
        assert made.returncode == 0, made.stderr
        key = made.stdout.strip()
        [row] = json.loads(keys("list", "--json").stdout)
        assert (row["name"], row["tenant"], row["scopes"]) == ("crm", "acme", ["transcribe", "read"])
        assert key.startswith("csk_")
        assert key.startswith(row["hint"])
        assert keys("revoke", row["id"]).returncode == 0
        assert "revoked" in keys("list").stdout
        wrong = keys("create", "a:b")
        assert wrong.returncode == 2
        assert 'name: must be of the characters A-Z, a-z, 0-9, ".", "_" and "-"' in wrong.stderr
        past = keys("create", "crm", "--expires", "2020-01-31")
        assert past.returncode == 2
        assert "expires_at: must be in the future" in past.stderr


async def test_a_command_that_limits_an_unknown_tenant_says_so(postgres: str, template: str, tmp_path: Path) -> None:
    limit = ("tenants", "limit", "acme", "--pending-jobs", "3")
    async with clone(postgres, template) as address:
        first, second = (run_command(*limit, folder=tmp_path, DATABASE_URL=address) for _ in range(2))
    assert first.stdout == second.stdout == "The tenant acme: 3 waiting calls\n"
    assert "The tenant acme is new." in first.stderr
    assert "new" not in second.stderr


def test_an_expiry_is_a_period_or_a_date() -> None:
    now = datetime(2026, 11, 28, tzinfo=UTC)
    assert expiry_of("90d", now) == datetime(2027, 2, 26, tzinfo=UTC)
    assert expiry_of("12h", now) == datetime(2026, 11, 28, 12, tzinfo=UTC)
    assert expiry_of("2027-01-31", now) == datetime(2027, 1, 31, tzinfo=UTC)
    assert expiry_of("2027-01-31T18:00:00+01:00", now) == datetime(2027, 1, 31, 17, tzinfo=UTC)
    with pytest.raises(ValueError, match="soon"):
        expiry_of("soon", now)
