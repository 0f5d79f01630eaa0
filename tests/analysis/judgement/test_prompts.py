"""The prompts are files with a version, and an operator may replace them."""

from pathlib import Path

import pytest

from app.analysis.judgement import prompts

WRONG = {
    "judje.txt": ("x", "is no prompt"),
    "judge.txt": ("no placeholder", r"\$transcript is missing"),
    "system.txt": ("costs 5$", "must be written as"),
    "reduce.txt": ("$notes $summary", r"\$summary is no placeholder"),
}


def test_a_file_of_the_operator_replaces_one_prompt_and_changes_the_version(tmp_path: Path) -> None:
    own = prompts.load()
    assert prompts.load().version == own.version
    assert prompts.load(tmp_path).version == own.version
    (tmp_path / "system.txt").write_text("Judge for 5$$ in $language.")
    changed = prompts.load(tmp_path)
    assert changed.version != own.version
    assert changed.filled("system", language="$notes") == "Judge for 5$ in $notes."
    assert changed.texts["judge"] == own.texts["judge"]


@pytest.mark.parametrize("name", WRONG)
def test_a_prompt_that_cannot_be_used_is_refused(tmp_path: Path, name: str) -> None:
    text, message = WRONG[name]
    (tmp_path / name).write_text(text)
    with pytest.raises(ValueError, match=message):
        prompts.load(tmp_path)


def test_a_folder_that_does_not_exist_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="does not exist"):
        prompts.load(tmp_path / "nowhere")
