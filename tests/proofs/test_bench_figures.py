"""What `make bench` computes from its runs: differences with their intervals, lone calls, and the wordless sounds."""

from pathlib import Path

import numpy as np
import pytest

from proofs.bench.bootstrap import difference, differences
from proofs.bench.calls import Call, Piece
from proofs.bench.compose import CLEAN, NOISY
from proofs.bench.lone import lone_rows
from proofs.bench.measure import Run
from proofs.bench.results import Entry, Measured, rows
from proofs.bench.scoring import Errors, Heard, error_rate, errors
from proofs.bench.sounds import SOUNDS, wordless
from proofs.bench.table import table
from proofs.bench.work import CORES

SAID = "one two three four five six seven eight nine ten"


def call(number: int, condition: str = CLEAN, language: str = "fr") -> Call:
    return Call(Path(f"{number}.wav"), 1, 10.0, condition, language, (SAID,))


def heard(calls: list[Call], texts: list[str]) -> Heard:
    return {each.path.name: [Piece(0, 0.0, text)] for each, text in zip(calls, texts, strict=True)}


def run(texts: Heard, latencies: list[float], wall: float = 10.0, cpu: float = 5.0) -> Run:
    return Run(wall, cpu, 100.0, latencies, texts)


def test_errors_are_counted_for_each_call_and_divided_by_all_words() -> None:
    calls = [call(0), call(1)]
    texts = heard(calls, [SAID, "one two three four five six seven eight nine"])
    assert [errors(each, texts) for each in calls] == [Errors(0, 10), Errors(1, 10)]
    assert error_rate(calls, texts) == 0.05
    assert error_rate([], texts) is None


def test_a_difference_in_every_call_is_certain_and_one_that_cancels_out_is_not() -> None:
    calls = [call(number) for number in range(20)]
    right, worse = heard(calls, [SAID] * 20), heard(calls, [f"{SAID} more"] * 20)
    certain = difference("all", calls, ("ours", worse), ("a", right))
    assert certain is not None
    assert (certain.first_rate, certain.second_rate) == pytest.approx((0.1, 0.0))
    assert (certain.lowest, certain.highest) == pytest.approx((0.1, 0.1))

    one, other = ([SAID, f"{SAID} more"] * 10), ([f"{SAID} more", SAID] * 10)
    doubtful = difference("all", calls, ("ours", heard(calls, one)), ("a", heard(calls, other)))
    assert doubtful is not None
    assert doubtful.lowest < 0 < doubtful.highest


def test_differences_are_given_by_condition_and_without_languages_that_the_model_hardly_knows() -> None:
    calls = [call(0), call(1, NOISY), call(2, NOISY, "hi")]
    texts = heard(calls, [SAID] * 3)
    found = {each.condition: each.calls for each in differences(calls, ("c", texts), ("a", texts))}
    known = "languages that base knows"
    assert found == {"all": 3, CLEAN: 1, NOISY: 2, f"all, {known}": 2, f"{CLEAN}, {known}": 1, f"{NOISY}, {known}": 1}


def test_a_lone_call_waits_in_a_only_for_itself() -> None:
    calls = [call(0, "10 s"), call(1, "10 s"), call(2, "10 s"), call(3, "60 s")]
    [short, long] = lone_rows(calls, run({}, [2.0, 5.0, 9.0, 15.0]), run({}, [1.0, 1.0, 1.0, 2.0]))
    assert (short.length, short.calls, short.theirs, short.ours, short.ratio) == ("10 s", 3, 3.0, 1.0, 3.0)
    assert (long.length, long.calls, long.ratio) == ("60 s", 1, 3.0)


def test_rows_hold_ratios_idle_cores_and_invented_words() -> None:
    calls, sounds = [call(0)], [Call(Path("hum.wav"), 1, 60.0, "wordless", texts=("",))]
    texts = heard(calls, [SAID])
    of_sounds = run({"hum.wav": [Piece(0, 1.0, " Thank you.")]}, [1.0])
    speeds = {"a": 10.0, "c": 2.0, "e": 1.0}
    measured = [
        Measured(Entry(letter, letter, letter), run(texts, [wall], wall, wall * CORES / 2), of_sounds)
        for letter, wall in speeds.items()
    ]
    _, ours, _ = rows(measured, calls, sounds)
    assert (ours.ratio, ours.of_limit, ours.of_engine, ours.idle_share) == pytest.approx((5.0, 0.5, 1.0, 0.5))
    assert (ours.words_per_hour, ours.invented) == (120.0, {"hum": "Thank you."})
    head, _, *lines = [[cell.strip() for cell in line.strip("|").split("|")] for line in table([ours]).splitlines()]
    shown = dict(zip(head, *lines, strict=True))
    assert [shown[name] for name in ("÷ (a)", "÷ (e)", "÷ (c)", "idle")] == ["5.00", "0.50", "1.00", "50%"]


def test_eighteen_sounds_without_words_are_the_same_each_time_and_all_but_silence_are_loud(tmp_path: Path) -> None:
    (tmp_path / "again").mkdir()
    first, again = wordless(tmp_path, 2.0), wordless(tmp_path / "again", 2.0)
    assert len(first) == len(SOUNDS) == 18
    assert [each.path.read_bytes() for each in first] == [each.path.read_bytes() for each in again]
    loud = {
        each.path.stem for each in first if len(np.unique(np.frombuffer(each.path.read_bytes()[100:], np.uint8))) > 4
    }
    assert loud == SOUNDS.keys() - {"silence"}
