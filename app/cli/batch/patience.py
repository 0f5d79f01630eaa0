"""Repeats a request until its answer counts: a server that restarts or is full says nothing about a recording."""

import itertools
import random
import threading
import time
from collections.abc import Callable
from http import HTTPStatus
from typing import Any, TypeVar

import httpx

from app.cli.batch.state import Unusable
from app.cli.recordings import printable

BUSY = frozenset({408, 425, 429, 502, 503, 504, 507})  # the answers of a server that will take the request later
MOST_FAULTS = 5  # of an answer 500, which says that the service has a fault
LONGEST_PAUSE_DOUBLINGS = 6  # of a second, so about a minute
LONGEST_RETRY_AFTER_SECONDS = 600.0
QUIET_SECONDS = 60.0  # between two lines about the same trouble

Answer = TypeVar("Answer")  # a response, or what the caller returns instead of one


class Patience:
    """Thread-safe. `say` gets a line when trouble with the server begins and when it ends."""

    def __init__(self, say: Callable[[str], None], sleep: Callable[[float], None] = time.sleep) -> None:
        self._say = say
        self.sleep = sleep
        self._lock = threading.Lock()
        self._said_at: float | None = None

    def answer(self, send: Callable[[], Answer]) -> Answer:
        """Sends the request until its answer counts. Raises Unusable if the server does not take the key."""
        faults = 0
        for tries in itertools.count():
            pause = 2.0 ** min(tries, LONGEST_PAUSE_DOUBLINGS) * random.uniform(0.5, 1)  # noqa: S311
            try:
                answer = send()
            except httpx.RequestError as error:
                self._report(f"cannot be reached: {reason_of(error)}")
            else:
                if not isinstance(answer, httpx.Response):
                    return answer
                is_fault = answer.status_code == HTTPStatus.INTERNAL_SERVER_ERROR
                faults += is_fault
                if answer.status_code not in BUSY and not (is_fault and faults < MOST_FAULTS):
                    self._report(None)
                    _require_allowed(answer)
                    return answer
                if answer.status_code != HTTPStatus.TOO_MANY_REQUESTS:  # a full queue is no trouble
                    self._report(f"answers {answer.status_code}: {detail_of(answer)}")
                pause = max(pause, retry_after(answer))
            self.sleep(pause)
        raise AssertionError("the loop ends only by an answer")

    def _report(self, trouble: str | None) -> None:
        """Says that the server is in trouble, but not more often than once a minute, and when it answers again."""
        with self._lock:
            now = time.monotonic()
            if trouble is None:
                if self._said_at is not None:
                    self._say("the server answers again")
                self._said_at = None
            elif self._said_at is None or now - self._said_at > QUIET_SECONDS:
                self._said_at = now
                self._say(f"the server {trouble}; the command tries again until it answers")


def _require_allowed(answer: httpx.Response) -> None:
    if answer.status_code == HTTPStatus.UNAUTHORIZED:
        raise Unusable("the server does not take the API key; set CALLSCRIBE_API_KEY to a valid one")
    if answer.status_code == HTTPStatus.FORBIDDEN:
        raise Unusable(f"the server answers 403: {detail_of(answer)}")


def object_of(answer: httpx.Response) -> dict[str, Any]:
    """Returns the JSON object of an answer, or an empty one."""
    try:
        found = answer.json()
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def detail_of(answer: httpx.Response) -> str:
    """Returns what the server says about an error, in one line."""
    problem = object_of(answer)
    fields = [f"{error.get('field')} {error.get('detail')}" for error in problem.get("errors") or []]
    said = problem.get("detail") or problem.get("title") or answer.reason_phrase
    return printable(" ".join([str(said), *fields]))


def retry_after(answer: httpx.Response) -> float:
    """Returns how many seconds the server wants the client to wait, or 0."""
    value = answer.headers.get("retry-after", "")
    return min(LONGEST_RETRY_AFTER_SECONDS, float(value)) if value.isdecimal() else 0.0


def reason_of(error: Exception) -> str:
    return printable(str(error)) or type(error).__name__
