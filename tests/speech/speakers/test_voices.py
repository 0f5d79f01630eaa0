"""The real models of voices, on the project's own call."""

import json
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import pytest

from app.audio.decode import decode
from app.audio.pcm import BYTES_PER_SAMPLE, SAMPLE_RATE, PcmFile
from app.speech.model import ModelUnavailable
from app.speech.speakers import networks
from app.speech.speakers.voices import VoiceModels, VoiceTurn, installed
from app.transcripts.transcript import Span
from testing.recordings import SAMPLE_CALL

CALL = json.loads(SAMPLE_CALL.with_suffix(".json").read_text())
RUNS = [Span(turn["start"], turn["end"]) for turn in CALL["turns"]]
CHANNELS = [turn["channel"] for turn in CALL["turns"]]


@pytest.fixture(scope="module")
def voices() -> VoiceModels:
    return VoiceModels.load()


@pytest.fixture
async def call(tmp_path: Path) -> PcmFile:
    """Both channels on one track."""
    [mixed] = (await decode(SAMPLE_CALL, tmp_path, split=False, max_seconds=100)).channels
    return mixed


def speaker_at(turns: Sequence[VoiceTurn], second: float) -> int | None:
    return next((turn.speaker for turn in turns if turn.start <= second < turn.end), None)


def test_the_models_are_installed_where_tests_run() -> None:
    assert installed()


def test_agent_and_customer_are_told_apart(voices: VoiceModels, call: PcmFile) -> None:
    turns = voices.separate(call, RUNS)

    said = [speaker_at(turns, (run.start + run.end) / 2) for run in RUNS if run.seconds > 1.5]
    assert said == [channel for channel, run in zip(CHANNELS, RUNS, strict=True) if run.seconds > 1.5]
    assert all(before.end <= after.start + 1e-6 for before, after in pairwise(turns))
    assert all(0.8 <= turn.confidence <= 1 for turn in turns if turn.speaker is not None)


@pytest.mark.parametrize("channel", [0, 1])
async def test_one_voice_is_one_speaker(voices: VoiceModels, tmp_path: Path, channel: int) -> None:
    channels = (await decode(SAMPLE_CALL, tmp_path, split=True, max_seconds=100)).channels
    own = [run for run, by in zip(RUNS, CHANNELS, strict=True) if by == channel]

    turns = voices.separate(channels[channel], own, most=4)

    assert {turn.speaker for turn in turns if turn.end - turn.start >= 0.6} == {0}


def test_the_number_of_speakers_can_be_given(voices: VoiceModels, call: PcmFile) -> None:
    turns = voices.separate(call, RUNS, exact=1)

    assert {turn.speaker for turn in turns if turn.end - turn.start >= 0.6} == {0}


def test_a_short_turn_has_no_name(voices: VoiceModels, call: PcmFile) -> None:
    turns = voices.separate(call, [Span(run.start, min(run.end, run.start + 0.15)) for run in RUNS])

    assert turns
    assert all(turn.speaker is None for turn in turns)


def test_without_speech_there_are_no_turns(voices: VoiceModels, tmp_path: Path) -> None:
    silence = PcmFile(tmp_path / "silence.pcm")
    silence.path.write_bytes(bytes(20 * SAMPLE_RATE * BYTES_PER_SAMPLE))

    assert voices.separate(silence, []) == []
    assert voices.separate(silence, [Span(2.0, 5.0)]) == []


def test_damaged_weights_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    damaged = networks.Network(networks.VOICE.graph, networks.VOICE.weights, "0" * 64)
    monkeypatch.setattr(networks, "VOICE", damaged)

    with pytest.raises(ModelUnavailable, match="are not their publisher's"):
        networks.load()


def test_without_the_package_the_models_are_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(networks, "PACKAGE", "no_such_package")
    monkeypatch.setattr(networks, "VOICE", networks.Network("voice.onnx", networks.VOICE.weights, ""))
    monkeypatch.setattr(networks, "TURNS", networks.Network("turns.onnx", networks.TURNS.weights, ""))

    assert not installed()
    with pytest.raises(ModelUnavailable, match="are not installed"):
        networks.load()
