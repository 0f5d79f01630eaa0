"""The analysis of a call in a real browser: what it says, and that each statement leads to its turns."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from selenium.webdriver.common.keys import Keys

from app.analysis.rules.results import Answer, CategoryResult, Evidence, Match, RuleResults, Score
from app.database.connections import Database
from app.jobs.models import Transcription
from testing.analyses import MODEL, analysed
from testing.browser import Browser
from testing.dated import called
from testing.recordings import tone
from testing.rows import execute
from testing.service import Service
from tests.api.page.conftest import NARROW, in_a_browser, open_with_stored_key

pytestmark = [pytest.mark.slow, in_a_browser]

SAID = (
    "Green Garden, good morning.",
    "My table came broken, and nobody calls me back.",
    "I am sorry to hear that. I send you a new one today.",
    "And what about the refund? I would like a refund for the delivery.",
    "You get the delivery back within five days.",
    "Thank you, that is very kind of you.",
    "You are welcome.",
    "Goodbye.",
)
HOSTILE = "<img src=x onerror=\"window.attacked = 1\"><script>window.attacked = 1</script> & 'x'"
JUDGEMENT: dict[str, Any] = {
    "summary": {"text": "A table came broken, and the customer wants it replaced.", "turns": [2, 3]},
    "reason": {"text": f"A broken table. {HOSTILE}", "turns": [2]},
    "outcome": {"text": "The agent sends a new table and pays the delivery back.", "turns": [3, 5]},
    "resolved": {"value": True, "turns": [6]},
    "intent": {"value": "complaint", "turns": [2, 4]},
    "sentiment": {
        "turns": [{"turn": 2, "value": "negative"}, {"turn": 4, "value": "neutral"}, {"turn": 6, "value": "positive"}],
        "sides": [
            {
                "speaker": "customer",
                "turns": 3,
                "shares": {"positive": 0.3333, "neutral": 0.3333, "negative": 0.3333},
                "quarters": [-1.0, 0.0, 1.0, None],
            },
            {
                "speaker": "agent",
                "turns": 0,
                "shares": {"positive": None, "neutral": None, "negative": None},
                "quarters": [None] * 4,
            },
        ],
    },
    "action_items": [
        {"text": "Send a new table.", "turns": [3]},
        {"text": "Pay the delivery back.", "turns": [5, 1, 2, 3, 4, 6, 7, 8]},
    ],
    "keywords": ["refund", "table"],
    "answers": [],
}
RULES = RuleResults(
    categories=(
        CategoryResult("refund", True, (Match("any_of", 4, 30.0, 39.0, "refund*"), Match("also.0.none_of"))),
        CategoryResult("angry", False, (Match("any_of", 2, 10.0, 19.0, "Nobody calls me back.", 0.41),)),
        CategoryResult("waits", True, (Match("hold", None, 52.0, 64.0, None, 1.0, 12.0),)),
    ),
    scores=(
        Score(
            "quality",
            5,
            8,
            (
                Answer("Does the agent greet?", "category", 2, True, True, 2, 2, evidence=(Evidence(1, 0.0),)),
                Answer(
                    "Does the agent let the customer speak?",
                    "fact",
                    3,
                    None,
                    0.62,
                    0,
                    3,
                    fact="talk_share",
                    role="agent",
                    at_most=0.6,
                ),
                Answer("Did the agent solve it?", "model", 3, True, True, 3, 3, evidence=(Evidence(5, 40.0),)),
                Answer("Is the refund explained?", "category", not_applicable=True),
                Answer("Was the customer angry?", "category", not_sure=True, evidence=(Evidence(2, 10.0),)),
            ),
        ),
    ),
).content()


@pytest.fixture
async def job(calls: Database) -> Transcription:
    job = await called(calls, "broken table.wav", datetime.now(UTC), *SAID)
    await execute(calls, "UPDATE transcription SET audio_key = NULL")
    return job


async def open_analysis(
    service: Service, calls: Database, browser: Browser, job: Transcription, **columns: Any
) -> None:
    await analysed(calls, job.id, **{"judgement": JUDGEMENT, "dropped": 2, **RULES} | columns)
    open_with_stored_key(service, browser, f"#{job.id}")
    browser.find("#analysis")


def complaints(browser: Browser) -> list[str]:
    """Those of the console, but not that the icon, which sets the key, has no icon itself."""
    return [complaint for complaint in browser.complaints() if "favicon.ico" not in complaint]


def cited(browser: Browser) -> list[str]:
    return [turn.text.split("\n")[-1] for turn in browser.all(".turn.cited")]


async def test_a_reader_sees_what_the_model_says_apart_from_what_rules_found(
    guarded: Service, calls: Database, browser: Browser, job: Transcription
) -> None:
    await open_analysis(guarded, calls, browser, job)
    judged, ruled = browser.find("#judgement").text, browser.find("#rules").text
    scores = browser.find("#scored").text
    assert judged.startswith("Written by a language model\n")
    for text in (
        "the customer wants it replaced. 0:10 0:20",
        "Resolved\nYes 0:50",
        "Intent\ncomplaint 0:10 0:30",
        "Send a new table. 0:20",
        "Negative 33 %",
        f"Model {MODEL}, prompts 3f1c9a0b77d2, in English.",
        "2 statements were left out, because the call does not show them.",
    ):
        assert text in judged
    assert "agent" not in [name.text for name in browser.all("#judged-moods strong")]  # none of its turns was judged
    assert ruled.startswith("Found by rules\n")
    for text in (
        "refund\n“refund*” 0:30\nNot said",
        "angry not sure\n“Nobody calls me back.” about the same meaning, 0.41 0:10",
        "waits\nOn hold 0:12 0:52",
    ):
        assert text in ruled
    for text in (
        "quality 5 of 8 points, 63 %",
        "Does the agent greet? Yes, 2 of 2 points rule 0:00",
        "Does the agent let the customer speak? 62 % (at most 60 %), 0 of 3 points fact",
        "Did the agent solve it? Yes, 3 of 3 points language model 0:40",
        "Is the refund explained? not applicable rule",
    ):
        assert text in scores
    assert "refund" not in judged.split("Keywords")[0].casefold()
    assert complaints(browser) == []


async def test_no_text_of_a_stranger_becomes_markup(
    guarded: Service, calls: Database, browser: Browser, job: Transcription
) -> None:
    hostile = {"text": HOSTILE, "turns": [2]}
    judgement = {
        **JUDGEMENT,
        **dict.fromkeys(("summary", "reason", "outcome"), hostile),
        "intent": {"value": HOSTILE, "turns": [2]},
        "action_items": [hostile],
        "keywords": [HOSTILE],
    }
    rules = RuleResults(
        (CategoryResult(HOSTILE, True, (Match("any_of", 2, 10.0, 19.0, HOSTILE),)),),
        (Score(HOSTILE, 1, 1, (Answer(HOSTILE, "model", 1, True, True, 1, 1),)),),
    ).content()
    names = {"model": HOSTILE, "prompt_version": HOSTILE, "language": HOSTILE}
    await open_analysis(guarded, calls, browser, job, judgement=judgement, **rules, **names)
    assert browser.run("return document.querySelectorAll('#analysis :is(img, script)').length") == 0
    assert browser.find("#judged-summary").text.startswith(HOSTILE)
    for button in browser.all("#analysis .cited-at"):
        button.click()
    assert browser.run("return window.attacked") is None
    assert complaints(browser) == []


async def test_each_statement_leads_to_its_turn_and_plays_it(
    guarded: Service, calls: Database, browser: Browser, job: Transcription, tmp_path: Path
) -> None:
    await open_analysis(guarded, calls, browser, job)
    browser.driver.set_window_size(1000, 500)
    places = browser.all("#judged-summary .cited-at")
    assert places[1].accessible_name == "Turn 3, agent at 0:20"
    places[1].click()
    assert cited(browser) == [SAID[2]]
    assert browser.run("return document.getElementById('audio').src") == ""  # there is nothing to play

    recording = tmp_path / "call.wav"
    recording.write_bytes(tone(80.0))
    browser.all("#own-copy")[0].send_keys(str(recording))
    browser.until("document.getElementById('audio').duration > 70")
    last = browser.all("#judged-tasks li")[1].find_elements("css selector", "button")[-1]
    assert last.text == "2 more"
    last.send_keys(Keys.ENTER)
    assert browser.focused.accessible_name == "Turn 7, agent at 1:00"
    browser.focused.send_keys(Keys.TAB)
    browser.focused.send_keys(Keys.ENTER)
    assert cited(browser) == [SAID[7]]
    assert browser.focused.accessible_name == "Turn 8, customer at 1:10"  # the reader goes on from here
    assert browser.all("#announcement")[0].get_property("textContent") == "customer, 1:10: Goodbye."
    browser.until("document.getElementById('audio').currentTime > 70")
    browser.until("document.querySelector('.turn[aria-current=true]')?.textContent.endsWith('Goodbye.')")
    turn = browser.find(".turn.cited").rect
    seen = browser.run("return [scrollY, innerHeight]")
    assert seen[0] <= turn["y"] <= seen[0] + seen[1]
    assert complaints(browser) == []


async def test_the_sentiment_leads_to_its_turns_and_is_marked_in_the_dialogue(
    guarded: Service, calls: Database, browser: Browser, job: Transcription
) -> None:
    await open_analysis(guarded, calls, browser, job)
    marks = {turn.text.split()[0]: turn.text.split()[1] for turn in browser.all(".turn:has(.mood)")}
    assert marks == {"0:10": "−", "0:50": "+"}
    browser.find("#judged-moods .negative.steps").click()
    assert cited(browser) == [SAID[1]]
    quarters = browser.all("#judged-moods .quarters button")
    assert [quarter.text for quarter in quarters] == ["−1.0", "0.0", "+1.0", "–"]
    quarters[2].click()
    assert cited(browser) == [SAID[5]]
    assert not quarters[3].is_enabled()
    browser.find("#judged-keywords button").click()
    assert browser.find("#found").text == "1 of 2"
    assert browser.find("mark.current").text == "refund"


async def test_a_failed_analysis_says_why_and_can_be_run_again(
    guarded: Service, calls: Database, browser: Browser, job: Transcription
) -> None:
    failed = {"status": "failed", "judgement": None, "dropped": 0, "model": None, "prompt_version": None}
    why = {"error_code": "judgement_unfit", "error_message": "It is not JSON."}
    await open_analysis(guarded, calls, browser, job, **failed, **why)
    state = browser.find("#analysis-state").text
    assert state.startswith("The language model has not judged this call. The language model did not answer in")
    assert browser.find("#analysis-error").text == "It is not JSON. (judgement_unfit)"
    assert not browser.all("#judgement")[0].is_displayed()
    assert "refund" in browser.find("#in-categories").text  # rules keep what they found

    guarded.client.put("/v1/categories/greeting", json={"any_of": ["good morning"]}).raise_for_status()
    browser.find("#analyse").send_keys(Keys.ENTER)
    browser.until("document.getElementById('in-categories').textContent.includes('greeting')")
    guarded.client.delete("/v1/categories/greeting").raise_for_status()
    assert browser.find("#in-categories").text == "greeting\n“good morning” 0:00"
    browser.until("document.getElementById('analysis-state').textContent === ''")
    assert complaints(browser) == []


async def test_an_unfinished_analysis_is_followed_until_it_ends(
    guarded: Service, calls: Database, browser: Browser, job: Transcription
) -> None:
    running = {"status": "in_progress", "lease_token": uuid4(), "lease_until": datetime.now(UTC) + timedelta(hours=1)}
    nothing = {"judgement": None, "model": None, "categories": None, "scores": None, "dropped": 0}
    await open_analysis(guarded, calls, browser, job, **running, **nothing)
    assert browser.find("#analysis-state").text == "The call is being analysed."
    assert browser.find("#analysis-waits").is_displayed()
    assert [browser.all(f"#{each}")[0].is_displayed() for each in ("judgement", "rules", "analyse")] == [False] * 3
    ended = "status = 'completed', lease_token = NULL, lease_until = NULL, completed_at = now()"
    await execute(calls, f"UPDATE analysis SET {ended}, categories = '[]', scores = '[]'")
    assert browser.find("#in-no-category").text == "The call is in no category."
    assert not browser.all("#analysis-waits")[0].is_displayed()
    assert browser.find("#analyse").is_displayed()


async def test_a_call_without_an_analysis_shows_nothing_and_asks_for_nothing(
    guarded: Service, calls: Database, browser: Browser, job: Transcription
) -> None:
    open_with_stored_key(guarded, browser, f"#{job.id}")
    browser.find(".turn")
    assert not browser.all("#analysis")[0].is_displayed()
    asked = "performance.getEntriesByType('resource').filter(({name}) => name.endsWith('/analysis')).length"
    assert browser.run(f"return {asked}") == 0
    assert complaints(browser) == []


async def test_a_long_analysis_fits_a_narrow_screen(
    guarded: Service, calls: Database, browser: Browser, job: Transcription
) -> None:
    browser.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", NARROW)
    long = {"text": "x" * 300 + " " + "word " * 100, "turns": list(range(1, 9))}
    many = tuple(Match("any_of", 1 + number % 8, 0.0, 1.0, f"{'y' * 80} {number}") for number in range(60))
    answers = tuple(Answer(f"{'z' * 120} {number}?", "category", 1, True, True, 1, 1) for number in range(50))
    rules = RuleResults((CategoryResult("c" * 64, False, many),), (Score("s" * 64, 50, 50, answers),)).content()
    judgement = {**JUDGEMENT, "summary": long, "action_items": [long] * 50, "keywords": ["k" * 100] * 20}
    await open_analysis(guarded, calls, browser, job, judgement=judgement, model="m" * 200, **rules)
    browser.find("#scores summary").click()
    assert browser.run("return document.documentElement.scrollWidth") == 320
    assert complaints(browser) == []
