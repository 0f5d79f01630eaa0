"""Which addresses `callscribe serve --host` listens on, and how the start of a process ends."""

import signal
import socket
import subprocess
from pathlib import Path

import pytest

from app.api.app import page_of
from app.cli.serving import listen
from app.database.connections import Database
from app.settings import SettingsError
from testing.service import Service, eventually, start_callscribe

FAMILIES = {"127.0.0.1", "::1"}


def answers(listener: socket.socket) -> set[str]:
    """Returns the loopback addresses at which the socket takes connections."""
    reached = set()
    for address in FAMILIES:
        try:
            with socket.create_connection((address, listener.getsockname()[1]), timeout=5):
                reached.add(address)
        except OSError:
            pass
    return reached


@pytest.mark.skipif(not socket.has_dualstack_ipv6(), reason="this machine has no IPv6")
@pytest.mark.parametrize(
    ("host", "reached"),
    [
        ("::", FAMILIES),
        ("[::]", FAMILIES),
        ("", FAMILIES),
        ("::1", {"::1"}),
        ("[::1]", {"::1"}),
        ("0.0.0.0", {"127.0.0.1"}),
        ("127.0.0.1", {"127.0.0.1"}),
        ("::ffff:127.0.0.1", {"127.0.0.1"}),
        ("localhost", {"127.0.0.1"}),
    ],
)
def test_a_host_says_which_addresses_are_served(host: str, reached: set[str]) -> None:
    with listen(host, 0) as listener:
        assert answers(listener) == reached


@pytest.mark.parametrize("host", ["no.such.host.invalid", "300.1.1.1", "1::2::3", "a" * 70, "203.0.113.1"])
def test_a_host_that_cannot_be_used_is_named_in_one_line(host: str) -> None:
    with pytest.raises(SettingsError, match=r"^--host \S+ --port 8000: \S.*$"):
        listen(host, 8000)


def test_a_port_that_is_in_use_is_named() -> None:
    with listen("127.0.0.1", 0) as taken, pytest.raises(SettingsError, match="it is in use; choose another port"):
        listen("127.0.0.1", taken.getsockname()[1])


def test_a_start_ends_with_a_log_line_that_says_where_the_service_is(service: Service) -> None:
    ready = (
        f"Callscribe is ready: the page is {service.url}/, the API's documentation {service.url}/docs, and the base "
        f"URL for OpenAI's clients {service.url}/v1"
    )
    eventually(lambda: ready in service.log())
    assert service.log().index("model base loaded") < service.log().index(ready)


def test_a_worker_reports_that_it_is_ready(database: Database, tmp_path: Path) -> None:
    address = database.address.text
    with start_callscribe("worker", folder=tmp_path, stderr=subprocess.PIPE, DATABASE_URL=address) as worker:
        assert worker.stderr is not None
        loaded = next(line for line in worker.stderr if "model base loaded" in line or "is ready" in line)
        ready = next(line for line in worker.stderr if "is ready" in line)
        worker.send_signal(signal.SIGTERM)
        worker.stderr.read()
    assert "model base loaded" in loaded
    assert "Callscribe's worker is ready" in ready
    assert worker.returncode == 0


@pytest.mark.parametrize("host", ["0.0.0.0", "127.0.0.1"])
def test_the_page_is_announced_at_an_address_that_a_browser_opens(host: str) -> None:
    with listen(host, 0) as listener:
        assert page_of(listener) == f"http://127.0.0.1:{listener.getsockname()[1]}/"


@pytest.mark.skipif(not socket.has_dualstack_ipv6(), reason="this machine has no IPv6")
@pytest.mark.parametrize(("host", "shown"), [("::", "127.0.0.1"), ("::1", "[::1]")])
def test_the_page_is_announced_at_an_address_of_ipv6(host: str, shown: str) -> None:
    with listen(host, 0) as listener:
        assert page_of(listener) == f"http://{shown}:{listener.getsockname()[1]}/"
