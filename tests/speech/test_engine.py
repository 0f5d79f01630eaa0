"""The engine on real speech with the real `base`."""

import asyncio
import json
import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from threading import Event
from unittest.mock import ANY

import numpy as np
import pytest
from jiwer import wer
from whisper_normalizer.english import EnglishTextNormalizer

from app.audio.pcm import SAMPLE_RATE, PcmFile
from app.errors import TranscriptionFailed
from app.speech import assembly, models, segments, whisper
from app.speech.batcher import EngineStopped
from app.speech.device import find_device
from app.speech.dialogue import turns
from app.speech.engine import Engine, EngineConfig
from app.speech.models import ModelUnavailable
from app.speech.quality import Decoded, Try
from app.speech.scan import SURE_SHARE
from app.speech.transcript import Channel, Options, Segment, Transcript, Word
from app.speech.whisper import Encoded, Whisper
from tests.speech.conftest import Record, Samples, decoded, hold_music, noise, ringing, silence, speech, telephone
from tests.speech_samples import sample, samples

FOX, COUNTING, HELLO = (sample("en", name) for name in ("quick_brown_fox", "counting", "hello_world"))
CALL = Path(__file__).parents[2] / "samples" / "sample_call.wav"
PANGRAMS = {"es": "feliz cardillo", "fr": "Portez ce vieux whisky", "it": "ci provoca danni", "pt": "sobre o cachorro"}
normalized = EnglishTextNormalizer()


@dataclass
class Heard:
    """What `on_progress` was told."""

    progress: list[float] = field(default_factory=list)
    any: asyncio.Event = field(default_factory=asyncio.Event)

    def __call__(self, progress: float) -> None:
        self.progress.append(progress)
        self.any.set()


def ignore(progress: float) -> None:
    pass


async def test_english_is_heard_word_for_word(engine: Engine, record: Record) -> None:
    heard = Heard()

    transcript = await engine.transcribe([record(speech(FOX))], Options(model="base"), heard)

    assert wer(normalized(FOX.text), normalized(transcript.text)) == 0
    assert transcript.language == "en"
    assert transcript.channels == (Channel(0, "speaker", "en", ANY, ANY),)
    assert [segment.words for segment in transcript.segments] == [None]
    assert heard.progress == [1.0]


async def test_recordings_in_many_languages_share_the_engine(engine: Engine, record: Record) -> None:
    recordings = [record(speech(sample(language, "pangrama"))) for language in PANGRAMS]

    transcripts = await asyncio.gather(
        *(engine.transcribe([recording], Options(model="base"), ignore) for recording in recordings)
    )

    assert [transcript.language for transcript in transcripts] == list(PANGRAMS)
    for transcript, words in zip(transcripts, PANGRAMS.values(), strict=True):
        assert words in transcript.text


async def test_times_are_those_of_the_recording(engine: Engine, record: Record) -> None:
    recording = record(silence(3), speech(FOX), silence(40), speech(COUNTING), silence(2), speech(HELLO))
    options = Options(model="base", language="en", word_timestamps=True)

    transcript = await engine.transcribe([recording], options, ignore)

    assert [segment.start for segment in transcript.segments] == pytest.approx([3, 45.9, 50.9], abs=0.4)
    assert [segment.end for segment in transcript.segments] == pytest.approx([5.6, 48.6, 51.6], abs=0.4)
    assert [segment.id for segment in transcript.segments] == [0, 1, 2]
    first = transcript.segments[0].words
    assert first
    assert [word.word for word in first] == [f" {word}" for word in FOX.text.split()]
    assert_in_order([word for segment in transcript.segments for word in segment.words or ()], transcript.duration)


