import itertools
import re
from datetime import UTC, datetime, timedelta
from math import inf
from pathlib import Path

import pytest

from app.jobs.lifecycle import (
    ENGINE_DELAYS,
    FETCH_DELAYS,
    FINAL,
    HINDRANCE_DELAYS,
    MAX_CRASHES,
    NOT_READY_DELAYS,
    TRANSITIONS,
    AudioFacts,
    Cancelled,
    Crashed,
    Failed,
    Hindered,
    History,
    Interrupted,
    NextState,
    Outcome,
    SlowFetch,
    Status,
    Succeeded,
    Timings,
    come_back_after,
    final_message,
    longest_fetch_seconds,
    next_state,
    why_it_waits,
)
from app.transcripts.transcript import Transcript

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
FACTS = AudioFacts(1.0, "pcm_mulaw", 8000, 1)
SILENCE = Transcript(None, None, 1.0, (), ())
SUCCESS = Succeeded(SILENCE, FACTS, Timings(0.1, 0.2))
FAILURE = Failed("transcription_failed", "…", transient=True)
ARCHITECTURE = Path(__file__).parents[2] / "docs" / "architecture.md"


@pytest.mark.parametrize(
    ("outcome", "status"),
    [
        (Succeeded(SILENCE, FACTS, Timings(0.1, 0.2)), Status.COMPLETED),
        (Failed("bad_media", "broken"), Status.FAILED),
        (Cancelled(), Status.CANCELLED),
    ],
)
def test_an_end_is_final_and_keeps_the_count_of_attempts(outcome: Outcome, status: Status) -> None:
    assert next_state(outcome, History(2), NOW) == NextState(status, None, 2)
    assert status in FINAL


def test_an_interrupted_job_goes_back_to_its_place_and_the_attempt_does_not_count() -> None:
    assert next_state(Interrupted(), History(1), NOW) == NextState(Status.PENDING, None, 0)
    pause = timedelta(seconds=30)
    assert next_state(Interrupted(pause), History(1), NOW) == NextState(Status.PENDING, NOW + pause, 0)


@pytest.mark.parametrize(
    ("waiting", "ended", "seconds"),
    [(10_000, 500, 300), (10_000, 5_000, 30), (4, 1, 60), (1, 100, 5), (10_000, 10, 600), (10_000, 0, 600)],
)
def test_a_client_should_come_back_when_a_twentieth_of_the_queue_has_ended(
    waiting: int, ended: int, seconds: int
) -> None:
    """`ended` jobs ended in the last five minutes. The forecast assumes the same rate."""
    assert come_back_after(waiting, ended) == seconds


def test_a_transient_failure_waits_longer_each_time_and_ends_after_the_last_try() -> None:
    failure = Failed("transcription_failed", "…", transient=True)
    states = [next_state(failure, History(attempt), NOW) for attempt in range(1, len(ENGINE_DELAYS) + 2)]
    assert [state.status for state in states] == [Status.PENDING, Status.PENDING, Status.FAILED]
    assert [state.run_at for state in states[:2]] == [NOW + timedelta(seconds=n) for n in (5, 10)]


def test_a_fetch_that_fails_for_now_is_tried_again_for_some_minutes() -> None:
    failure = Failed("fetch_failed", "The server answered 503.", transient=True)
    states = [next_state(failure, History(attempt), NOW) for attempt in range(1, len(FETCH_DELAYS) + 2)]
    assert [state.run_at for state in states[:-1]] == [NOW + timedelta(seconds=n) for n in (5, 30, 120)]
    assert {state.status for state in states[:-1]} == {Status.PENDING}
    assert states[-1] == NextState(Status.FAILED, None, 4)


def test_crashes_do_not_count_as_tries() -> None:
    failure = Failed("transcription_failed", "…", transient=True)
    assert next_state(failure, History(attempts=3, crashes=2), NOW) == NextState(
        Status.PENDING, NOW + timedelta(seconds=5), 3
    )


@pytest.mark.parametrize("number", [1, 3, len(HINDRANCE_DELAYS), 1000])
def test_a_hindered_job_waits_longer_each_time_and_the_attempt_does_not_count(number: int) -> None:
    state = NextState(Status.PENDING, NOW + HINDRANCE_DELAYS[min(number, len(HINDRANCE_DELAYS)) - 1], 3)
    assert next_state(Hindered(), History(4, hindrances=number), NOW) == state


