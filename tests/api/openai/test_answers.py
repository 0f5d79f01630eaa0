"""The bodies are what OpenAI's own models require, and hold what the transcript says."""

import json
from dataclasses import replace
from itertools import product
from typing import Any

import pytest
import srt  # type: ignore[import-untyped]
from openai._models import construct_type
from openai.types.audio import (
    Transcription,
    TranscriptionDiarized,
    TranscriptionStreamEvent,
    TranscriptionTextDeltaEvent,
    TranscriptionTextDoneEvent,
    TranscriptionTextSegmentEvent,
    TranscriptionVerbose,
    Translation,
    TranslationVerbose,
)
from pydantic import BaseModel
from webvtt import WebVTT

from app.api.openai.answers import (
    ResponseFormat,
    Wanted,
    delta_event,
    dialogue_text,
    done_event,
    render,
    segment_event,
    usage,
)
from app.transcripts.transcript import Channel, Segment, Task, Transcript, Word
from testing.recordings import call
from testing.service import Service

AGENT, CUSTOMER = Channel(0, "Agent", "en", 0.98, 4.0), Channel(1, "Customer", "es", 0.7, 2.5)
ALONE = Channel(0, "speaker", "en", 0.98, 4.0)


def said(start: float, end: float, text: str, channel: Channel = ALONE, *, words: bool = False) -> Segment:
    spoken = text.split()
    step = (end - start) / len(spoken)
    timed = tuple(Word(start + step * at, start + step * (at + 1), f" {word}", 0.9) for at, word in enumerate(spoken))
    language = channel.language or "en"
    scores = (0.2, -0.23456, 1.23456, 0.00004)
    return Segment(0, channel.index, channel.label, start, end, text, language, *scores, timed if words else None)


def transcript(*segments: Segment, channels: tuple[Channel, ...] = (ALONE,)) -> Transcript:
    numbered = tuple(replace(segment, id=number) for number, segment in enumerate(segments))
    return Transcript(channels[0].language, 0.98, 8.4700003, channels, numbered)


MONO = transcript(said(0.50049, 2, "Anna here.", words=True), said(2.5, 4, "One moment.", words=True))
CALL = transcript(
    said(0.5, 2, "Anna here.", AGENT),
    said(2, 2.5, "Yes?", AGENT),
    said(2.75, 3, "Hola, Anna.", CUSTOMER),
    said(7.5, 8, "Bye.", AGENT),
    channels=(AGENT, CUSTOMER),
)
CHINESE = transcript(
    replace(said(0.5, 2, "你好", words=True), language="zh"),
    replace(said(2, 3, "再见。", words=True), language="zh"),
    channels=(Channel(0, "speaker", "zh", 0.9, 2.5),),
)
SILENT = Transcript(None, None, 3.0, (replace(ALONE, language=None),), ())
EMPTY = Transcript(None, None, 0.0, (replace(ALONE, language=None),), ())
SCORELESS = transcript(
    replace(said(0, 1, "Hi."), temperature=None, avg_logprob=None, compression_ratio=None, no_speech_prob=None)
)
ALL = {
    "mono": MONO, "call": CALL, "chinese": CHINESE, "silent": SILENT, "empty": EMPTY, "scoreless": SCORELESS,
}  # fmt: skip

MODELS: dict[tuple[Task, ResponseFormat], type[BaseModel]] = {
    ("transcribe", ResponseFormat.JSON): Transcription,
    ("transcribe", ResponseFormat.VERBOSE_JSON): TranscriptionVerbose,
    ("transcribe", ResponseFormat.DIARIZED_JSON): TranscriptionDiarized,
    ("translate", ResponseFormat.JSON): Translation,
    ("translate", ResponseFormat.VERBOSE_JSON): TranslationVerbose,
}


def body(transcript: Transcript, **wanted: Any) -> dict[str, Any]:
    return dict(json.loads(render(transcript, Wanted(**wanted))))


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize(("task", "form"), MODELS)
def test_every_body_is_valid_for_the_strict_model_of_openais_client(
    name: str, task: Task, form: ResponseFormat
) -> None:
    for words, segments, named in product((True, False), repeat=3):
        wanted = Wanted(form, task, words=words, segments=segments, named=named)
        MODELS[task, form].model_validate_json(render(ALL[name], wanted), strict=True)