async def test_a_call_longer_than_a_window_is_heard_turn_by_turn(engine: Engine, record: Record) -> None:
    heard = Heard()
    turns = json.loads(CALL.with_suffix(".json").read_text())["turns"]
    options = Options(model="base", channels="split", channel_labels=("agent", "customer"))

    transcript = await engine.transcribe([record(channel) for channel in decoded(CALL)], options, heard)

    assert wer(normalized(" ".join(turn["text"] for turn in turns)), normalized(transcript.text)) < 0.05
    for turn in turns:
        of_turn = [segment for segment in transcript.segments if turn["start"] - 1 < segment.start < turn["end"]]
        assert turn["speaker"] in {segment.speaker for segment in of_turn}
    assert len(heard.progress) > 1
    assert heard.progress == sorted(heard.progress)
    assert heard.progress[-1] == 1.0


async def test_each_channel_has_its_speaker_and_its_language(engine: Engine, record: Record) -> None:
    agent = record(speech(FOX), silence(8))
    customer = record(silence(5), speech(sample("pt", "pangrama")))
    options = Options(model="base", channels="split", channel_labels=("agent",))

    transcript = await engine.transcribe([agent, customer], options, ignore)

    assert [(channel.label, channel.language) for channel in transcript.channels] == [
        ("agent", "en"),
        ("channel_1", "pt"),
    ]
    assert [(segment.speaker, segment.language) for segment in transcript.segments] == [
        ("agent", "en"),
        ("channel_1", "pt"),
    ]
    assert transcript.duration == agent.duration_seconds


async def test_a_doubtful_word_is_taken_to_be_in_the_language_of_the_call(engine: Engine, record: Record) -> None:
    doubtful = speech(sample("pl", "witaj_swiecie"))
    alone = await engine.transcribe([record(doubtful)], Options(model="base", channels="split"), ignore)
    agent = record(speech(sample("es", "pangrama")), speech(sample("es", "conteo")))
    customer = record(silence(100), doubtful)

    together = await engine.transcribe([agent, customer], Options(model="base", channels="split"), ignore)

    assert alone.channels[0].language != "es"
    assert (alone.channels[0].language_probability or 1) < SURE_SHARE
    assert [channel.language for channel in together.channels] == ["es", "es"]


async def test_identical_channels_are_transcribed_once(engine: Engine, record: Record) -> None:
    channels = [record(speech(FOX)), record(0.5 * speech(FOX))]
    options = Options(model="base", channels="split", channel_labels=("agent", "customer"))

    transcript = await engine.transcribe(channels, options, ignore)

    assert normalized(transcript.text) == normalized(FOX.text)
    assert {(segment.channel, segment.speaker) for segment in transcript.segments} == {(0, "speaker")}
    assert [(channel.label, channel.language) for channel in transcript.channels] == [
        ("agent", "en"),
        ("customer", "en"),
    ]
    assert [(warning.code, warning.channel) for warning in transcript.warnings] == [("channels_identical", 1)]


async def test_bleed_is_taken_out_of_the_wrong_channel(engine: Engine, record: Record) -> None:
    agent = np.concatenate([speech(FOX), silence(6)])
    customer = np.concatenate([silence(len(agent) / SAMPLE_RATE - 4), speech(COUNTING), silence(4)])[: len(agent)]
    channels = [record(agent + 0.2 * customer), record(customer + 0.2 * agent)]
    options = Options(model="base", channels="split", channel_labels=("agent", "customer"), language="en")

    transcript = await engine.transcribe(channels, options, ignore)

    assert [turn.speaker for turn in turns(transcript.segments)] == ["agent", "customer"]
    assert normalized(transcript.segments[0].text) == normalized(FOX.text)
    assert {(warning.code, warning.channel) for warning in transcript.warnings} == {
        ("bleed_removed", 0),
        ("bleed_removed", 1),
    }
    assert (transcript.talk.overlaps, transcript.talk.interruptions) == (0, 0)


async def test_a_dead_channel_and_one_without_speech_are_told(engine: Engine, record: Record) -> None:
    channels = [record(speech(FOX)), record(silence(2)), record(ringing(2))]

    transcript = await engine.transcribe(channels, Options(model="base", channels="split"), ignore)

    assert [(warning.code, warning.channel) for warning in transcript.warnings] == [
        ("channel_silent", 1),
        ("no_speech", 2),
    ]


