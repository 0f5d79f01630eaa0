import os
import subprocess
import sys

import pytest

from app.speech.processor import AVX512, INSTRUCTIONS, best_instructions, chosen_instructions

SERVER = AVX512 | {"sse2", "avx2"}


def test_avx512_is_used_where_it_is() -> None:
    assert best_instructions({}, SERVER) == {INSTRUCTIONS: "AVX512"}
    assert best_instructions({}, SERVER - {"avx512bw"}) == {}


def test_what_the_user_chose_stays() -> None:
    assert best_instructions({INSTRUCTIONS: "AVX2"}, SERVER) == {}


def test_no_child_inherits_what_was_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(INSTRUCTIONS, raising=False)
    before = dict(os.environ)

    with chosen_instructions():
        assert set(os.environ) - set(before) <= {INSTRUCTIONS}

    assert dict(os.environ) == before


def test_products_take_no_threads_that_a_fork_would_wait_for() -> None:
    """OpenBLAS ends its threads at a fork: while another thread multiplies, that never ends."""
    product = "numpy.ones((999, 999)) @ numpy.ones((999, 999))"
    program = f"import app.cli, numpy, os; {product}; print(os.listdir('/proc/self/task'))"
    threads = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout
    assert threads.count(",") == 0