SCORES = {"temperature": 0.2, "avg_logprob": -0.2346, "compression_ratio": 1.2346, "no_speech_prob": 0.0}


def test_json_has_the_text_the_usage_the_languages_and_segments_that_join_to_the_text() -> None:
    mono = body(MONO)
    assert mono == {
        "text": "Anna here. One moment.",
        "usage": {"type": "duration", "seconds": 9},
        "languages": [{"code": "en"}],
        "segments": [
            {"id": 0, "seek": 50, "start": 0.5, "end": 2, "text": " Anna here.", "tokens": [], **SCORES},
            {"id": 1, "seek": 250, "start": 2.5, "end": 4, "text": " One moment.", "tokens": [], **SCORES},
        ],
    }
    for spoken in (mono, body(CALL), body(CHINESE)):
        assert "".join(segment["text"] for segment in spoken["segments"]).strip() == spoken["text"]


def test_json_of_a_dialogue_names_the_speaker_of_each_segment() -> None:
    named, letters = body(CALL, named=True), body(CALL)
    assert [segment["speaker"] for segment in named["segments"]] == ["Agent", "Agent", "Customer", "Agent"]
    assert [segment["speaker"] for segment in letters["segments"]] == ["A", "A", "B", "A"]
    verbose = body(CALL, format=ResponseFormat.VERBOSE_JSON)
    assert letters["segments"][2] == {**verbose["segments"][2], "speaker": "B"}
    assert letters["languages"] == [{"code": "en"}, {"code": "es"}]


def test_verbose_json_is_written_as_whisper_writes_it() -> None:
    assert body(MONO, format=ResponseFormat.VERBOSE_JSON) == {
        "task": "transcribe",
        "language": "english",
        "duration": 8.47,
        "text": "Anna here. One moment.",
        "segments": [
            {"id": 0, "seek": 50, "start": 0.5, "end": 2, "text": " Anna here.", "tokens": [], **SCORES},
            {"id": 1, "seek": 250, "start": 2.5, "end": 4, "text": " One moment.", "tokens": [], **SCORES},
        ],
        "usage": {"type": "duration", "seconds": 9},
    }


def test_verbose_json_has_words_and_segments_as_they_are_wanted() -> None:
    only_words = body(MONO, format=ResponseFormat.VERBOSE_JSON, words=True, segments=False)
    assert "segments" not in only_words
    assert only_words["words"] == [
        {"word": "Anna", "start": 0.5, "end": 1.25},
        {"word": "here.", "start": 1.25, "end": 2},
        {"word": "One", "start": 2.5, "end": 3.25},
        {"word": "moment.", "start": 3.25, "end": 4},
    ]
    both = body(MONO, format=ResponseFormat.VERBOSE_JSON, words=True)
    assert (len(both["segments"]), both["words"]) == (2, only_words["words"])
    assert all("words" not in segment for segment in both["segments"])


def test_words_of_several_channels_are_in_the_order_of_time() -> None:
    crossing = transcript(
        said(0, 4, "One two three four", AGENT, words=True),
        said(0.5, 2.5, "uno dos", CUSTOMER, words=True),
        channels=(AGENT, CUSTOMER),
    )
    words = body(crossing, format=ResponseFormat.VERBOSE_JSON, words=True)["words"]
    assert [word["word"] for word in words] == ["One", "uno", "two", "dos", "three", "four"]


def test_text_without_spaces_gets_none() -> None:
    verbose = body(CHINESE, format=ResponseFormat.VERBOSE_JSON)
    assert (verbose["language"], verbose["text"]) == ("chinese", "你好再见。")
    assert [segment["text"] for segment in verbose["segments"]] == ["你好", "再见。"]
    assert "你好" in render(CHINESE, Wanted()), "no escapes, so that a person can read the body"


def test_a_score_that_the_model_does_not_measure_is_a_number() -> None:
    (segment,) = body(SCORELESS, format=ResponseFormat.VERBOSE_JSON)["segments"]
    names = ("temperature", "avg_logprob", "compression_ratio", "no_speech_prob")
    assert [segment[name] for name in names] == [0.0, 0.0, 0.0, 0.0]


def test_a_translation_is_in_english_whatever_was_spoken() -> None:
    for spoken in (CHINESE, SILENT):
        translated = body(spoken, format=ResponseFormat.VERBOSE_JSON, task="translate")
        assert (translated["task"], translated["language"]) == ("translate", "english")
    assert body(CHINESE, task="translate")["languages"] == [{"code": "zh"}]


