"""The life of a transcription as a client sees it: wait, list, cancel, delete."""

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import asyncpg
import pytest

from testing.recordings import SAMPLE_CALL, call
from testing.service import Service, eventually

NOBODY = "/v1/transcriptions/01989d2e-7c1b-7f9e-8a54-2f0f6f1f9c3e"


@pytest.fixture
def running(service: Service) -> dict[str, Any]:
    """A job that a worker runs for some seconds."""
    return service.running(service.create(SAMPLE_CALL.read_bytes()))


def listed(service: Service, query: str) -> list[str]:
    return [job["id"] for job in service.read(f"/v1/transcriptions?{query}")["items"]]


def test_the_answer_has_retry_after_if_the_wait_ends_before_the_job(guarded: Service) -> None:
    path = guarded.create()["links"]["self"]
    response = guarded.client.get(path, params={"wait": 0.1})
    assert response.json()["status"] == "pending"
    assert int(response.headers["Retry-After"]) > 0


def test_a_wait_ends_when_its_job_ends(guarded: Service) -> None:
    path = guarded.create()["links"]["self"]
    with ThreadPoolExecutor() as other:
        waiting = other.submit(guarded.client.get, path, params={"wait": 60}, timeout=30)
        assert guarded.client.post(f"{path}/cancel").status_code == 200
        response = waiting.result()
    assert response.json()["status"] == "cancelled"
    assert "Retry-After" not in response.headers


def test_a_wait_ends_when_its_job_is_deleted(guarded: Service) -> None:
    path = guarded.create()["links"]["self"]
    with ThreadPoolExecutor() as other:
        waiting = other.submit(guarded.client.get, path, params={"wait": 60}, timeout=30)
        assert guarded.client.delete(path).status_code == 204
        assert waiting.result().status_code == 404


@pytest.mark.parametrize("wait", ["-1", "61", "soon", "nan", ""])
def test_a_wait_has_0_to_60_seconds(guarded: Service, wait: str) -> None:
    response = guarded.client.get(NOBODY, params={"wait": wait})
    assert response.status_code == 422
    assert [error["field"] for error in response.json()["errors"]] == ["query.wait"]


def test_the_list_is_newest_first_and_comes_in_pages(guarded: Service) -> None:
    ids = [guarded.create()["id"] for _ in range(4)]
    first = guarded.read("/v1/transcriptions?limit=3")
    assert [job["id"] for job in first["items"]] == ids[:0:-1]
    guarded.client.delete(f"/v1/transcriptions/{ids[1]}")
    guarded.create()
    second = guarded.read(f"/v1/transcriptions?limit=3&cursor={first['next_cursor']}")
    assert [job["id"] for job in second["items"]] == ids[:1]
    assert second["next_cursor"] is None


def test_a_last_page_that_is_full_has_no_next(guarded: Service) -> None:
    guarded.create()
    guarded.create()
    assert guarded.read("/v1/transcriptions?limit=2")["next_cursor"] is None


def test_the_list_can_be_filtered(guarded: Service) -> None:
    waiting = guarded.create(external_id="crm/1 +ä")
    ended = guarded.create(external_id="crm-2")
    guarded.client.post(f"{ended['links']['self']}/cancel")
    assert listed(guarded, "status=pending") == [waiting["id"]]
    assert listed(guarded, "status=cancelled") == [ended["id"]]
    assert listed(guarded, "status=completed") == []
    assert listed(guarded, "external_id=crm%2F1%20%2B%C3%A4") == [waiting["id"]]
    assert listed(guarded, "external_id=crm-2&status=pending") == []


@pytest.mark.parametrize(
    "query", ["cursor=next", "limit=0", "limit=101", "limit=many", "order=best", "external_id=%00"]
)
def test_the_error_names_an_invalid_list_parameter(guarded: Service, query: str) -> None:
    response = guarded.client.get(f"/v1/transcriptions?{query}")
    assert response.status_code == 422
    assert [error["field"] for error in response.json()["errors"]] == [f"query.{query.split('=')[0]}"]


def test_a_waiting_job_is_cancelled_immediately(guarded: Service) -> None:
    path = guarded.create()["links"]["self"]
    job = guarded.client.post(f"{path}/cancel").json()
    assert job["status"] == "cancelled"
    assert job["completed_at"] >= job["created_at"]
    assert job["started_at"] is None
    assert guarded.read(path) == job


def test_a_final_job_cannot_be_cancelled(guarded: Service) -> None:
    path = guarded.create()["links"]["self"]
    guarded.client.post(f"{path}/cancel")
    response = guarded.client.post(f"{path}/cancel")
    assert (response.status_code, response.json()["code"]) == (409, "already_final")


def test_a_running_job_is_cancelled_after_its_current_window_at_the_latest(
    service: Service, running: dict[str, Any]
) -> None:
    path = running["links"]["self"]
    assert service.client.post(f"{path}/cancel").json()["status"] == "in_progress"
    ended = service.ended(running)
    assert ended["status"] == "cancelled"
    assert ended["error"] is None
    assert service.client.get(f"{path}/transcript").json()["code"] == "not_completed"
    assert service.client.post(f"{path}/cancel").json()["code"] == "already_final"
    eventually(lambda: service.temporary_files() == [])
    assert [file.name for file in service.stored_files()] == [running["id"]]  # for a retry
    assert service.client.delete(path).status_code == 204
    assert service.stored_files() == []


def test_a_deleted_job_is_not_found(guarded: Service) -> None:
    path = guarded.create()["links"]["self"]
    deleted = guarded.client.delete(path)
    assert (deleted.status_code, deleted.content) == (204, b"")
    assert "content-type" not in deleted.headers
    assert guarded.client.get(path).status_code == 404
    assert guarded.client.delete(path).status_code == 404
    assert guarded.read("/v1/transcriptions")["items"] == []
    assert guarded.stored_files() == []


def test_a_running_job_can_be_deleted(service: Service, running: dict[str, Any]) -> None:
    path = running["links"]["self"]
    assert service.client.delete(path).status_code == 204
    assert service.client.get(path).status_code == 404
    assert service.stored_files() == []
    eventually(lambda: service.temporary_files() == [])


async def test_a_completed_job_is_deleted_with_its_transcript(service: Service) -> None:
    job = service.ended(service.create(call(0, 3)))
    assert job["status"] == "completed"
    eventually(lambda: service.stored_files() == service.temporary_files() == [])
    assert service.client.delete(job["links"]["self"]).status_code == 204
    assert service.client.get(job["links"]["transcript"]).json()["code"] == "not_found"
    database = await asyncpg.connect(host=str(service.folder / "postgres"), user="postgres", database="postgres")
    rows = await database.fetch(
        "SELECT id FROM transcription WHERE id = $1"
        " UNION SELECT transcription_id FROM transcript WHERE transcription_id = $1",
        job["id"],
    )
    await database.close()
    assert rows == []


@pytest.mark.parametrize("identifier", ["01989d2e-7c1b-7f9e-8a54-2f0f6f1f9c3e", "call-1", "0", "%00", "..%2f..%2fetc"])
@pytest.mark.parametrize(("method", "rest"), [("GET", ""), ("DELETE", ""), ("POST", "/cancel"), ("GET", "/transcript")])
def test_an_unknown_job_is_not_found(guarded: Service, method: str, rest: str, identifier: str) -> None:
    response = guarded.client.request(method, f"/v1/transcriptions/{identifier}{rest}")
    assert (response.status_code, response.json()["code"]) == (404, "not_found")
