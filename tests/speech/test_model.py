"""The seam of `app/speech/model.py`, shown by a second family that uses nothing but the seam."""

import asyncio
import json
from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import fmean

import pytest

from app.speech import families
from app.speech.endpoints import Endpoint
from app.speech.engine import Engine, EngineConfig, check
from app.speech.model import (
    Abilities,
    Again,
    Answer,
    Device,
    DeviceChoice,
    Ears,
    LoadedModel,
    Model,
    ModelAway,
    NoSpeech,
    OnDisk,
    Prepared,
    Recognized,
    Samples,
    TextRequest,
    WindowRequest,
    Written,
)
from app.speech.settling import AskedTooOften
from app.speech.speakers.voices import VoiceModels, VoiceTurn
from app.speech.timed_text import TimedText
from app.transcripts.formats import Format, render
from app.transcripts.transcript import Options, Transcript, WarningCode
from testing.hearing import FEW, FOX, HELLO, error_rate, ignore
from tests.speech.conftest import KnownVoices, Record, silence, speech


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
        return Abilities("metronome", ("en",) if name == "metronome" else ("en", "de"), translates=False)

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
        assert config.families.abilities("metronome").languages == ("en",)
        assert config.families.bundled()[0] == "metronome"
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


class Scribe:
    """Writes what it is ordered to write, whatever it hears. With several languages, Whisper detects them."""

    window_seconds = 28
    languages: Sequence[str] = ("en", "de")

    def __init__(self, *texts: Written | Exception) -> None:
        self._texts = list(texts)
        self.asked: list[TextRequest] = []

    def write(self, batch: Sequence[tuple[TextRequest, Samples]]) -> Sequence[Written]:
        self.asked += [request for request, _ in batch]
        texts = [self._texts.pop(0) if len(self._texts) > 1 else self._texts[0] for _ in batch]
        if isinstance(texts[0], Exception):
            raise texts[0]
        return [text for text in texts if isinstance(text, Written)]


FOX_TEXT = "The quick brown fox jumps over a lazy dog."
SIGNS = "".join(chr(0x12000 + number) for number in range(150))  # cuneiform, of which each sign is many tokens


@pytest.fixture(scope="module")
def ears(models_dir: Path) -> Ears:
    return families.WHISPER.ears(["base"], models_dir, DeviceChoice())