def test_diarized_json_has_a_text_line_for_each_turn_and_names_its_speakers() -> None:
    named = body(CALL, format=ResponseFormat.DIARIZED_JSON, named=True)
    assert named == {
        "task": "transcribe",
        "duration": 8.47,
        "text": "Agent: Anna here. Yes?\nCustomer: Hola, Anna.\nAgent: Bye.",
        "segments": [
            {"type": "transcript.text.segment", "id": number, "start": start, "end": end, "text": text, "speaker": name}
            for number, start, end, text, name in [
                ("seg_001", 0.5, 2, "Anna here.", "Agent"),
                ("seg_002", 2, 2.5, "Yes?", "Agent"),
                ("seg_003", 2.75, 3, "Hola, Anna.", "Customer"),
                ("seg_004", 7.5, 8, "Bye.", "Agent"),
            ]
        ],
        "usage": {"type": "duration", "seconds": 9},
    }
    letters = body(CALL, format=ResponseFormat.DIARIZED_JSON)
    assert letters["text"] == "A: Anna here. Yes?\nB: Hola, Anna.\nA: Bye."
    assert [segment["speaker"] for segment in letters["segments"]] == ["A", "A", "B", "A"]


def test_voices_of_one_track_are_letters_and_never_get_the_names_of_channels() -> None:
    one, two, nobody = (
        replace(said(start, start + 1, text, AGENT), speaker=speaker, speaker_confidence=0.9 if speaker else None)
        for start, text, speaker in [(0, "Hi.", "Agent_1"), (1, "Hello.", "Agent_2"), (2, "Hm.", None)]
    )
    mono = transcript(one, two, nobody, channels=(AGENT,))
    for named in (False, True):
        diarized = body(mono, format=ResponseFormat.DIARIZED_JSON, named=named)
        assert diarized["text"] == "A: Hi.\nB: Hello.\nUnknown: Hm."
        plain = body(mono, format=ResponseFormat.JSON, named=named)
        for answer in (diarized, plain):
            assert [segment["speaker"] for segment in answer["segments"]] == ["A", "B", "Unknown"]


def test_a_speaker_without_a_name_is_a_letter_beside_speakers_with_names() -> None:
    nameless = replace(CUSTOMER, label="channel_1")
    half = transcript(said(0, 1, "Hi.", AGENT), said(1, 2, "Hola.", nameless), channels=(AGENT, nameless))
    assert dialogue_text(half, named=True) == "Agent: Hi.\nB: Hola."
    assert segment_event(half.segments[1], 2, named=True)["speaker"] == "B"


def test_a_name_with_a_line_break_begins_no_new_text_line() -> None:
    renamed = transcript(said(0, 1, "Hi\nthere.", replace(ALONE, label="An\nna")))
    assert dialogue_text(renamed, named=True) == "An na: Hi there."


def test_plain_text_is_the_whole_text() -> None:
    assert render(MONO, Wanted(ResponseFormat.TEXT)) == "Anna here. One moment.\n"
    assert render(CALL, Wanted(ResponseFormat.TEXT)) == "Anna here. Yes? Hola, Anna. Bye.\n"
    assert render(CALL, Wanted(ResponseFormat.TEXT)).strip() == body(CALL)["text"]


def test_subtitles_of_a_call_name_its_speakers() -> None:
    def texts(form: ResponseFormat, spoken: Transcript, *, named: bool) -> list[str]:
        rendered = render(spoken, Wanted(form, named=named))
        if form is ResponseFormat.SRT:
            return [subtitle.content for subtitle in srt.parse(rendered)]
        return [caption.raw_text for caption in WebVTT.from_string(rendered).captions]

    assert texts(ResponseFormat.SRT, CALL, named=True)[0].startswith("Agent: Anna here.")
    assert texts(ResponseFormat.SRT, CALL, named=False)[0].startswith("A: Anna here.")
    assert texts(ResponseFormat.VTT, CALL, named=True)[0].startswith("<v Agent>Anna here.")
    assert texts(ResponseFormat.VTT, CALL, named=False)[0].startswith("<v A>Anna here.")
    assert texts(ResponseFormat.SRT, MONO, named=False)[0].startswith("Anna here.")


