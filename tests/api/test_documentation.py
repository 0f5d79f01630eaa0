"""The documentation at `/docs` in a real browser: each operation can be tried as Swagger UI fills its form at first."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from selenium.webdriver.support.select import Select

from testing.browser import INSTALLED, MISSING, REQUIRED, Browser, browsing
from testing.recordings import call
from testing.service import Service

pytestmark = [pytest.mark.slow, pytest.mark.skipif(not INSTALLED and not REQUIRED, reason=MISSING)]
UPLOAD = "transcriptions-create_transcription"


@pytest.fixture
def browser(tmp_path: Path) -> Iterator[Browser]:
    with browsing(tmp_path) as browser:
        yield browser


class Operation:
    """One operation of the documentation, opened and ready to be tried."""

    def __init__(self, browser: Browser, name: str) -> None:
        self.browser, self.place = browser, f"#operations-{name}"
        browser.find(f"{self.place} .opblock-summary-control").click()
        browser.find(f"{self.place} .try-out__btn").click()

    def fill(self, field: str, text: str) -> None:
        """Types into the text field of a parameter or of a part of the form."""
        box = self.browser.find(f"{self.place} [placeholder={field}]")
        box.clear()
        box.send_keys(text)

    def part(self, field: str) -> str:
        """Returns the selector of the row of the form with this field."""
        return f"{self.place} .opblock-section-request-body tr[data-property-name={field}]"

    def add_items(self, field: str, *items: str) -> None:
        for number, item in enumerate(items, start=1):
            self.browser.find(f"{self.part(field)} .json-schema-form-item-add").click()
            box = self.browser.find(f"{self.part(field)} .json-schema-form-item:nth-of-type({number}) input")
            assert box.get_attribute("value") == ""
            box.send_keys(item)

    def execute(self) -> tuple[str, Any]:
        """Sends the request. Returns the status and the body of the answer."""
        self.browser.find(f"{self.place} .execute").click()
        answer = f"{self.place} .live-responses-table"
        status = self.browser.find(f"{answer} tbody .response-col_status").text
        return status.split()[0], json.loads(self.browser.find(f"{answer} pre code").text)


@pytest.fixture
def docs(service: Service, browser: Browser) -> Browser:
    browser.driver.get(f"{service.url}/docs")
    return browser


@pytest.fixture
def recording(tmp_path: Path) -> Path:
    path = tmp_path / "call.wav"
    path.write_bytes(call(0.0, 6.0))
    return path


def test_an_upload_succeeds_if_only_the_file_is_chosen_and_then_everything_can_be_read(
    docs: Browser, recording: Path
) -> None:
    upload = Operation(docs, UPLOAD)
    docs.all(f"{upload.place} input[type=file]")[0].send_keys(str(recording))
    status, job = upload.execute()
    assert (status, job["audio"]["filename"], job["metadata"]) == ("202", recording.name, {})

    read = Operation(docs, "transcriptions-read_transcription")
    read.fill("transcription_id", job["id"])
    read.fill("wait", "60")
    status, job = read.execute()
    assert (status, job["status"]) == ("200", "completed")

    transcript = Operation(docs, "transcriptions-read_transcript")
    transcript.fill("transcription_id", job["id"])
    status, body = transcript.execute()
    assert (status, body["id"]) == ("200", job["id"])
    assert body["text"]

    deliveries = Operation(docs, "webhooks-list_deliveries")
    deliveries.fill("transcription_id", job["id"])
    assert deliveries.execute() == ("200", {"items": []})
    assert docs.complaints() == []


def test_an_upload_sends_lists_as_repeated_fields_and_metadata_as_text(docs: Browser, recording: Path) -> None:
    upload = Operation(docs, UPLOAD)
    docs.all(f"{upload.place} input[type=file]")[0].send_keys(str(recording))
    upload.fill("language", "en")
    upload.fill("priority", "7")
    Select(docs.find(f"{upload.part('channels')} select")).select_by_visible_text("split")
    Select(docs.find(f"{upload.part('word_timestamps')} select")).select_by_visible_text("true")
    upload.add_items("channel_labels", "agent", "customer, maybe")
    upload.fill("metadata", '{"queue": "orders"}')
    status, job = upload.execute()
    assert (status, job["metadata"]) == ("202", {"queue": "orders"})
    asked = {"language": "en", "priority": 7, "channels": "split", "word_timestamps": True}
    assert {name: job["options"][name] for name in asked} == asked
    assert job["options"]["channel_labels"] == ["agent", "customer, maybe"]
    assert docs.complaints() == []


def test_the_url_of_a_recording_can_be_posted_as_it_is_filled_in(service: Service, docs: Browser) -> None:
    status, job = Operation(docs, "transcriptions-create_transcription_from_url").execute()
    assert (status, job["audio"]["source"]) == ("202", "https://recordings.example.com/48151.wav")
    assert service.client.delete(job["links"]["self"]).status_code == 204


def test_what_needs_no_id_can_be_read_as_it_is_filled_in(service: Service, docs: Browser) -> None:
    for name in ("transcriptions-list_transcriptions", "operations-read_health", "operations-list_models"):
        status, body = Operation(docs, name).execute()
        assert (status, bool(body)) == ("200", True)
    assert docs.complaints() == []
    assert docs.origins() == {service.url}


@pytest.mark.parametrize("name", ["create_audio_transcription", "create_audio_translation", "transcribe_audio"])
def test_the_forms_of_openais_routes_succeed_if_only_the_file_is_chosen(
    docs: Browser, recording: Path, name: str
) -> None:
    operation = Operation(docs, f"openai-{name}")
    docs.all(f"{operation.place} input[type=file]")[0].send_keys(str(recording))
    status, answer = operation.execute()
    assert (status, bool(answer["text"])) == ("200", True)
