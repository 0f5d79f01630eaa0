"""The container image's health check, on processes with the command lines of the image."""

import subprocess
import sys
from http.server import BaseHTTPRequestHandler
from socketserver import TCPServer
from threading import Thread

import pytest

from app.cli.healthcheck import address_of
from testing.service import Service


@pytest.mark.parametrize(
    ("command", "address"),
    [
        ("callscribe serve", ("127.0.0.1", 8000)),
        ("python callscribe serve --host 0.0.0.0", ("127.0.0.1", 8000)),
        ("callscribe serve --host :: --port 9000 --no-executor", ("::1", 9000)),
        ("docker-init -- callscribe serve --port=80 --host=10.0.0.5", ("10.0.0.5", 80)),
        ("callscribe serve --host [::]", ("::1", 8000)),
        ("callscribe serve --host=", ("127.0.0.1", 8000)),
        ("callscribe worker", None),
        ("docker-init -- callscribe worker", None),
        ("callscribe models fetch small", ("127.0.0.1", 8000)),
        ("sleep infinity", ("127.0.0.1", 8000)),
    ],
)
def test_the_check_takes_the_address_from_the_command_line_of_the_process(
    command: str, address: tuple[str, int] | None
) -> None:
    assert address_of(command.split()) == address


def waiting(command: str) -> "subprocess.Popen[bytes]":
    """Starts a process with this command line. It ends when the `with` block ends."""
    program = [sys.executable, "-c", "import sys; sys.stdin.read()", *command.split()]
    return subprocess.Popen(program, stdin=subprocess.PIPE)


def health(process: "subprocess.Popen[bytes]") -> int:
    check = [sys.executable, "-m", "app.cli.healthcheck", str(process.pid)]
    return subprocess.run(check, check=False, timeout=60).returncode


def test_a_service_on_any_port_is_healthy_while_it_answers(guarded_service: Service) -> None:
    assert health(guarded_service.process) == 0


def test_the_check_asks_a_service_at_the_address_of_its_command_line() -> None:
    class Answer(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200 if self.path == "/healthz" else 404)
            self.end_headers()

    with TCPServer(("127.0.0.2", 0), Answer) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        with waiting(f"serve --host 127.0.0.2 --port {server.server_address[1]}") as process:
            assert health(process) == 0
        server.shutdown()


@pytest.mark.parametrize(("command", "code"), [("serve --port 1", 1), ("worker", 0)])
def test_a_service_that_does_not_answer_is_unhealthy_but_a_worker_does_not_have_to_answer(
    command: str, code: int
) -> None:
    with waiting(command) as process:
        assert health(process) == code
