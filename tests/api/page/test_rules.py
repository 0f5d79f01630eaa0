"""The view of rules in a real browser: managers read, write and delete categories and scorecards without curl."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import pytest
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.ui import Select

from app.access.callers import Scope
from app.database.connections import Database
from testing.browser import Browser
from testing.dated import called
from testing.rows import execute
from testing.service import Service
from tests.api.page.conftest import NARROW, in_a_browser, open_with_stored_key
from tests.api.page.test_states import key_with

pytestmark = [pytest.mark.slow, in_a_browser]

REFUND = {
    "description": "<b>Money</b> back",
    "role": "customer",
    "any_of": ["refund*", "money back"],
    "last_seconds": 30,
    "also": [{"role": "agent", "none_of": ["sorry"]}, {"hold": {"longer_than": 60}, "language": ["zh", "en"]}],
}
SENTENCES = [
    "The customer says “refund*” or “money back” in the last 30 s.",
    "The agent does not say “sorry”.",
    "Nobody speaks for longer than 1 min 0 s.",
    "The call is in Chinese or English.",
]
QUALITY = {
    "questions": [
        {
            "question": "Does the agent say sorry?",
            "by": "category",
            "category": "refund",
            "expected": False,
            "weight": 2,
        },
        {"question": "Is it short?", "by": "fact", "fact": "talk_share", "role": "agent", "at_most": 0.6},
    ]
}


@pytest.fixture
async def ruled(guarded: Service, calls: Database) -> AsyncIterator[Service]:
    """A service with a category and a scorecard. All rules are deleted after the test."""
    guarded.client.put("/v1/categories/refund", json=REFUND).raise_for_status()
    guarded.client.put("/v1/scorecards/quality", json=QUALITY).raise_for_status()
    yield guarded
    for table in ("category", "scorecard"):
        await execute(calls, f"DELETE FROM {table}")


def plain(text: str) -> str:
    return text.replace("\xa0", " ")


async def test_rules_are_shown_in_words_and_lead_to_their_calls(ruled: Service, browser: Browser) -> None:
    browser.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", NARROW)
    open_with_stored_key(ruled, browser, "#rules")
    browser.find("#categories li")
    assert [plain(each.text) for each in browser.all("#categories ul li")] == SENTENCES
    assert browser.find("#categories p").text == "<b>Money</b> back"
    assert [plain(each.text) for each in browser.all("#scorecards ul li")] == [
        "Does the agent say sorry? 2 points. The call is not in the category “refund”.",
        "Is it short? 1 point. A fact: the part of all speech of the agent, at most 60 %.",
    ]
    assert browser.run("return document.documentElement.scrollWidth") == 320
    addresses = [link.get_attribute("href") for link in browser.all(".definitions a")]
    assert addresses == [f"{ruled.url}/#category=refund", f"{ruled.url}/#scorecard=quality"]
    assert [complaint for complaint in browser.complaints() if "favicon" not in complaint] == []


async def test_a_rule_is_written_corrected_and_deleted(ruled: Service, browser: Browser) -> None:
    open_with_stored_key(ruled, browser, "#rules")
    browser.find("#new-categories").send_keys(Keys.ENTER)
    assert browser.focused.get_attribute("name") == "name"
    browser.focused.send_keys("退款")
    field = browser.find("#definition-form [name=definition]")
    for text, problem in [("{", "This is not JSON"), ('{"any_off": ["x"]}', "any_off")]:
        field.clear()
        field.send_keys(text)
        browser.find("#definition-form [value=save]").click()
        browser.until(f"document.getElementById('definition-problem').textContent.includes('{problem}')")
    field.clear()
    field.send_keys('{"any_of": ["退款"]}')
    browser.find("#definition-form [value=save]").click()
    browser.until("document.querySelectorAll('#categories > li').length === 2")
    assert ruled.read("/v1/categories/退款")["definition"] == {"any_of": ["退款"]}

    browser.find("[aria-label='Change 退款']").click()
    assert browser.find("#definition-form [name=name]").get_property("readOnly")
    browser.find("#definition-delete").click()
    assert browser.find("#definition-problem").text == "Calls keep what was found in them."
    browser.find("#definition-delete").click()
    browser.until("document.querySelectorAll('#categories > li').length === 1")
    assert browser.all("dialog[open]") == []


async def test_rules_are_applied_to_old_calls(ruled: Service, calls: Database, browser: Browser) -> None:
    old = await called(calls, "old.wav", datetime.now(UTC) - timedelta(days=20), "Good day.", "A refund, please.")
    open_with_stored_key(ruled, browser, "#rules")
    Select(browser.find("#apply-rules select")).select_by_value("last-30-days")
    browser.find("#apply-rules button").click()
    browser.until("document.getElementById('apply-state').textContent === 'The rules are applied.'")
    analysis = ruled.read(f"/v1/transcriptions/{old.id}/analysis")
    assert [score["scorecard"] for score in analysis["scores"]] == ["quality"]


async def test_a_key_that_only_reads_sees_rules_and_changes_none(
    ruled: Service, calls: Database, browser: Browser
) -> None:
    open_with_stored_key(ruled, browser, "#rules", key=await key_with(calls, Scope.READ))
    browser.find("#categories li")
    browser.until("document.body.classList.contains('only-reads')")
    assert not any(button.is_displayed() for button in browser.all("#definitions button"))
