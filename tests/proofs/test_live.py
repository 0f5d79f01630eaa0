"""Runs small forms of the proof of live calls, and shows that delays are measured as they are.

It checks no speeds, because these need a quiet machine.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from proofs.chaos.figures import Figure
from proofs.live.accuracy import accuracy
from proofs.live.calls import Played, Recording, Told
from proofs.live.faults import an_hour, faults, killed
from proofs.live.speed import many_calls, one_call
from proofs.live.timing import Spoken, delays
from testing.recordings import SAMPLE_CALL

SPEEDS = ("p50", "p95", "worse by")


def told(at: float, kind: str, text: str, utterance: int = 0, channel: int = 0, end: float = 0.0) -> Told:
    event: dict[str, Any] = {"type": kind, "channel": channel, "utterance": utterance, "text": text, "end": end}
    return Told(at, event)


def said(*words: str, start: float = 1.0, channel: int = 0) -> list[Spoken]:
    """Each word takes half a second."""
    return [Spoken(channel, start + place / 2, start + (place + 1) / 2, word) for place, word in enumerate(words)]


def test_a_word_is_shown_by_the_first_text_that_has_it() -> None:
    played = Played(
        [
            told(2.0, "partial", "Good"),
            told(3.0, "partial", "Good morning, sir."),
            told(4.0, "transcript", "Good morning, Sarah.", end=2.75),
        ]
    )
    found = delays(played, said("good", "morning", "sarah"))
    assert found.first_partials == [1.0]
    assert found.words == [0.5, 1.0, 1.5]
    assert found.finals == [1.25]
    assert found.missing == 0


def test_words_that_the_live_text_lacks_are_counted_and_channels_stay_apart() -> None:
    played = Played(
        [
            told(3.0, "transcript", "Hello there."),
            told(3.5, "transcript", "", utterance=1),
            told(5.0, "transcript", "Yes.", utterance=1, channel=1),
        ]
    )
    found = delays(played, [*said("hello", "my", "friend"), *said("yes", start=4.0, channel=1)])
    assert found.words == [1.5, 0.5]
    assert found.missing == 2
    assert found.first_partials == []
    assert found.without_partials == 2


def test_the_sound_of_a_file_is_played_as_it_stands_there() -> None:
    sample = Recording.read(SAMPLE_CALL)
    assert sample.start == {"type": "start", "encoding": "mulaw", "sample_rate": 8000, "channels": 2}
    assert sample.seconds == pytest.approx(57.67, abs=0.01)
    assert len(sample.first(1.5).raw) == 24_000


@pytest.mark.slow
@pytest.mark.timeout(300)
async def test_each_fault_ends_clearly_and_loses_no_sound(workspace: Path) -> None:
    assert broken(await faults(workspace / "live-faults", seconds=3.0, slow_seconds=0.5)) == []


@pytest.mark.slow
@pytest.mark.timeout(300)
async def test_the_next_process_makes_the_transcription_of_a_killed_one(workspace: Path) -> None:
    assert broken(await killed(workspace / "live-kill", seconds=4.0)) == []


@pytest.mark.slow
@pytest.mark.timeout(300)
async def test_a_long_call_needs_no_more_memory(workspace: Path) -> None:
    assert broken(await an_hour(workspace / "live-hour", seconds=120.0)) == []


@pytest.mark.slow
@pytest.mark.timeout(300)
async def test_the_delays_of_one_call_are_measured(workspace: Path) -> None:
    figures = await one_call(workspace / "live-delays", seconds=8.0, language="en")
    assert broken(figures) == []
    assert all(figure.value for figure in figures if "p50" in figure.what or "p95" in figure.what)


@pytest.mark.slow
@pytest.mark.timeout(300)
async def test_calls_at_the_same_time_lose_no_sound_and_jobs_go_on(workspace: Path) -> None:
    assert broken(await many_calls(workspace / "live-load", calls=2, jobs=2, seconds=15.0)) == []


@pytest.mark.slow
@pytest.mark.timeout(300)
async def test_a_call_becomes_the_transcript_of_its_file(workspace: Path) -> None:
    assert broken(await accuracy(workspace / "live-accuracy", calls=1, shortest=8.0, longest=10.0)) == []


def broken(figures: Sequence[Figure]) -> list[str]:
    """Returns the figures that are not as promised, except speeds and rates of errors."""
    return [str(figure) for figure in figures if not figure.kept and not any(word in figure.what for word in SPEEDS)]
