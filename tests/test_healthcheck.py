"""The image's health check, on processes as they run in it."""

import subprocess
import sys

import pytest

from app.healthcheck import DEFAULT_PORT, port_of
from tests.service import Service


@pytest.mark.parametrize(
    ("command", "port"),
    [
        ("python callscribe serve --host 0.0.0.0", DEFAULT_PORT),
        ("callscribe serve --port 9000 --no-executor", 9000),
        ("docker-init -- callscribe serve --port=80", 80),
        ("callscribe worker", None),
        ("callscribe models fetch small", None),
    ],
)
def test_the_port_is_the_one_that_the_process_was_told(command: str, port: int | None) -> None:
    assert port_of([*command.split(), ""]) == port


def health(process: "subprocess.Popen[bytes]") -> int:
    check = [sys.executable, "-m", "app.healthcheck", str(process.pid)]
    return subprocess.run(check, check=False, timeout=60).returncode


def test_a_service_on_any_port_is_healthy_while_it_answers(guarded_service: Service) -> None:
    assert health(guarded_service.process) == 0


@pytest.mark.parametrize(("command", "code"), [("serve --port 1", 1), ("worker", 0)])
def test_one_that_does_not_answer_is_not_but_a_worker_need_not(command: str, code: int) -> None:
    waiting = [sys.executable, "-c", "import sys; sys.stdin.read()", *command.split()]
    with subprocess.Popen(waiting, stdin=subprocess.PIPE) as process:
        assert health(process) == code