def test_a_slow_fetch_may_take_longer_the_next_time_and_in_the_end_until_its_deadline() -> None:
    assert [longest_fetch_seconds(times) for times in range(4)] == [120, 480, inf, inf]
    states = [next_state(SlowFetch(), History(2, slow_fetches=times), NOW) for times in (1, 2)]
    assert states == [NextState(Status.PENDING, NOW + timedelta(seconds=seconds), 1) for seconds in (5, 10)]


@pytest.mark.parametrize("crashes", range(1, MAX_CRASHES + 1))
def test_a_job_that_crashes_its_worker_is_given_up_at_the_limit(crashes: int) -> None:
    status = Status.FAILED if crashes == MAX_CRASHES else Status.PENDING
    assert next_state(Crashed(), History(3, crashes), NOW) == NextState(status, None, 3)


def test_the_diagram_shows_exactly_the_transitions_that_exist() -> None:
    histories = [
        History(*numbers, 1, 1) for numbers in itertools.product(range(1, 5), range(MAX_CRASHES + 1), [False, True])
    ]
    outcomes: list[Outcome] = [SUCCESS, FAILURE, Failed("bad_media", "…"), Cancelled(), Interrupted(), Hindered()]
    outcomes += [SlowFetch(), Crashed()]
    reached = {
        (Status.IN_PROGRESS, next_state(outcome, history, NOW).status) for outcome in outcomes for history in histories
    }
    assert reached == {(start, end) for start, end in TRANSITIONS if start is Status.IN_PROGRESS}
    [diagram] = re.findall(r"```mermaid\nstateDiagram-v2\n(.*?)```", ARCHITECTURE.read_text(), re.DOTALL)
    arrows = re.findall(r"^ *(\S+) --> (\S+?)(?::|$)", diagram, re.MULTILINE)
    drawn = {(Status(start), Status(end)) for start, end in arrows if "[*]" not in (start, end)}
    assert drawn == TRANSITIONS
    assert {start for start, end in arrows if end == "[*]"} == FINAL


@pytest.mark.parametrize("outcome", [Interrupted(), Hindered(), SlowFetch(), Crashed(), FAILURE])
def test_a_job_with_a_request_to_cancel_never_goes_back_to_the_queue(outcome: Outcome) -> None:
    assert next_state(outcome, History(1, cancel_requested=True), NOW).status is Status.CANCELLED


def test_a_recording_that_is_not_ready_is_tried_for_about_a_minute() -> None:
    failure = Failed("fetch_failed", "The server answered 404.", transient=True, not_ready=True)
    states = [next_state(failure, History(attempt), NOW) for attempt in range(1, len(NOT_READY_DELAYS) + 2)]
    waits = [state.run_at - NOW for state in states if state.run_at]
    assert [state.status for state in states] == [Status.PENDING] * len(waits) + [Status.FAILED]
    assert timedelta(seconds=60) <= sum(waits, timedelta()) <= timedelta(seconds=75)


@pytest.mark.parametrize(
    ("failure", "history", "message"),
    [
        (Failed("fetch_failed", "404.", True, True), History(5), "404. The service tried 5 times, for about a minute."),
        (Failed("fetch_failed", "503.", True), History(6, 2), "503. The service tried 4 times, for about 3 minutes."),
        (Failed("fetch_failed", "410."), History(3), "410."),
        (Failed("transcription_failed", "Broken.", True), History(3), "Broken."),
        (Crashed(), History(3, 3), Crashed.message),
    ],
)
def test_the_final_message_of_a_fetch_says_how_often_it_was_tried(
    failure: Failed | Crashed, history: History, message: str
) -> None:
    assert final_message(failure, history) == message


@pytest.mark.parametrize(
    ("outcome", "code"),
    [
        (Failed("fetch_failed", "503.", True), "fetch_failed"),
        (Interrupted(timedelta(30), code="unavailable", message="The store is away."), "unavailable"),
        (Hindered(), "unavailable"),
        (Interrupted(), None),
        (SlowFetch(), None),
    ],
)
def test_a_job_that_waits_for_a_cause_names_it(outcome: Outcome, code: str | None) -> None:
    assert why_it_waits(outcome)[0] == code
