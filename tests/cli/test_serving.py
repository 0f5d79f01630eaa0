"""Which addresses `callscribe serve --host` listens on."""

import socket

import pytest

from app.cli.serving import listen
from app.settings import SettingsError

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
