"""The text that the engine reports while it works, on real speech with the real `base`."""

import logging
from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import chain
from math import inf
from typing import Any

import numpy as np
import pytest

from app.audio.pcm import SAMPLE_RATE
from app.speech import reports
from app.speech.call.final_text import FinalText, FinalTextFinder
from app.speech.engine import Engine
from app.speech.whisper.adapter import Whisper
from app.speech.whisper.encoded import Encoded
from app.speech.whisper.gates import Hypothesis
from app.transcripts.transcript import Options, Segment
from testing.hearing import COUNTING, FOX, HELLO, ignore
from testing.recordings import SAMPLE_CALL
from tests.speech.conftest import Record, decoded, silence, speech


@pytest.fixture(autouse=True)
def _often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reports, "PAUSE_SECONDS", 0.0)


def segments_of(reported: Sequence[FinalText]) -> tuple[Segment, ...]:
    return tuple(chain.from_iterable(text.segments for text in reported))


def assert_in_order(reported: Sequence[FinalText]) -> None:
    """The first text comes before the end, and each report begins where the one before has ended."""
    assert len(reported) > 1
    assert reported[-1].until == inf
    since = 0.0
    for text in reported:
        assert text.until > since
        assert all(since <= segment.start < text.until for segment in text.segments)
        since = text.until


def stop_early(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Makes the model miss the end of each long window. Returns the texts that are cut."""
    recognize, cut = Whisper.recognize, list[str]()

    def recognize_less(whisper: Whisper, encoded: Encoded, *args: Any) -> list[list[Hypothesis]]:
        found = recognize(whisper, encoded, *args)
        cut.extend(each.text for window in found for each in window if len(each.tokens) > 24)
        return [[replace(each, tokens=each.tokens[:24]) for each in window] for window in found]

    monkeypatch.setattr(Whisper, "recognize", recognize_less)
    return cut


@pytest.mark.parametrize("misses_speech", [False, True])
async def test_the_text_of_one_channel_is_reported_exactly_as_it_is_in_the_transcript(
    engine: Engine, record: Record, monkeypatch: pytest.MonkeyPatch, misses_speech: bool
) -> None:
    cut = stop_early(monkeypatch) if misses_speech else []
    reported: list[FinalText] = []
    recording = record(decoded(SAMPLE_CALL)[0])

    transcript = await engine.transcribe([recording], Options("base", language="en"), ignore, on_final=reported.append)

    assert bool(cut) == misses_speech
    assert segments_of(reported) == transcript.segments
    assert_in_order(reported)


async def test_an_echo_is_taken_out_of_the_text_before_it_is_reported(engine: Engine, record: Record) -> None:
    parts = [speech(FOX), silence(3), speech(HELLO), silence(3), speech(COUNTING), silence(3)] * 6
    agent = np.concatenate([*parts, silence(3)])
    own = np.concatenate([silence(4), speech(HELLO)])
    customer = 0.1 * agent + np.concatenate([silence(len(agent) / SAMPLE_RATE - 6), own, silence(20)])[: len(agent)]
    options = Options(model="base", channels="split", channel_labels=("agent", "customer"), language="en")
    reported: list[FinalText] = []

    transcript = await engine.transcribe([record(agent), record(customer)], options, ignore, on_final=reported.append)

    assert [warning.code for warning in transcript.warnings if warning.channel == 1] == ["bleed_removed"]
    early = [segment for text in reported[:-1] for segment in text.segments]
    assert {segment.speaker for segment in early} == {"agent"}
    assert [(each.speaker, each.start, each.text) for each in segments_of(reported)] == [
        (each.speaker, each.start, each.text) for each in transcript.segments
    ]
    assert_in_order(reported)


async def test_a_fault_in_the_reports_is_logged_and_does_not_fail_the_recording(
    engine: Engine, record: Record, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def break_down(finder: FinalTextFinder, *given: Any) -> None:
        raise ValueError("broken")

    monkeypatch.setattr(FinalTextFinder, "take", break_down)
    caplog.set_level(logging.ERROR, "app.speech")
    reported: list[FinalText] = []
    recording = record(silence(1), speech(FOX))

    transcript = await engine.transcribe([recording], Options(model="base"), ignore, on_final=reported.append)

    assert [each.message for each in caplog.records] == ["speech.report_failed"]
    assert segments_of(reported) == transcript.segments


async def test_a_recording_whose_text_is_not_reported_keeps_no_frontier(
    engine: Engine, record: Record, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*given: Any, **named: Any) -> Callable[[], None]:
        raise AssertionError("made without being asked for")

    monkeypatch.setattr(reports, "Frontier", refuse)
    monkeypatch.setattr(reports, "FinalTextFinder", refuse)
    transcript = await engine.transcribe([record(speech(HELLO))], Options(model="base", language="en"), ignore)
    assert transcript.segments