async def test_a_mono_recording_that_was_to_be_split_has_a_speaker_without_a_name(
    engine: Engine, record: Record
) -> None:
    options = Options(model="base", channels="split", channel_labels=("agent", "customer"))

    transcript = await engine.transcribe([record(speech(FOX))], options, ignore)

    assert {segment.speaker for segment in transcript.segments} == {"speaker"}
    assert [warning.code for warning in transcript.warnings] == ["mono_not_split"]


async def test_music_between_speech_is_a_hold(engine: Engine, record: Record) -> None:
    call = record(speech(FOX), hold_music(20), speech(COUNTING), silence(15), speech(HELLO))

    transcript = await engine.transcribe([call], Options(model="base", language="en"), ignore)

    assert [hold.kind for hold in transcript.talk.holds] == ["sound", "silence"]
    assert transcript.talk.holds[0].end - transcript.talk.holds[0].start == pytest.approx(20, abs=1.5)
    assert transcript.talk.overlaps is None


async def test_without_speech_there_is_no_text(engine: Engine, record: Record) -> None:
    transcript = await engine.transcribe([record(silence(20), noise(20))], Options(model="base"), ignore)

    assert transcript.segments == ()
    assert transcript.language is None
    assert transcript.channels == (Channel(0, "speaker", None, None, 0.0),)
    assert transcript.duration == 40.0


@pytest.mark.parametrize("sound", [silence, noise, ringing, hold_music])
async def test_what_is_no_speech_gives_no_word(
    sound: Callable[[float], Samples], engine: Engine, record: Record
) -> None:
    channels = [record(sound(60)), record(telephone(sound(60)))]

    transcript = await engine.transcribe(channels, Options(model="base", channels="split"), ignore)

    assert transcript.text == ""
    assert [channel.language for channel in transcript.channels] == [None, None]


async def test_a_call_that_changes_its_language_is_heard_in_both(engine: Engine, record: Record) -> None:
    english, spanish = ([speech(one) for one in samples(language)] for language in ("en", "es"))
    call = record(silence(1), *english, *english, *english, silence(1), *spanish, *spanish, *spanish)

    transcript = await engine.transcribe([call], Options(model="base"), ignore)

    assert {"en", "es"} <= {segment.language for segment in transcript.segments}
    assert "quick brown fox" in transcript.text
    assert "hola" in transcript.text.casefold()


async def test_an_empty_recording_is_no_error(engine: Engine, record: Record) -> None:
    transcript = await engine.transcribe([record(silence(0))], Options(model="base"), ignore)

    assert transcript.text == ""


async def test_a_translation_is_english_with_times_of_the_speech(engine: Engine, record: Record) -> None:
    recording = record(silence(4), speech(sample("fr", "bonjour_monde")))

    transcript = await engine.transcribe([recording], Options(model="base", task="translate"), ignore)

    assert transcript.language == "fr"
    assert "world" in transcript.text
    assert transcript.segments[0].start == pytest.approx(4, abs=0.5)


async def test_characters_are_timed_where_no_spaces_are_written(engine: Engine, record: Record) -> None:
    options = Options(model="base", word_timestamps=True)

    transcript = await engine.transcribe([record(speech(sample("zh", "pangrama")))], options, ignore)

    words = transcript.segments[0].words
    assert words
    assert words[0].word == "天"
    assert_in_order(words, transcript.duration)


async def test_an_echo_of_the_prompt_is_decoded_again_without_it(engine: Engine, record: Record) -> None:
    transcript = await engine.transcribe([record(speech(FOX))], Options(model="base", prompt=FOX.text), ignore)

    assert wer(normalized(FOX.text), normalized(transcript.text)) == 0
    assert [(warning.code, warning.channel) for warning in transcript.warnings] == [("window_redecoded", 0)]


async def test_prompt_and_hotwords_of_any_length_fit(engine: Engine, record: Record) -> None:
    options = Options(model="base", prompt="The fox again. " * 300, hotwords=tuple(f"fox{n}" for n in range(300)))

    transcript = await engine.transcribe([record(speech(FOX))], options, ignore)

    assert "fox" in transcript.text


