"""The adapter of the real `base`, without threads or queues."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from tokenizers import Tokenizer

from app.audio.pcm import SAMPLE_RATE, PcmFile
from app.process.places import Rank
from app.speech.call.assemble import Call
from app.speech.engine import Engine
from app.speech.model import DEFAULT_BEAM_SIZE, DeviceChoice, Samples
from app.speech.reader import ChannelScan
from app.speech.session import PendingWindow, Session
from app.speech.settling import recognize_batch
from app.speech.whisper import recognizing, weights
from app.speech.whisper.adapter import Encoded, Whisper
from app.speech.whisper.device import find_device
from app.speech.whisper.gates import Hypothesis, Try
from app.speech.whisper.recognizing import WhisperRecognizer
from app.speech.windows.levels import measure
from app.transcripts.transcript import Options
from testing.speech_samples import sample
from tests.speech.conftest import Record, speech

MORNING, QUESTION = " Good morning.", " How are you?"


@pytest.fixture(scope="session")
def model(engine: Engine, models_dir: Path) -> WhisperRecognizer:
    """The model that the engine has loaded."""
    assert engine.ready
    return recognizing.load(
        weights.fetch("base", models_dir), find_device(DeviceChoice("cpu", (), "auto")), DEFAULT_BEAM_SIZE
    )


def test_a_last_phrase_without_an_end_ends_with_the_window(model: WhisperRecognizer, models_dir: Path) -> None:
    tokenizer = Tokenizer.from_file(str(weights.fetch("base", models_dir) / "tokenizer.json"))
    last_before = tokenizer.token_to_id("<|notimestamps|>")
    assert last_before is not None
    first = last_before + 1
    morning, question = (tokenizer.encode(text, add_special_tokens=False).ids for text in (MORNING, QUESTION))
    written = (first, *morning, first + 75, first + 100, *question)

    phrases = model.whisper.phrases(Hypothesis(MORNING + QUESTION, written, -0.1, 0.0, 0.0), 6.4)

    assert [phrase.word for phrase in phrases] == [MORNING, QUESTION]
    assert [(phrase.start, phrase.end) for phrase in phrases] == [(0, 1.5), (2, pytest.approx(6.4))]


def test_windows_of_different_contexts_are_in_different_batches_at_first(
    model: WhisperRecognizer, record: Record
) -> None:
    talk = np.concatenate([speech(sample("en", "quick_brown_fox"))] * 8)
    short, as_short, long = (window_of(model, record(talk[: seconds * SAMPLE_RATE])) for seconds in (13, 12, 14))

    assert as_short.window.seconds < short.window.seconds <= 13 < long.window.seconds
    assert short.kind == as_short.kind
    assert short.kind != long.kind
    assert [[way.context_seconds for way in window.request.state.tries_left[:2]] for window in (short, long)] == [
        [15, 30],
        [20, 30],
    ]


def window_of(model: WhisperRecognizer, recording: PcmFile) -> PendingWindow:
    """The only window of a short recording, as the engine's threads prepare it."""
    options = Options(model="base", language="en")
    call = Call((recording,), options, measure([recording]), recording.duration_seconds)
    scan = ChannelScan(Session(model, call, Rank(), lambda progress: None), 0)
    found = list[PendingWindow]()
    while not scan.exhausted:
        found += scan.advance()
    [window] = found
    return window


def test_a_window_is_encoded_only_once_for_each_context(
    model: WhisperRecognizer, record: Record, monkeypatch: pytest.MonkeyPatch
) -> None:
    contexts = []
    encode = Whisper.encode

    def counted(whisper: Whisper, windows: Sequence[Samples], context_seconds: int) -> Encoded:
        contexts.append(context_seconds)
        return encode(whisper, windows, context_seconds)

    def loop(whisper: Whisper, encoded: Encoded, prompts: Sequence[list[int]], how: Try) -> list[Hypothesis]:
        return [Hypothesis("no " * 200, (1,) * 200, -0.1, 0.0, how.temperature) for _ in prompts]

    monkeypatch.setattr(Whisper, "encode", counted)
    monkeypatch.setattr(Whisper, "recognize", loop)
    batch = [window_of(model, record(speech(sample("en", "quick_brown_fox"))))]
    tries = 0
    while batch:
        batch = recognize_batch(batch)
        tries += 1

    assert tries == 7
    assert contexts == [15, 30]
