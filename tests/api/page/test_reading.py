"""A reader follows a call in a real browser, and reads, plays, searches and downloads it."""

import re
from collections.abc import AsyncIterator
from pathlib import Path

import asyncpg
import pytest
import srt  # type: ignore[import-untyped]
from selenium.webdriver.common.keys import Keys

from app.database.connections import Database
from app.jobs.changes.interest import ABANDONED
from app.jobs.lifecycle import AudioFacts, Succeeded, Timings
from app.transcripts.transcript import Channel, Segment, Transcript
from testing.browser import Browser
from testing.hearing import FEW, missed
from testing.ports import free_ports
from testing.recordings import SAMPLE_CALL, call, said, tone
from testing.rows import claim, enqueue, finish
from testing.service import Service, eventually, serving
from tests.api.page.conftest import NARROW, in_a_browser, open_with_stored_key
from tests.conftest import ALICE, clone


@pytest.fixture(scope="module")
async def keyed(postgres: str, template: str, workspace: Path) -> AsyncIterator[Service]:
    """A service with a key, which keeps recordings, and may fetch them from this machine."""
    async with clone(postgres, template) as address:
        settings = {"API_KEYS": f"alice:{ALICE}", "KEEP_AUDIO_DAYS": "1", "ALLOWED_NETWORKS": "127.0.0.0/8"}
        with serving(workspace / "page", key=ALICE, DATABASE_URL=address, **settings) as service:
            yield service


@pytest.mark.slow
@in_a_browser
def test_a_reader_posts_follows_reads_plays_searches_and_downloads_a_call(
    keyed: Service, browser: Browser, downloads: Path
) -> None:
    open_with_key(keyed, browser)
    assert browser.find("#state").text.startswith("No calls yet")
    assert browser.driver.title == "Calls – Callscribe"
    browser.find("#state .primary").send_keys(Keys.ENTER)
    browser.until("document.getElementById('language').length > 2")

    browser.run(
        "window.steps = []; new MutationObserver(() => steps.push(document.getElementById('step').textContent))"
        ".observe(document.getElementById('step'), {childList: true})"
    )
    browser.all("#file")[0].send_keys(str(SAMPLE_CALL))
    browser.until("document.getElementById('uploads').textContent.includes('2 channels')")
    assert browser.find("#start").text == "Transcribe 1 recording"
    browser.find("#start").send_keys(Keys.ENTER)
    browser.find(".turn")
    assert browser.run("return window.steps")[0].startswith(("Waiting in the queue", "Transcribing"))

    check_dialogue(browser)
    assert [figure.text for figure in browser.all("figcaption")] == ["agent", "customer"]
    play_by_keyboard(browser)
    search(browser)

    browser.find("#downloads button:nth-of-type(2)").send_keys(Keys.ENTER)
    subtitles = downloads / "sample_call.srt"
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
            assert not browser.all("#forget")[0].is_displayed()
    browser.find("#forget")
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
    assert re.search(r"Slowest answer\nagent \d+\.\d s at 0:\d\d, customer \d+\.\d s at 0:\d\d\n", facts)
    assert re.search(r"Per minute of speech\nagent 1\d\d words, customer 1\d\d words", facts)
    hear_an_interruption(browser)


def hear_an_interruption(browser: Browser) -> None:
    """A click on the place of an interruption plays it, and shows what was said."""
    place = next(button for button in browser.all("#facts .time") if button.text == "0:29")
    place.click()
    browser.until("document.getElementById('audio').currentTime > 29")
    browser.until("document.querySelector('.turn[aria-current=true]')")
    assert browser.find(".turn[aria-current=true]").text.startswith("0:2")
    browser.run("document.getElementById('audio').pause(); document.getElementById('audio').currentTime = 0")
    browser.run("scrollTo(0, 0)")


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
    """Searches in capital letters for a word that is spoken more than once, and moves between its places."""
    field = browser.find("#search")
    words = re.findall(r"[a-z]{4,}", " ".join(turn.text for turn in browser.all(".turn .words")).casefold())
    word = max(words, key=words.count)
    field.send_keys(word.upper())
    marks = browser.all("mark")
    assert {mark.text.casefold() for mark in marks} == {word}
    assert len(marks) >= words.count(word) >= 2
    assert all(turn.is_displayed() for turn in browser.all(".turn"))

    moves = [(Keys.ENTER, 1), (Keys.SHIFT + Keys.ENTER + Keys.NULL, 0), (Keys.SHIFT + Keys.ENTER, len(marks) - 1)]
    for keys, place in moves:
        field.send_keys(keys)
        assert browser.find("#found").text == f"{place + 1} of {len(marks)}"
        assert browser.all("mark.current") == [marks[place]]
    browser.find("#next").click()
    assert browser.find("#found").text == f"1 of {len(marks)}"
    field.send_keys("qqq")
    assert browser.find("#found").text == "No match"
    assert not browser.find("#next").is_enabled()
    field.clear()
    field.send_keys(" ", Keys.BACKSPACE)
    assert browser.all("mark") == []


