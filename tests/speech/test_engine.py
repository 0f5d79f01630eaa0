"""The engine on real speech with the real `base`."""

import asyncio
import re
from collections.abc import Callable
from dataclasses import replace
from typing import Any
from unittest.mock import ANY

import pytest

from app.jobs.results import speakers_of
from app.speech.engine import Engine
from app.speech.model import ModelUnavailable
from app.speech.speakers.voices import VoiceModels, VoiceTurn
from app.speech.whisper.adapter import Whisper
from app.speech.whisper.encoded import Encoded
from app.speech.whisper.gates import Hypothesis
from app.transcripts.transcript import Channel, Options, Segment, Word
from testing.hearing import COUNTING, FEW, FOX, HELLO, Heard, error_rate, ignore, missed
from testing.recordings import SAMPLE_CALL, said, turns_of_the_sample_call
from testing.speech_samples import sample, samples
from tests.speech.conftest import (
    KnownVoices,
    Record,
    Samples,
    decoded,
    hold_music,
    noise,
    ringing,
    silence,
    speech,
    telephone,
)

# For each language the sample that is recognized most surely. The language of the Spanish pangram is nearly a guess.
SPOKEN = {"es": "conteo", "fr": "pangrama", "it": "pangrama", "pt": "pangrama"}


async def test_english_is_recognized(engine: Engine, record: Record) -> None:
    heard = Heard()

    transcript = await engine.transcribe([record(speech(FOX))], Options(model="base"), heard)

    assert error_rate(FOX.text, transcript.text) <= FEW
    assert transcript.language == "en"
    assert transcript.channels == (Channel(0, "speaker", "en", ANY, ANY),)
    assert {segment.words for segment in transcript.segments} == {None}
    assert heard.progress == [1.0]


async def test_recordings_in_many_languages_share_the_engine(engine: Engine, record: Record) -> None:
    spoken = [sample(language, name) for language, name in SPOKEN.items()]
    recordings = [record(speech(each)) for each in spoken]

    transcripts = await asyncio.gather(
        *(engine.transcribe([recording], Options(model="base"), ignore) for recording in recordings)
    )

    assert [transcript.language for transcript in transcripts] == list(SPOKEN)
    # The first sample counts, and the model writes the numbers as digits.
    for transcript, each in zip(transcripts[1:], spoken[1:], strict=True):
        assert missed(each.text, transcript.text) <= 0.5
    assert len(set("0123456789") & set(transcripts[0].text)) >= 5


async def test_times_are_measured_from_the_start_of_the_recording(engine: Engine, record: Record) -> None:
    recording = record(silence(3), speech(FOX), silence(40), speech(COUNTING), silence(2), speech(HELLO))
    options = Options(model="base", language="en", word_timestamps=True)

    transcript = await engine.transcribe([recording], options, ignore)

    assert [segment.id for segment in transcript.segments] == list(range(len(transcript.segments)))
    words = [word for segment in transcript.segments for word in segment.words or ()]
    assert_in_order(words, transcript.duration)
    for start, end in ((3, 5.6), (45.9, 48.6), (50.9, 51.6)):
        of_one = [word for word in words if start - 1 < word.start < end + 1]
        assert of_one[0].start == pytest.approx(start, abs=0.7)
        assert of_one[-1].end == pytest.approx(end, abs=0.7)
        words = [word for word in words if word not in of_one]
    assert words == []
    assert missed(FOX.text, " ".join(segment.text for segment in transcript.segments if segment.start < 20)) <= FEW