def test_a_recording_without_speech_has_valid_bodies_without_text() -> None:
    nothing = {"text": "", "usage": {"type": "duration", "seconds": 3}, "languages": [], "segments": []}
    assert body(SILENT) == nothing
    verbose = body(SILENT, format=ResponseFormat.VERBOSE_JSON, words=True)
    assert (verbose["text"], verbose["language"], verbose["segments"], verbose["words"]) == ("", "unknown", [], [])
    diarized = body(SILENT, format=ResponseFormat.DIARIZED_JSON)
    assert (diarized["text"], diarized["segments"]) == ("", [])
    assert render(SILENT, Wanted(ResponseFormat.TEXT)).strip() == ""
    assert render(SILENT, Wanted(ResponseFormat.SRT)) == ""
    assert render(SILENT, Wanted(ResponseFormat.VTT)) == "WEBVTT\n"


def test_used_seconds_are_whole_and_rounded_up() -> None:
    assert [usage(seconds)["seconds"] for seconds in (0.0, 0.01, 3.0, 8.47)] == [0, 1, 3, 9]
    assert all(isinstance(usage(seconds)["seconds"], int) for seconds in (0.0, 8.47))


def test_media_types_are_those_of_openai() -> None:
    assert {form.value: form.media_type for form in ResponseFormat} == {
        "json": "application/json",
        "verbose_json": "application/json",
        "diarized_json": "application/json",
        "text": "text/plain; charset=utf-8",
        "srt": "text/plain; charset=utf-8",
        "vtt": "text/vtt; charset=utf-8",
    }


def test_the_events_of_a_stream_are_those_of_openai() -> None:
    delta = delta_event("Anna")
    segment = segment_event(CALL.segments[2], 3, named=False)
    done = done_event(CALL, Wanted())
    TranscriptionTextDeltaEvent.model_validate(delta, strict=True)
    TranscriptionTextSegmentEvent.model_validate(segment, strict=True)
    # OpenAI's model has only usage in tokens here, because its model that is paid by duration does not stream.
    TranscriptionTextDoneEvent.model_validate({**done, "usage": None}, strict=True)
    read = [construct_type(type_=TranscriptionStreamEvent, value=event) for event in (delta, segment, done)]
    kinds = (TranscriptionTextDeltaEvent, TranscriptionTextSegmentEvent, TranscriptionTextDoneEvent)
    assert [type(event) for event in read] == list(kinds)
    assert delta == {"type": "transcript.text.delta", "delta": "Anna"}


def test_the_segments_of_a_stream_are_those_of_the_whole_body() -> None:
    for named in (True, False):
        streamed = [segment_event(segment, number, named=named) for number, segment in enumerate(CALL.segments, 1)]
        assert streamed == body(CALL, format=ResponseFormat.DIARIZED_JSON, named=named)["segments"]


def test_the_last_event_has_the_text_of_the_whole_body() -> None:
    for form, named in product((ResponseFormat.JSON, ResponseFormat.DIARIZED_JSON), (True, False)):
        whole = body(CALL, format=form, named=named)
        assert done_event(CALL, Wanted(form, named=named)) == {
            "type": "transcript.text.done",
            "text": whole["text"],
            "languages": [{"code": "en"}, {"code": "es"}],
            "usage": whole["usage"],
        }


@pytest.mark.parametrize("form", [ResponseFormat.VERBOSE_JSON, ResponseFormat.DIARIZED_JSON])
def test_what_the_running_service_answers_is_valid_for_the_strict_models_too(
    service: Service, form: ResponseFormat
) -> None:
    """The Python client itself does not validate, so it would show nothing of a missing field."""
    asked = {"response_format": form, "timestamp_granularities[]": ["word", "segment"]}
    files = {"file": ("call.wav", call(0, 6))}
    answer = service.client.post("/v1/audio/transcriptions", files=files, data=asked, timeout=60)
    assert (answer.status_code, answer.headers["Content-Type"]) == (200, form.media_type)
    MODELS["transcribe", form].model_validate_json(answer.content, strict=True)
    read = answer.json()
    assert "Anna" in read["text"]
    if form is ResponseFormat.VERBOSE_JSON:
        assert "Anna" in {word["word"].strip(".,") for word in read["words"]}
    else:
        assert read["text"].startswith("A: ")
        assert {segment["speaker"] for segment in read["segments"]} == {"A"}
