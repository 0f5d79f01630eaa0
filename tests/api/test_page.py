"""The page at `/`: its files over HTTP, and what a reader sees and does in a real browser."""

import re
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import srt  # type: ignore[import-untyped]
from selenium.webdriver.common.keys import Keys

from testing.browser import INSTALLED, MISSING, REQUIRED, Browser, browsing
from testing.hearing import FEW, missed
from testing.recordings import SAMPLE_CALL, call, said, tone
from testing.service import Service, eventually, serving
from tests.conftest import ALICE, clone

in_a_browser = pytest.mark.skipif(not INSTALLED and not REQUIRED, reason=MISSING)
ASSETS = Path(__file__).parents[2] / "app" / "api" / "page" / "assets"


@pytest.fixture(scope="module")
async def keyed(postgres: str, template: str, workspace: Path) -> AsyncIterator[Service]:
    """A service with a key, which keeps recordings."""
    async with clone(postgres, template) as address:
        settings = {"DATABASE_URL": address, "API_KEYS": f"alice:{ALICE}", "KEEP_AUDIO_DAYS": "1"}
        with serving(workspace / "page", key=ALICE, **settings) as service:
            yield service


@pytest.fixture
def browser(tmp_path: Path) -> Iterator[Browser]:
    with browsing(tmp_path) as browser:
        yield browser


@pytest.mark.parametrize(
    ("path", "media_type"),
    [
        ("/", "text/html; charset=utf-8"),
        ("/page/page.css", "text/css; charset=utf-8"),
        ("/page/page.js", "text/javascript; charset=utf-8"),
        ("/page/icon.svg", "image/svg+xml"),
    ],
)
def test_the_files_of_the_page_need_no_key_and_are_not_sent_again_if_the_etag_matches(
    guarded: Service, path: str, media_type: str
) -> None:
    answer = guarded.client.get(path, headers={"Authorization": ""})
    assert (answer.status_code, answer.headers["Content-Type"]) == (200, media_type)
    assert answer.headers["Content-Security-Policy"].startswith("default-src 'none'; script-src 'self';")
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    again = guarded.client.get(path, headers={"If-None-Match": answer.headers["ETag"]})
    assert (again.status_code, again.content) == (304, b"")


@pytest.mark.parametrize("path", ["/page/routes.py", "/page/..%2froutes.py", "/page/", "/page/none.js"])
def test_the_page_has_no_other_files(guarded: Service, path: str) -> None:
    answer = guarded.client.get(path)
    assert (answer.status_code, answer.json()["code"]) == (404, "not_found")


@pytest.mark.parametrize("path", sorted(ASSETS.iterdir()), ids=lambda path: path.name)
def test_the_files_of_the_page_name_no_other_origin_and_build_no_markup_from_text(path: Path) -> None:
    text = path.read_text().replace("http://www.w3.org/2000/svg", "")
    assert not re.search(r"https?:|innerHTML|insertAdjacentHTML|outerHTML|document\.write|\bstyle=|\bon\w+=\"", text)


@pytest.mark.slow
@in_a_browser
def test_a_reader_posts_follows_reads_plays_and_downloads_a_call(
    keyed: Service, browser: Browser, tmp_path: Path
) -> None:
    open_with_key(keyed, browser)
    assert browser.find("#no-recent").text.startswith("None yet")

    browser.run(
        "window.steps = []; new MutationObserver(() => steps.push(document.getElementById('step').textContent))"
        ".observe(document.getElementById('step'), {childList: true})"
    )
    browser.all("#file")[0].send_keys(str(SAMPLE_CALL))
    browser.until("document.getElementById('chosen').textContent.endsWith('2 channels')")
    browser.find("#start").send_keys(Keys.ENTER)
    turn = browser.find(".turn")
    steps = browser.run("return window.steps")
    assert steps[0] == "Uploading 0 %"
    assert any(step.startswith(("Waiting in the queue", "Transcribing")) for step in steps)

    check_dialogue(browser)
    assert [figure.text for figure in browser.all("figcaption")] == ["agent", "customer"]
    play_by_keyboard(browser)
    search(browser)

    browser.find(".downloads button:nth-of-type(3)").send_keys(Keys.ENTER)
    subtitles = tmp_path / "sample_call.srt"
    eventually(subtitles.exists)
    assert missed(said(0, 60), " ".join(cue.content for cue in srt.parse(subtitles.read_text()))) <= FEW

    browser.driver.refresh()
    turn = browser.find(".turn")
    assert missed(said(0, 6), turn.text) <= FEW
    browser.until("document.querySelectorAll('canvas').length === 2")
    assert browser.complaints() == []
    assert browser.origins() == {keyed.url}


