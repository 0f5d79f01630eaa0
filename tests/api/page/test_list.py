"""The list of calls in a real browser: readers search, filter, follow, export and erase calls, also by keyboard."""

import csv
import io
import json
import zipfile
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.keys import Keys

from app.database.connections import Database
from testing.browser import Browser
from testing.dated import called, copy, failed
from testing.rows import enqueue, execute
from testing.service import Service, eventually
from tests.api.page.conftest import NARROW, in_a_browser, open_with_stored_key

pytestmark = [pytest.mark.slow, in_a_browser]

REFUND = ("Green Garden, good morning.", "The table is broken. I would like a REFUND, please.")
HEADING = "document.querySelector('#state:not([hidden]) h2')?.textContent"
ALL = ("new.wav", "refund.wav", "arabic.wav", "broken.wav", "old.wav")
ARABIC = ("مرحبا", "أريد استرداد المبلغ من فضلك")


def until_named(browser: Browser, *expected: str) -> None:
    links = "[...document.querySelectorAll('#calls .what a')]"
    browser.until(f"{links}.map((link) => link.textContent).join() === '{','.join(expected)}'")


def chosen(browser: Browser) -> int:
    return len(browser.all("#calls .row.chosen"))


@pytest.fixture
async def last_weeks(guarded: Service, calls: Database) -> Service:
    """Calls of today and of the last weeks. In one of last week somebody asks for a refund."""
    now = datetime.now(UTC)
    week = timedelta(days=7)
    await called(calls, "old.wav", now - timedelta(days=40), *REFUND, agent="Li Wei")
    await failed(calls, "broken.wav", "bad_media", "The recording is damaged.", now - week - timedelta(minutes=2))
    await called(calls, "arabic.wav", now - week - timedelta(minutes=1), *ARABIC, language="ar")
    await called(calls, "refund.wav", now - week, *REFUND, agent="Li Wei", external_id="crm-7")
    await called(calls, "new.wav", now, agent="Anna Berg")
    return guarded


def test_a_manager_finds_the_call_of_last_week_in_which_somebody_asked_for_a_refund(
    last_weeks: Service, browser: Browser
) -> None:
    open_with_stored_key(last_weeks, browser)
    until_named(browser, *ALL)
    browser.focused.send_keys("/")
    browser.focused.send_keys("refund")
    until_named(browser, "refund.wav", "old.wav")
    browser.find("[name=date]").send_keys("Last week")
    until_named(browser, "refund.wav")
    assert browser.run("return location.hash") == "#q=refund&date=last-week"
    assert browser.find(".hit mark").text == "REFUND"
    assert browser.find(".hit").text.split("\n")[-2:] == [
        "customer",
        "The table is broken. I would like a REFUND, please.",
    ]

    browser.find(".hit").click()
    browser.find("#dialogue")
    assert browser.focused.text.endswith("I would like a REFUND, please.")
    assert browser.find("mark.current").text == "REFUND"
    browser.driver.back()
    browser.until("document.activeElement.textContent === 'refund.wav'")
    assert browser.find("#q").get_property("value") == "refund"
    browser.driver.back()
    until_named(browser, "refund.wav", "old.wav")
    browser.driver.back()
    until_named(browser, *ALL)
    assert [complaint for complaint in browser.complaints() if "404" not in complaint] == []


def test_each_filter_is_in_the_address_and_can_be_cleared(last_weeks: Service, browser: Browser) -> None:
    open_with_stored_key(last_weeks, browser, "#agent=Li+Wei&external_id=crm-7")
    until_named(browser, "refund.wav")
    for name, value, expected in [
        ("status", "failed", ["broken.wav"]),
        ("language", "ar", ["arabic.wav"]),
        ("date", "today", ["new.wav"]),
        ("date", "range&from=2001-01-01&to=2001-12-31", []),
    ]:
        browser.run(f"location.hash = '{name}={value}'")
        until_named(browser, *expected)
        assert browser.find(f"[name={name}]").get_property("value") == value.split("&")[0]
    assert browser.find("#state h2").text.startswith("There is no call from ")
    browser.find("#state button").click()
    browser.until("document.querySelectorAll('#calls .row').length === 5")
    browser.focused.send_keys("nobody-said-this")
    browser.until(f"{HEADING}?.includes('nobody-said-this')")
    browser.focused.send_keys(Keys.CONTROL, "a")
    browser.focused.send_keys("?")
    browser.until(f"{HEADING}?.includes('cannot search')")


