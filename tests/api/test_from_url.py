"""The route for generated clients that creates a transcription from a URL."""

from testing.recordings import tone
from testing.service import Service

PATH = "/v1/transcriptions/from-url"
ASKED = {"url": "https://recordings.example.com/48151.wav", "channels": "split", "external_id": "crm-48151"}


def test_json_means_the_same_on_both_paths(guarded: Service) -> None:
    key = {"Idempotency-Key": "48151"}
    first = guarded.client.post(PATH, json=ASKED, headers=key)
    assert first.status_code == 202, first.text
    job = first.json()
    assert job["audio"]["source"] == ASKED["url"]
    assert first.headers["Location"] == job["links"]["self"]
    again = guarded.client.post("/v1/transcriptions", json=ASKED, headers=key)
    assert (again.status_code, again.json()["id"]) == (200, job["id"])


def test_a_form_is_refused_with_what_to_send(guarded: Service) -> None:
    answer = guarded.client.post(PATH, files={"file": ("call.wav", tone())})
    assert (answer.status_code, answer.json()["code"]) == (415, "unsupported_media")
    assert answer.json()["detail"] == "Send JSON with the header `Content-Type: application/json`."
