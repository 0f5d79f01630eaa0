"""The page at `/`: its files over HTTP, and what a reader sees and does in a real browser."""

import re
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
import srt  # type: ignore[import-untyped]
from selenium.webdriver.common.keys import Keys

from app.audio.raw import BY_SUFFIX
from testing.browser import INSTALLED, MISSING, REQUIRED, Browser, browsing
from testing.hearing import FEW, missed
from testing.ports import free_ports
from testing.recordings import SAMPLE_CALL, call, said, tone
from testing.service import Service, eventually, serving
from tests.conftest import ALICE, clone

in_a_browser = pytest.mark.skipif(not INSTALLED and not REQUIRED, reason=MISSING)
ASSETS = Path(__file__).parents[2] / "app" / "api" / "page" / "assets"
NARROW = {"width": 320, "height": 700, "deviceScaleFactor": 1, "mobile": True}


@pytest.fixture(scope="module")
async def keyed(postgres: str, template: str, workspace: Path) -> AsyncIterator[Service]:
    """A service with a key, which keeps recordings, and may fetch them from this machine."""
    async with clone(postgres, template) as address:
        settings = {"API_KEYS": f"alice:{ALICE}", "KEEP_AUDIO_DAYS": "1", "ALLOWED_NETWORKS": "127.0.0.0/8"}
        with serving(workspace / "page", key=ALICE, DATABASE_URL=address, **settings) as service:
            yield service


@pytest.fixture(scope="module")
def downloads(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("browser")


@pytest.fixture(scope="module")
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
    markup = r"innerHTML|insertAdjacentHTML|outerHTML|document\.write|\bstyle=|\bon\w+=\""
    assert not re.search(rf"https?://\w|{markup}", text)


def test_the_page_offers_every_name_of_raw_sound_that_the_service_knows() -> None:
    [accepted] = re.findall(r'accept="([^"]*)"', (ASSETS / "index.html").read_text())
    names = {name.strip() for name in accepted.split(",")}
    assert {f".{suffix}" for suffix in BY_SUFFIX} <= names


@pytest.mark.slow
@in_a_browser
def test_a_reader_posts_follows_reads_plays_searches_and_downloads_a_call(
    keyed: Service, browser: Browser, downloads: Path
) -> None:
    open_with_key(keyed, browser)
    assert browser.find("#no-calls").text.startswith("No calls yet")
    assert browser.driver.title == "Calls – Callscribe"

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
    browser.until("document.getElementById('language').length > 2")
    assert all("401" in complaint for complaint in browser.complaints())


def open_with_stored_key(service: Service, browser: Browser, place: str = "") -> None:
    browser.driver.get(f"{service.url}/page/icon.svg")
    browser.run(f"sessionStorage.setItem('callscribe.key', '{ALICE}')")
    browser.driver.get(f"{service.url}/{place}")
    browser.find("h1")


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
def test_of_several_files_a_bad_one_is_refused_and_the_others_become_calls(
    guarded: Service, browser: Browser, tmp_path: Path
) -> None:
    files = {"one.wav": tone(), "letter.wav": bytes(range(256)) * 4, "two.wav": first_on_both(call(0, 0.2))}
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)
    open_with_stored_key(guarded, browser)
    browser.all("#file")[0].send_keys("\n".join(str(tmp_path / name) for name in files))
    urls = "htp://a.example/1.wav https://anna:pw@a.example/2.wav s3://bucket/3.wav https://a.example/" + "x" * 9000
    browser.find("#address").send_keys(urls, Keys.ENTER)
    browser.find("#start").click()

    browser.until("document.querySelectorAll('#uploads .added').length === 2")
    browser.until("document.querySelectorAll('#uploads .refused').length === 5")
    rows = [row.text for row in browser.all("#uploads li")]
    assert ["Added to the calls" in row for row in rows] == [True, False, True, False, False, False, False]
    assert [row.split("\n")[-1] for row in rows] == ["Hide", "Remove", "Hide", "Remove", "Remove", "Remove", "Remove"]
    assert not any("Try again" in row for row in rows)
    assert "Check that it plays on your computer." in rows[1]
    assert "the field encoding" not in rows[1]
    assert "its name must end with its encoding" in rows[1]
    assert "Request ID: " in rows[1]
    assert browser.find("#refusals").text == "5 recordings refused"
    assert [row.text for row in browser.all("#uploads .refused .state")[1:]] == [
        "The URL is not allowed: its scheme must be one of http, https, s3.",
        "The URL is not allowed: it must not contain a user or a password.",
        "The URL is not allowed: it names a bucket that CALLSCRIBE_SOURCE_BUCKETS does not allow.",
        "The request is not valid. URL: must have at most 8192 characters.",
    ]
    browser.until("document.querySelectorAll('#calls li').length === 2")

    jobs = {job["audio"]["filename"]: job for job in guarded.read("/v1/transcriptions")["items"]}
    assert jobs.keys() == {"one.wav", "two.wav"}
    assert [jobs[name]["options"]["channels"] for name in ("one.wav", "two.wav")] == ["mix", "split"]
    browser.find("#clear").click()
    assert browser.all("#uploads li") == []


