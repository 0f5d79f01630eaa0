"""The box "Use it from …" in a real browser, and the code that it shows, which the tests run against the service."""

import os
import shutil
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from selenium.webdriver.common.keys import Keys

from testing.browser import PLAIN_HOST, Browser
from testing.hearing import FEW, missed
from testing.recordings import call, said
from testing.service import Service, serving
from tests.api.page.conftest import in_a_browser, open_with_stored_key
from tests.conftest import ALICE, clone

PREFIX = "/speech"
REQUIRED = bool(os.environ.get("NEED_RUNTIMES"))  # set by .ci/run, so that CI cannot skip these tests
WITHOUT_NODE = pytest.mark.skipif(shutil.which("node") is None and not REQUIRED, reason="node is not installed")
PROGRAMS = {"curl": ("sh", "code.sh"), "python": (sys.executable, "code.py"), "node": ("node", "code.mjs")}
LANGUAGES = ["curl", "python", pytest.param("node", marks=WITHOUT_NODE)]
NAME_TO_KEEP = """n it's; a "b", $HOME `id` <c> ü 通話.wav"""
HOSTILE_NAME = "\\" + NAME_TO_KEEP  # the service takes a backslash as a folder's end, as on Windows
HOSTILE_LABELS = ["@/etc/passwd", """Ann's "x", $HOME; type=a/b\\ ü"""]
pytestmark = [pytest.mark.slow, in_a_browser]


@pytest.fixture(scope="module")
async def published(postgres: str, template: str, workspace: Path) -> AsyncIterator[Service]:
    """A service with a key, under a path."""
    async with clone(postgres, template) as address:
        settings = {"API_KEYS": f"alice:{ALICE}", "ROOT_PATH": PREFIX}
        with serving(workspace / "published", key=ALICE, DATABASE_URL=address, **settings) as service:
            yield service


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "call.wav").write_bytes(call(0, 12.5))
    return tmp_path


def shown(browser: Browser, language: str, kind: str) -> str:
    """Opens the box and the tab, and returns the code that is in sight."""
    browser.run("document.getElementById('use').open = true")
    browser.find(f"#use-{language}").click()
    code = browser.find(f"#use-{language}-code .{kind} pre code")
    assert len([panel for panel in browser.all("#use [role=tabpanel]") if panel.is_displayed()]) == 1
    text = code.get_property("textContent")
    assert isinstance(text, str)
    return text


def run(language: str, code: str, folder: Path, **environment: str) -> str:
    """Runs code as a reader does who has pasted it into a file, and returns what it prints."""
    program, name = PROGRAMS[language]
    (folder / name).write_text(code)
    inherited = {key: value for key, value in os.environ.items() if key in ("PATH", "HOME", "LANG")}
    done = subprocess.run(
        [program, name],
        cwd=folder,
        env={**inherited, "PYTHONUTF8": "1", **environment},
        capture_output=True,
        timeout=90,
        check=False,
    )
    assert (done.returncode, done.stderr.decode()) == (0, "")
    return done.stdout.decode()


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_code_for_a_service_without_keys_prints_the_dialogue(
    service: Service, browser: Browser, folder: Path, language: str
) -> None:
    browser.driver.get(f"{service.url}/")
    browser.find("#calls li, #no-calls")
    code = shown(browser, language, "job")
    assert "CALLSCRIBE_KEY" not in code
    assert not browser.all("#use-key")[0].is_displayed()
    printed = run(language, code, folder)
    turns = [line for line in printed.splitlines() if line.startswith("[00:")]
    assert [turn.partition(": ")[0] for turn in turns] == ["[00:00] agent", "[00:06] customer"]
    assert missed(said(0, 12.5), " ".join(turn.partition(": ")[2] for turn in turns)) <= FEW


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_code_has_the_path_the_options_and_the_file_and_reads_the_key_from_the_environment(
    published: Service, browser: Browser, folder: Path, language: str
) -> None:
    """Names of files and speakers may hold everything that a shell, curl or a programming language treats specially."""
    (folder / HOSTILE_NAME).write_bytes(call(0, 6))
    open_with_stored_key(published, browser, f"{PREFIX.lstrip('/')}/")
    browser.until("document.getElementById('language').length > 2")
    browser.find("#upload summary").click()
    for field, label in zip(browser.all("[name=channel_labels]"), HOSTILE_LABELS, strict=True):
        field.clear()
        field.send_keys(label)
    browser.find("#language").send_keys("English")
    browser.find("[name=prompt]").send_keys('Green Garden\'s "Anna"')
    browser.all("#file")[0].send_keys(str(folder / HOSTILE_NAME))

    code = shown(browser, language, "job")
    assert f"{published.url}{PREFIX}/v1/transcriptions" in code
    assert ALICE not in browser.run("return document.documentElement.outerHTML")
    assert browser.find("#use-variable").text == "export CALLSCRIBE_KEY=…"
    assert browser.find("#use-base").text == f"{published.url}{PREFIX}/v1"
    assert HOSTILE_LABELS[0] in run(language, code, folder, CALLSCRIBE_KEY=ALICE)

    job = published.read("/v1/transcriptions")["items"][0]
    assert job["audio"]["filename"] == NAME_TO_KEEP
    assert {name: job["options"][name] for name in ("channels", "channel_labels", "language", "prompt")} == {
        "channels": "split",
        "channel_labels": HOSTILE_LABELS,
        "language": "en",
        "prompt": 'Green Garden\'s "Anna"',
    }