@pytest.mark.slow
@in_a_browser
@pytest.mark.parametrize(
    ("name", "recording", "plays"), [("heard.wav", tone(), True), ("Anruf für Eva.ulaw", bytes(range(256)) * 32, False)]
)
def test_a_recording_can_be_downloaded_as_it_was_sent_also_if_the_browser_cannot_play_it(
    keyed: Service, browser: Browser, downloads: Path, name: str, recording: bytes, plays: bool
) -> None:
    job = keyed.client.post("/v1/transcriptions", files={"file": (name, recording)}).json()
    assert keyed.read(f"{job['links']['self']}?wait=60")["status"] == "completed"
    open_with_stored_key(keyed, browser, f"#{job['id']}")
    if plays:
        browser.until("document.getElementById('audio').duration > 0")
    else:
        browser.until("document.getElementById('no-audio-reason').textContent.includes('Download it')")
        assert "Your browser cannot play this recording." in browser.find("#no-audio").text
    assert browser.all("#player")[0].is_displayed() == plays
    browser.find("#save-recording").send_keys(Keys.ENTER)
    saved = downloads / name
    eventually(saved.exists)
    assert saved.read_bytes() == recording

    keyed.client.delete(job["links"]["self"]).raise_for_status()
    browser.run("location.hash = '01989d2e-7c1b-7f9e-8a54-2f0f6f1f9c3e'")
    browser.until("document.getElementById('problem').textContent.includes('no such call')")
    assert not browser.all("#save-recording")[0].is_displayed()


@pytest.mark.slow
@in_a_browser
@pytest.mark.parametrize("size", [{**NARROW, "mobile": False, "width": 1000, "height": 400}, NARROW])
def test_the_search_stays_in_sight_while_the_dialogue_scrolls(
    keyed: Service, browser: Browser, size: dict[str, int]
) -> None:
    recordings = keyed.read("/v1/transcriptions?status=completed")["items"]
    job = next((each for each in recordings if each["audio"]["duration"] > 30), None)
    job = job or keyed.create(SAMPLE_CALL.read_bytes(), channels="split")
    browser.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    open_with_stored_key(keyed, browser, f"#{job['id']}")
    browser.find(".turn")
    browser.run("document.querySelector('#dialogue li:last-child').scrollIntoView({block: 'end'})")
    left, top, bottom = browser.run(
        "const {left, top, bottom} = document.getElementById('search').getBoundingClientRect();"
        "return [left, top, bottom]"
    )
    assert browser.run("return scrollY") > 100
    assert 0 <= top < bottom <= 100
    at = f"{left + 20}, {(top + bottom) / 2}"
    assert browser.run(f"return document.elementFromPoint({at}).id") == "search"


@pytest.mark.slow
@in_a_browser
def test_a_call_whose_recording_cannot_be_fetched_yet_shows_why_and_when_it_is_tried_again(
    keyed: Service, browser: Browser
) -> None:
    [port] = free_ports(1)
    job = keyed.client.post("/v1/transcriptions", json={"url": f"http://127.0.0.1:{port}/late.wav"}).json()
    eventually(lambda: keyed.read(job["links"]["self"])["retry"] is not None)
    open_with_stored_key(keyed, browser)
    assert re.match(r"Waiting to be tried again (at \d|as soon)", browser.find("#calls .status").text)

    browser.find(f"[href='#{job['id']}']").click()
    browser.until("document.getElementById('retry').textContent")
    assert browser.find("#retry").text == "The last attempt did not succeed. The server refused the connection."
    assert re.match(r"Waiting to be tried again (at \d|as soon)", browser.find("#step").text)
    assert not browser.all("#bar")[0].is_displayed()
    assert f"\nURL\nhttp://127.0.0.1:{port}/late.wav\n" in browser.find("#about-list").text
    browser.find("#cancel").click()
    browser.until("document.getElementById('no-audio-reason').textContent.includes('did not fetch')")
    assert not browser.all("#retry")[0].is_displayed()