async def test_the_second_model_serves_english_alone(engine: Engine, record: Record) -> None:
    transcript = await engine.transcribe([record(speech(FOX))], Options(model="tiny.en"), ignore)

    assert normalized(transcript.text) == normalized(FOX.text)


async def test_what_a_decoder_passes_over_is_heard_all_the_same(
    engine: Engine, record: Record, monkeypatch: pytest.MonkeyPatch
) -> None:
    decode = Whisper.decode
    recording = record(decoded(CALL)[0])
    options = Options(model="base", language="en", word_timestamps=True)
    whole = await engine.transcribe([recording], options, ignore)
    cut = list[str]()

    def stop_early(whisper: Whisper, encoded: Encoded, prompts: Sequence[list[int]], how: Try) -> list[Decoded]:
        found = decode(whisper, encoded, prompts, how)
        cut.extend(each.text for each in found if len(each.tokens) > 24)
        return [replace(each, tokens=each.tokens[:24]) for each in found]

    monkeypatch.setattr(Whisper, "decode", stop_early)
    heard = Heard()

    transcript = await engine.transcribe([recording], options, heard)

    assert cut
    assert wer(normalized(whole.text), normalized(transcript.text)) < 0.1
    starts = [word.start for segment in transcript.segments for word in segment.words or ()]
    assert starts == sorted(starts)
    assert heard.progress == sorted(heard.progress)
    assert heard.progress[-1] == 1.0


async def test_a_cancelled_recording_leaves_the_others_alone(engine: Engine, record: Record) -> None:
    long = record(*[speech(part) for part in (FOX, COUNTING, HELLO)] * 10)
    heard = Heard()
    cancelled = asyncio.create_task(engine.transcribe([long], Options(model="base"), heard))
    await heard.any.wait()
    cancelled.cancel()
    with pytest.raises(asyncio.CancelledError):
        await cancelled
    long.path.unlink()
    told = len(heard.progress)

    transcript = await engine.transcribe([record(speech(FOX))], Options(model="base"), ignore)

    assert normalized(transcript.text) == normalized(FOX.text)
    assert len(heard.progress) == told


async def test_a_recording_that_vanishes_fails_alone(engine: Engine, record: Record, tmp_path: Path) -> None:
    lost, found = await asyncio.gather(
        engine.transcribe([PcmFile(tmp_path / "none.pcm")], Options(model="base"), ignore),
        engine.transcribe([record(speech(FOX))], Options(model="base"), ignore),
        return_exceptions=True,
    )

    assert isinstance(lost, TranscriptionFailed)
    assert not isinstance(found, BaseException)


async def test_a_transcript_that_cannot_be_put_together_fails_alone(
    engine: Engine, record: Record, monkeypatch: pytest.MonkeyPatch
) -> None:
    def segments_of(
        heard: Iterable[segments.Heard], labels: Mapping[int, str], *, with_words: bool
    ) -> tuple[Segment, ...]:
        if "broken" in labels.values():
            raise ValueError(labels)
        return segments.segments_of(heard, labels, with_words=with_words)

    monkeypatch.setattr(assembly, "segments_of", segments_of)
    broken, whole = await asyncio.gather(
        *(
            engine.transcribe(
                [record(speech(FOX))], Options(model="base", language="en", channel_labels=(label,)), ignore
            )
            for label in ("broken", "whole")
        ),
        return_exceptions=True,
    )

    assert isinstance(broken, TranscriptionFailed)
    assert isinstance(whole, Transcript)
    assert normalized(whole.text) == normalized(FOX.text)