def test_models_that_only_write_share_their_ears(models_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = []
    make = families.WHISPER.ears

    def counted(served: Sequence[str], models_dir: Path, choice: DeviceChoice) -> Ears:
        made.append(make(served, models_dir, choice))
        return made[-1]

    monkeypatch.setattr(families.WHISPER, "ears", counted)
    names = ["one", "other"]
    remote = families.Families([Endpoint(name, "http://127.0.0.1:9/v1", "m") for name in names])
    loaded = remote.load([*names, "base"], models_dir, DeviceChoice())
    for each in loaded.values():
        each.close()

    assert list(loaded) == [*names, "base"]
    assert [isinstance(each.model, TimedText) for each in loaded.values()] == [True, True, False]
    assert len(made) == 1


async def written(ears: Ears, record: Record, scribe: Scribe, options: Options) -> Transcript:
    engine = Engine(EngineConfig(models=("scribe",), models_dir=Path()))
    device = Device("remote", (), 2, "remote", 1)
    with pytest.MonkeyPatch.context() as patch:
        loaded = {"scribe": LoadedModel(TimedText(scribe, ears), device)}
        patch.setattr(families.Families, "load", lambda *_: loaded)
        engine.load()
    try:
        return await engine.transcribe([record(silence(2), speech(FOX), silence(2))], options, ignore)
    finally:
        engine.close()


async def test_words_of_a_text_without_times_get_those_of_their_sound(
    engine: Engine, ears: Ears, record: Record
) -> None:
    own = await engine.transcribe(
        [record(silence(2), speech(FOX), silence(2))], Options("base", word_timestamps=True), ignore
    )
    scribe = Scribe(Written(FOX_TEXT))
    asked = Options("scribe", word_timestamps=True, prompt="A fable", hotwords=("fox",))
    transcript = await written(ears, record, scribe, asked)

    assert transcript.text == FOX_TEXT
    assert (transcript.language, transcript.warnings) == ("en", ())
    assert scribe.asked == [TextRequest("en", "A fable", ("fox",))]
    words, same = ([word for segment in each.segments for word in segment.words or ()] for each in (transcript, own))
    for word, own_word in zip(words, same, strict=True):
        assert word.start == pytest.approx(own_word.start, abs=0.1)
    assert fmean(word.probability or 0.0 for word in words) > 0.5


async def test_what_cannot_be_read_is_left_out(ears: Ears, record: Record) -> None:
    text = "language English<asr_text>" + FOX_TEXT.replace(" brown", "\x00 \ud800br\u202eown\n") + "<|endoftext|>"
    assert (await written(ears, record, Scribe(Written(text)), Options("scribe"))).text == FOX_TEXT


@pytest.mark.parametrize("broken", ["the " * 40, "A fable of a fox", ""])
async def test_a_text_that_cannot_be_believed_is_asked_for_again_without_the_prompt(
    ears: Ears, record: Record, broken: str
) -> None:
    scribe = Scribe(Written(broken), Written(FOX_TEXT))
    transcript = await written(ears, record, scribe, Options("scribe", language="en", prompt="A fable of a fox"))

    assert transcript.text == FOX_TEXT
    assert scribe.asked == [TextRequest("en", "A fable of a fox"), TextRequest("en", attempt=1)]
    assert [warning.code for warning in transcript.warnings] == [WarningCode.WINDOW_REDECODED]


async def test_a_text_that_is_a_loop_twice_is_dropped_with_a_warning(ears: Ears, record: Record) -> None:
    transcript = await written(ears, record, Scribe(Written("thank you " * 30)), Options("scribe"))
    assert transcript.text == ""
    assert WarningCode.WINDOW_DROPPED in [warning.code for warning in transcript.warnings]


@pytest.mark.parametrize(("long", "codes"), [(1.0, [WarningCode.WINDOW_DROPPED]), (60.0, [])])
async def test_a_long_window_without_a_text_gets_a_warning(
    ears: Ears, record: Record, monkeypatch: pytest.MonkeyPatch, long: float, codes: list[WarningCode]
) -> None:
    monkeypatch.setattr("app.speech.timed_text.LONG_SECONDS", long)
    transcript = await written(ears, record, Scribe(Written("")), Options("scribe", language="en"))
    assert (transcript.text, [warning.code for warning in transcript.warnings]) == ("", codes)


async def test_a_text_that_whisper_cannot_find_in_the_sound_is_kept_with_a_warning(ears: Ears, record: Record) -> None:
    transcript = await written(ears, record, Scribe(Written(SIGNS)), Options("scribe", language="en"))
    assert transcript.text == SIGNS
    assert [warning.code for warning in transcript.warnings] == [WarningCode.WINDOW_REDECODED]


@pytest.mark.parametrize(("text", "speakers"), [(FOX_TEXT, {"speaker_1", "speaker_2"}), (SIGNS, {None})])
async def test_a_text_without_times_is_of_nobody_if_several_voices_may_have_said_it(
    ears: Ears, record: Record, monkeypatch: pytest.MonkeyPatch, text: str, speakers: set[str | None]
) -> None:
    voices = KnownVoices(VoiceTurn(2.0, 3.5, 0, 1.0), VoiceTurn(3.5, 5.5, 1, 1.0))
    monkeypatch.setattr(VoiceModels, "load", lambda: voices)
    transcript = await written(ears, record, Scribe(Written(text)), Options("scribe", language="en", diarize=True))
    assert {segment.speaker for segment in transcript.segments} == speakers


async def test_a_text_in_another_language_than_was_spoken_is_kept_with_a_warning(ears: Ears, record: Record) -> None:
    german = Written("Der schnelle braune Fuchs springt über den faulen Hund.")
    transcript = await written(ears, record, Scribe(german), Options("scribe", language="en"))
    assert transcript.text == german.text
    assert [warning.code for warning in transcript.warnings] == [WarningCode.WINDOW_REDECODED]


@pytest.mark.parametrize(
    ("options", "language"),
    [
        (Options("scribe"), "de"),
        (Options("scribe", language="en"), "en"),
        (Options("scribe", languages=("en", "fr")), "en"),
    ],
)
async def test_a_language_that_a_model_names_counts_if_the_client_left_it_open(
    ears: Ears, record: Record, options: Options, language: str
) -> None:
    transcript = await written(ears, record, Scribe(Written(FOX_TEXT, "de")), options)
    assert transcript.segments[0].language == language


async def test_a_model_that_is_away_ends_the_job_with_its_reason(ears: Ears, record: Record) -> None:
    with pytest.raises(ModelAway, match="no answer"):
        await written(ears, record, Scribe(ModelAway("no answer")), Options("scribe"))
