"""What the tests of the page share: one browser, and the way to open the page with a key."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from testing.browser import INSTALLED, MISSING, REQUIRED, Browser, browsing
from testing.service import Service
from tests.conftest import ALICE

in_a_browser = pytest.mark.skipif(not INSTALLED and not REQUIRED, reason=MISSING)
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


def open_with_stored_key(service: Service, browser: Browser, place: str = "") -> None:
    browser.driver.get(f"{service.url}/page/icon.svg")
    browser.run(f"sessionStorage.setItem('callscribe.key', '{ALICE}')")
    browser.driver.get(f"{service.url}/{place}")
    browser.find("h1")
