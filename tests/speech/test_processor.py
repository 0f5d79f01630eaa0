import os

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
