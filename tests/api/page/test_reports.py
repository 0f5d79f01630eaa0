"""The view of reports in a real browser: its figures lead to the calls that they count."""

import csv
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.ui import Select

from app.analysis.rules.results import Answer, CategoryResult, RuleResults, Score
from app.database.connections import Database
from testing.analyses import analysed
from testing.browser import Browser
from testing.dated import called, failed
from testing.rows import execute
from testing.service import Service, eventually
from tests.api.page.conftest import NARROW, in_a_browser, open_with_stored_key
from tests.api.page.test_analysis import JUDGEMENT

pytestmark = [pytest.mark.slow, in_a_browser]

HOSTILE = "<img src=x onerror='window.attacked = 1'>"
REFUND = ("Green Garden.", "I want a refund for the wardrobe, please.")
LISTED = "[...document.querySelectorAll('#calls .what a')].map((link) => link.textContent).join()"
ORDER = ("Green Garden.", "I would like to order a wardrobe.")


def moods(positive: float, negative: float) -> dict[str, Any]:
    shares = {"positive": positive, "neutral": round(1 - positive - negative, 4), "negative": negative}
    side = {"speaker": "customer", "turns": 1, "shares": shares, "quarters": [None, None, None, positive - negative]}
    return {"turns": [], "sides": [side]}


def rules(*categories: str, points: float) -> dict[str, Any]:
    answers = (Answer("Greeted?", "category", 10, True, True, points, 10),)
    found = tuple(CategoryResult(name, True, ()) for name in categories)
    return RuleResults(found, (Score("quality", points, 10, answers),)).content()


@pytest.fixture
async def reported(guarded: Service, calls: Database) -> Service:
    """Calls of today and yesterday. The analysis of one of them says that its customer was angry."""
    now = datetime.now(UTC)
    calls_said: list[tuple[str, int, tuple[str, ...], str | None, dict[str, Any] | None, dict[str, Any] | None]] = [
        ("old.wav", 40, ORDER, "Mary", None, None),
        ("order.wav", 1, ORDER, "Mary", moods(1.0, 0.0), rules("greeting", points=10)),
        ("hostile.wav", 1, ORDER, HOSTILE, None, rules("greeting", points=6)),
        ("refund.wav", 0, REFUND, "Mary", moods(0.0, 1.0), rules("refund", "greeting", points=2)),
        ("nobody.wav", 0, ORDER, None, None, None),
    ]
    for second, (name, days, said, agent, mood, found) in enumerate(calls_said, start=-10):
        job = await called(calls, name, now - timedelta(days=days) + timedelta(seconds=second), *said, agent=agent)
        if found is not None:
            judged = None if mood is None else JUDGEMENT | {"sentiment": mood, "intent": {"value": name, "turns": [2]}}
            await analysed(calls, job.id, judgement=judged, **found)
    await failed(calls, "broken.wav", "bad_media", "The recording is damaged.", metadata={"agent": "Mary"})
    held = "longest_hold = 20, longest_hold_start = 10.5, longest_hold_turn = 2, holds = 1, hold_seconds = 20"
    of_refund = "transcription_id = (SELECT id FROM transcription WHERE filename = 'refund.wav')"
    await execute(calls, f"UPDATE call_facts SET {held} WHERE {of_refund}")
    await execute(calls, "UPDATE transcription SET audio_key = NULL")
    return guarded


def complaints(browser: Browser) -> list[str]:
    return [complaint for complaint in browser.complaints() if "favicon.ico" not in complaint]


def plain(text: str) -> str:
    return text.replace("\xa0", " ")


def row(browser: Browser, name: str) -> list[str]:
    """The texts of the row of the first table with this name."""
    found = next(each for each in browser.all(".report-table tbody tr") if each.text.startswith(name))
    return [plain(cell.text) for cell in found.find_elements("css selector", "th, td")]


def heads(browser: Browser) -> list[str]:
    return [each.text for each in browser.find(".report-table").find_elements("css selector", "thead th")]


def until_shown(browser: Browser, by: str) -> None:
    browser.until(
        f"!document.getElementById('report').ariaBusy && !document.getElementById('report').hidden && "
        f"document.querySelector('#report-form [name=by]').value === '{by}' && "
        f"document.querySelector('.report-table th').textContent.toLowerCase() === '{by}'"
    )


def leads_to(browser: Browser, selector: str, *names: str) -> None:
    """A click on the first such link shows the list with these calls only. Then the reader goes back."""
    browser.find(selector).click()
    browser.until(f"!document.getElementById('home').hidden && {LISTED} === '{','.join(names)}'")
    browser.driver.back()
    browser.find("#report")
    until_shown(browser, "agent")


async def test_figures_of_agents_lead_to_their_calls(reported: Service, browser: Browser) -> None:
    open_with_stored_key(reported, browser, "#reports&by=agent&date=last-30-days")
    until_shown(browser, "agent")
    tiles = {each.text.split("\n")[0]: plain(each.text) for each in browser.all(".tiles > div")}
    assert tiles["Failed"].startswith("Failed\n1")
    assert tiles["Score: quality"].startswith("Score: quality\n60 %")
    assert heads(browser)[:4] == ["Agent", "Calls", "Failed", "Mean length"]
    mary = row(browser, "Mary")
    assert mary[1].startswith("3")
    assert mary[heads(browser).index("Score: quality")].startswith("60 %")
    assert row(browser, "No agent")[1].startswith("1")
    assert row(browser, HOSTILE)[1].startswith("1")
    assert browser.run("return document.querySelectorAll('#report img').length") == 0

    marys = ".report-table tbody tr:first-child"
    leads_to(browser, f"{marys} td:nth-of-type(1) a", "broken.wav", "refund.wav", "order.wav")
    leads_to(browser, f"{marys} td:nth-of-type(2) a", "broken.wav")
    leads_to(browser, f"{marys} .mood-bar .negative", "refund.wav")
    leads_to(browser, f"{marys} a[href*=scorecard]", "refund.wav", "order.wav")
    leads_to(browser, ".tiles a[href*='resolved=true']", "refund.wav", "order.wav")
    leads_to(browser, "a[href*='category=refund'][href*=Mary]", "refund.wav")
    leads_to(browser, ".bars a[href*=wardrobe]", "nobody.wav", "refund.wav", "hostile.wav", "order.wav")
    leads_to(browser, ".bars a[href*='intent=order.wav']", "order.wav")
    assert browser.run("return window.attacked") is None
    assert complaints(browser) == []


