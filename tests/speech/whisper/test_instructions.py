import os

import pytest

from app.speech.whisper.instructions import AVX512, INSTRUCTIONS, best_instructions, chosen_instructions

SERVER = AVX512 | {"sse2", "avx2"}


def test_avx512_is_used_if_the_processor_has_it() -> None:
    assert best_instructions({}, SERVER) == {INSTRUCTIONS: "AVX512"}
    assert best_instructions({}, SERVER - {"avx512bw"}) == {}


def test_the_instructions_that_the_user_chose_are_kept() -> None:
    assert best_instructions({INSTRUCTIONS: "AVX2"}, SERVER) == {}


def test_a_child_process_does_not_inherit_the_chosen_instructions(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("app.speech.whisper.instructions._flags", lambda: SERVER)
    monkeypatch.delenv(INSTRUCTIONS, raising=False)
    before = dict(os.environ)

    with chosen_instructions():
        assert dict(os.environ) == before | {INSTRUCTIONS: "AVX512"}

    assert dict(os.environ) == before