def test_a_search_that_finds_no_call_of_last_week_can_go_on_in_all_weeks(last_weeks: Service, browser: Browser) -> None:
    open_with_stored_key(last_weeks, browser)
    until_named(browser, *ALL)
    width = browser.find("[name=date]").rect["width"]
    assert not browser.find("#clear-filters").is_enabled()
    browser.run("location.hash = 'q=delivery&date=last-week'")
    browser.until(f"{HEADING} === 'No call of last week has “delivery”'")
    assert browser.find("[name=date]").rect["width"] == width
    assert [button.text for button in browser.all("#state button")] == ["Search all weeks", "Show all calls"]
    browser.find("#state button").click()
    until_named(browser, "new.wav")
    assert browser.run("return location.hash") == "#q=delivery"
    browser.run("location.hash = 'q=delivery&date=last-week&status=failed'")
    browser.until(f"{HEADING} === 'No call of last week with these filters has “delivery”'")
    browser.find("#clear-filters").click()
    until_named(browser, *ALL)


async def test_a_call_on_one_channel_says_why_its_speakers_have_no_shares(
    guarded: Service, calls: Database, browser: Browser
) -> None:
    await called(calls, "mono.wav", datetime.now(UTC))
    alone = '[{"label": "speaker", "speech_seconds": 9}]'
    await execute(calls, f"UPDATE transcription SET channels = 1, speakers = '{alone}'")
    open_with_stored_key(guarded, browser)
    assert browser.find("#calls .shares").text == "One channel"


@pytest.mark.parametrize("width", [390, 800, 1040, 1280])
async def test_the_names_of_all_voices_can_be_read(
    guarded: Service, calls: Database, browser: Browser, width: int
) -> None:
    for number in (2, 3, 8):
        job = await called(calls, f"{number}.wav", datetime.now(UTC), agent="Anna Berg")
        voices = json.dumps([{"label": f"speaker_{voice + 1}", "speech_seconds": 9 + voice} for voice in range(number)])
        changed = "UPDATE transcription SET speakers = CAST(:voices AS jsonb) WHERE id = :id"
        await execute(calls, changed, id=job.id, voices=voices)
    size = {**NARROW, "mobile": False, "width": width}
    browser.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    open_with_stored_key(guarded, browser)
    until_named(browser, "8.wav", "3.wav", "2.wav")
    cut = "[...document.querySelectorAll('#calls .names bdi')].filter((each) => each.scrollWidth > each.clientWidth)"
    assert browser.run(f"return [document.querySelectorAll('#calls .names bdi').length, {cut}.length]") == [13, 0]
    assert browser.run("return document.documentElement.scrollWidth <= document.documentElement.clientWidth")


async def test_a_call_that_waits_for_its_model_says_so(guarded: Service, calls: Database, browser: Browser) -> None:
    message = "The service cannot use the model at the moment."
    job = await enqueue(calls, retry_code="unavailable", retry_message=message)
    open_with_stored_key(guarded, browser)
    status = browser.find("#calls .status")
    assert (status.text, status.get_attribute("title")) == ("Waiting until the service can do it", message)
    browser.find(f"[href='#{job.id}']").click()
    browser.until("document.getElementById('retry').textContent")
    assert browser.find("#step").text == "Waiting until the service can do it"
    assert browser.find("#retry").text == message


def test_a_failed_call_says_why_and_a_row_says_the_rest(last_weeks: Service, browser: Browser) -> None:
    open_with_stored_key(last_weeks, browser)
    failed = browser.find("#calls .row:has(.failed)")
    assert "The recording is damaged." in failed.text
    row = browser.find("#calls .row")
    for selector, text in [(".agent", "Anna Berg"), (".status", "Transcribed"), (".when", "Today, ")]:
        assert text in row.find_element("css selector", selector).text
    shares = row.find_element("css selector", ".shares")
    assert shares.get_attribute("title") == "agent 50\u00a0%, customer 50\u00a0%"