async def test_all_turns_of_a_call_longer_than_a_window_are_recognized(engine: Engine, record: Record) -> None:
    heard = Heard()
    options = Options(model="base", channels="split", channel_labels=("agent", "customer"))

    transcript = await engine.transcribe([record(channel) for channel in decoded(SAMPLE_CALL)], options, heard)

    assert error_rate(said(0, transcript.duration), transcript.text) <= FEW / 2
    assert transcript.text.count("149") <= 1  # two seconds of speech, written as one short word
    for turn in turns_of_the_sample_call():
        of_turn = [segment for segment in transcript.segments if turn["start"] - 1 < segment.start < turn["end"]]
        assert turn["speaker"] in {segment.speaker for segment in of_turn}
    assert len(heard.progress) > 1
    assert heard.progress == sorted(heard.progress)
    assert heard.progress[-1] == 1.0


async def test_a_recording_without_speech_has_no_text_and_no_language(engine: Engine, record: Record) -> None:
    transcript = await engine.transcribe([record(silence(20), noise(20))], Options(model="base"), ignore)

    assert transcript.segments == ()
    assert transcript.language is None
    assert transcript.channels == (Channel(0, "speaker", None, None, 0.0),)
    assert transcript.duration == 40.0


@pytest.mark.parametrize("sound", [silence, noise, ringing, hold_music])
async def test_sounds_without_speech_give_no_words(
    sound: Callable[[float], Samples], engine: Engine, record: Record
) -> None:
    channels = [record(sound(60)), record(telephone(sound(60)))]

    transcript = await engine.transcribe(channels, Options(model="base", channels="split"), ignore)

    assert transcript.text == ""
    assert [channel.language for channel in transcript.channels] == [None, None]


async def test_a_call_that_changes_its_language_is_recognized_in_both(engine: Engine, record: Record) -> None:
    english, spanish = ([speech(one) for one in samples(language)] for language in ("en", "es"))
    call = record(silence(1), *english, *english, *english, silence(1), *spanish, *spanish, *spanish)

    transcript = await engine.transcribe([call], Options(model="base"), ignore)

    assert {"en", "es"} <= {segment.language for segment in transcript.segments}
    assert missed(FOX.text, transcript.text) <= FEW
    assert missed(sample("es", "pangrama").text, transcript.text) <= 0.7  # a tongue-twister


async def test_an_empty_recording_gives_an_empty_transcript(engine: Engine, record: Record) -> None:
    transcript = await engine.transcribe([record(silence(0))], Options(model="base"), ignore)

    assert transcript.text == ""


async def test_a_translation_is_in_english_and_has_the_times_of_the_speech(engine: Engine, record: Record) -> None:
    recording = record(silence(4), *[speech(sample("fr", "bonjour_monde"))] * 3)

    transcript = await engine.transcribe([recording], Options(model="base", task="translate"), ignore)

    assert transcript.language == "fr"
    assert {"hello", "world"} & set(re.findall(r"\w+", transcript.text.casefold()))
    assert transcript.segments[0].start == pytest.approx(4, abs=0.7)


async def test_characters_are_timed_in_a_language_without_spaces(engine: Engine, record: Record) -> None:
    options = Options(model="base", word_timestamps=True)

    said_in_chinese = sample("zh", "pangrama")
    transcript = await engine.transcribe([record(speech(said_in_chinese))], options, ignore)

    words = [word for segment in transcript.segments for word in segment.words or ()]
    characters = {word.word for word in words}
    assert max(map(len, characters)) <= 2  # a character and its punctuation
    assert len(set(said_in_chinese.text) & set("".join(characters))) >= 5
    assert_in_order(words, transcript.duration)


async def test_an_echo_of_the_prompt_is_recognized_again_without_it(engine: Engine, record: Record) -> None:
    recording = record(speech(FOX))
    alone = await engine.transcribe([recording], Options(model="base"), ignore)

    transcript = await engine.transcribe([recording], Options(model="base", prompt=alone.text), ignore)

    assert error_rate(FOX.text, transcript.text) <= FEW
    assert [(warning.code, warning.channel) for warning in transcript.warnings] == [("window_redecoded", 0)]


