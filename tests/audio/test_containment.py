"""The containment of the decoder's child process: a hostile program in its place succeeds in nothing."""

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import structlog

from app.audio.containment import landlock, seccomp
from app.audio.containment import report as containment_report
from app.audio.containment.report import Containment
from app.audio.decoder_process import ask
from testing import breakout

PROGRAM = Path(breakout.__file__)
LINUX = pytest.mark.skipif(sys.platform != "linux", reason="Landlock and seccomp exist on Linux only")
NEEDS_LANDLOCK = pytest.mark.skipif(landlock.version() == 0, reason="this kernel has no Landlock")
FILES = {
    *("read the environment", "read the memory", "read the store", "write to the store", "make a file"),
    *("make a link", "list a folder", "remove a file", "open the recording to write"),
}


@contextmanager
def targets(folder: Path) -> Iterator[dict[str, Any]]:
    """What the program attacks: another's recording, a folder with a file, a database's socket and a TCP server."""
    (folder / "own").mkdir()
    (folder / "own" / "old").touch()
    (folder / "secret").write_text("another's call")
    with socket.create_server(("127.0.0.1", 0)) as server, socket.socket(socket.AF_UNIX) as database:
        database.bind(str(folder / "database"))
        database.listen()
        yield {
            "secret": str(folder / "secret"),
            "folder": str(folder / "own"),
            "database": str(folder / "database"),
            "port": server.getsockname()[1],
        }


async def broken_out(how: str, folder: Path) -> set[str]:
    """The attacks in which the program succeeded under the containment that `how` names."""
    with targets(folder) as targeted, (folder / "secret").open("rb", buffering=0) as recording:
        answer = await ask(PROGRAM, recording, {"how": how, "targets": targeted}, 20)
    return set(answer["succeeded"])


@LINUX
async def test_an_uncontained_program_succeeds_in_its_attacks(tmp_path: Path) -> None:
    """Otherwise the other tests would show nothing. Further attacks may fail, depending on the machine and the user."""
    assert await broken_out("none", tmp_path) >= {
        *("read the store", "make a file", "connect to the database", "connect by TCP", "send by UDP"),
        *("start a process", "start a thread", "start a program", "run code of its own", "signal the service"),
    }


@LINUX
@NEEDS_LANDLOCK
async def test_a_contained_program_fails_in_all_its_attacks(tmp_path: Path) -> None:
    assert await broken_out("all", tmp_path) == set()


@LINUX
async def test_seccomp_alone_refuses_everything_too(tmp_path: Path) -> None:
    """Some kernels and containers have no Landlock."""
    assert await broken_out("seccomp", tmp_path) == set()


@LINUX
@NEEDS_LANDLOCK
async def test_landlock_alone_refuses_files(tmp_path: Path) -> None:
    assert not await broken_out("landlock", tmp_path) & FILES


@LINUX
async def test_the_report_says_what_contains_a_decoder() -> None:
    found = await containment_report.containment_report()
    assert found == Containment(True, landlock.version(), True, ())


