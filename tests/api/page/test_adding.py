"""A reader adds recordings in a real browser."""

from pathlib import Path

import pytest
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.select import Select

from app.intake.requests import MOST_SPEAKERS
from testing.browser import Browser
from testing.recordings import call, first_on_both, tone
from testing.service import Service, serving
from tests.api.page.conftest import NARROW, in_a_browser, open_with_stored_key


@pytest.mark.slow
@in_a_browser
def test_of_several_files_a_bad_one_is_refused_and_the_others_become_calls(
    guarded: Service, browser: Browser, tmp_path: Path
) -> None:
    files = {"one.wav": tone(), "letter.wav": bytes(range(256)) * 4, "two.wav": first_on_both(call(0, 0.2))}
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)
    open_with_stored_key(guarded, browser, "#add")
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
    jobs = {job["audio"]["filename"]: job for job in guarded.read("/v1/transcriptions")["items"]}
    assert jobs.keys() == {"one.wav", "two.wav"}
    assert [jobs[name]["options"]["channels"] for name in ("one.wav", "two.wav")] == ["mix", "split"]
    browser.find("#clear").click()
    assert browser.all("#uploads li") == []
    browser.find("#to-calls").click()
    browser.until("document.querySelectorAll('#calls .row').length === 2")


@pytest.mark.slow
@in_a_browser
def test_the_button_that_sends_many_files_stays_in_sight(service: Service, browser: Browser, tmp_path: Path) -> None:
    files = [tmp_path / f"{number}.wav" for number in range(12)]
    for each in files:
        each.write_bytes(tone(0.1))
    browser.driver.get(f"{service.url}/#add")
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
def test_a_file_whose_answer_was_lost_is_sent_again_and_makes_no_second_job(
    guarded: Service, browser: Browser, tmp_path: Path
) -> None:
    (tmp_path / "call.wav").write_bytes(tone())
    open_with_stored_key(guarded, browser, "#add")
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
    open_with_stored_key(guarded, browser, "#add")
    browser.run("const wait = setTimeout; window.setTimeout = (act, ms) => wait(act, Math.min(ms, 100))")
    assert not warns_before_leaving(browser)
    browser.all("#file")[0].send_keys("\n".join(str(tmp_path / f"{number}.wav") for number in range(6)))
    browser.find("#start").click()
    browser.until("document.querySelectorAll('#uploads .added').length === 4")
    browser.until("document.querySelector('#uploads').textContent.includes('The queue of the service is full')")
    assert warns_before_leaving(browser)

    browser.find("#to-calls").click()
    browser.find("#calls .what a").click()
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
def test_a_file_dropped_on_the_list_is_sent_and_its_name_is_shown_as_text(guarded: Service, browser: Browser) -> None:
    open_with_stored_key(guarded, browser)
    browser.find("#state")
    hostile = "<img src=x onerror=alert(1)>.wav"
    samples = ",".join(map(str, tone(0.2)))
    browser.run(
        "const dropped = new DataTransfer();"
        f"dropped.items.add(new File([new Uint8Array([{samples}])], '{hostile}'));"
        "document.dispatchEvent(new DragEvent('drop', {dataTransfer: dropped, cancelable: true}));"
    )
    assert browser.find("h1").text == "Add recordings"
    assert browser.find("#uploads .name").text == hostile
    browser.find("#start").click()
    browser.until(f"document.getElementById('job-title').textContent === '{hostile}'")
    browser.find("#to-calls").click()
    assert browser.find("#calls .what a").text == hostile
    assert browser.all("img[src=x]") == []
    browser.find("#forget").click()
    browser.find("#key")
    assert browser.run("return sessionStorage.length") == 0


@pytest.mark.slow
@in_a_browser
def test_the_reader_chooses_a_model_and_says_how_many_people_speak(
    guarded: Service, browser: Browser, tmp_path: Path
) -> None:
    (tmp_path / "call.wav").write_bytes(tone())
    open_with_stored_key(guarded, browser, "#add")
    browser.until("document.getElementById('model').length === 3")
    browser.find("#upload summary").click()
    browser.find("[name=channel_labels]")
    assert not browser.all("[name=speakers]")[0].is_displayed()
    browser.find("[name=channels][value=voices]").click()
    assert not browser.all("[name=channel_labels]")[0].is_displayed()
    counts = Select(browser.find("[name=speakers]"))
    assert [each.text for each in counts.options[1:]] == [str(count) for count in range(2, MOST_SPEAKERS + 1)]
    counts.select_by_visible_text("3")
    Select(browser.find("#model")).select_by_visible_text("tiny.en")
    assert [each.text for each in Select(browser.find("#language")).options] == ["Detect automatically", "English"]
    chosen = "all 3 speakers on one channel, told apart by their voices; language detected automatically; model tiny.en"
    assert browser.find("#chosen-options").text == chosen

    browser.all("#file")[0].send_keys(str(tmp_path / "call.wav"))
    browser.find("#address").send_keys("https://a.example/2.wav", Keys.ENTER)
    browser.find("#start").click()
    browser.until("document.querySelectorAll('#uploads .added').length === 2")
    expected = {"model": "tiny.en", "channels": "mix", "diarize": True, "speakers": 3}
    for job in guarded.read("/v1/transcriptions")["items"]:
        assert {name: job["options"][name] for name in expected} == expected


@pytest.mark.slow
@in_a_browser
def test_what_the_chosen_model_cannot_do_is_not_offered(browser: Browser, tmp_path: Path) -> None:
    models = "base,moonshine-base-en,far=http://127.0.0.1:9/v1#m"
    (tmp_path / "call.wav").write_bytes(tone())
    with serving(tmp_path, "--no-executor", MODEL=models) as served:
        browser.driver.get(f"{served.url}/#add")
        browser.until("document.getElementById('model').length === 3")
        browser.find("#upload summary").click()
        browser.find("#prompt").send_keys("Anna")
        Select(browser.find("#language")).select_by_visible_text("German")
        model = Select(browser.find("#model"))
        model.select_by_visible_text("far")
        assert browser.find("#model-hint").text == "Another server runs this model, and hears the speech of the calls."
        assert (browser.find("#language").get_property("value"), browser.find("#prompt").is_enabled()) == ("de", True)
        model.select_by_visible_text("moonshine-base-en")
        assert [browser.all(each)[0].is_displayed() for each in ("#prompt", "#model-hint")] == [False, False]
        assert browser.find("#language").get_property("value") == "auto"
        browser.all("#file")[0].send_keys(str(tmp_path / "call.wav"))
        browser.find("#start").click()
        browser.until("document.getElementById('job-title').textContent === 'call.wav'")
        [job] = served.read("/v1/transcriptions")["items"]
        assert (job["options"]["model"], job["options"]["prompt"]) == ("moonshine-base-en", None)


@pytest.mark.slow
@in_a_browser
def test_the_only_model_is_no_choice(service: Service, browser: Browser) -> None:
    browser.driver.get(f"{service.url}/#add")
    browser.until("document.getElementById('model').length === 1")
    browser.find("#upload summary").click()
    browser.find("#language")
    assert not browser.all("#model")[0].is_displayed()
