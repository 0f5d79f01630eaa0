"""A reader follows live calls, and speaks, in a real browser."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from selenium.webdriver.common.keys import Keys

from app.access.callers import Scope
from app.database.connections import Database
from app.live.events import Partial, SpeechStarted, SpeechStopped, Transcript
from testing import live
from testing.browser import PLAIN_HOST, Browser, browsing, microphone
from testing.dated import SAYS
from testing.hearing import FEW, missed
from testing.media import as_pcm
from testing.recordings import call, said
from testing.rows import execute
from testing.said import said as transcribed
from testing.service import Service, eventually, serving
from tests.api.page.conftest import NARROW, in_a_browser, open_with_stored_key
from tests.api.page.test_states import key_with

pytestmark = [pytest.mark.slow, in_a_browser]
SECONDS = 12.5
TURNS = "document.querySelectorAll('#live-turns .turn').length"
AT_END = "scrollY > 0 && document.documentElement.scrollHeight - innerHeight - scrollY < 2"
DENIED = "navigator.mediaDevices.getUserMedia = async () => { throw new DOMException('', 'NotAllowedError'); }"
KEPT_SOCKET = """
const Own = WebSocket;
window.WebSocket = class extends Own { constructor(address) { super(address); window.socket = this; } };
"""
NO_DEVICE = DENIED.replace("NotAllowedError", "NotFoundError")


@pytest.fixture
async def live_calls(calls: Database) -> AsyncIterator[Database]:
    yield calls
    await execute(calls, "DELETE FROM live_call")


@pytest.fixture(scope="module")
def speaking_browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    """A browser whose microphone hears the beginning of the sample call, again and again."""
    folder = tmp_path_factory.mktemp("speaking")
    (folder / "heard.wav").write_bytes(as_pcm(call(0, SECONDS)))
    with browsing(folder, *microphone(folder / "heard.wav")) as browser:
        yield browser


def final(number: int, text: str, channel: int = 0, start: float | None = None) -> tuple[int, Transcript]:
    begin = 2.0 * number if start is None else start
    return number, Transcript(channel, ("agent", "customer")[channel], number, text, begin, begin + 1.5, "en")


def turns(browser: Browser) -> list[str]:
    return [" ".join(turn.text.split()) for turn in browser.all("#live-turns .turn")]


async def test_a_live_call_is_listed_grows_and_becomes_the_ordinary_call(
    guarded: Service, live_calls: Database, browser: Browser
) -> None:
    open_with_stored_key(guarded, browser)
    browser.find("#state")
    browser.complaints()
    assert not browser.all("#live-calls")[0].is_displayed()
    call_id = await live.running(live_calls, external_id="crm-48151")
    browser.run("document.dispatchEvent(new Event('visibilitychange'))")
    row = browser.find("#live-calls li")
    assert row.text.split("\n")[:3] == ["Live", "crm-48151", "agent, customer"]
    browser.find("#live-calls a").send_keys(Keys.ENTER)
    browser.until("document.getElementById('job-title').textContent === 'crm-48151'")

    draft = Partial(1, "customer", 0, "Good morn", 2.0)
    await live.told(
        live_calls, call_id, (2, SpeechStarted(1, "customer", 2.0)), final(3, "Hello.", start=4.0), partial=draft
    )
    browser.until("document.querySelector('#live-partials .words')?.textContent === 'Good morn'")
    assert browser.find("#live-speakers .speaking").text.split() == ["customer", "speaks"]
    assert turns(browser) == ["0:04 agent Hello."]
    stopped = 4, SpeechStopped(1, "customer", 3.5)
    await live.told(live_calls, call_id, stopped, final(5, "Good morning.", 1, 2.0), final(6, "How are you?", 1, 3.0))
    browser.until(f"{TURNS} === 3")
    assert turns(browser) == ["0:02 customer Good morning.", "How are you?", "0:04 agent Hello."]
    assert browser.all("#live-partials .turn") == browser.all("#live-speakers .speaking") == []

    await transcribed(live_calls, *SAYS, id=call_id, filename="live.wav", external_id="crm-48151")
    await live.ended(live_calls, call_id)
    browser.find("#dialogue .turn")
    assert not browser.all("#live")[0].is_displayed()
    assert browser.find("#job-title").text == "live.wav"
    assert browser.find("#dialogue .words").text == SAYS[0]
    assert [each for each in browser.complaints() if "/audio" not in each] == []  # the row has no recording
    assert browser.origins() == {guarded.url}


async def test_the_view_stays_at_the_newest_text_until_the_reader_scrolls_up(
    guarded: Service, live_calls: Database, browser: Browser
) -> None:
    browser.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", NARROW)
    call_id = await live.running(live_calls)
    open_with_stored_key(guarded, browser, f"#{call_id}")  # the page does not know yet that this call is live
    browser.until("document.getElementById('job-title').textContent.startsWith('Live call since')")
    sentence = "I ordered a garden table, and it has not arrived. Averylongwordwithoutanyspaces " * 2
    await live.told(live_calls, call_id, *(final(number, sentence) for number in range(2, 20)))
    browser.until(f"{TURNS} === 18 && {AT_END}")
    assert browser.run("return document.documentElement.scrollWidth") == NARROW["width"]
    browser.run("scrollTo(0, 0)")
    browser.find("#live-newest")
    await live.told(live_calls, call_id, final(20, sentence))
    browser.until(f"{TURNS} === 19")
    assert browser.run("return scrollY") == 0
    browser.find("#live-newest").click()
    browser.until(AT_END)
    await live.told(live_calls, call_id, final(21, sentence))
    browser.until(f"{TURNS} === 20 && {AT_END}")
    assert not browser.all("#live-newest")[0].is_displayed()


async def test_a_call_that_ended_without_a_transcription_is_no_call(
    guarded: Service, live_calls: Database, browser: Browser
) -> None:
    call_id = await live.running(live_calls)
    await live.ended(live_calls, call_id)
    open_with_stored_key(guarded, browser, f"#{call_id}")
    assert "There is no such call" in browser.find("#problem").text


async def test_a_key_that_may_begin_no_live_call_is_not_offered_the_microphone(
    guarded: Service, live_calls: Database, browser: Browser
) -> None:
    open_with_stored_key(guarded, browser, "#add", key=await key_with(live_calls, Scope.READ, Scope.TRANSCRIBE))
    browser.find("#drop")
    browser.until("!document.body.classList.contains('rights-unknown')")
    assert not browser.all("#speak")[0].is_displayed()


@pytest.mark.parametrize(
    ("script", "problem"),
    [
        (DENIED, "The page may not use your microphone. Allow it in the address bar of your browser, then try again."),
        (NO_DEVICE, "There is no microphone. Connect one, then try again."),
        ("", "The service cannot take another live call now. Try again later."),  # it has no worker
    ],
)
def test_the_page_says_in_plain_words_why_nobody_is_heard(
    guarded: Service, speaking_browser: Browser, script: str, problem: str
) -> None:
    open_with_stored_key(guarded, speaking_browser, "?#add")
    speaking_browser.run(script)
    speaking_browser.find("#speak").send_keys(Keys.ENTER)
    speaking_browser.until("document.getElementById('speak-problem').textContent")
    assert speaking_browser.find("#speak-problem").text == problem
    assert speaking_browser.find("#speak").text == "Speak"


def test_without_https_the_page_says_that_browsers_allow_no_microphone(
    guarded: Service, speaking_browser: Browser
) -> None:
    insecure = guarded.url.replace("127.0.0.1", PLAIN_HOST)
    speaking_browser.driver.get(f"{insecure}/page/icon.svg")
    speaking_browser.run("sessionStorage.setItem('callscribe.key', 'alice-secret-1')")
    speaking_browser.driver.get(f"{insecure}/#add")
    speaking_browser.find("#speak").click()
    speaking_browser.until("document.getElementById('speak-problem').textContent.includes('https://')")


def test_who_speaks_reads_along_looks_elsewhere_and_gets_a_transcript(
    published: Service, speaking_browser: Browser
) -> None:
    browser = speaking_browser
    open_with_stored_key(published, browser, "speech/?#add")
    browser.complaints()
    browser.run("document.querySelector('#upload details').open = true")
    browser.find("#language [value=en]").click()
    browser.find("#speak").send_keys(Keys.ENTER)
    browser.find("#live-stop")
    browser.until("document.querySelector('#live-partials .words')?.textContent.length > 3")
    browser.find("#to-calls").click()
    assert "your microphone" in browser.find("#live-calls li").text
    browser.find("#speaking").click()
    browser.until("document.querySelectorAll('#live-turns .turn').length >= 2")
    [running] = published.read("/speech/v1/live")["items"]
    assert [channel["label"] for channel in running["channels"]] == ["agent"]
    heard = " ".join(words.text for words in browser.all("#live-turns .words"))
    assert missed(heard, said(0, SECONDS)) <= 1  # the order of words depends on when the browser begins
    eventually(lambda: published.read(f"/speech/v1/live/{running['id']}")["seconds"] >= SECONDS)
    browser.find("#live-stop").send_keys(Keys.ENTER)
    browser.find("#dialogue .turn")
    assert not browser.all("#speaking")[0].is_displayed()
    job = published.read(f"/speech/v1/transcriptions/{running['id']}")
    assert (job["status"], job["language"]) == ("completed", "en")
    assert job["audio"]["duration"] >= SECONDS
    text = published.read(job["links"]["transcript"])["text"]
    assert missed(said(0, SECONDS), f"{text} {text}") <= FEW
    assert browser.complaints() == []


def test_a_service_without_keys_hears_who_speaks_too(service: Service, speaking_browser: Browser) -> None:
    browser = speaking_browser
    browser.driver.get(f"{service.url}/?#add")
    browser.complaints()
    browser.find("#speak").click()
    browser.until(f"{TURNS} >= 1")
    call_id = browser.run("return location.hash.slice(1)")
    browser.find("#live-stop").click()
    browser.find("#dialogue .turn")
    assert browser.find("#job-title").text == "Live call"
    assert service.read(f"/v1/transcriptions/{call_id}")["audio"]["source"] == "live"
    assert browser.complaints() == []


def test_a_microphone_goes_on_with_its_call_after_a_restart_of_the_service(
    speaking_browser: Browser, tmp_path: Path
) -> None:
    browser = speaking_browser
    with serving(tmp_path / "data", SHUTDOWN_GRACE_SECONDS="1") as service:
        browser.driver.get(f"{service.url}/?#add")
        browser.find("#speak").click()
        browser.until(f"{TURNS} >= 1")
        call_id = browser.run("return location.hash.slice(1)")
        service.stop()
    browser.until("document.getElementById('live-trouble').textContent.startsWith('The service restarts.')")
    before = len(turns(browser))
    with serving(tmp_path / "data", port=str(service.port)) as service:
        browser.until("document.getElementById('live-trouble').textContent === ''")
        browser.until(f"{TURNS} > {before}")
        browser.find("#live-stop").click()
        browser.find("#dialogue .turn")
        assert [job["id"] for job in service.read("/v1/transcriptions")["items"]] == [call_id]


def test_a_call_whose_connection_is_lost_becomes_a_transcription_of_what_was_heard(
    service: Service, speaking_browser: Browser
) -> None:
    browser = speaking_browser
    browser.driver.get(f"{service.url}/?#add")
    browser.run(KEPT_SOCKET)
    browser.find("#speak").click()
    browser.until(f"{TURNS} >= 1")
    browser.run("window.socket.close()")
    browser.find("#dialogue .turn")
    assert not browser.all("#speaking")[0].is_displayed()
