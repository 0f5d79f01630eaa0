"""Starts the service, posts the sample call and prints the dialogue: `make demo`.

It uses only the standard library, because it shows that a client needs nothing more.
"""

import json
import os
import shlex
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPException
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.request import ProxyHandler, Request, build_opener
from uuid import uuid4

SAMPLE_CALL = Path(__file__).with_name("sample_call.wav")
FIELDS = (("channels", "split"), ("channel_labels", "agent"), ("channel_labels", "customer"))
START_LIMIT_SECONDS = 150
TRANSCRIBE_LIMIT_SECONDS = 600
STOP_LIMIT_SECONDS = 30
STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
DEVICE = "CALLSCRIBE_DEVICE"  # kept from the environment, because people run the demo to try a device

NEXT = """

Next:
  make run                                           runs the service at http://127.0.0.1:8000/ until Ctrl-C
  http://127.0.0.1:8000/                             is then a page with all calls, a search, and a place for recordings
  http://127.0.0.1:8000/docs                         is the API, to read and to try
  http://127.0.0.1:8000/v1                           is the base URL for OpenAI's clients
  .venv/bin/callscribe transcribe your-call.mp3      transcribes a file without the service"""

# A proxy named in the environment must not come between the demo and its own machine.
open_url = build_opener(ProxyHandler({})).open


class DemoFailed(Exception):
    """The message says why there is no dialogue."""


def say(line: str) -> None:
    print(line, flush=True)


@contextmanager
def running_service(folder: Path) -> Iterator[str]:
    """Run `callscribe serve` in `folder`, with two settings of its own. Yields its address when ready."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    address = f"http://127.0.0.1:{port}"
    say(f"Starting callscribe on {address} with an empty database …")
    command = [sys.executable, "-m", "app.cli", "serve", "--port", str(port)]
    environment = {
        name: value for name, value in os.environ.items() if not name.startswith("CALLSCRIBE_") or name == DEVICE
    }
    environment["CALLSCRIBE_DATA_DIR"] = str(folder / "callscribe")
    environment["CALLSCRIBE_SHUTDOWN_GRACE_SECONDS"] = "0"  # the job is not needed any more when the demo stops
    log_path = folder / "serve.log"
    with log_path.open("w") as log:
        # In a session of its own, the service does not get the terminal's Ctrl-C. With the demo's own signal it would
        # get two, and a second signal stops the service immediately and leaves PostgreSQL running.
        service = subprocess.Popen(
            command, env=environment, stdout=log, stderr=subprocess.STDOUT, start_new_session=True
        )
    try:
        wait_until_ready(address, service)
        yield address
    except (DemoFailed, OSError, HTTPException) as error:
        last_lines = log_path.read_text(errors="replace").splitlines()[-15:]
        raise DemoFailed("\n".join([str(error), "The service's last log lines:", *last_lines])) from error
    finally:
        stop(service)


def wait_until_ready(address: str, service: subprocess.Popen[bytes]) -> None:
    started = time.monotonic()
    while service.poll() is None:
        try:
            open_url(f"{address}/readyz", timeout=5).close()
        except OSError:
            if time.monotonic() - started > START_LIMIT_SECONDS:
                raise DemoFailed(f"The service was not ready after {START_LIMIT_SECONDS} s.") from None
            time.sleep(0.5)
        else:
            say(f"Ready after {time.monotonic() - started:.1f} s.")
            return
    raise DemoFailed(f"The service ended while starting, with exit code {service.returncode}.")


def stop(service: subprocess.Popen[bytes]) -> None:
    """Stops the service in order, which takes seconds. Ignores signals meanwhile, or the service would outlive us."""
    for number in STOP_SIGNALS:
        signal.signal(number, signal.SIG_IGN)
    service.terminate()
    try:
        service.wait(STOP_LIMIT_SECONDS)
    except subprocess.TimeoutExpired:
        service.kill()
        raise DemoFailed(f"The service had not stopped {STOP_LIMIT_SECONDS} s after SIGTERM.") from None


def fetch(request: str | Request) -> bytes:
    try:
        with open_url(request, timeout=90) as response:
            body: bytes = response.read()
            return body
    except HTTPError as error:
        raise DemoFailed(f"{error.url} answered {error.code}: {error.read().decode(errors='replace')}") from None


def post_sample_call(url: str) -> str:
    """Send what the printed curl command would send. Returns the address of the new transcription."""
    form = [*(f"{name}={value}" for name, value in FIELDS), f"file=@{os.path.relpath(SAMPLE_CALL)}"]
    say("\n$ " + shlex.join(["curl", url, *(word for field in form for word in ("-F", field))]))
    parts = [(f'name="{name}"', value.encode()) for name, value in FIELDS]
    parts.append((f'name="file"; filename="{SAMPLE_CALL.name}"', SAMPLE_CALL.read_bytes()))
    boundary = uuid4().hex
    body = b"".join(
        f"--{boundary}\r\nContent-Disposition: form-data; {head}\r\n\r\n".encode() + content + b"\r\n"
        for head, content in parts
    )
    headers = {"Content-Type": f"multipart/form-data; boundary={boundary}"}
    transcription = json.loads(fetch(Request(url, body + f"--{boundary}--\r\n".encode(), headers)))
    say(f"  {transcription['status']}")
    return f"{url}/{transcription['id']}"


def wait_until_completed(link: str) -> None:
    say(f"$ curl '{link}?wait=5'")
    started = time.monotonic()
    transcription: dict[str, Any] = {"status": "pending"}
    while transcription["status"] in ("pending", "in_progress"):
        if time.monotonic() - started > TRANSCRIBE_LIMIT_SECONDS:
            raise DemoFailed(f"The transcription was not final after {TRANSCRIBE_LIMIT_SECONDS} s.")
        transcription = json.loads(fetch(f"{link}?wait=5"))
        say(f"  {transcription['status']}, {transcription['progress']:.0%}")
    if transcription["status"] != "completed":
        raise DemoFailed(f"The transcription ended as {transcription['status']}: {transcription['error']}")


def transcribe_sample_call() -> None:
    with tempfile.TemporaryDirectory(prefix="callscribe-demo-") as folder, running_service(Path(folder)) as address:
        posted = time.monotonic()
        link = post_sample_call(f"{address}/v1/transcriptions")
        wait_until_completed(link)
        say(f"$ curl '{link}/transcript?format=text'\n")
        dialogue = fetch(f"{link}/transcript?format=text").decode()
        seconds = time.monotonic() - posted
        say(dialogue.rstrip())
    say(f"\nFrom posting the recording to its transcript: {seconds:.1f} s.{NEXT}")


def main() -> None:
    for number in STOP_SIGNALS:
        if signal.getsignal(number) is not signal.SIG_IGN:  # `nohup` ignores SIGHUP, so that the demo goes on
            signal.signal(number, signal.default_int_handler)
    try:
        transcribe_sample_call()
    except (DemoFailed, OSError, HTTPException) as error:
        sys.exit(f"\nThe demo failed. {error}")
    except KeyboardInterrupt:
        say("\nInterrupted; the service is stopped.")
        sys.exit(128 + signal.SIGINT)


if __name__ == "__main__":
    main()