@pytest.mark.slow
@in_a_browser
def test_the_button_that_sends_many_files_stays_in_sight(service: Service, browser: Browser, tmp_path: Path) -> None:
    files = [tmp_path / f"{number}.wav" for number in range(12)]
    for each in files:
        each.write_bytes(tone(0.1))
    browser.driver.get(f"{service.url}/")
    browser.all("#file")[0].send_keys("\n".join(map(str, files)))
    browser.find("#start")
    for size in ({**NARROW, "mobile": False, "width": 1000, "height": 600}, NARROW):
        browser.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
        left, bottom = browser.run(
            "const {left, bottom} = document.getElementById('start').getBoundingClientRect(); return [left, bottom]"
        )
        assert browser.run(f"return document.elementFromPoint({left + 20}, {bottom - 10}).id") == "start"


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
def test_a_call_whose_sound_is_missing_in_part_is_not_listed_like_a_whole_one(
    service: Service, browser: Browser
) -> None:
    recording = call(0, 18)
    cut = service.ended(service.create(recording[: len(recording) * 2 // 3], channels="split"))
    assert [warning["code"] for warning in cut["warnings"]] == ["truncated"]
    silent = service.ended(service.create(tone(1.0)))
    browser.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", {**NARROW, "width": 1280, "mobile": False})
    browser.driver.get(f"{service.url}/")
    status = browser.find(f"#calls li:has([href='#{cut['id']}']) .status")
    assert (status.text, status.get_attribute("title")) == ("Transcribed in part", cut["warnings"][0]["message"])
    other = browser.find(f"#calls li:has([href='#{silent['id']}']) .status")
    assert other.text == "Transcribed, 1 warning"
    assert status.value_of_css_property("color") != other.value_of_css_property("color")

    width = browser.find("main").rect["width"]
    browser.find(f"[href='#{cut['id']}']").click()
    browser.find("#dialogue")
    assert [speaker.text for speaker in browser.all(".turn .speaker")] == ["channel_0", "channel_1"]
    assert browser.run(
        "return [...document.querySelectorAll('.turn .speaker')].every((name) => {"
        "  const range = document.createRange(); range.selectNodeContents(name);"
        "  return range.getClientRects().length === 1; })"
    )
    assert browser.find("main").rect["width"] == width
    assert "choose your own file" in browser.find("#hint").text
    browser.all("#own-copy")[0].send_keys(str(SAMPLE_CALL))
    browser.until("document.getElementById('hint').innerText.startsWith('Click a turn to play it')")
    assert "own file" not in browser.find("#hint").text
    browser.until("document.getElementById('no-audio').innerText.includes('It may be another recording')")
    assert "sample_call.wav is 0:57 long, but this call is 0:1" in browser.find("#no-audio").text
    assert "Choose another file" in browser.find("#no-audio").text
    browser.until("document.querySelectorAll('figcaption').length === 2")
    assert [figure.text for figure in browser.all("figcaption")] == ["channel_0", "channel_1"]


@pytest.mark.slow
@in_a_browser
def test_a_file_whose_answer_was_lost_is_sent_again_and_makes_no_second_job(
    guarded: Service, browser: Browser, tmp_path: Path
) -> None:
    (tmp_path / "call.wav").write_bytes(tone())
    open_with_stored_key(guarded, browser)
    browser.run(
        "window.XMLHttpRequest = class extends XMLHttpRequest {"
        "  set onload(act) {"
        "    super.onload = () => this.onerror();"
        "    window.XMLHttpRequest = Object.getPrototypeOf(this.constructor);"
        "  }"
        "}"
    )
    browser.all("#file")[0].send_keys(str(tmp_path / "call.wav"))
    browser.find("#start").click()
    browser.until("document.querySelector('#uploads .refused .state')?.textContent.includes('cannot be reached')")
    assert len(guarded.read("/v1/transcriptions")["items"]) == 1
    browser.find("#uploads li button:not([hidden])").click()
    browser.until("document.getElementById('job-title').textContent === 'call.wav'")
    assert len(guarded.read("/v1/transcriptions")["items"]) == 1


@pytest.mark.slow
@in_a_browser
def test_uploads_wait_while_the_queue_is_full_and_go_on_while_the_reader_looks_at_a_call(
    guarded: Service, browser: Browser, tmp_path: Path
) -> None:
    for number in range(6):
        (tmp_path / f"{number}.wav").write_bytes(tone())
    open_with_stored_key(guarded, browser)
    browser.run("const wait = setTimeout; window.setTimeout = (act, ms) => wait(act, Math.min(ms, 100))")
    assert not warns_before_leaving(browser)
    browser.all("#file")[0].send_keys("\n".join(str(tmp_path / f"{number}.wav") for number in range(6)))
    browser.find("#start").click()
    browser.until("document.querySelectorAll('#uploads .added').length === 4")
    browser.until("document.querySelector('#uploads').textContent.includes('The queue of the service is full')")
    assert warns_before_leaving(browser)

    browser.find("#calls a").click()
    browser.find("#job-title")
    assert browser.find("#uploading").text == "Uploading 2 recordings"
    for job in guarded.read("/v1/transcriptions")["items"][:2]:
        guarded.client.post(f"{job['links']['self']}/cancel")
    browser.until("document.getElementById('uploading').hidden")
    assert not warns_before_leaving(browser)
    assert len(guarded.read("/v1/transcriptions")["items"]) == 6


def warns_before_leaving(browser: Browser) -> bool:
    script = (
        "const leaving = new Event('beforeunload', {cancelable: true});"
        "dispatchEvent(leaving); return leaving.defaultPrevented"
    )
    return bool(browser.run(script))


@pytest.mark.slow
@in_a_browser
def test_a_url_that_the_reader_enters_is_fetched_and_its_failure_is_said_in_plain_words(
    keyed: Service, browser: Browser
) -> None:
    open_with_stored_key(keyed, browser)
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
def test_a_call_names_what_it_is_and_can_be_cancelled_and_deleted(guarded: Service, browser: Browser) -> None:
    url = "https://recordings.example/2026/call.mp3"
    fields = {"url": url, "external_id": "crm-48151", "metadata": {"agent": {"name": "Anna"}, "tags": ["a", "b"]}}
    job = guarded.client.post("/v1/transcriptions", json=fields).json()
    open_with_stored_key(guarded, browser)
    row = browser.find("#calls li").text
    assert row.startswith(f"call.mp3\ncrm-48151\n{url}\nWaiting\n")

    browser.find("#calls a").click()
    browser.until("document.getElementById('step').textContent === 'Waiting in the queue'")
    about = browser.find("#about-list").text
    for fact in (f"URL\n{url}", "External ID\ncrm-48151", "agent.name: Anna\ntags: a, b", "Model\nbase"):
        assert fact in about
    browser.find("#cancel").click()
    browser.until("document.getElementById('facts').textContent === 'StatusCancelled'")
    assert not browser.all("#cancel")[0].is_displayed()

    browser.find("#delete").click()
    assert "You cannot undo this" in browser.find("#delete-dialog").text
    browser.find("#keep").click()
    assert guarded.client.get(job["links"]["self"]).status_code == 200
    browser.find("#delete").click()
    browser.find("#delete-now").click()
    browser.find("#no-calls")
    assert guarded.client.get(job["links"]["self"]).status_code == 404
    browser.driver.get(f"{guarded.url}/#{job['id']}")
    browser.until("document.getElementById('problem').textContent.includes('There is no such call')")
    assert "key" not in browser.find("#problem").text


@pytest.mark.slow
@in_a_browser
def test_the_list_shows_older_calls_on_request_and_changes_without_a_reload(guarded: Service, browser: Browser) -> None:
    jobs = [cancelled(guarded, guarded.create(external_id=f"crm-{number}")) for number in range(22)]
    jobs.append(guarded.create(external_id="crm-22"))
    open_with_stored_key(guarded, browser)
    browser.find("#older").click()
    browser.until("document.querySelectorAll('#calls li').length === 23")
    assert not browser.all("#older")[0].is_displayed()
    assert browser.focused == browser.all("#calls a")[20]
    shown = [re.findall(r"crm-\d+", row.text) for row in browser.all("#calls li")]
    assert shown == [[f"crm-{number}"] for number in reversed(range(23))]

    browser.run("document.querySelector('#calls a').focus()")
    newest = browser.find("#calls .status")
    assert newest.text == "Waiting"
    browser.run(
        "const wait = setTimeout; window.delays = [];"
        "window.setTimeout = (act, ms) => (delays.push(ms), wait(act, Math.min(ms, 100)));"
        "document.dispatchEvent(new Event('visibilitychange'))"
    )
    browser.until("window.delays.length")
    assert min(browser.run("return window.delays")) >= 10_000
    cancelled(guarded, jobs[-1])
    browser.until("document.querySelector('#calls .status').textContent === 'Cancelled'")
    assert browser.focused == browser.find("#calls a")
    assert len(browser.all("#calls li")) == 23


def cancelled(service: Service, job: dict[str, Any]) -> dict[str, Any]:
    assert service.client.post(f"{job['links']['self']}/cancel").status_code == 200
    return job


@pytest.mark.slow
@in_a_browser
def test_a_mono_call_is_shown_as_one_track(service: Service, browser: Browser, tmp_path: Path) -> None:
    mono = tmp_path / "mono.wav"
    mono.write_bytes(tone(1.0))
    browser.driver.get(f"{service.url}/")
    browser.all("#file")[0].send_keys(str(mono))
    browser.until("document.getElementById('uploads').textContent.includes('one channel')")
    browser.find("#start").click()
    browser.until("document.getElementById('facts').textContent.includes('no speech')")
    job = service.read(f"/v1/transcriptions/{browser.run('return location.hash.slice(1)')}")
    assert job["options"]["channels"] == "mix"
    assert not browser.all("#talk")[0].is_displayed()
    assert len(browser.all("canvas")) == 1
    assert [warning.text for warning in browser.all("#warnings li")] == [
        warning["message"] for warning in job["warnings"]
    ]
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
    browser.find("summary").click()
    browser.find("[name=channel_labels]").clear()
    browser.all("#file")[0].send_keys(str(recording))
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
def test_a_dropped_file_is_sent_and_its_name_is_shown_as_text(guarded: Service, browser: Browser) -> None:
    open_with_stored_key(guarded, browser)
    hostile = "<img src=x onerror=alert(1)>.wav"
    samples = ",".join(map(str, tone(0.2)))
    browser.run(
        "const dropped = new DataTransfer();"
        f"dropped.items.add(new File([new Uint8Array([{samples}])], '{hostile}'));"
        "document.dispatchEvent(new DragEvent('drop', {dataTransfer: dropped, cancelable: true}));"
    )
    assert browser.find("#uploads .name").text == hostile
    browser.find("#start").click()
    browser.until(f"document.getElementById('job-title').textContent === '{hostile}'")
    browser.find("#to-calls").click()
    assert browser.find("#calls a").text == hostile
    assert browser.all("img[src=x]") == []
    browser.find("#forget").click()
    browser.find("#key")
    assert browser.run("return sessionStorage.length") == 0


@pytest.mark.slow
@in_a_browser
def test_the_page_cuts_nothing_off_on_a_narrow_screen(service: Service, browser: Browser) -> None:
    browser.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", NARROW)
    fields = {"external_id": "x" * 255, "metadata": f'{{"{"y" * 200}": "{"z" * 200}"}}', "channel_labels": "agent"}
    job = service.ended(service.create(tone(1.0), channels="split", **fields))
    for place in ("", f"#{job['id']}", "#nothing-there"):
        browser.driver.get(f"{service.url}/{place}")
        browser.driver.refresh()
        assert browser.find("h1").text
        browser.find(f"[href='#{job['id']}'], #about-list dd, #problem")
        assert browser.run("return document.documentElement.scrollWidth") == 320
