"""The code of the box "Use it from …", which the tests run against the service as a reader does who has copied it."""

import asyncio
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from selenium.webdriver.support.select import Select

from testing.breaking_relay import breaking
from testing.browser import Browser
from testing.client_packages import node_clients
from testing.hearing import FEW, missed
from testing.recordings import call, said
from testing.service import Service
from tests.api.page.conftest import PREFIX, in_a_browser, open_with_stored_key, shown_code
from tests.conftest import ALICE

REQUIRED = bool(os.environ.get("NEED_RUNTIMES"))  # set by .ci/run, so that CI cannot skip these tests
WITHOUT_NODE = pytest.mark.skipif(shutil.which("node") is None and not REQUIRED, reason="node is not installed")
PROGRAMS = {"curl": ("sh", "code.sh"), "python": (sys.executable, "code.py"), "node": ("node", "code.mjs")}
NAME_TO_KEEP = """n it's; a "b", $HOME `id` <c> ü 通話.wav"""
HOSTILE_NAME = "\\" + NAME_TO_KEEP  # the service takes a backslash as a folder's end, as on Windows
HOSTILE_LABELS = ["@/etc/passwd", """Ann's "x", $HOME; type=a/b\\ ü"""]
PROMPT = 'Green Garden\'s "Anna"'
pytestmark = [pytest.mark.slow, in_a_browser]


@pytest.fixture(params=["curl", "python", pytest.param("node", marks=WITHOUT_NODE)])
def language(request: pytest.FixtureRequest) -> str:
    assert isinstance(request.param, str)
    return request.param


@pytest.fixture(scope="module")
def packages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the packages for Node."""
    return node_clients(tmp_path_factory.mktemp("packages")) / "node_modules"


@pytest.fixture
def with_openai(request: pytest.FixtureRequest, tmp_path: Path, language: str) -> Path:
    """A folder whose programs can import OpenAI's client."""
    if language == "node":
        (tmp_path / "node_modules").symlink_to(request.getfixturevalue("packages"))
    return tmp_path


@pytest.fixture(params=["job", "openai"])
def kind(request: pytest.FixtureRequest) -> str:
    if request.param == "openai":
        request.getfixturevalue("with_openai")
    assert isinstance(request.param, str)
    return request.param


def run(language: str, code: str, folder: Path, **environment: str) -> str:
    """Runs the code from a file, and returns what it prints."""
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


def test_the_code_for_a_service_without_keys_prints_who_said_what(
    service: Service, browser: Browser, tmp_path: Path, language: str, kind: str
) -> None:
    (tmp_path / "call.wav").write_bytes(call(0, 12.5))
    browser.driver.get(f"{service.url}/#add")
    browser.find("#drop")
    code = shown_code(browser, language, kind)
    assert "CALLSCRIBE_KEY" not in code
    assert not browser.all("#use-key")[0].is_displayed()
    printed = run(language, code, tmp_path)
    if (language, kind) == ("curl", "openai"):
        printed = json.loads(printed)["text"]
    dialogue = [line.partition(": ") for line in printed.splitlines() if re.match(r"(\[00:\d\d\] )?\w+: ", line)]
    for speaker, beginning in [("agent", "[00:00] "), ("customer", "[00:06] ")]:
        said_by_speaker = [(start, text) for start, _, text in dialogue if start.endswith(speaker)]
        assert said_by_speaker[0][0] == (beginning if kind == "job" else "") + speaker
        assert missed(said(0, 12.5, speaker), " ".join(text for _, text in said_by_speaker)) <= FEW


async def test_the_code_for_openais_clients_prints_the_text_of_a_mixed_call_also_if_an_answer_is_lost(
    service: Service, browser: Browser, with_openai: Path, language: str
) -> None:
    """The clients for Python and Node repeat the request. curl does not."""
    (with_openai / "call.wav").write_bytes(call(0, 6))
    browser.driver.get(f"{service.url}/#add")
    browser.find("#upload summary").click()
    browser.find("[name=channels][value=mix]").click()
    code = shown_code(browser, language, "openai")
    async with breaking(service.port, break_after=0, breaks=0 if language == "curl" else 1) as relay:
        through_relay = code.replace(service.url, f"http://127.0.0.1:{relay.port}")
        printed = await asyncio.to_thread(run, language, through_relay, with_openai)
        assert relay.breaks_left == 0
    assert printed[0].isalpha()  # text, and not JSON
    assert missed(said(0, 6), printed) <= FEW


