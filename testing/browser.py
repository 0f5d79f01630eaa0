"""A real browser without a window: Chromium, which Selenium controls. Tests need both chromium and chromedriver."""

import json
import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from selenium.webdriver import Chrome, ChromeOptions
from selenium.webdriver.chrome.service import Service as Driver
from selenium.webdriver.common.by import By
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support.wait import WebDriverWait

CHROMIUM, DRIVER = shutil.which("chromium"), shutil.which("chromedriver")
MISSING = "chromium and chromedriver are not installed: apt-get install chromium chromium-driver"
INSTALLED = CHROMIUM is not None and DRIVER is not None
REQUIRED = bool(os.environ.get("NEED_BROWSER"))  # set by .ci/run, so that CI cannot skip these tests
PATIENCE_SECONDS = 90
ARGUMENTS = """
    --headless=new --no-sandbox --disable-gpu --disable-quic --disable-dev-shm-usage --no-first-run --no-proxy-server
    --disable-background-networking --disable-component-update --disable-sync --window-size=1000,900
""".split()
PLAIN_HOST = (
    "callscribe.test"  # leads to this machine, but unlike `localhost` the browser does not trust it without TLS
)
NAMES = f"--host-resolver-rules=MAP {PLAIN_HOST} 127.0.0.1"
NETWORK = ("http", "https", "ws", "wss")
HIDDEN = "none of {} is shown"


class Browser:
    """Does and sees what a reader of the page can do and see, and reads the browser's logs."""

    def __init__(self, driver: Chrome) -> None:
        self.driver = driver

    def all(self, selector: str) -> list[WebElement]:
        return self.driver.find_elements(By.CSS_SELECTOR, selector)

    def find(self, selector: str) -> WebElement:
        """Waits for the first displayed element that matches `selector`, and returns it."""

        def shown(driver: Chrome) -> WebElement | None:
            return next((each for each in self.all(selector) if each.is_displayed()), None)

        found = WebDriverWait(self.driver, PATIENCE_SECONDS).until(shown, HIDDEN.format(selector))
        assert found is not None
        return found

    @property
    def focused(self) -> WebElement:
        return self.driver.switch_to.active_element

    def run(self, script: str) -> Any:
        return self.driver.execute_script(script)

    def until(self, expression: str) -> Any:
        """Waits until a JavaScript expression is true in the page, and returns its value."""
        script = f"return {expression}"
        return WebDriverWait(self.driver, PATIENCE_SECONDS).until(lambda _: self.run(script), expression)

    def complaints(self) -> list[str]:
        """Returns the console's errors and warnings since the last call.

        They include violations of the Content-Security-Policy.
        """
        return [entry["message"] for entry in self._log("browser")]

    def origins(self) -> set[str]:
        """Returns the origins of all requests over the network since the last call."""
        events = [json.loads(entry["message"])["message"] for entry in self._log("performance")]
        sent = [event["params"]["request"]["url"] for event in events if event["method"] == "Network.requestWillBeSent"]
        return {f"{parts.scheme}://{parts.netloc}" for url in sent if (parts := urlsplit(url)).scheme in NETWORK}

    def _log(self, kind: str) -> list[dict[str, Any]]:
        """Returns the new entries of one of the browser's logs since the last call."""
        entries: list[dict[str, Any]] = self.driver.get_log(kind)  # type: ignore[no-untyped-call]
        return entries


def microphone(recording: Path) -> Sequence[str]:
    """Returns arguments for a browser whose microphone hears a WAV file with PCM, and may be used by every page."""
    heard = f"--use-file-for-fake-audio-capture={recording}"
    return ["--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream", heard]


@contextmanager
def browsing(folder: Path, *arguments: str) -> Iterator[Browser]:
    """Runs a browser with its own profile until the end of the block. It saves downloads in `folder`."""
    assert CHROMIUM is not None, MISSING
    assert DRIVER is not None, MISSING
    options = ChromeOptions()
    options.binary_location = CHROMIUM
    for argument in (*ARGUMENTS, *arguments, NAMES, f"--user-data-dir={folder / 'profile'}"):
        options.add_argument(argument)
    options.add_experimental_option("prefs", {"download.default_directory": str(folder)})
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = Chrome(options, Driver(DRIVER))
    try:
        yield Browser(driver)
    finally:
        driver.quit()
