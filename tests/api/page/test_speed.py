"""With 10,000 calls in the database the page does no more than with a few. `make page` measures how long it takes."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from app.database.connections import Database
from testing.browser import Browser
from testing.dated import called, copy
from testing.service import Service
from tests.api.page.conftest import in_a_browser, open_with_stored_key

FEW, CALLS = 200, 10_000
ENOUGH_ROWS = 1000
ROW = "document.querySelector('#calls .row:nth-child({}) a')"
SHOWN = """
const asked = performance.getEntriesByType('resource').map((each) => new URL(each.name))
  .filter((address) => address.pathname.startsWith('/v1/')).map(({pathname, search}) => pathname + search).sort();
const elements = document.querySelectorAll('#calls *').length;
return {asked, elements, rows: document.querySelectorAll('#calls .row').length};
"""


@pytest.mark.slow
@in_a_browser
async def test_the_page_asks_for_and_draws_the_same_with_10000_calls(
    guarded: Service, calls: Database, browser: Browser
) -> None:
    def opened() -> dict[str, Any]:
        open_with_stored_key(guarded, browser)
        browser.until("document.querySelector('#calls .row')")
        for answer in ("/v1/keys/current", "/v1/models"):  # the last that the page reads
            browser.until(f"performance.getEntriesByType('resource').some((each) => each.name.endsWith('{answer}'))")
        shown: dict[str, Any] = browser.run(SHOWN)
        return shown

    kinds = [await called(calls, "call.wav", datetime.now(UTC), agent=agent) for agent in ("Anna", "Li Wei")]
    await copy(calls, kinds, FEW - len(kinds), timedelta(minutes=5))
    with_few = opened()
    await copy(calls, kinds, CALLS - FEW, timedelta(minutes=5))
    with_many = opened()
    assert with_few == with_many
    assert 0 < with_many["rows"] < FEW
    assert [address.partition("?")[0] for address in with_many["asked"]].count("/v1/transcriptions") == 1

    browser.run("window.scrolling = setInterval(() => scrollTo(0, document.body.scrollHeight), 20)")
    browser.until(f"document.querySelectorAll('#calls .row').length >= {ENOUGH_ROWS}")
    browser.run("clearInterval(window.scrolling)")
    browser.run(f"{ROW.format(900)}.focus()")
    browser.run("document.activeElement.dispatchEvent(new KeyboardEvent('keydown', {key: 'k', bubbles: true}))")
    assert browser.run(f"return document.activeElement === {ROW.format(899)}")
