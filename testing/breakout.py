"""A program that runs in the decoder's place and tries to break out of its containment.

Its argument is JSON: `how` names the parts of the containment that hold it (`all`, `landlock`, `seccomp` or `none`),
and `targets` are the arguments of `attempts`. It prints the names of the attempts that succeeded.
"""

import ctypes
import errno
import json
import os
import resource
import socket
import sys
import threading
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))
from app.audio.containment import fence, landlock, seccomp

LIBC = ctypes.CDLL(None, use_errno=True)
PTRACE_SEIZE, PIDFD_OPEN, IO_URING_SETUP, KEYCTL_AND_BPF = (
    0x4206,
    434,
    425,
    {"x86_64": (250, 321), "aarch64": (219, 280)},
)
CLONE_NEWUSER, PROT_READ_AND_EXEC, PRIVATE_ANONYMOUS = 0x1000_0000, 5, 0x22


def called(name: str, *arguments: object) -> None:
    """Calls a function of libc.

    Raises PermissionError if the system refuses the call. Any other error counts as allowed.
    """
    ctypes.set_errno(0)
    function = getattr(LIBC, name)
    function.restype = ctypes.c_long
    result = function(*arguments)
    if result == -1 and ctypes.get_errno() in (errno.EPERM, errno.EACCES):
        raise PermissionError(ctypes.get_errno(), name)


def connected(family: int, kind: int, address: str | tuple[str, int]) -> None:
    with socket.socket(family, kind) as client:
        client.connect(address)


def forked() -> None:
    child = os.fork()
    if child == 0:
        os._exit(0)
    os.waitpid(child, 0)


def attempts(service: int, secret: str, folder: str, database: str, port: int) -> dict[str, Callable[[], object]]:
    """Returns what the program tries, by name.

    `secret` is a recording in the store, `folder` the child's own folder, `database` a socket, and `port` a TCP
    port.
    """
    keyctl, bpf = KEYCTL_AND_BPF[os.uname().machine]
    return {
        "read the environment": Path(f"/proc/{service}/environ").read_bytes,
        "read the memory": lambda: os.open(f"/proc/{service}/mem", os.O_RDONLY),
        "read the store": Path(secret).read_bytes,
        "write to the store": lambda: os.open(secret, os.O_WRONLY),
        "make a file": Path(folder, "new").touch,
        "make a link": lambda: Path(folder, "link").symlink_to(secret),
        "list a folder": lambda: list(Path(folder).iterdir()),
        "remove a file": lambda: Path(folder, "old").unlink(),
        "open the recording to write": lambda: os.open("/proc/self/fd/0", os.O_RDWR),
        "connect to the database": lambda: connected(socket.AF_UNIX, socket.SOCK_STREAM, database),
        "connect by TCP": lambda: connected(socket.AF_INET, socket.SOCK_STREAM, ("127.0.0.1", port)),
        "send by UDP": lambda: connected(socket.AF_INET, socket.SOCK_DGRAM, ("127.0.0.1", port)),
        "make a pair of sockets": socket.socketpair,
        "start a process": forked,
        "start a thread": lambda: threading.Thread(target=int).start(),
        "signal the service": lambda: os.kill(service, 0),
        "trace the service": lambda: called("ptrace", PTRACE_SEIZE, service, 0, 0),
        "read the memory by a system call": lambda: called("process_vm_readv", service, 0, 0, 0, 0, 0),
        "get a descriptor of the service": lambda: called("syscall", PIDFD_OPEN, service, 0),
        "raise its limits": lambda: resource.setrlimit(resource.RLIMIT_CORE, (0, 0)),
        "run code of its own": lambda: called("mmap", 0, 4096, PROT_READ_AND_EXEC, PRIVATE_ANONYMOUS, -1, 0),
        "make a file in memory": lambda: os.memfd_create("code"),
        "use io_uring": lambda: called("syscall", IO_URING_SETUP, 1, 0),
        "use keys": lambda: called("syscall", keyctl, 0, -3, 0),
        "use bpf": lambda: called("syscall", bpf, 0, 0, 0),
        "make a namespace": lambda: called("unshare", CLONE_NEWUSER),
        "mount": lambda: called("mount", 0, b"", b"tmpfs", 0, 0),
        "change its owner": lambda: os.setuid(os.getuid()),
        "start a program": lambda: os.execv("", ["program"]),
    }


def succeeds(attempt: Callable[[], object]) -> bool:
    """Returns whether the system allowed an attempt.

    Other errors than a refusal count as success, because the attempt would work with other arguments.
    """
    try:
        attempt()
    except (PermissionError, RuntimeError, ValueError):  # RuntimeError from a thread, ValueError from a limit
        return False
    except OSError:
        return True
    return True


if __name__ == "__main__":
    asked = json.loads(sys.argv[1])
    tried = attempts(os.getppid(), **asked["targets"])
    if asked["how"] in ("landlock", "none"):
        seccomp.refuse_all_but_decoding = lambda: False
    if asked["how"] in ("seccomp", "none"):
        landlock.close_all_files = lambda: 0
    contained_by = fence.contain() if asked["how"] != "none" else {}
    print(json.dumps({"contained_by": contained_by}))
    print(json.dumps({"succeeded": [name for name, attempt in tried.items() if succeeds(attempt)]}), flush=True)
    os._exit(0)
