"""A seccomp filter, which allows the system calls that decoding needs and refuses all others with EPERM.

It exists because a fault in FFmpeg must not reach beyond the decoder. No call on the list opens a file or a socket,
starts a program, a process or a thread, sends a signal or looks into another process. A call may be added to the list
only if it does none of that.
"""

import ctypes
import os
import platform
import struct
from collections.abc import Iterator

PR_SET_SECCOMP, MODE_FILTER = 22, 2  # linux/prctl.h, linux/seccomp.h
ALLOW, REFUSE, KILL = 0x7FFF_0000, 0x0005_0000 | 1, 0x8000_0000  # linux/seccomp.h; 1 is EPERM
LOAD, JUMP_IF_EQUAL, JUMP_IF_AT_LEAST, JUMP_IF_ANY_BIT, RETURN = 0x20, 0x15, 0x35, 0x45, 0x06  # linux/bpf_common.h
NUMBER, ARCHITECTURE, THIRD_ARGUMENT = 0, 4, 32  # offsets in struct seccomp_data; the low half of the argument
PROT_EXEC = 4
X32 = 0x4000_0000  # numbers from here on belong to x86-64's other interface

AUDIT = {"x86_64": 0xC000_003E, "aarch64": 0xC000_00B7}  # linux/audit.h
CALLS = {  # the number for each architecture of AUDIT, from asm/unistd_64.h and asm-generic/unistd.h
    "read": (0, 63),
    "pread64": (17, 67),
    "readv": (19, 65),
    "write": (1, 64),
    "writev": (20, 66),
    "lseek": (8, 62),
    "fstat": (5, 80),
    "close": (3, 57),
    "brk": (12, 214),
    "munmap": (11, 215),
    "mremap": (25, 216),
    "madvise": (28, 233),
    "futex": (202, 98),
    "clock_gettime": (228, 113),
    "clock_getres": (229, 114),
    "gettimeofday": (96, 169),
    "times": (100, 153),
    "nanosleep": (35, 101),
    "clock_nanosleep": (230, 115),
    "sched_yield": (24, 124),
    "restart_syscall": (219, 128),
    "rt_sigaction": (13, 134),
    "rt_sigprocmask": (14, 135),
    "rt_sigreturn": (15, 139),
    "sigaltstack": (131, 132),
    "getpid": (39, 172),
    "gettid": (186, 178),
    "getrusage": (98, 165),
    "sched_getaffinity": (204, 123),
    "getrandom": (318, 278),
    "exit": (60, 93),
    "exit_group": (231, 94),
}
MAPPING_CALLS = {"mmap": (9, 222), "mprotect": (10, 226)}  # allowed unless they make memory executable


class Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("instructions", ctypes.c_char_p))


def refuse_all_but_decoding() -> bool:
    """Refuse this process all system calls that are not on the list. It must have set `no_new_privs` before.

    Returns False and refuses nothing if there is no list for this machine. Raises OSError if the kernel has no filters.
    """
    if platform.machine() not in AUDIT or struct.calcsize("P") != 8:
        return False
    code = b"".join(struct.pack("=HBBI", *instruction) for instruction in instructions(platform.machine()))
    program = Program(len(code) // 8, code)
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(PR_SET_SECCOMP, ctypes.c_ulong(MODE_FILTER), ctypes.byref(program), 0, 0) != 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return True


def instructions(machine: str) -> Iterator[tuple[int, int, int, int]]:
    """Yields the filter in classic BPF for a machine of AUDIT.

    A tuple has the operation, how many instructions to skip if it is true and if it is false, and the operand.
    """
    column = list(AUDIT).index(machine)
    yield LOAD, 0, 0, ARCHITECTURE
    yield JUMP_IF_EQUAL, 1, 0, AUDIT[machine]
    yield RETURN, 0, 0, KILL
    yield LOAD, 0, 0, NUMBER
    yield JUMP_IF_AT_LEAST, 0, 1, X32
    yield RETURN, 0, 0, REFUSE
    for numbers in CALLS.values():
        yield JUMP_IF_EQUAL, 0, 1, numbers[column]
        yield RETURN, 0, 0, ALLOW
    for numbers in MAPPING_CALLS.values():
        yield JUMP_IF_EQUAL, 0, 4, numbers[column]
        yield LOAD, 0, 0, THIRD_ARGUMENT
        yield JUMP_IF_ANY_BIT, 0, 1, PROT_EXEC
        yield RETURN, 0, 0, REFUSE
        yield RETURN, 0, 0, ALLOW
    yield RETURN, 0, 0, REFUSE