def test_the_code_changes_with_the_options_and_leaves_out_what_the_service_does_anyway(
    service: Service, browser: Browser
) -> None:
    browser.driver.get(f"{service.url}/")
    assert "channel_labels" in shown(browser, "python", "job")
    browser.find("#upload summary").click()
    browser.find("[name=channels][value=mix]").click()
    for kind in ("job", "openai"):
        code = shown(browser, "python", kind)
        assert not any(name in code for name in ("channel", "language", "prompt", "options"))


def test_the_tabs_are_chosen_with_the_arrow_keys(service: Service, browser: Browser) -> None:
    browser.driver.get(f"{service.url}/")
    browser.find("#use summary").send_keys(Keys.ENTER)
    assert browser.find("#use-curl").get_attribute("aria-selected") == "true"
    browser.find("#use summary").send_keys(Keys.TAB)
    for key, chosen in [
        (Keys.ARROW_RIGHT, "python"),
        (Keys.END, "node"),
        (Keys.ARROW_RIGHT, "curl"),
        (Keys.ARROW_LEFT, "node"),
        (Keys.HOME, "curl"),
        (Keys.ARROW_RIGHT, "python"),
    ]:
        browser.focused.send_keys(key)
        assert browser.focused.get_attribute("id") == f"use-{chosen}"
        selected = browser.all("#use [role=tab][aria-selected=true]")
        panels = [panel for panel in browser.all("#use [role=tabpanel]") if panel.is_displayed()]
        assert [tab.get_attribute("aria-controls") for tab in selected] == [
            panel.get_attribute("id") for panel in panels
        ]
        assert panels[0].get_attribute("aria-labelledby") == f"use-{chosen}"
    assert browser.run("return getComputedStyle(document.activeElement).outlineStyle") == "solid"
    browser.focused.send_keys(Keys.TAB)
    assert browser.focused.get_attribute("aria-label") == "Copy: Python, Durable job"


@pytest.mark.parametrize("host", ["127.0.0.1", PLAIN_HOST])
def test_a_button_copies_the_code_and_says_so_also_where_the_browser_has_no_clipboard_api(
    published: Service, browser: Browser, host: str
) -> None:
    """Browsers offer the clipboard API only to pages of this machine and to pages with TLS."""
    url = f"http://{host}:{published.port}{PREFIX}/"
    browser.driver.get(f"{url}page/icon.svg")
    browser.run(f"sessionStorage.setItem('callscribe.key', '{ALICE}')")
    browser.driver.get(url)
    assert browser.run("return navigator.clipboard === undefined") == (host == PLAIN_HOST)
    code = shown(browser, "python", "job")
    assert url in code
    button = browser.find("#use-python-code .job .copy")
    button.send_keys(Keys.ENTER)
    browser.until("document.getElementById('announcement').textContent === 'Copied: Python, Durable job'")
    assert button.text == "Copied"
    browser.find("#address").send_keys(Keys.CONTROL, "v")
    assert browser.find("#address").get_property("value") == code
    browser.until("document.querySelector('#use-python-code .job .copy').textContent === 'Copy'")


def test_the_code_is_selected_if_the_browser_lets_no_page_copy(published: Service, browser: Browser) -> None:
    browser.driver.get(f"http://{PLAIN_HOST}:{published.port}{PREFIX}/page/icon.svg")
    browser.run(f"sessionStorage.setItem('callscribe.key', '{ALICE}')")
    browser.driver.get(f"http://{PLAIN_HOST}:{published.port}{PREFIX}/")
    browser.run("document.execCommand = () => false")
    code = shown(browser, "node", "openai")
    browser.find("#use-node-code .openai .copy").click()
    browser.until("document.querySelector('#use-node-code .openai .copy').textContent === 'Selected, now copy it'")
    assert browser.run("return getSelection().toString()") == code
    assert browser.find("#announcement").text == "Selected, now copy it: Node, OpenAI-compatible"


@pytest.mark.parametrize("width", [320, 360, 1000])
def test_the_box_fits_the_screen_and_long_code_scrolls(service: Service, browser: Browser, width: int) -> None:
    size = {"width": width, "height": 740, "deviceScaleFactor": 1, "mobile": width < 500}
    browser.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    browser.driver.get(f"{service.url}/")
    for language in PROGRAMS:
        shown(browser, language, "job")
        assert browser.run("return document.documentElement.scrollWidth - document.documentElement.clientWidth") == 0
        for area in browser.all(f"#use-{language}-code pre"):
            assert area.rect["x"] + area.rect["width"] <= width
            assert area.get_attribute("tabindex") == "0"
