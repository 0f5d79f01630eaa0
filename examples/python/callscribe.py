"""Posts a recording, receives the webhook, checks its signature, and prints the dialogue.

    WEBHOOK_SECRET=whsec_... python3 callscribe.py call.wav crm-48151

It needs Python 3.11 and nothing else. ../README.md describes the environment variables.
"""

import base64
import hashlib
import hmac
import json
import os
import queue
import sys
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
import uuid
from collections.abc import Mapping
from email.message import Message
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

API_URL = os.environ.get("API_URL", "http://127.0.0.1:8000").rstrip("/")
API_KEY = os.environ.get("API_KEY", "")
PORT = int(os.environ.get("PORT", "9000"))
WEBHOOK_URL = os.environ.get("WEBHOOK_URL", f"http://127.0.0.1:{PORT}/")
WEBHOOK_SECRET = os.environ.get("WEBHOOK_SECRET", "")
TOLERANCE_SECONDS = 300
PATIENCE_SECONDS = 600
TRIES = 6
BUSY = (429, 503, 507)


class CallFailed(Exception):
    """The message says why there is no dialogue."""


def verify(secret: str, headers: Message, body: bytes, now: float) -> bool:
    """Whether a webhook is genuine and fresh. `body` has the bytes as they were received."""
    event_id, timestamp = headers.get("webhook-id", ""), headers.get("webhook-timestamp", "")
    if not timestamp.isdecimal() or abs(now - int(timestamp)) > TOLERANCE_SECONDS:
        return False
    key = base64.b64decode(secret.removeprefix("whsec_"))
    digest = hmac.new(key, f"{event_id}.{timestamp}.".encode() + body, hashlib.sha256).digest()
    expected = b"v1," + base64.b64encode(digest)
    return any(hmac.compare_digest(expected, given.encode()) for given in headers.get("webhook-signature", "").split())


class Receiver(BaseHTTPRequestHandler):
    """Answers webhooks. It only stores the event, because the service expects an answer within 15 seconds."""

    events: queue.SimpleQueue[dict[str, Any]] = queue.SimpleQueue()

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        genuine = verify(WEBHOOK_SECRET, self.headers, body, time.time())
        self.send_response(204 if genuine else 401)
        self.end_headers()
        if genuine:  # only now, because the program may end as soon as it has the event
            self.events.put(json.loads(body))

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        pass


def send(url: str, body: bytes | None = None, headers: Mapping[str, str] | None = None) -> dict[str, Any]:
    """Sends a request until the service has time for it. Returns the JSON of the answer."""
    authorization = {"Authorization": f"Bearer {API_KEY}"} if API_KEY else {}
    request = urllib.request.Request(url, body, {**authorization, **(headers or {})})
    for _ in range(TRIES):
        try:
            with urllib.request.urlopen(request, timeout=90) as answer:
                content: dict[str, Any] = json.load(answer)
                return content
        except urllib.error.HTTPError as error:
            if error.status not in BUSY:
                raise CallFailed(problem(error)) from None
            print(f"The service is busy ({error.status}).", file=sys.stderr)
            time.sleep(float(error.headers.get("Retry-After", 5)))
        except (urllib.error.URLError, ConnectionError) as error:  # the key makes it safe to repeat the request
            print(f"{API_URL}: {error}", file=sys.stderr)
            time.sleep(2)
    raise CallFailed(f"The service did not accept the request in {TRIES} tries.")


def problem(error: urllib.error.HTTPError) -> str:
    """Returns an RFC 9457 problem in words. A proxy may answer with something else."""
    if error.headers.get_content_type() != "application/problem+json":
        return f"The service answered {error.status}."
    content = json.load(error)
    fields = [f"  {field['field']}: {field['detail']}" for field in content.get("errors", [])]
    return "\n".join([f"{content['code']}: {content['detail']}", *fields])


def post(recording: Path, call_id: str) -> dict[str, Any]:
    """Posts a recording. The call's id is the idempotency key, so that one call never becomes two jobs."""
    fields = [
        ("channels", "split"),
        ("channel_labels", "agent"),
        ("channel_labels", "customer"),
        ("external_id", call_id),
        ("webhook_url", WEBHOOK_URL),
    ]
    boundary = uuid.uuid4().hex
    part = f"--{boundary}\r\nContent-Disposition: form-data; name="
    form = "".join(f'{part}"{name}"\r\n\r\n{value}\r\n' for name, value in fields)
    form += f'{part}"file"; filename="{recording.name}"\r\n\r\n'
    body = form.encode() + recording.read_bytes() + f"\r\n--{boundary}--\r\n".encode()
    key = urllib.parse.quote(call_id)  # a header is in ASCII
    headers = {"Content-Type": f"multipart/form-data; boundary={boundary}", "Idempotency-Key": key}
    return send(f"{API_URL}/v1/transcriptions", body, headers)


def wait_for_end(job: dict[str, Any]) -> dict[str, Any]:
    """Returns the job after its webhook has arrived, or immediately if an earlier run of this program posted it."""
    while job["status"] in ("pending", "in_progress"):
        try:
            event = Receiver.events.get(timeout=PATIENCE_SECONDS)
        except queue.Empty:
            raise CallFailed(f"No webhook arrived within {PATIENCE_SECONDS} seconds.") from None
        if event["data"]["id"] == job["id"]:
            job = event["data"]
    return job


def transcribe(recording: Path, call_id: str) -> None:
    server = ThreadingHTTPServer(("", PORT), Receiver)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    job = wait_for_end(post(recording, call_id))
    if job["status"] != "completed":
        raise CallFailed(f"The transcription is {job['status']}: {job['error'] and job['error']['message']}")
    for turn in send(urllib.parse.urljoin(API_URL, job["links"]["transcript"]))["turns"]:
        minutes, seconds = divmod(int(turn["start"]), 60)
        print(f"[{minutes:02}:{seconds:02}] {turn['speaker'] or 'Unknown'}: {turn['text']}")


def main() -> None:
    if len(sys.argv) != 3 or not WEBHOOK_SECRET:
        print("usage: WEBHOOK_SECRET=whsec_... callscribe.py RECORDING CALL_ID", file=sys.stderr)
        sys.exit(2)
    try:
        transcribe(Path(sys.argv[1]), sys.argv[2])
    except (CallFailed, OSError) as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