def test_calls_are_chosen_exported_and_erased_with_the_keyboard(
    last_weeks: Service, browser: Browser, downloads: Path
) -> None:
    open_with_stored_key(last_weeks, browser)
    until_named(browser, *ALL)
    for keys in ("j", "x", Keys.ARROW_DOWN, "j", "X"):
        browser.focused.send_keys(keys)
    assert browser.focused.text == "arabic.wav"
    assert browser.find("#chosen-count").text == "3 calls chosen"
    browser.focused.send_keys("k", "x")
    assert browser.find("#chosen-count").text == "2 calls chosen"
    browser.focused.send_keys("x")

    browser.find("#export").send_keys(Keys.ENTER)
    browser.focused.send_keys(Keys.ENTER)
    table = only(downloads, "calls-*.csv")
    rows = list(csv.DictReader(io.StringIO(table.read_text("utf-8-sig"))))
    assert {row["filename"] for row in rows} == {"new.wav", "refund.wav", "arabic.wav"}
    browser.find("#export").send_keys(Keys.ENTER)
    browser.focused.send_keys(Keys.ARROW_DOWN, Keys.ENTER)
    with zipfile.ZipFile(only(downloads, "calls-*.zip")) as archive:
        assert len(archive.namelist()) >= 3

    browser.find("#erase").send_keys(Keys.ENTER)
    assert browser.find("#erase-title").text == "Erase 3 calls?"
    assert browser.focused.text == "Keep them"
    browser.focused.send_keys(Keys.ENTER)
    assert chosen(browser) == 3
    browser.find("#erase").send_keys(Keys.ENTER)
    browser.find("#erase-now").send_keys(Keys.ENTER)
    until_named(browser, "broken.wav", "old.wav")
    assert not browser.all("#chosen-bar")[0].is_displayed()
    left = last_weeks.read("/v1/transcriptions")["items"]
    assert [job["audio"]["filename"] for job in left] == ["broken.wav", "old.wav"]
    assert [complaint for complaint in browser.complaints() if "404" not in complaint] == []


def only(folder: Path, pattern: str) -> Path:
    eventually(lambda: len(list(folder.glob(pattern))) == 1)
    [found] = folder.glob(pattern)
    return found.rename(folder / f"read-{found.name}")


def test_shift_and_a_click_choose_a_range_and_escape_chooses_none(last_weeks: Service, browser: Browser) -> None:
    open_with_stored_key(last_weeks, browser)
    browser.find("#calls .row .choose").click()
    rows = browser.all("#calls .row")
    ActionChains(browser.driver).key_down(Keys.SHIFT).click(rows[3]).key_up(Keys.SHIFT).perform()
    assert chosen(browser) == 4
    assert browser.find("h1").text == "Calls"
    browser.focused.send_keys(Keys.ESCAPE)
    assert chosen(browser) == 0
    browser.find("#choose-all").click()
    assert browser.find("#chosen-count").text == "5 calls chosen"
    browser.find("#choose-none").click()
    browser.focused.send_keys("?")
    browser.find("#keys-dialog")
    browser.focused.send_keys(Keys.ENTER)
    assert not browser.all("#keys-dialog")[0].is_displayed()


async def test_all_calls_are_chosen_and_not_only_those_that_the_page_has_read(
    guarded: Service, calls: Database, browser: Browser
) -> None:
    await copy(calls, [await called(calls, "call.wav", datetime.now(UTC))], 129, timedelta(minutes=1))
    open_with_stored_key(guarded, browser)
    box = browser.find("#choose-all")
    box.click()
    browser.until("document.getElementById('chosen-count').textContent === '130 calls chosen'")
    assert [box.get_property(name) for name in ("checked", "indeterminate")] == [True, False]
    browser.find("#calls .row .choose").click()
    assert [box.get_property(name) for name in ("checked", "indeterminate")] == [False, True]
    browser.find("#choose-every").click()
    browser.until("document.getElementById('chosen-count').textContent === '130 calls chosen'")


