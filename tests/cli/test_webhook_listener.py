"""`callscribe webhooks listen`, with the requests that the service sends."""

import signal
import subprocess
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from threading import Thread

import httpx
import pytest

from app.cli.webhook_listener import listener
from app.deliveries import signing
from testing.service import PROGRAM, environment, start_callscribe
from tests.deliveries.conftest import SECRET

BODY = b'{"type": "transcription.completed"}'


@pytest.fixture
def shown() -> list[str]:
    return []


@pytest.fixture
def url(shown: list[str]) -> Iterator[str]:
    with listener("127.0.0.1", 0, [SECRET], shown.append) as server:
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/hook"
        server.shutdown()
        thread.join()


def test_the_listener_accepts_only_events_with_a_valid_signature(url: str, shown: list[str]) -> None:
    signed = signing.headers([SECRET], "an-id", datetime.now(UTC), BODY)
    assert httpx.post(url, content=BODY, headers=signed, trust_env=False).status_code == 204
    assert "signature valid" in shown[0]
    assert '"type": "transcription.completed"' in shown[1]
    assert httpx.post(url, content=BODY + b" ", headers=signed, trust_env=False).status_code == 401
    assert "NOT VALID" in shown[2]


def test_the_listener_shows_callbacks(url: str, shown: list[str]) -> None:
    assert httpx.get(f"{url}?fileName=a.wav", trust_env=False).status_code == 204
    assert shown == ["GET /hook?fileName=a.wav\n"]


@pytest.mark.parametrize(
    ("options", "settings", "origin"),
    [
        (["--secret", SECRET], {}, "--secret"),
        ([], {"WEBHOOK_SECRET": SECRET}, "CALLSCRIBE_WEBHOOK_SECRET"),
    ],
)
def test_the_listener_says_where_its_secret_comes_from_but_does_not_print_it(
    tmp_path: Path, options: list[str], settings: dict[str, str], origin: str
) -> None:
    arguments = ("webhooks", "listen", "--port", "0", *options)
    with start_callscribe(*arguments, folder=tmp_path, stderr=subprocess.PIPE, **settings) as listening:
        assert listening.stderr is not None
        line = listening.stderr.readline()
        listening.send_signal(signal.SIGINT)
    assert line.endswith(f" until Ctrl-C; verifying with the secret of {origin}\n")
    assert SECRET not in line
    assert listening.returncode == 0


def _ignore_ctrl_c() -> None:
    """Does what a shell does for a program that it starts in the background."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


@pytest.mark.parametrize("stop", [signal.SIGINT, signal.SIGTERM])
def test_the_listener_can_be_stopped_in_the_background(tmp_path: Path, stop: signal.Signals) -> None:
    command = [*PROGRAM, "webhooks", "listen", "--port", "0", "--secret", SECRET]
    with subprocess.Popen(
        command, env=environment(tmp_path), stderr=subprocess.PIPE, text=True, preexec_fn=_ignore_ctrl_c
    ) as listening:
        assert listening.stderr is not None
        listening.stderr.readline()
        listening.send_signal(stop)
        assert listening.stderr.read() == ""
    assert listening.returncode == 0