async def test_a_prompt_and_hotwords_of_any_length_are_accepted(engine: Engine, record: Record) -> None:
    options = Options(model="base", prompt="The fox again. " * 300, hotwords=tuple(f"fox{n}" for n in range(300)))

    transcript = await engine.transcribe([record(speech(FOX))], options, ignore)

    assert missed(FOX.text, transcript.text) <= FEW


async def test_the_second_model_serves_english_only(engine: Engine, record: Record) -> None:
    transcript = await engine.transcribe([record(speech(FOX))], Options(model="tiny.en"), ignore)

    assert error_rate(FOX.text, transcript.text) <= FEW


async def test_speech_that_the_model_missed_is_recognized_in_the_end(
    engine: Engine, record: Record, monkeypatch: pytest.MonkeyPatch
) -> None:
    recognize = Whisper.recognize
    recording = record(decoded(SAMPLE_CALL)[0])
    options = Options(model="base", language="en", word_timestamps=True)
    whole = await engine.transcribe([recording], options, ignore)
    cut = list[str]()

    def stop_early(whisper: Whisper, encoded: Encoded, *args: Any) -> list[list[Hypothesis]]:
        found = recognize(whisper, encoded, *args)
        cut.extend(each.text for window in found for each in window if len(each.tokens) > 24)
        return [[replace(each, tokens=each.tokens[:24]) for each in window] for window in found]

    monkeypatch.setattr(Whisper, "recognize", stop_early)
    heard = Heard()

    transcript = await engine.transcribe([recording], options, heard)

    assert cut
    assert error_rate(whole.text, transcript.text) <= FEW / 2
    starts = [word.start for segment in transcript.segments for word in segment.words or ()]
    assert starts == sorted(starts)
    assert heard.progress == sorted(heard.progress)
    assert heard.progress[-1] == 1.0


def assert_in_order(words: list[Word] | tuple[Word, ...], duration: float) -> None:
    times = [time for word in words for time in (word.start, word.end)]
    assert times == sorted(times)
    assert times[0] >= 0
    assert times[-1] <= duration
    assert all(word.end > word.start for word in words)


async def test_two_voices_on_one_track_are_told_apart(
    engine: Engine, record: Record, monkeypatch: pytest.MonkeyPatch
) -> None:
    known = KnownVoices(VoiceTurn(0.0, 3.3, 0, 0.97), VoiceTurn(4.0, 7.5, 1, 0.9))
    monkeypatch.setattr(VoiceModels, "load", lambda: known)
    recording = record(speech(FOX), silence(1.5), speech(COUNTING))
    final: list[Segment] = []

    transcript = await engine.transcribe(
        [recording],
        Options(model="base", language="en", diarize=True, speakers=2),
        ignore,
        on_final=lambda text: final.extend(text.segments),
    )

    assert list(dict.fromkeys(each.speaker for each in transcript.segments)) == ["speaker_1", "speaker_2"]
    assert {each.speaker for each in transcript.segments if each.start < 3} == {"speaker_1"}
    assert known.asked == [(2, 2)]
    assert final == list(transcript.segments)
    assert transcript.warnings == ()
    assert speakers_of(transcript) == [
        {"label": "speaker_1", "speech_seconds": ANY},
        {"label": "speaker_2", "speech_seconds": ANY},
    ]


@pytest.mark.parametrize("error", [ModelUnavailable("not installed"), MemoryError(), RuntimeError("a fault")])
async def test_trouble_with_the_voices_costs_no_transcript(
    engine: Engine, record: Record, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def load() -> VoiceModels:
        raise error

    monkeypatch.setattr(VoiceModels, "load", load)

    transcript = await engine.transcribe([record(speech(FOX))], Options(model="base", diarize=True), ignore)

    assert error_rate(FOX.text, transcript.text) <= FEW
    assert {(each.speaker, each.speaker_confidence) for each in transcript.segments} == {(None, None)}
    assert [warning.code for warning in transcript.warnings] == ["speakers_unknown"]
