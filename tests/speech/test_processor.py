import os
import subprocess
import sys

import pytest

from app.speech.processor import ARENAS, AVX512, INSTRUCTIONS, best_instructions, chosen_instructions

SERVER = AVX512 | {"sse2", "avx2"}


def test_avx512_is_used_where_it_is() -> None:
    assert best_instructions({}, SERVER) == {INSTRUCTIONS: "AVX512"}
    assert best_instructions({}, SERVER - {"avx512bw"}) == {}


def test_what_the_user_chose_stays() -> None:
    assert best_instructions({INSTRUCTIONS: "AVX2"}, SERVER) == {}


def test_no_child_inherits_what_was_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("app.speech.processor._flags", lambda: SERVER)
    monkeypatch.delenv(INSTRUCTIONS, raising=False)
    before = dict(os.environ)

    with chosen_instructions():
        assert dict(os.environ) == before | {INSTRUCTIONS: "AVX512"}

    assert dict(os.environ) == before


def test_products_take_no_threads_that_a_fork_would_wait_for() -> None:
    """OpenBLAS ends its threads at a fork: while another thread multiplies, that never ends."""
    product = "numpy.ones((999, 999)) @ numpy.ones((999, 999))"
    program = f"import app.cli, numpy, os; {product}; print(os.listdir('/proc/self/task'))"
    threads = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout
    assert threads.count(",") == 0


def test_threads_share_what_they_have_freed() -> None:
    program = """
import ctypes, threading
from app.speech.processor import ARENAS, share_memory
share_memory()
together = threading.Barrier(4 * ARENAS)
def allocate():
    kept = bytearray(10_000)
    together.wait()
threads = [threading.Thread(target=allocate) for _ in range(4 * ARENAS)]
for thread in threads: thread.start()
for thread in threads: thread.join()
libc = ctypes.CDLL(None)
libc.malloc_info(0, ctypes.c_void_p.in_dll(libc, "stdout"))
libc.fflush(None)
"""
    told = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout
    assert 1 <= told.count("<heap nr=") <= ARENAS