def open_with_key(service: Service, browser: Browser) -> None:
    """The page asks for the key, and asks again if the key is wrong. Only the keyboard is used."""
    browser.driver.get(f"{service.url}/")
    for key in ("a-wrong-guess", ALICE):
        browser.find("#key")
        assert browser.focused.get_attribute("id") == "key"
        browser.focused.send_keys(key, Keys.ENTER)
        if key != ALICE:
            browser.until("document.getElementById('key-reason').textContent.includes('does not know')")
    browser.find("#forget")
    browser.until("document.getElementById('language').length > 2")
    assert all("401" in complaint for complaint in browser.complaints())


def check_dialogue(browser: Browser) -> None:
    turns = browser.all(".turn")
    assert [turn.text.split("\n")[1] for turn in turns[:2]] == ["agent", "customer"]
    assert missed(said(0, 6), turns[0].text) <= FEW
    assert missed(said(6, 12.5), turns[1].text) <= FEW
    waveforms, dialogue = browser.find("#waveforms").rect, browser.find("#dialogue").rect
    assert dialogue["x"] >= waveforms["x"] + waveforms["width"]  # beside the waveforms
    browser.until("document.getElementById('facts').textContent.includes('English')")
    facts = browser.find("#facts").text
    assert re.search(r"Speaking at the same time\n(never|\d+ ×, \d+\.\d s)\nInterruptions\n\d+", facts)
    rows = [row.text for row in browser.all("#talk-rows tr")]
    assert [row.split()[0] for row in rows] == ["agent", "customer"]
    shares = [int(share) for share in re.findall(r"(\d+) %", " ".join(rows))]
    assert len(shares) == 2
    assert sum(shares) in (99, 100, 101)
    assert shares[0] > shares[1]
    assert all(re.search(r"\d+:\d\d from \d+:\d\d$", row) for row in rows)


def play_by_keyboard(browser: Browser) -> None:
    """Tab moves from the search field to the dialogue, the arrow key to the second turn, and Enter plays that turn."""
    search = browser.find("#search")
    search.send_keys(Keys.TAB)
    browser.focused.send_keys(Keys.ARROW_DOWN)
    browser.focused.send_keys(Keys.ENTER)
    second = browser.all(".turn")[1]
    assert browser.focused == second
    started = browser.until("document.getElementById('audio').currentTime")
    browser.until(f"document.getElementById('audio').currentTime > {started} + 0.2")
    browser.until("document.querySelectorAll('.turn')[1].ariaCurrent === 'true'")
    assert started >= 5
    browser.run("document.getElementById('audio').pause()")


def search(browser: Browser) -> None:
    """Searches in capital letters for a word of the second turn."""
    field = browser.find("#search")
    word = max(re.findall(r"\w+", browser.all(".turn .words")[1].text.casefold()), key=len)
    field.send_keys(word.upper())
    assert {mark.text.casefold() for mark in browser.all("mark")} == {word}
    assert all(word in turn.text.casefold() for turn in browser.all(".turn") if turn.is_displayed())
    assert re.fullmatch(r"[1-9]\d* of \d+ turns", browser.find("#found").text)
    field.clear()
    field.send_keys(" ", Keys.BACKSPACE)