def test_the_code_has_the_path_the_options_and_the_file_and_reads_the_key_from_the_environment(
    published: Service, browser: Browser, tmp_path: Path, language: str, kind: str
) -> None:
    """Names of files and speakers may hold everything that a shell, curl or a programming language treats specially."""
    for job in published.read("/v1/transcriptions")["items"]:  # because a repeated request gets the job that is there
        published.client.delete(job["links"]["self"])
    (tmp_path / HOSTILE_NAME).write_bytes(call(0, 6))
    open_with_stored_key(published, browser, f"{PREFIX.lstrip('/')}/#add")
    browser.until("document.getElementById('language').length > 2")
    choose_options(browser, tmp_path / HOSTILE_NAME)

    code = shown_code(browser, language, kind)
    assert f"{published.url}{PREFIX}/v1" in code
    assert ALICE not in browser.run("return document.documentElement.outerHTML")
    assert browser.find("#use-variable").text == "export CALLSCRIBE_KEY=…"
    assert browser.find("#use-base").text == f"{published.url}{PREFIX}/v1"
    printed = run(language, code, tmp_path, CALLSCRIBE_KEY=ALICE)
    assert missed(said(0, 6), printed) <= FEW
    assert f"{HOSTILE_LABELS[0]}: " in printed

    [job] = published.read("/v1/transcriptions")["items"]
    assert job["audio"]["filename"] == NAME_TO_KEEP
    chosen = {"channels": "split", "channel_labels": HOSTILE_LABELS, "language": "en", "prompt": PROMPT}
    assert {name: job["options"][name] for name in chosen} == chosen


def test_the_code_says_how_many_people_speak(
    published: Service, browser: Browser, with_openai: Path, language: str, kind: str
) -> None:
    for job in published.read("/v1/transcriptions")["items"]:
        published.client.delete(job["links"]["self"])
    (with_openai / "call.wav").write_bytes(call(0, 6))
    open_with_stored_key(published, browser, f"{PREFIX.lstrip('/')}/#add")
    browser.find("#upload summary").click()
    browser.find("[name=channels][value=voices]").click()
    Select(browser.find("[name=speakers]")).select_by_visible_text("2")
    browser.find("[name=redact]").click()
    printed = run(language, shown_code(browser, language, kind), with_openai, CALLSCRIBE_KEY=ALICE)
    assert missed(said(0, 6), printed) <= FEW
    [job] = published.read("/v1/transcriptions")["items"]
    assert (job["options"]["diarize"], job["options"]["speakers"]) == (True, 2)
    assert job["options"]["redact"]


def test_the_code_names_the_chosen_model(guarded: Service, browser: Browser, language: str) -> None:
    open_with_stored_key(guarded, browser, "#add")
    browser.until("document.getElementById('model').length === 3")
    browser.find("#upload summary").click()
    assert [name in shown_code(browser, language, "openai") for name in ("whisper-1", "tiny.en")] == [True, False]
    Select(browser.find("#model")).select_by_visible_text("tiny.en")
    for kind in ("job", "openai"):
        assert "tiny.en" in shown_code(browser, language, kind)
    assert "whisper-1" not in shown_code(browser, language, "openai")
    assert browser.find("#use-model").text == "tiny.en"


def choose_options(browser: Browser, recording: Path) -> None:
    browser.find("#upload summary").click()
    for field, label in zip(browser.all("[name=channel_labels]"), HOSTILE_LABELS, strict=True):
        field.clear()
        field.send_keys(label)
    browser.find("#language").send_keys("English")
    browser.find("[name=prompt]").send_keys(PROMPT)
    browser.all("#file")[0].send_keys(str(recording))
