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
from app.speech.model import DEFAULT_BEAM_SIZE, Again, DeviceChoice, NoSpeech, Samples
from app.speech.reader import ChannelScan, read_window
from app.speech.session import PendingWindow, Session
from app.speech.settling import Work, recognize_batch
from app.speech.whisper import recognizing, weights
from app.speech.whisper.adapter import Utterance, Whisper
from app.speech.whisper.device import find_device
from app.speech.whisper.encoded import Encoded
from app.speech.whisper.gates import Hypothesis, Try, most_tokens
from app.speech.whisper.recognizing import WhisperRecognizer
from app.speech.windows.levels import measure
from app.transcripts.transcript import Options, TranscriptWarning, WarningCode
from testing.speech_samples import Sample, sample, samples
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


def test_characters_that_are_not_shown_are_no_part_of_the_text(model: WhisperRecognizer) -> None:
    tokens = model.whisper.tokens("Good\u202e mor\u2060ning", "en")
    assert tokens is not None
    [phrase] = model.whisper.phrases(Hypothesis("", tokens, -0.1, 0.0, 0.0), 2.0)
    assert phrase.word == " Good morning"
    encoded = model.whisper.encode([speech(sample("en", "quick_brown_fox"))], 15)
    words = model.whisper.align(encoded, {0: Utterance("en", tokens, 2.0)})[0]
    assert "".join(word.word for word in words) == " Good morning"


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

    def loop(
        whisper: Whisper, encoded: Encoded, prompts: Sequence[list[int]], most_tokens: Sequence[int], how: Try
    ) -> list[list[Hypothesis]]:
        looping = [Hypothesis("no " * 200, (1,) * 200, -0.1, 0.0, temperature) for temperature in how.temperatures]
        return [looping for _ in prompts]

    monkeypatch.setattr(Whisper, "encode", counted)
    monkeypatch.setattr(Whisper, "recognize", loop)
    batch: list[Work] = [window_of(model, record(speech(sample("en", "quick_brown_fox"))))]
    tries = 0
    while batch:
        batch = recognize_batch(batch)
        tries += 1

    assert tries == 3
    assert contexts == [15, 30]


@pytest.mark.parametrize("temperatures", [(0.0,), (0.4, 0.8)])
@pytest.mark.parametrize("prompt", ["", "Callscribe, Green Garden Store, a call about a garden table. " * 9])
def test_no_text_gets_longer_than_the_longest_bound_of_its_batch(
    model: WhisperRecognizer, temperatures: tuple[float, ...], prompt: str
) -> None:
    """Windows of one batch share the longest bound, but a text that reaches the bound of its own window is cut."""
    whisper = model.whisper
    encoded = whisper.encode([speech(sample("en", "quick_brown_fox"))] * 2, 15)
    prompts = [whisper.prompt("en", "transcribe", prompt, ())] * 2

    first, second = whisper.recognize(encoded, prompts, [3, 5], Try(15, temperatures, prompted=bool(prompt)))

    assert [each.temperature for each in first] == list(temperatures)
    assert all(len(each.tokens) == 5 and each.cut for each in (*first, *second))


def test_a_text_that_ends_before_its_bound_is_not_cut(model: WhisperRecognizer) -> None:
    whisper = model.whisper
    encoded = whisper.encode([speech(sample("en", "quick_brown_fox"))], 15)

    [[heard]] = whisper.recognize(encoded, [whisper.prompt("en", "transcribe", "", ())], [60], Try(15, (0.0,), False))

    assert not heard.cut
    assert 5 < len(heard.tokens) < 60


def test_a_window_that_is_cut_is_recognized_again_and_its_text_is_not_kept(
    model: WhisperRecognizer, record: Record, monkeypatch: pytest.MonkeyPatch
) -> None:
    window = window_of(model, record(speech(sample("en", "quick_brown_fox"))))
    monkeypatch.setattr(recognizing, "most_tokens", lambda seconds, tokens_per_character: 3)

    request, tries = window.request, 0
    samples = read_window(window.job.call.channels[0], window.window)
    while isinstance(answer := model.recognize([(request, samples)])[0], Again):
        request, tries = answer.request, tries + 1

    assert tries == 2
    assert answer == NoSpeech(
        TranscriptWarning(WarningCode.WINDOW_DROPPED, "Nothing that could be believed was heard here")
    )


@pytest.mark.parametrize("each", samples(), ids=lambda each: f"{each.language}-{each.path.stem}")
def test_ordinary_speech_stays_far_below_its_bound(model: WhisperRecognizer, each: Sample) -> None:
    tokens = model.whisper.prompt(each.language, "transcribe", each.text, ())
    seconds = len(speech(each)) / SAMPLE_RATE

    assert len(tokens) < 0.8 * most_tokens(seconds, model.whisper.tokens_per_character(each.language))


def test_languages_of_other_scripts_get_more_tokens_for_a_letter(model: WhisperRecognizer) -> None:
    per_character = model.whisper.tokens_per_character

    assert per_character("en") == per_character("de") == 0.45
    assert 0.7 < per_character("hi") < 1.2
    assert 2 < per_character("ka") < 3