@pytest.mark.slow
@in_a_browser
def test_the_page_reports_a_refused_file_and_shows_a_mono_call_as_one_track(
    service: Service, browser: Browser, tmp_path: Path
) -> None:
    broken, mono = tmp_path / "letter.wav", tmp_path / "mono.wav"
    broken.write_bytes(b"Dear Sir or Madam")
    mono.write_bytes(tone(1.0))
    browser.driver.get(f"{service.url}/")
    browser.all("#file")[0].send_keys(str(broken))
    browser.find("#start").click()
    assert "This cannot be read as a recording" in browser.find("#problem").text
    assert "Request " in browser.find("#problem").text
    browser.complaints()  # the browser's own message about the 415

    browser.all("#file")[0].send_keys(str(mono))
    browser.until("document.getElementById('chosen').textContent.endsWith('one channel')")
    assert browser.run("return document.querySelector('[name=channels]:checked').value") == "mix"
    browser.find("#start").click()
    browser.until("document.getElementById('facts').textContent.includes('no speech')")
    assert not browser.all("#talk")[0].is_displayed()
    assert len(browser.all("canvas")) == 1
    assert browser.all("dialog[open]") == []
    assert browser.complaints() == []


@pytest.mark.slow
@in_a_browser
def test_a_label_stays_with_its_channel_and_a_voice_on_both_channels_has_a_colour(
    service: Service, browser: Browser, tmp_path: Path
) -> None:
    recording = tmp_path / "doubled.wav"
    recording.write_bytes(first_on_both(call(0, 5)))
    browser.driver.get(f"{service.url}/")
    browser.find("[name=channel_labels]").clear()
    browser.all("#file")[0].send_keys(str(recording))
    browser.until("document.getElementById('chosen').textContent.endsWith('2 channels')")
    browser.find("#start").click()

    assert "voice-0" in (browser.find(".turn").get_attribute("class") or "").split()
    job = service.read(f"/v1/transcriptions/{browser.run('return location.hash.slice(1)')}")
    assert job["options"]["channel_labels"] == ["channel_0", "customer"]
    assert browser.find(".turn .speaker").text == "speaker"


def first_on_both(recording: bytes) -> bytes:
    """A stretch of the sample call whose second channel repeats the first."""
    start = recording.index(b"data") + 8
    return recording[:start] + bytes(sample for sample in recording[start::2] for _ in range(2))


@pytest.mark.slow
@in_a_browser
def test_a_dropped_file_waits_can_be_cancelled_and_its_name_is_shown_as_text(
    guarded: Service, browser: Browser
) -> None:
    open_with_key(guarded, browser)
    hostile = "<img src=x onerror=alert(1)>.wav"
    samples = ",".join(map(str, tone(0.2)))
    browser.run(
        "const dropped = new DataTransfer();"
        f"dropped.items.add(new File([new Uint8Array([{samples}])], '{hostile}'));"
        "document.dispatchEvent(new DragEvent('drop', {dataTransfer: dropped, cancelable: true}));"
    )
    browser.until("document.getElementById('chosen').textContent.endsWith('one channel')")
    browser.find("#start").click()
    browser.until("document.getElementById('step').textContent === 'Waiting in the queue'")
    assert browser.find("#job-title").text == hostile
    browser.find("#cancel").click()
    browser.until("document.getElementById('facts').textContent === 'Statuscancelled'")
    browser.find("nav a").click()
    assert browser.find("#recent a").text == hostile
    assert browser.find("#recent .status").text == "cancelled"
    assert browser.all("img[src=x]") == []
    browser.find("#forget").click()
    browser.find("#key")
    assert browser.run("return sessionStorage.length") == 0


@pytest.mark.slow
@in_a_browser
def test_the_page_cuts_nothing_off_on_a_narrow_screen(service: Service, browser: Browser) -> None:
    browser.driver.execute_cdp_cmd(
        "Emulation.setDeviceMetricsOverride", {"width": 320, "height": 700, "deviceScaleFactor": 1, "mobile": True}
    )
    job = service.ended(service.create(tone(1.0), channels="split", channel_labels="agent"))
    for place in ("", f"#{job['id']}", "#nothing-there"):
        browser.driver.get(f"{service.url}/{place}")
        browser.driver.refresh()
        assert browser.find("h1").text
        assert browser.run("return document.documentElement.scrollWidth") == 320
