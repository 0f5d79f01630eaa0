"""What the page shows a reader who has no calls, no key, a key that may do little, or no service, in a real browser."""

import pytest
from selenium.webdriver.common.keys import Keys

from app.access import keys
from app.access.callers import DEFAULT_TENANT, Scope
from app.access.keys import NewKey
from app.database.connections import Database
from testing.browser import Browser
from testing.dated import failed
from testing.service import Service
from tests.api.page.conftest import in_a_browser, open_with_stored_key

pytestmark = [pytest.mark.slow, in_a_browser]
HEADING = "document.querySelector('#state:not([hidden]) h2')?.textContent"
CUT_OFF = """
window.isAway = true;
const ask = fetch;
window.fetch = (...request) => window.isAway ? Promise.reject(new TypeError('away')) : ask(...request);
window.setTimeout = () => 0; // so that only the reader can try again
"""


async def key_with(database: Database, *scopes: Scope) -> str:
    async with database.transaction() as session:
        new = NewKey(name="manager", tenant=DEFAULT_TENANT, scopes=scopes, created_by="test")
        return (await keys.create(session, new))[1]


def shown(browser: Browser, *ids: str) -> list[bool]:
    return [browser.all(f"#{each}")[0].is_displayed() for each in ids]


def test_a_reader_without_a_key_can_still_enter_it_later(guarded: Service, browser: Browser) -> None:
    browser.driver.get(f"{guarded.url}/")
    browser.find("#key").send_keys(Keys.ESCAPE)
    browser.until(f"{HEADING} === 'This service needs an API key'")
    browser.find("#state button").click()
    browser.find("#key")


async def test_a_key_that_only_reads_is_shown_nothing_that_changes_a_call(
    guarded: Service, calls: Database, browser: Browser
) -> None:
    job = await failed(calls, "broken.wav", "bad_media", "The recording is damaged.")
    open_with_stored_key(guarded, browser, key=await key_with(calls, Scope.READ))
    row = browser.find("#calls .row").text
    assert "The recording is damaged." in row
    assert "Try again" not in row
    browser.find("#choose-all").click()
    assert shown(browser, "export", "erase", "to-add") == [True, False, False]
    browser.run(f"location.hash = '{job.id}'")
    browser.find("#problem")
    assert shown(browser, "delete", "retry-place") == [False, False]


async def test_a_key_that_may_not_read_calls_says_so(guarded: Service, calls: Database, browser: Browser) -> None:
    open_with_stored_key(guarded, browser, key=await key_with(calls, Scope.TRANSCRIBE))
    browser.until(f"{HEADING} === 'This key may not read calls'")
    browser.find("#state button").click()
    browser.find("#key")


async def test_the_list_comes_back_when_the_service_does(guarded: Service, calls: Database, browser: Browser) -> None:
    browser.driver.execute_cdp_cmd("Page.addScriptToEvaluateOnNewDocument", {"source": CUT_OFF})
    await failed(calls, "broken.wav", "bad_media", "The recording is damaged.")
    open_with_stored_key(guarded, browser)
    browser.until(f"{HEADING} === 'The service cannot be reached'")
    browser.run("window.isAway = false")
    browser.find("#state button").click()
    browser.find("#calls .row")
    assert not browser.all("#state")[0].is_displayed()
    browser.run("window.isAway = true; document.dispatchEvent(new Event('visibilitychange'))")
    browser.until("document.getElementById('calls-note').textContent.startsWith('The service cannot be reached')")
    assert browser.find("#calls .row").is_displayed()


async def test_a_failed_call_is_tried_again_as_a_new_call(guarded: Service, calls: Database, browser: Browser) -> None:
    url = "https://recordings.example/call.wav"
    await failed(calls, "call.wav", "fetch_failed", "The server answered 404.", source=url, audio_key=None)
    open_with_stored_key(guarded, browser)
    browser.find("#calls .again button").send_keys(Keys.ENTER)
    browser.until("document.querySelectorAll('#calls .row').length === 2")
    assert browser.find("#calls .status").text == "Waiting"
    assert browser.focused.text == "open the new call"
    browser.focused.send_keys(Keys.ENTER)
    browser.until("document.getElementById('about-list').textContent.includes('Retry of')")