@pytest.mark.slow
@in_a_browser
def test_a_url_that_the_reader_enters_is_fetched_and_its_failure_is_said_in_plain_words(
    keyed: Service, browser: Browser
) -> None:
    open_with_stored_key(keyed, browser, "#add")
    field = browser.find("#address")
    field.send_keys("calls/1.wav", Keys.ENTER)
    assert "Enter a whole URL" in browser.find("#address-problem").text
    assert field.get_attribute("aria-invalid") == "true"
    field.clear()
    field.send_keys(f"{keyed.url}/page/page.css", Keys.ENTER)
    assert not browser.all("#address-problem")[0].text
    browser.find("#start").click()

    browser.until("document.getElementById('problem').textContent.includes('This call could not be transcribed')")
    about = browser.find("#about-list").text
    assert f"Fetched from\n{keyed.url}/page/page.css" in about
    assert "Status\nFailed" in about
    job = keyed.read(f"/v1/transcriptions/{browser.run('return location.hash.slice(1)')}")
    problem = browser.find("#problem").text
    assert job["error"]["message"].startswith("The file is text, not a recording")
    assert "The file is text, not a recording" in problem
    assert "the field encoding" not in problem
    assert not browser.all("#cancel")[0].is_displayed()


@pytest.mark.slow
@in_a_browser
async def test_a_call_that_the_service_cancelled_because_no_client_waited_says_so(
    guarded: Service, guarded_database: str, browser: Browser
) -> None:
    job = guarded.create()
    database = await asyncpg.connect(guarded_database)
    cancelled = "status = 'cancelled', completed_at = now(), error_code = 'abandoned', error_message = $1"
    await database.execute(f"UPDATE transcription SET {cancelled}", ABANDONED)
    await database.close()
    open_with_stored_key(guarded, browser, f"#{job['id']}")
    problem = browser.find("#problem").text.splitlines()
    assert problem == [
        "This call was cancelled",
        ABANDONED,
        "Add the recording again here, or send it again from a program that waits longer. (abandoned)",
    ]
    assert browser.find("#facts").text == "Status\nCancelled"


@pytest.mark.slow
@in_a_browser
def test_a_call_says_whether_its_speakers_are_separated(guarded: Service, browser: Browser) -> None:
    open_with_stored_key(guarded, browser)
    for recording, channels, expected in [
        (call(0, 1), "split", "One per channel"),
        (call(0, 1), "mix", "Not separated, because the channels are mixed"),
        (tone(), "split", "All on one channel"),
    ]:
        job = guarded.create(recording, channels=channels)
        browser.run(f"location.hash = '{job['id']}'")
        browser.until(f"document.getElementById('about-list').textContent.includes('{job['id']}')")
        assert f"\nSpeakers\n{expected}\n" in browser.find("#about-list").text


@in_a_browser
async def test_voices_have_their_colours_and_nobody_is_called_unknown(
    guarded: Service, calls: Database, browser: Browser
) -> None:
    spoken = [("speaker_1", "Good morning."), ("speaker_2", "Hello."), (None, "Hm."), ("speaker_1", "Bye.")]
    segments = tuple(
        Segment(number, 0, speaker, number, number + 0.9, text, "en", speaker_confidence=0.9 if speaker else None)
        for number, (speaker, text) in enumerate(spoken)
    )
    heard = Transcript("en", 0.9, 4.0, (Channel(0, "speaker", "en", 0.9, 3.6),), segments)
    job = await enqueue(calls)
    [claimed] = await claim(calls)
    await finish(calls, claimed, Succeeded(heard, AudioFacts(4.0, "pcm_mulaw", 8000, 1), Timings(0.1, 0.2)))

    open_with_stored_key(guarded, browser, f"#{job.id}")

    browser.find(".turn")
    assert [each.text for each in browser.all(".turn .speaker")] == ["speaker_1", "speaker_2", "Unknown", "speaker_1"]
    colours = [str(each.get_attribute("class")).split()[1] for each in browser.all(".turn")]
    assert colours == ["voice-0", "voice-1", "voice-unknown", "voice-0"]
    browser.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", NARROW)
    assert browser.run("return document.documentElement.scrollWidth") <= NARROW["width"]
    browser.driver.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
