"""The seam of `app/speech/model.py`, shown by a second family that uses nothing but the seam."""

import asyncio
import json
from collections.abc import Callable, Hashable, Iterator, Sequence
from pathlib import Path

import pytest

from app.speech import families
from app.speech.engine import Engine, EngineConfig
from app.speech.model import Again, Answer, Ask, Model, NoSpeech, Prepared, Recognized, Samples
from app.speech.settling import AskedTooOften
from app.transcripts.formats import Format, render
from app.transcripts.transcript import Options
from testing.hearing import FEW, FOX, HELLO, error_rate, ignore
from tests.speech.conftest import Record, silence, speech


class Metronome:
    """Recognizes a word in each second of speech. It answers only when it gets a window for the second time."""

    window_seconds = 10
    languages: Sequence[str] = ("en",)

    def __init__(self) -> None:
        self.batches: list[list[Ask]] = []
        self.is_never_content = False

    def prepare(self, ask: Ask, read: Callable[[], Samples]) -> Prepared:
        return Prepared()

    def kind(self, ask: Ask) -> Hashable:
        return str(ask.state)

    def recognize(self, batch: Sequence[tuple[Ask, Samples]]) -> Sequence[Answer]:
        self.batches.append([ask for ask, _ in batch])
        return [self._answer(ask, samples) for ask, samples in batch]

    def _answer(self, ask: Ask, samples: Samples) -> Answer:
        seconds = round(len(samples) / 16_000)
        if not seconds:
            return NoSpeech()
        if ask.state is None or self.is_never_content:
            return Again(Ask(ask.options, ask.seconds, ask.language, ask.language_is_detected, state="second look"))
        return Recognized(" ".join(["tick"] * seconds), ask.language)


@pytest.fixture(scope="module")
def metronome() -> Metronome:
    return Metronome()


@pytest.fixture(scope="module")
def engine(metronome: Metronome, models_dir: Path) -> Iterator[Engine]:
    """`base` and the second family, in one process."""
    load = families.load
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(families, "require_known", lambda name: None)
        patch.setattr(families, "load", lambda name, *rest: metronome if name == "metronome" else load(name, *rest))
        engine = Engine(EngineConfig(models=("base", "metronome"), models_dir=models_dir))
        engine.load()
    yield engine
    engine.close()


async def test_a_second_family_produces_a_transcript_without_scores(
    engine: Engine, metronome: Metronome, record: Record
) -> None:
    call = record(silence(2), speech(FOX), silence(8), speech(FOX), silence(2))
    model: Model = metronome

    transcript = await engine.transcribe([call], Options("metronome", word_timestamps=True), ignore)

    assert model.window_seconds == 10
    assert set(transcript.text.split()) == {"tick"}
    assert len(transcript.text.split()) == pytest.approx(2 * 3, abs=2)
    assert transcript.segments[0].start == pytest.approx(2, abs=1)
    assert transcript.segments[-1].end == pytest.approx(15, abs=1.5)
    assert (transcript.language, transcript.warnings) == ("en", ())
    shown = json.loads(render(transcript, "id", Format.JSON))["segments"]
    scores = ("temperature", "avg_logprob", "compression_ratio", "no_speech_prob")
    assert {segment[score] for segment in shown for score in scores} == {None}
    assert {word["probability"] for segment in shown for word in segment["words"]} == {None}


async def test_a_model_that_asks_for_a_window_again_and_again_fails_its_job(
    engine: Engine, metronome: Metronome, record: Record, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(metronome, "is_never_content", True)
    with pytest.raises(AskedTooOften):
        await engine.transcribe([record(speech(FOX))], Options("metronome"), ignore)


async def test_two_families_in_one_process_never_share_a_batch(
    engine: Engine, metronome: Metronome, record: Record
) -> None:
    metronome.batches.clear()
    asked = [
        (said, Options(model, language="en")) for said in (FOX, HELLO, FOX, HELLO) for model in ("base", "metronome")
    ]

    transcripts = await asyncio.gather(
        *(engine.transcribe([record(speech(said))], options, ignore) for said, options in asked)
    )

    for (said, options), transcript in zip(asked, transcripts, strict=True):
        assert (error_rate(said.text, transcript.text) <= FEW) == (options.model == "base")
    assert {ask.options.model for batch in metronome.batches for ask in batch} == {"metronome"}
    assert all(len({ask.state for ask in batch}) == 1 for batch in metronome.batches)