async def test_the_report_says_why_no_decoder_can_be_started(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/no/python")
    found = await containment_report.containment_report()
    assert found.unavailable is not None
    assert not found.complete


@pytest.mark.parametrize(
    ("found", "level"),
    [
        (Containment(True, 7, True, ()), "info"),
        (Containment(True, 0, True, ()), "warning"),
        (Containment(True, 7, True, ("use the network",)), "warning"),
        (Containment(False, 0, False, (), unavailable="no process"), "warning"),
    ],
)
async def test_missing_containment_is_logged_as_a_warning(
    found: Containment, level: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def report() -> Containment:
        return found

    monkeypatch.setattr(containment_report, "containment_report", report)
    with structlog.testing.capture_logs() as logged:
        await containment_report.log_containment()
    assert [entry["log_level"] for entry in logged] == [level]


SERVICE = """
import ctypes, os
from app.audio.containment import fence
if os.getuid() == 0:  # root can read everything, so the process becomes another user
    os.setgroups([])
    os.setgid(65534)
    os.setuid(65534)
    ctypes.CDLL(None).prctl(fence.PR_SET_DUMPABLE, 1, 0, 0, 0)
if {closes}:
    fence.close_to_other_processes()
print(flush=True)
input()
"""


@LINUX
@pytest.mark.parametrize("closes", [False, True])
def test_no_other_process_of_the_same_user_can_read_the_environment(closes: bool) -> None:
    program = SERVICE.format(closes=closes)
    ordinary: dict[str, Any] = {"user": 65534, "group": 65534, "extra_groups": []} if os.getuid() == 0 else {}
    pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen([sys.executable, "-c", program], env={"KEY": "secret"}, **pipes) as service:
        assert service.stdout is not None
        service.stdout.readline()
        environ, command = (
            subprocess.run(["cat", f"/proc/{service.pid}/{name}"], capture_output=True, check=False, **ordinary).stdout
            for name in ("environ", "cmdline")
        )
        service.communicate()
    assert (b"KEY=secret" in environ) is not closes
    assert program.encode() in command  # the image's health check reads it


def test_a_process_that_was_started_with_lower_limits_keeps_them() -> None:
    program = (
        "import resource as r; from app.audio.containment.fence import limit;"
        "r.setrlimit(r.RLIMIT_FSIZE, (1000, 1000));"
        "limit(1 << 29, 10, 5000); print(r.getrlimit(r.RLIMIT_FSIZE), r.getrlimit(r.RLIMIT_CPU))"
    )
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert ended.stdout == "(1000, 1000) (10, 15)\n"


def test_landlock_has_version_0_on_a_kernel_without_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(landlock, "CREATE_RULESET", 100_000)
    assert (landlock.version(), landlock.close_all_files()) == (0, 0)


@pytest.mark.parametrize(
    ("version", "rights"), [(1, (13, 0, 0)), (2, (14, 0, 0)), (3, (15, 0, 0)), (4, (15, 2, 0)), (6, (16, 2, 2))]
)
def test_landlock_uses_only_the_rights_that_the_kernel_knows(version: int, rights: tuple[int, int, int]) -> None:
    ruleset = landlock.ruleset_of(version)
    assert (ruleset.files, ruleset.network, ruleset.scopes) == tuple((1 << bits) - 1 for bits in rights)


def verdict(machine: str, number: int, *, third_argument: int = 0, architecture: int | None = None) -> int:
    """Run the filter on a call as the kernel does. Returns its verdict."""
    audit = seccomp.AUDIT[machine] if architecture is None else architecture
    seen = {seccomp.NUMBER: number, seccomp.ARCHITECTURE: audit, seccomp.THIRD_ARGUMENT: third_argument}
    program, at, loaded = list(seccomp.instructions(machine)), 0, 0
    while True:
        operation, if_true, if_false, operand = program[at]
        at += 1
        if operation == seccomp.RETURN:
            return operand
        if operation == seccomp.LOAD:
            loaded = seen[operand]
            continue
        holds = {
            seccomp.JUMP_IF_EQUAL: loaded == operand,
            seccomp.JUMP_IF_AT_LEAST: loaded >= operand,
            seccomp.JUMP_IF_ANY_BIT: bool(loaded & operand),
        }[operation]
        at += if_true if holds else if_false


@pytest.mark.parametrize("machine", seccomp.AUDIT)
def test_seccomp_allows_the_listed_calls_only(machine: str) -> None:
    column = list(seccomp.AUDIT).index(machine)
    listed = {numbers[column] for numbers in (*seccomp.CALLS.values(), *seccomp.MAPPING_CALLS.values())}
    assert {number for number in range(1000) if verdict(machine, number) == seccomp.ALLOW} == listed
    for numbers in seccomp.MAPPING_CALLS.values():
        assert verdict(machine, numbers[column], third_argument=seccomp.PROT_EXEC | 1) == seccomp.REFUSE


def test_seccomp_refuses_calls_through_another_interface() -> None:
    read = seccomp.CALLS["read"][0]
    assert verdict("x86_64", read | seccomp.X32) == seccomp.REFUSE
    assert verdict("x86_64", read, architecture=0x4000_0003) == seccomp.KILL
