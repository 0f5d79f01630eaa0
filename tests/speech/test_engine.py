"""The engine on real speech with the real `base`."""

import asyncio
import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from unittest.mock import ANY

import pytest
from jiwer import wer

from app.speech.engine import Engine
from app.speech.quality import Decoded, Try
from app.speech.transcript import Channel, Options, Word
from app.speech.whisper import Encoded, Whisper
from tests.recordings import SAMPLE_CALL
from tests.speech.conftest import Record, Samples, decoded, hold_music, noise, ringing, silence, speech, telephone
from tests.speech.hearing import COUNTING, FOX, HELLO, Heard, ignore, normalized
from tests.speech_samples import sample, samples

PANGRAMS = {"es": "feliz cardillo", "fr": "Portez ce vieux whisky", "it": "ci provoca danni", "pt": "sobre o cachorro"}


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
    turns = json.loads(SAMPLE_CALL.with_suffix(".json").read_text())["turns"]
    options = Options(model="base", channels="split", channel_labels=("agent", "customer"))

    transcript = await engine.transcribe([record(channel) for channel in decoded(SAMPLE_CALL)], options, heard)

    assert wer(normalized(" ".join(turn["text"] for turn in turns)), normalized(transcript.text)) < 0.05
    assert transcript.text.count("149") == 1  # it is said for two seconds, and written as one short word
    for turn in turns:
        of_turn = [segment for segment in transcript.segments if turn["start"] - 1 < segment.start < turn["end"]]
        assert turn["speaker"] in {segment.speaker for segment in of_turn}
    assert len(heard.progress) > 1
    assert heard.progress == sorted(heard.progress)
    assert heard.progress[-1] == 1.0


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
    recording = record(decoded(SAMPLE_CALL)[0])
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


def assert_in_order(words: list[Word] | tuple[Word, ...], duration: float) -> None:
    times = [time for word in words for time in (word.start, word.end)]
    assert times == sorted(times)
    assert times[0] >= 0
    assert times[-1] <= duration
    assert all(word.end > word.start for word in words)
