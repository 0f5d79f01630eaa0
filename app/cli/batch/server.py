"""The server of a batch: sends recordings, waits for their jobs and reads transcripts. Knows no state and no output.

Its methods block, so that each recording has a thread of its own. A blocking socket also still reads the answer of a
server that refuses a long upload early and closes the connection. asyncio loses that answer.
"""

import itertools
import ssl
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import Any

import httpx

from app.cli.batch.listing import Fingerprint
from app.cli.batch.patience import Patience, detail_of, object_of, reason_of, retry_after
from app.cli.batch.state import Unusable
from app.transcripts.formats import Format

JOBS = "/v1/transcriptions"
WAIT_SECONDS = 50
MOST_BREAKS = 10  # of connections that break during an upload of one recording
TIMEOUT = httpx.Timeout(60.0, connect=15.0, read=WAIT_SECONDS + 70.0)
FINAL = frozenset({"completed", "failed", "cancelled"})

Fields = Mapping[str, str | Sequence[str]]
Job = dict[str, Any]


@dataclass(frozen=True)
class Refusal:
    """Why the server does not take a recording. The same upload would be refused again."""

    code: str
    message: str


class FileChanged(Exception):
    """The recording is no longer the file that it was when its upload was decided."""


def open_client(server: str, key: str | None, connections: int) -> httpx.Client:
    """Returns a client that trusts the certificate authorities of this machine."""
    return httpx.Client(
        base_url=server,
        headers={"Authorization": f"Bearer {key}"} if key else {},
        verify=ssl.create_default_context(),
        timeout=TIMEOUT,
        limits=httpx.Limits(max_connections=connections, max_keepalive_connections=connections),
    )


class Server:
    """Thread-safe. Each method repeats its request until the answer counts, as `patience` decides."""

    def __init__(self, client: httpx.Client, patience: Patience) -> None:
        self._client = client
        self._patience = patience

    def greet(self) -> None:
        """Raises Unusable if there is no server, if it is none of ours, or if it does not take the key."""
        address = str(self._client.base_url).rstrip("/")
        try:
            self._client.get("/healthz")
        except httpx.RequestError as error:
            raise Unusable(f"{address} cannot be reached: {reason_of(error)}") from None
        answer = self._get("/v1/models")
        if not answer.is_success or "items" not in object_of(answer):
            hint = f" (it leads to {answer.headers['location']})" if "location" in answer.headers else ""
            said = f"it answers {answer.status_code} to GET /v1/models{hint}"
            raise Unusable(f"{address} is no Callscribe server: {said}")

    def post(self, recording: Path, expected: Fingerprint, name: str, fields: Fields, key: str) -> Job | Refusal:
        """Uploads a recording, piece by piece. Raises FileChanged, OSError if it cannot be read, and Unusable."""
        breaks = itertools.count(1)

        def send() -> httpx.Response | Refusal:
            with recording.open("rb") as file:
                _require_unchanged(recording, expected)
                try:
                    return self._client.post(
                        JOBS,
                        files={"file": (name, file, "application/octet-stream")},
                        data=dict(fields),
                        headers={"Idempotency-Key": key},
                    )
                except httpx.RequestError as error:
                    _require_unchanged(recording, expected)
                    if isinstance(error, httpx.ConnectError | httpx.ConnectTimeout) or next(breaks) < MOST_BREAKS:
                        raise
                    return Refusal("upload_failed", f"The connection broke {MOST_BREAKS} times: {reason_of(error)}")

        answer = self._patience.answer(send)
        if isinstance(answer, Refusal):
            return answer
        if answer.is_success:
            return _job(answer)
        problem = object_of(answer)
        if answer.status_code in (404, 405) or answer.is_redirect:
            raise Unusable(f"the server answers {answer.status_code} to POST {JOBS}")
        if problem.get("code") in ("invalid_request", "url_not_allowed") and not _is_about_the_file(problem):
            raise Unusable(f"the server refuses the options: {detail_of(answer)}")
        return Refusal(str(problem.get("code") or f"http_{answer.status_code}"), detail_of(answer))

    def ended(self, job_id: str) -> Job | None:
        """Waits until the job is final. Returns None if the server does not know it."""
        while True:
            asked_at = time.monotonic()
            answer = self._get(f"{JOBS}/{job_id}", wait=WAIT_SECONDS)
            if answer.status_code == HTTPStatus.NOT_FOUND:
                return None
            job = _job(answer)
            if job["status"] in FINAL:
                return job
            if time.monotonic() - asked_at < 1:  # too many clients wait, or the server is about to stop
                self._patience.sleep(retry_after(answer) or 1)

    def transcript(self, job_id: str, form: Format) -> bytes | None:
        """Returns None if the server does not know the job."""
        answer = self._get(f"{JOBS}/{job_id}/transcript", format=form)
        if answer.status_code == HTTPStatus.NOT_FOUND:
            return None
        if not answer.is_success:
            raise Unusable(f"the server answers {answer.status_code} instead of a transcript: {detail_of(answer)}")
        return answer.content

    def delete(self, job_id: str) -> None:
        self._patience.answer(lambda: self._client.delete(f"{JOBS}/{job_id}"))

    def _get(self, path: str, **query: str | int) -> httpx.Response:
        def send() -> httpx.Response:
            return self._client.get(path, params=query)

        return self._patience.answer(send)


def _job(answer: httpx.Response) -> Job:
    job = object_of(answer)
    if not answer.is_success or not {"id", "status"} <= job.keys():
        raise Unusable(f"the server answers {answer.status_code} instead of a transcription: {detail_of(answer)}")
    return job


def _require_unchanged(recording: Path, expected: Fingerprint) -> None:
    if Fingerprint.of(recording.stat()) != expected:
        raise FileChanged


def _is_about_the_file(problem: Mapping[str, Any]) -> bool:
    errors = problem.get("errors") or []
    return bool(errors) and all(error.get("field") == "file" for error in errors)