async def test_the_longest_hold_leads_to_its_turn(reported: Service, browser: Browser) -> None:
    open_with_stored_key(reported, browser, "#reports")
    until_shown(browser, "day")
    link = browser.find(".stand-out a")
    assert link.text == "0:20"
    link.send_keys(Keys.ENTER)
    browser.find("#dialogue")
    browser.until("document.activeElement.classList.contains('turn')")
    assert browser.focused.text.endswith("I want a refund for the wardrobe, please.")


async def test_the_period_and_the_groups_are_in_the_address_and_a_group_can_be_looked_at_alone(
    reported: Service, browser: Browser
) -> None:
    open_with_stored_key(reported, browser)
    browser.find("#to-reports").click()
    until_shown(browser, "day")
    assert browser.find("#to-reports").get_attribute("aria-current") == "page"
    assert len(browser.all(".columns a")) == 30
    Select(browser.find("#report-form [name=by]")).select_by_value("agent")
    until_shown(browser, "agent")
    assert browser.run("return location.hash") == "#reports&date=last-30-days&by=agent"
    Select(browser.find("#report-form [name=date]")).select_by_value("today")
    browser.until("document.querySelectorAll('.report-table tbody tr').length < 6 && location.hash.includes('today')")
    until_shown(browser, "agent")

    browser.find(".report-table tbody a").click()  # Mary
    until_shown(browser, "day")
    assert browser.find("#report-filters").text == "Agent: Mary ×"
    assert plain(browser.find(".tiles dd").text).startswith("2")
    browser.find("#report-filters a").click()
    browser.until("document.getElementById('report-filters').textContent === ''")
    browser.driver.back()
    browser.until("document.getElementById('report-filters').textContent.includes('Mary')")
    assert complaints(browser) == []


async def test_a_report_is_downloaded_as_csv(reported: Service, browser: Browser, downloads: Path) -> None:
    open_with_stored_key(reported, browser, "#reports&by=agent&date=last-30-days")
    until_shown(browser, "agent")
    browser.find("#report-csv").send_keys(Keys.ENTER)
    last = datetime.now(UTC).astimezone().date()
    saved = downloads / f"report-{last - timedelta(days=29)}-{last}-agent.csv"
    eventually(saved.exists)
    rows = list(csv.DictReader(saved.read_text(encoding="utf-8-sig").splitlines()))
    assert {each["value"]: each["calls"] for each in rows}["Mary"] == "3"


async def test_a_report_without_calls_or_without_analyses_says_so(
    guarded: Service, calls: Database, browser: Browser
) -> None:
    open_with_stored_key(guarded, browser, "#reports")
    assert browser.find(".report-empty h2").text == "There are no calls in this period"
    assert not browser.find("#report-csv").is_enabled()
    await called(calls, "plain.wav", datetime.now(UTC))
    browser.run("location.hash = 'reports&date=last-7-days'")
    until_shown(browser, "day")
    hints = " ".join(each.text for each in browser.all("#report > .hint"))
    assert "No language model has judged calls of this period, so there is no sentiment" in hints
    assert "No rule has found anything in these calls." in hints
    assert "Sentiment" not in heads(browser)
    browser.run("location.hash = 'reports&date=range&from=2020-01-01&to=2026-01-01'")
    browser.until("document.getElementById('problem').textContent.includes('must not be after')")


async def test_a_report_fits_a_narrow_screen(reported: Service, browser: Browser) -> None:
    browser.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", NARROW)
    for by in ("agent", "day", "category"):
        open_with_stored_key(reported, browser, f"#reports&by={by}&agent=Mary&language=en&category=refund")
        until_shown(browser, by)
        assert browser.run("return document.documentElement.scrollWidth") == 320
    assert complaints(browser) == []


async def test_the_list_is_filtered_by_what_was_found_out(reported: Service, browser: Browser) -> None:
    reported.client.put("/v1/categories/hold", json={"hold": {"longer_than": 60}}).raise_for_status()
    browser.driver.set_window_size(1200, 900)
    open_with_stored_key(reported, browser)
    browser.until(f"{LISTED}.includes('nobody.wav')")
    browser.find("[name=sentiment]").send_keys("Negative")
    browser.until(f"{LISTED} === 'refund.wav'")
    assert browser.run("return location.hash") == "#sentiment=negative"
    browser.until("[...document.querySelector('#filters [name=category]').options].some(({value}) => value === 'hold')")
    reported.client.delete("/v1/categories/hold").raise_for_status()
    browser.run("location.hash = 'category=greeting&scorecard=quality&resolved=true'")
    browser.until(f"{LISTED} === 'refund.wav,order.wav'")
    assert browser.find("#filters [name=scorecard]").get_property("value") == "quality"
    assert browser.find("#filters [name=category]").get_property("value") == "greeting"
    browser.find("#clear-filters").click()
    browser.until(f"{LISTED}.includes('nobody.wav')")
    assert not browser.all("#filters [name=scorecard]")[0].is_displayed()
