"""The seam of `app/speech/model.py`, shown by a second family that uses nothing but the seam."""

import asyncio
import json
from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from app.speech import families
from app.speech.engine import Engine, EngineConfig, check
from app.speech.model import (
    Abilities,
    Again,
    Answer,
    Device,
    DeviceChoice,
    LoadedModel,
    Model,
    NoSpeech,
    OnDisk,
    Prepared,
    Recognized,
    Samples,
    WindowRequest,
)
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
        self.batches: list[list[WindowRequest]] = []
        self.is_never_content = False

    def prepare(self, request: WindowRequest, read: Callable[[], Samples]) -> Prepared:
        return Prepared()

    def kind(self, request: WindowRequest) -> Hashable:
        return str(request.state)

    def recognize(self, batch: Sequence[tuple[WindowRequest, Samples]]) -> Sequence[Answer]:
        self.batches.append([request for request, _ in batch])
        return [self._answer(request, samples) for request, samples in batch]

    def _answer(self, request: WindowRequest, samples: Samples) -> Answer:
        seconds = round(len(samples) / 16_000)
        if not seconds:
            return NoSpeech()
        if request.state is None or self.is_never_content:
            return Again(
                WindowRequest(
                    request.options,
                    request.seconds,
                    request.language,
                    request.language_is_detected,
                    state="second look",
                )
            )
        return Recognized(" ".join(["tick"] * seconds), request.language)


@pytest.fixture(scope="module")
def metronome() -> Metronome:
    return Metronome()


class Polyglot(Metronome):
    """Knows two languages, and finds out only while it recognizes which one it hears."""

    languages = ("en", "de")

    def _answer(self, request: WindowRequest, samples: Samples) -> Answer:
        answer = super()._answer(request, samples)
        return replace(answer, language="de") if isinstance(answer, Recognized) else answer


@dataclass(frozen=True)
class Metronomes:
    """The family of these two models."""

    metronome: Metronome

    def serves(self, name: str) -> bool:
        return name in ("metronome", "polyglot")

    def abilities(self, name: str) -> Abilities:
        return Abilities(("en",) if name == "metronome" else ("en", "de"), translates=False)

    def check(self, name: str, choice: DeviceChoice) -> None:
        pass

    def load(self, name: str, models_dir: Path, choice: DeviceChoice) -> LoadedModel:
        return LoadedModel(self.metronome if name == "metronome" else Polyglot(), Device("cpu", (), 1, "", 4))

    def bundled(self) -> Sequence[str]:
        return ["metronome"]

    def downloaded(self, models_dir: Path) -> Sequence[str]:
        return []

    def locate(self, name: str, models_dir: Path) -> Path | None:
        return models_dir

    def examine(self, name: str, models_dir: Path) -> OnDisk | None:
        return OnDisk(Path(name), 0)

    def fetch(self, name: str, models_dir: Path) -> Path:
        return models_dir


@pytest.fixture(scope="module")
def engine(metronome: Metronome, models_dir: Path) -> Iterator[Engine]:
    """`base` and the second family, in one process."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(families, "FAMILIES", [Metronomes(metronome), *families.FAMILIES])
        config = EngineConfig(models=("base", "metronome", "polyglot"), models_dir=models_dir)
        check(config)
        engine = Engine(config)
        engine.load()
        assert families.abilities("metronome").languages == ("en",)
        assert families.bundled_models()[0] == "metronome"
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


async def test_a_language_that_a_model_finds_while_it_recognizes_is_that_of_the_channel(
    engine: Engine, record: Record
) -> None:
    transcript = await engine.transcribe([record(speech(FOX), silence(2))], Options("polyglot"), ignore)
    assert {segment.language for segment in transcript.segments} == {"de"}
    assert (transcript.language, transcript.channels[0].language) == ("de", "de")


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
    assert {request.options.model for batch in metronome.batches for request in batch} == {"metronome"}
    assert all(len({request.state for request in batch}) == 1 for batch in metronome.batches)