async def test_recordings_are_heard_while_a_transcript_is_put_together(
    engine: Engine, record: Record, monkeypatch: pytest.MonkeyPatch
) -> None:
    others_are_heard = Event()

    def segments_of(
        heard: Iterable[segments.Heard], labels: Mapping[int, str], *, with_words: bool
    ) -> tuple[Segment, ...]:
        if "first" in labels.values():
            assert others_are_heard.wait(120)
        return segments.segments_of(heard, labels, with_words=with_words)

    async def transcribe(label: str) -> Transcript:
        options = Options(model="base", language="en", channel_labels=(label,))
        return await engine.transcribe([record(speech(HELLO))], options, ignore)

    monkeypatch.setattr(assembly, "segments_of", segments_of)
    first = asyncio.create_task(transcribe("first"))
    await asyncio.gather(*(transcribe(f"other {number}") for number in range(3)))
    others_are_heard.set()

    assert (await first).segments[0].speaker == "first"


async def test_closing_ends_what_is_not_done(config: EngineConfig, record: Record) -> None:
    engine = Engine(config)
    assert not engine.ready
    engine.load()
    assert engine.ready
    waiting = asyncio.create_task(
        engine.transcribe(
            [record(*[speech(part) for part in (FOX, COUNTING, HELLO)] * 10)],
            Options(model="base", language="en"),
            ignore,
        )
    )
    await asyncio.sleep(0)

    await asyncio.to_thread(engine.close)

    with pytest.raises(EngineStopped):
        await waiting
    assert not engine.ready


@pytest.mark.parametrize(("speech_seconds", "context_seconds"), [(0.5, 15), (13, 15), (13.1, 20), (18, 20), (19, 20)])
def test_a_window_gets_the_shortest_context_that_ends_in_silence(
    engine: Engine, models_dir: Path, speech_seconds: float, context_seconds: int
) -> None:
    assert engine.ready
    base = whisper.load(models.fetch("base", models_dir), find_device("cpu", (), "auto"))
    assert base.context_seconds(speech_seconds) == context_seconds


def test_a_model_that_is_nowhere_stops_the_load(models_dir: Path) -> None:
    engine = Engine(EngineConfig(models=("no-such-model",), models_dir=models_dir))

    with pytest.raises(ModelUnavailable, match="no-such-model"):
        engine.load()


@pytest.mark.parametrize("change", [{"device": "cuda"}, {"compute_type": "int9"}])
def test_a_machine_that_cannot_run_it_is_told_in_one_line(config: EngineConfig, change: dict[str, str]) -> None:
    with pytest.raises(ModelUnavailable, match=r"cuda|int9") as raised:
        Engine(replace(config, **change)).load()  # type: ignore[arg-type]

    assert "\n" not in str(raised.value)


def test_a_folder_that_holds_no_model_is_told(config: EngineConfig, tmp_path: Path) -> None:
    (tmp_path / "model.bin").write_bytes(b"no weights")

    with pytest.raises(ModelUnavailable, match="cannot be loaded"):
        Engine(replace(config, models=(str(tmp_path),))).load()


@pytest.fixture
def english_only(models_dir: Path, tmp_path: Path) -> Callable[[str], EngineConfig]:
    """To serve `tiny.en` by a folder of another name."""

    def config(name: str) -> EngineConfig:
        (tmp_path / name).symlink_to(models.fetch("tiny.en", models_dir))
        return EngineConfig((str(tmp_path / name),), models_dir, device="cpu")

    return config


def test_an_english_only_model_that_is_not_named_so_is_told(english_only: Callable[[str], EngineConfig]) -> None:
    with pytest.raises(ModelUnavailable, match=r"ours' knows English only.* ends in \.en$"):
        Engine(english_only("ours")).load()


def test_an_english_only_model_that_is_named_so_is_loaded(
    english_only: Callable[[str], EngineConfig], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "app.speech")
    engine = Engine(english_only("ours.en"))

    engine.load()

    [told] = [record.getMessage() for record in caplog.records]
    assert "ours.en loaded on cpu as int8" in told
    assert engine.ready
    engine.close()


def assert_in_order(words: list[Word] | tuple[Word, ...], duration: float) -> None:
    times = [time for word in words for time in (word.start, word.end)]
    assert times == sorted(times)
    assert times[0] >= 0
    assert times[-1] <= duration
    assert all(word.end > word.start for word in words)
