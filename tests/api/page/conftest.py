"""What the tests of the page share: one browser, and the way to open the page with a key."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from app.database.connections import Database
from testing.browser import INSTALLED, MISSING, REQUIRED, Browser, browsing
from testing.rows import execute
from testing.service import Service, serving
from tests.conftest import ALICE, clone

in_a_browser = pytest.mark.skipif(not INSTALLED and not REQUIRED, reason=MISSING)
PREFIX = "/speech"
NARROW = {"width": 320, "height": 700, "deviceScaleFactor": 1, "mobile": True}


@pytest.fixture(scope="package")
def downloads(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("browser")


@pytest.fixture(scope="package")
def one_browser(downloads: Path) -> Iterator[Browser]:
    with browsing(downloads) as browser:
        yield browser


@pytest.fixture
def browser(one_browser: Browser) -> Browser:
    """The browser with a new tab, which has no key and no logs. A start of the browser takes seconds."""
    driver = one_browser.driver
    old = driver.current_window_handle
    driver.switch_to.new_window("tab")
    new = driver.current_window_handle
    driver.switch_to.window(old)
    driver.close()
    driver.switch_to.window(new)
    one_browser.complaints()
    one_browser.origins()
    return one_browser


def open_with_stored_key(service: Service, browser: Browser, place: str = "", key: str = ALICE) -> None:
    browser.driver.get(f"{service.url}/page/icon.svg")
    browser.run(f"sessionStorage.setItem('callscribe.key', '{key}')")
    browser.driver.get(f"{service.url}/{place}")
    browser.find("h1")


@pytest.fixture
async def calls(guarded: Service, guarded_database: str) -> AsyncIterator[Database]:
    """The database of the guarded service. All calls in it are deleted after the test."""
    database = Database(guarded_database)
    yield database
    await execute(database, "DELETE FROM transcription")
    await database.close()


@pytest.fixture(scope="package")
async def published(postgres: str, template: str, workspace: Path) -> AsyncIterator[Service]:
    """A service with a key, under a path."""
    async with clone(postgres, template) as address:
        settings = {"API_KEYS": f"alice:{ALICE}", "ROOT_PATH": PREFIX}
        with serving(workspace / "published", key=ALICE, DATABASE_URL=address, **settings) as service:
            yield service


def shown_code(browser: Browser, language: str, kind: str) -> str:
    """Opens the box and the tab, and returns the code that is in sight."""
    browser.run("document.getElementById('use').open = true")
    browser.find(f"#use-{language}").click()
    code = browser.find(f"#use-{language}-code .{kind} pre code")
    assert len([panel for panel in browser.all("#use [role=tabpanel]") if panel.is_displayed()]) == 1
    text = code.get_property("textContent")
    assert isinstance(text, str)
    return text
