"""Runs the real `callscribe serve` as a child process, and does what a client does with it."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from testing.files import files_in
from testing.ports import free_ports
from testing.recordings import tone

START_LIMIT_SECONDS = 90
STOP_LIMIT_SECONDS = 30
WAIT_LIMIT_SECONDS = 60
POLL_SECONDS = 0.05
PROGRAM = (sys.executable, "-m", "app.cli")


@dataclass(frozen=True)
class Service:
    """A running service, and a client of it."""

    process: subprocess.Popen[bytes]
    port: int
    folder: Path
    client: httpx.Client

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def log(self) -> str:
        return (self.folder / "serve.log").read_text()

    def temporary_files(self) -> list[Path]:
        return list((self.folder / "temporary").iterdir())

    def stored_files(self) -> list[Path]:
        """Returns all files in the audio store, complete or not."""
        return files_in(self.folder / "audio")

    def work_files(self) -> list[Path]:
        """Returns the files with the decoded audio of running jobs."""
        return files_in(self.folder / "work")

    def post(
        self, recording: bytes | None = None, headers: dict[str, str] | None = None, **fields: Any
    ) -> httpx.Response:
        """Uploads a recording with these form fields. Without a recording, it uploads a short tone."""
        files = {"file": ("call.wav", tone() if recording is None else recording)}
        return self.client.post("/v1/transcriptions", files=files, data=fields, headers=headers)

    def create(self, recording: bytes | None = None, **fields: Any) -> dict[str, Any]:
        """Uploads a recording that the service must accept. Returns the new transcription."""
        response = self.post(recording, **fields)
        assert response.status_code == 202, response.text
        return answered(response)

    def read(self, path: str) -> dict[str, Any]:
        response = self.client.get(path)
        assert response.status_code == 200, response.text
        return answered(response)

    def ended(self, job: dict[str, Any]) -> dict[str, Any]:
        """Waits until the status is final, and returns the transcription."""
        return self.read(f"{job['links']['self']}?wait={WAIT_LIMIT_SECONDS}")

    def running(self, job: dict[str, Any]) -> dict[str, Any]:
        """Waits until a worker has claimed the transcription, and returns it."""
        eventually(lambda: self.read(job["links"]["self"])["status"] == "in_progress")
        return self.read(job["links"]["self"])

    def stop(self) -> None:
        """Sends SIGTERM, and checks that the exit code is 0."""
        self.process.terminate()
        assert self.process.wait(STOP_LIMIT_SECONDS) == 0, self.log()

    def kill(self) -> None:
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()


def answered(response: httpx.Response) -> dict[str, Any]:
    body = response.json()
    assert isinstance(body, dict)
    return body


def eventually(condition: Callable[[], bool]) -> None:
    """Asks again and again until the condition is true. Use it only if no event reports this."""
    deadline = time.monotonic() + WAIT_LIMIT_SECONDS
    while not condition():
        assert time.monotonic() < deadline, "it never happened"
        time.sleep(POLL_SECONDS)


def environment(folder: Path, **settings: str) -> dict[str, str]:
    """Returns this process's environment with these CALLSCRIBE_ settings and no others. All files go to `folder`."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("CALLSCRIBE_")}
    chosen = {"DATA_DIR": str(folder), **settings}
    temporary = folder / "temporary"
    temporary.mkdir(parents=True, exist_ok=True)
    own = {
        "TMPDIR": str(temporary),
        "PYTHONDONTWRITEBYTECODE": "",
    }  # otherwise each start would compile all imported modules
    return inherited | {f"CALLSCRIBE_{name}": value for name, value in chosen.items()} | own


def callscribe(
    *arguments: str, folder: Path, given: str | None = None, **settings: str
) -> subprocess.CompletedProcess[str]:
    """Runs a command that ends by itself. `given` is its standard input."""
    command = [*PROGRAM, *arguments]
    return subprocess.run(
        command,
        env=environment(folder, **settings),
        input=given,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


def start_callscribe(*arguments: str, folder: Path, stderr: int, **settings: str) -> subprocess.Popen[str]:
    """Starts a command that ends by itself or by Ctrl-C. Its standard output is a pipe."""
    command = [*PROGRAM, *arguments]
    return subprocess.Popen(
        command,
        env=environment(folder, **settings),
        stdout=subprocess.PIPE,
        stderr=stderr,
        text=True,
        preexec_fn=_heed_ctrl_c,
    )


def _heed_ctrl_c() -> None:
    """Makes the child react to SIGINT, because a shell makes the children of a background command ignore it."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


@contextmanager
def serving(
    folder: Path,
    *arguments: str,
    key: str | None = None,
    program: Sequence[str] = PROGRAM,
    port: str | None = None,
    **settings: str,
) -> Iterator[Service]:
    """Runs the service as `starting` does. It is ready when the block begins."""
    with starting(folder, *arguments, key=key, program=program, port=port, **settings) as service:
        _wait_until_ready(service)
        yield service


@contextmanager
def starting(
    folder: Path,
    *arguments: str,
    key: str | None = None,
    program: Sequence[str] = PROGRAM,
    port: str | None = None,
    **settings: str,
) -> Iterator[Service]:
    """Runs `program serve` on `folder` and a free port. At the end of the block it must stop with exit code 0.

    The client sends `key`. If the block stops or kills the service itself, the exit code is not checked.
    """
    port = port or str(free_ports(1)[0])
    folder.mkdir(exist_ok=True)
    command = [*program, "serve", "--port", port, *arguments]
    with (folder / "serve.log").open("a") as log:
        process = subprocess.Popen(command, env=environment(folder, **settings), cwd=folder, stderr=log)
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    with httpx.Client(
        base_url=f"http://127.0.0.1:{port}", headers=headers, timeout=WAIT_LIMIT_SECONDS + 10, trust_env=False
    ) as client:
        service = Service(process, int(port), folder, client)
        try:
            yield service
            if process.poll() is None:
                service.stop()
        finally:
            process.kill()
            process.wait()


def _wait_until_ready(service: Service) -> None:
    deadline = time.monotonic() + START_LIMIT_SECONDS
    while service.process.poll() is None and time.monotonic() < deadline:
        try:
            if service.client.get("/readyz").status_code == 200:
                return
        except httpx.TransportError:
            pass
        time.sleep(POLL_SECONDS)
    raise AssertionError(f"The service did not become ready:\n{service.log()}")
