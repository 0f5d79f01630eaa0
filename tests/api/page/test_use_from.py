"""The box "Use it from …" in a real browser: its tabs, its buttons and how it fits."""

import pytest
from selenium.webdriver.common.keys import Keys

from testing.browser import PLAIN_HOST, Browser
from testing.service import Service
from tests.api.page.conftest import PREFIX, in_a_browser, shown_code
from tests.conftest import ALICE

pytestmark = [pytest.mark.slow, in_a_browser]
LANGUAGES = ("curl", "python", "node")


def test_the_code_changes_with_the_options_and_leaves_out_what_the_service_does_anyway(
    service: Service, browser: Browser
) -> None:
    browser.driver.get(f"{service.url}/#add")
    assert "channel_labels" in shown_code(browser, "python", "job")
    assert 'known_speaker_names=["agent", "customer"]' in shown_code(browser, "python", "openai")
    browser.find("#upload summary").click()
    browser.find("[name=channels][value=mix]").click()
    for kind in ("job", "openai"):
        code = shown_code(browser, "python", kind)
        assert not any(name in code for name in ("channel", "speaker", "format=d", "language", "prompt", "options"))


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_hint_says_what_to_choose_for_one_channel_until_the_speakers_are_mixed(
    service: Service, browser: Browser, language: str
) -> None:
    browser.driver.get(f"{service.url}/#add")
    shown_code(browser, language, "openai")
    hint = browser.find(f"#use-{language}-code .openai .hint")
    needs = "If the recording has only one channel, choose “All speakers on one channel” above."
    assert "One request, as OpenAI's clients send it. It waits until the dialogue is complete. " in hint.text
    assert f" {needs}" in hint.text
    browser.find("#upload summary").click()
    browser.find("[name=channels][value=mix]").click()
    assert needs not in hint.text
    assert hint.text.endswith("One request, as OpenAI's clients send it. It waits until the text is complete.")


def test_openais_clients_wait_for_half_an_hour(service: Service, browser: Browser) -> None:
    browser.driver.get(f"{service.url}/#add")
    assert "    timeout=1800,\n" in shown_code(browser, "python", "openai")
    assert "  timeout: 1800_000, maxRetries: 5," in shown_code(browser, "node", "openai")


def test_the_tabs_are_chosen_with_the_arrow_keys(service: Service, browser: Browser) -> None:
    browser.driver.get(f"{service.url}/#add")
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
    assert browser.focused.get_attribute("aria-label") == "Copy: Python, Callscribe's API"


@pytest.mark.parametrize("host", ["127.0.0.1", PLAIN_HOST])
def test_a_button_copies_the_code_and_says_so_also_where_the_browser_has_no_clipboard_api(
    published: Service, browser: Browser, host: str
) -> None:
    """Browsers offer the clipboard API only to pages of this machine and to pages with TLS."""
    url = f"http://{host}:{published.port}{PREFIX}/"
    browser.driver.get(f"{url}page/icon.svg")
    browser.run(f"sessionStorage.setItem('callscribe.key', '{ALICE}')")
    browser.driver.get(f"{url}#add")
    assert browser.run("return navigator.clipboard === undefined") == (host == PLAIN_HOST)
    code = shown_code(browser, "python", "job")
    assert url in code
    button = browser.find("#use-python-code .job .copy")
    button.send_keys(Keys.ENTER)
    browser.until("document.getElementById('announcement').textContent === `Copied: Python, Callscribe's API`")
    assert button.text == "Copied"
    browser.find("#address").send_keys(Keys.CONTROL, "v")
    assert browser.find("#address").get_property("value") == code
    browser.until("document.querySelector('#use-python-code .job .copy').textContent === 'Copy'")


def test_the_code_is_selected_if_the_browser_lets_no_page_copy(published: Service, browser: Browser) -> None:
    browser.driver.get(f"http://{PLAIN_HOST}:{published.port}{PREFIX}/page/icon.svg")
    browser.run(f"sessionStorage.setItem('callscribe.key', '{ALICE}')")
    browser.driver.get(f"http://{PLAIN_HOST}:{published.port}{PREFIX}/#add")
    browser.run("document.execCommand = () => false")
    code = shown_code(browser, "node", "openai")
    browser.find("#use-node-code .openai .copy").click()
    browser.until("document.querySelector('#use-node-code .openai .copy').textContent === 'Selected, now copy it'")
    assert browser.run("return getSelection().toString()") == code
    assert browser.find("#announcement").text == "Selected, now copy it: Node, OpenAI-compatible"


@pytest.mark.parametrize("width", [320, 360, 1000])
def test_the_box_fits_the_screen_and_long_code_scrolls(service: Service, browser: Browser, width: int) -> None:
    size = {"width": width, "height": 740, "deviceScaleFactor": 1, "mobile": width < 500}
    browser.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    browser.driver.get(f"{service.url}/#add")
    for language in LANGUAGES:
        shown_code(browser, language, "job")
        assert browser.run("return document.documentElement.scrollWidth - document.documentElement.clientWidth") == 0
        for area in browser.all(f"#use-{language}-code pre"):
            assert area.rect["x"] + area.rect["width"] <= width
            assert area.get_attribute("tabindex") == "0"
