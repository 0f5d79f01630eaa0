"""Pages of other sites use the API in a real browser, if the operator has named them."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from testing.browser import PLAIN_HOST, Browser
from testing.origin import Origin, answering
from testing.recordings import tone
from testing.service import serving
from tests.api.page.conftest import in_a_browser
from tests.conftest import ALICE, clone

POST = """
    const [address, key, done] = arguments
    const form = new FormData()
    form.append("file", new Blob([new Uint8Array(await (await fetch("/call.wav")).arrayBuffer())]), "call.wav")
    const headers = {"Idempotency-Key": "from-a-page", "X-Request-ID": "page-1", "X-Stainless-OS": "Linux"}
    if (key) headers.Authorization = `Bearer ${key}`
    return fetch(`${address}/v1/transcriptions`, {method: "POST", body: form, headers}).then(
      async (answer) => done({
        status: answer.status, body: await answer.json(), id: answer.headers.get("X-Request-ID"),
        location: answer.headers.get("Location"), retry: answer.headers.get("Retry-After"),
      }),
      (error) => done({error: error.name}),
    )
"""


@pytest.fixture
def site() -> Iterator[Origin]:
    """The other site, which has a page and a recording."""
    with answering() as origin:
        origin.answers["/"] = lambda exchange: exchange.whole(b"<title>CRM</title>", Content_Type="text/html")
        origin.answers["/call.wav"] = lambda exchange: exchange.whole(tone())
        yield origin


def post_from(browser: Browser, page: str, service: str, key: str) -> dict[str, Any]:
    browser.driver.get(page)
    script = f"(async function () {{ {POST} }}).apply(null, arguments)"
    result = browser.driver.execute_async_script(script, service, key)
    assert isinstance(result, dict)
    return result


@pytest.mark.slow
@in_a_browser
async def test_a_named_page_posts_with_its_key_and_reads_the_answer_and_another_page_cannot(
    browser: Browser, site: Origin, postgres: str, template: str, tmp_path: Path
) -> None:
    named, other = f"http://localhost:{site.port}", f"http://{PLAIN_HOST}:{site.port}"
    async with clone(postgres, template) as address:
        settings = {"DATABASE_URL": address, "API_KEYS": f"alice:{ALICE}", "CORS_ORIGINS": named}
        with serving(tmp_path / "data", "--no-executor", key=ALICE, **settings) as service:
            posted = post_from(browser, f"{named}/", service.url, ALICE)
            assert (posted["status"], posted["id"]) == (202, "page-1")
            assert posted["location"] == posted["body"]["links"]["self"]
            assert service.read(posted["location"])["id"] == posted["body"]["id"]
            refused = post_from(browser, f"{named}/", service.url, "")
            assert (refused["status"], refused["body"]["code"]) == (401, "unauthorized")
            browser.complaints()
            assert post_from(browser, f"{other}/", service.url, ALICE) == {"error": "TypeError"}
            assert any("blocked by CORS policy" in complaint for complaint in browser.complaints())
            assert len(service.read("/v1/transcriptions")["items"]) == 1


@pytest.mark.slow
@in_a_browser
async def test_a_service_without_keys_answers_a_named_page_and_no_other(
    browser: Browser, site: Origin, postgres: str, template: str, tmp_path: Path
) -> None:
    named, other = f"http://localhost:{site.port}", f"http://{PLAIN_HOST}:{site.port}"
    async with clone(postgres, template) as address:
        settings = {"DATABASE_URL": address, "CORS_ORIGINS": named}
        with serving(tmp_path / "data", "--no-executor", **settings) as service:
            assert post_from(browser, f"{named}/", service.url, "")["status"] == 202
            assert post_from(browser, f"{other}/", service.url, "") == {"error": "TypeError"}
            assert len(service.read("/v1/transcriptions")["items"]) == 1