async def test_new_calls_appear_while_focus_choice_and_scroll_position_stay(
    guarded: Service, calls: Database, browser: Browser
) -> None:
    original = await called(calls, "call.wav", datetime.now(UTC))
    await copy(calls, [original], 119, timedelta(minutes=1))
    open_with_stored_key(guarded, browser)
    browser.until("document.querySelectorAll('#calls .row').length === 50")
    browser.run("document.querySelector('#calls .row:nth-child(45)').scrollIntoView()")
    browser.until("document.querySelectorAll('#calls .row').length === 120")
    assert not browser.all("#older")[0].is_displayed()
    browser.run("document.querySelector('#calls .row:nth-child(45) a').focus({preventScroll: true})")
    browser.focused.send_keys("x")
    place = "document.activeElement.closest('.row').getBoundingClientRect().top"
    before, focused = browser.run(f"return {place}"), browser.focused.get_attribute("href")

    waiting = guarded.create(external_id="crm-new")
    browser.run("document.dispatchEvent(new Event('visibilitychange'))")
    browser.until("document.querySelectorAll('#calls .row').length === 121")
    assert browser.find("#announcement").get_property("textContent") == "1 new call"
    assert browser.focused.get_attribute("href") == focused
    assert chosen(browser) == 1
    assert abs(browser.run(f"return {place}") - before) < 2
    assert browser.run("return document.querySelector('#calls .status').textContent") == "Waiting"
    guarded.client.post(f"{waiting['links']['self']}/cancel")
    browser.run("document.dispatchEvent(new Event('visibilitychange'))")
    browser.until("document.querySelector('#calls .status').textContent === 'Cancelled'")


def test_the_page_asks_again_every_few_seconds_but_not_while_it_is_hidden(
    last_weeks: Service, browser: Browser
) -> None:
    browser.driver.execute_cdp_cmd("Page.addScriptToEvaluateOnNewDocument", {"source": COUNTED})
    open_with_stored_key(last_weeks, browser)
    browser.until("window.asked >= 3")
    assert set(browser.run("return window.delays")) <= {10_000, 30_000, 1e9}
    browser.run("window.isHidden = true; document.dispatchEvent(new Event('visibilitychange'))")
    browser.until("window.delays.at(-1) === 1e9")
    asked = browser.run("return window.asked")
    browser.run("return new Promise((done) => wait(done, 300))")
    assert browser.run("return window.asked") == asked
    browser.run("window.isHidden = false; document.dispatchEvent(new Event('visibilitychange'))")
    browser.until(f"window.asked > {asked}")


COUNTED = """
window.asked = 0; window.delays = []; window.isHidden = false; window.wait = setTimeout;
Object.defineProperty(document, 'hidden', {get: () => window.isHidden});
const ask = fetch;
window.fetch = (path, ...rest) => (window.asked += String(path).startsWith('v1/transcriptions?'), ask(path, ...rest));
window.setTimeout = (act, ms) => {
  if (ms >= 10000) window.delays.push(ms);
  return wait(act, ms === 1e9 ? ms : Math.min(ms, 50));
};
"""


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize(
    "size", [{**NARROW, "mobile": False, "width": 1280, "height": 860}, NARROW], ids=["desk", "phone"]
)
def test_the_list_fits_the_screen_and_can_be_read(
    last_weeks: Service, browser: Browser, theme: str, size: dict[str, Any]
) -> None:
    browser.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    browser.driver.execute_cdp_cmd(
        "Emulation.setEmulatedMedia", {"features": [{"name": "prefers-color-scheme", "value": theme}]}
    )
    try:
        open_with_stored_key(last_weeks, browser, "#q=refund")
        until_named(browser, "refund.wav", "old.wav")
        assert browser.run("return document.documentElement.scrollWidth") <= size["width"]
        for selector in (".row .what a", ".row .when", ".row .status", ".hit .words", ".hit .time", "#q", ".hit mark"):
            assert browser.run(f"{CONTRAST} return contrast(document.querySelector('#home {selector}'))") >= 4.5, (
                selector
            )
        browser.find(".row .what a").send_keys("j")
        assert browser.run("return getComputedStyle(document.activeElement.closest('.row')).boxShadow") != "none"
    finally:
        browser.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})


CONTRAST = """
const light = (colour) => {
  const parts = colour.match(/[\\d.]+/g).map((part) => Number(part) / 255);
  const [r, g, b] = parts.map((part) => part <= .04 ? part / 12.92 : ((part + .055) / 1.055) ** 2.4);
  return .2126 * r + .7152 * g + .0722 * b;
};
const ground = (place) => {
  const colour = getComputedStyle(place).backgroundColor;
  return /, 0\\)$/.test(colour) ? ground(place.parentElement) : colour;
};
const contrast = (place) => {
  const [one, other] = [light(getComputedStyle(place).color), light(ground(place))].sort((a, b) => b - a);
  return (one + .05) / (other + .05);
};
"""
