"""The list of calls and what the page says about a call, in a real browser."""

from dataclasses import replace
from pathlib import Path

import pytest

from app.database.connections import Database
from app.jobs.lifecycle import Redaction
from app.transcripts.entities import Entity
from app.transcripts.transcript import Channel, Segment
from testing.browser import Browser
from testing.recordings import SAMPLE_CALL, call, first_on_both, tone
from testing.rows import FORGET_AUDIO, SUCCESS, claim, finish
from testing.service import Service
from tests.api.page.conftest import NARROW, in_a_browser, open_with_stored_key


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
    status = browser.find(f"#calls .row:has([href='#{cut['id']}']) .status")
    assert (status.text, status.get_attribute("title")) == ("Transcribed in part", cut["warnings"][0]["message"])
    other = browser.find(f"#calls .row:has([href='#{silent['id']}']) .status")
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
def test_a_call_names_what_it_is_and_can_be_cancelled_and_deleted(guarded: Service, browser: Browser) -> None:
    url = "https://recordings.example/2026/call.mp3"
    fields = {"url": url, "external_id": "crm-48151", "metadata": {"agent": {"name": "Anna"}, "tags": ["a", "b"]}}
    job = guarded.client.post("/v1/transcriptions", json=fields).json()
    open_with_stored_key(guarded, browser)
    row = browser.find("#calls .row").text.split("\n")
    assert (row[:3], row[-2:]) == (["call.mp3", "crm-48151", url], ["Anna", "Waiting"])

    browser.find("#calls .what a").click()
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
    browser.until("document.querySelector('#state:not([hidden]) h2')?.textContent === 'No calls yet'")
    assert guarded.client.get(job["links"]["self"]).status_code == 404
    browser.driver.get(f"{guarded.url}/#{job['id']}")
    browser.until("document.getElementById('problem').textContent.includes('There is no such call')")
    assert "Enter a key" not in browser.find("#problem").text


@pytest.mark.slow
@in_a_browser
def test_a_mono_call_is_shown_as_one_track(service: Service, browser: Browser, tmp_path: Path) -> None:
    mono = tmp_path / "mono.wav"
    mono.write_bytes(tone(1.0))
    browser.driver.get(f"{service.url}/#add")
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
    browser.driver.get(f"{service.url}/#add")
    browser.find("summary").click()
    browser.find("[name=channel_labels]").clear()
    browser.all("#file")[0].send_keys(str(recording))
    browser.find("#start").click()

    assert "voice-0" in (browser.find(".turn").get_attribute("class") or "").split()
    job = service.read(f"/v1/transcriptions/{browser.run('return location.hash.slice(1)')}")
    assert job["options"]["channel_labels"] == ["channel_0", "customer"]
    assert browser.find(".turn .speaker").text == "speaker"


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


@pytest.mark.slow
@in_a_browser
async def test_a_redacted_call_says_what_was_taken_out_and_plays_nothing_that_is_private(
    guarded: Service, browser: Browser, calls: Database, tmp_path: Path
) -> None:
    (tmp_path / "card.wav").write_bytes(tone(1.0))
    open_with_stored_key(guarded, browser, "#add")
    browser.until("document.getElementById('language').length > 2")
    browser.find("#upload summary").click()
    browser.find("[name=redact]").click()
    assert browser.find("#chosen-options").text.endswith("; redacted")
    browser.all("#file")[0].send_keys(str(tmp_path / "card.wav"))
    browser.until("!document.getElementById('start').hidden")
    browser.find("#start").click()
    browser.until("document.getElementById('no-audio-reason').textContent.includes('when a tone covers')")
    [job] = guarded.read("/v1/transcriptions")["items"]
    assert len(job["options"]["redact"]) == len(Entity)

    spoken = Segment(0, 0, "speaker", 0.0, 1.0, "My card is [CREDIT_DEBIT_NUMBER], [thanks].", "en")
    heard = replace(SUCCESS.transcript, channels=(Channel(0, "speaker", "en", 1.0, 1.0),), segments=(spoken,))
    [claimed] = await claim(calls)
    taken_out = Redaction({"CREDIT_DEBIT_NUMBER": 1})
    await finish(calls, claimed, replace(SUCCESS, transcript=heard, redaction=taken_out), at_end=FORGET_AUDIO)
    chip = browser.find(".turn .redacted")
    assert chip.text == "card number"
    assert chip.get_attribute("title") == "The service took this out of the call: card number."
    assert "card number: 1" in (browser.find("#about-list").get_attribute("textContent") or "")
    browser.find("#search").send_keys("thanks")
    browser.until("document.querySelector('.turn mark')")
    assert browser.find(".turn .words").text == "My card is card number, [thanks]."
    assert [complaint for complaint in browser.complaints() if "404" not in complaint] == []
