import subprocess
import sys
from pathlib import Path

import pytest

from app.process.memory import ARENAS
from testing.service import environment


def test_matrix_products_start_no_threads() -> None:
    """OpenBLAS ends its threads when the process forks. This hangs if another thread multiplies at that time."""
    product = "numpy.ones((999, 999)) @ numpy.ones((999, 999))"
    program = f"import app.cli.commands, numpy, os; {product}; print(os.listdir('/proc/self/task'))"
    threads = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout
    assert threads.count(",") == 0


THREADS = """
import ctypes, os, sys, threading
from app.api import app
from app.cli import commands, serving, transcribing
async def allocate_in_threads(*_, **__):
    together = threading.Barrier(12)
    def allocate():
        kept = bytearray(10_000)
        together.wait()
    threads = [threading.Thread(target=allocate) for _ in range(12)]
    for thread in threads: thread.start()
    for thread in threads: thread.join()
    libc = ctypes.CDLL(None)
    libc.malloc_info(0, ctypes.c_void_p.in_dll(libc, "stdout"))
    libc.fflush(None)
    return True
app.serve = serving._work = transcribing._transcribe = allocate_in_threads
commands.main()
"""


def arenas(folder: Path, *command: str, **chosen: str) -> int:
    """The number of memory arenas after twelve threads have allocated where the command would begin its work."""
    ran = subprocess.run(
        [sys.executable, "-c", THREADS, *command],
        env=environment(folder) | chosen,
        capture_output=True,
        text=True,
        check=False,
    )
    found = ran.stdout.count("<heap nr=")
    assert found, ran.stderr
    return found


@pytest.mark.parametrize("command", [("serve", "--port", "0"), ("worker",), ("transcribe", __file__)])
def test_threads_share_a_limited_number_of_memory_arenas(command: tuple[str, ...], tmp_path: Path) -> None:
    assert arenas(tmp_path, *command) <= ARENAS


@pytest.mark.parametrize("chosen", [{"MALLOC_ARENA_MAX": "5"}, {"GLIBC_TUNABLES": "glibc.malloc.arena_max=5"}])
def test_the_number_of_arenas_that_the_user_chose_is_kept(chosen: dict[str, str], tmp_path: Path) -> None:
    assert arenas(tmp_path, "worker", **chosen) == 5
