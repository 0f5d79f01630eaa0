import html
import json
import re
from collections.abc import Iterable
from dataclasses import replace
from datetime import timedelta
from itertools import chain, pairwise

import pytest
import srt  # type: ignore[import-untyped]
from hypothesis import given, settings
from hypothesis import strategies as st
from webvtt import WebVTT

from app.jobs.models import stored_transcripts
from app.transcripts.formats import Format, render
from app.transcripts.series import packed, step_of
from app.transcripts.transcript import (
    Channel,
    ChannelTalk,
    Hold,
    Overlap,
    Segment,
    Span,
    Talk,
    Transcript,
    TranscriptWarning,
    Word,
)

ID = "01980000-0000-7000-8000-000000000000"
AGENT = Channel(0, "agent", "en", 0.98765, 4.00049)
CUSTOMER = Channel(1, "customer", None, None, 2.5)

TALK = Talk(
    speech_seconds=6.5,
    silence_seconds=2.50049,
    overlap_seconds=0.25,
    overlaps=2,
    interruptions=1,
    channels=(
        ChannelTalk(
            channel=0,
            speech_seconds=4.0,
            share=0.61538,
            interruptions=1,
            longest_monologue=Span(0.5, 4.50049),
            words=9,
            word_unit="word",
            words_per_minute=134.96,
            median_response_seconds=0.75049,
            longest_response=Span(7, 8.25049),
            packed_loudness=packed([96, 71, 0]),
            packed_pitch=packed([step_of(220)] * 50),
        ),
        ChannelTalk(1, 0.0, None, 0, None),
    ),
    holds=(Hold(10.0, 30.0, "sound"),),
    overlap_instances=(Overlap(1.5, 2.00049, 1, (0,), is_interruption=True),),
)

NEW_FACTS = (
    "words",
    "word_unit",
    "words_per_minute",
    "median_response_seconds",
    "longest_response",
    "loudness_dbfs",
    "pitch_hertz",
)


def said(
    start: float, end: float, text: str, channel: Channel = AGENT, words: tuple[Word, ...] | None = None
) -> Segment:
    return Segment(0, channel.index, channel.label, start, end, text, "en", 0.2, -0.23456, 1.23456, 0.00004, words)


def ordered(segments: Iterable[Segment]) -> tuple[Segment, ...]:
    by_start = sorted(segments, key=lambda segment: (segment.start, segment.channel))
    return tuple(replace(segment, id=number) for number, segment in enumerate(by_start))


def transcript(*segments: Segment, channels: tuple[Channel, ...] = (AGENT,)) -> Transcript:
    return Transcript("en", 0.98765, 3700.00049, channels, ordered(segments))


MONO = transcript(said(0.5, 2, "Anna here."), said(2.0004, 4, "One\tmoment\nplease."))
CALL = transcript(
    said(0.5, 2, "Anna here."),
    said(1.5, 3, "Hi, <b>Tom</b> & Sons -->", CUSTOMER),
    said(3661.25, 3662, "Bye."),
    channels=(AGENT, CUSTOMER),
)


def test_json_is_the_documented_resource() -> None:
    words = (Word(0.50049, 2, " Yes.", 0.98765),)
    warning = TranscriptWarning("redecoded", "A window was decoded again.", channel=0, start=0.5, end=2)
    plain = TranscriptWarning("quiet", "The recording is quiet.")
    spoken = Transcript(
        "en", 0.98765, 9.00049, (AGENT, CUSTOMER), (said(0.5, 2, "Yes.", words=words),), (warning, plain), TALK
    )

    assert json.loads(render(spoken, ID, Format.JSON)) == {
        "id": ID,
        "text": "Yes.",
        "language": "en",
        "language_probability": 0.9877,
        "duration": 9.0,
        "channels": [
            {"index": 0, "label": "agent", "language": "en", "language_probability": 0.9877, "speech_seconds": 4.0},
            {"index": 1, "label": "customer", "language": None, "language_probability": None, "speech_seconds": 2.5},
        ],
        "segments": [
            {
                "id": 0,
                "channel": 0,
                "speaker": "agent",
                "speaker_confidence": None,
                "start": 0.5,
                "end": 2,
                "text": "Yes.",
                "language": "en",
                "temperature": 0.2,
                "avg_logprob": -0.2346,
                "compression_ratio": 1.2346,
                "no_speech_prob": 0.0,
                "words": [{"start": 0.5, "end": 2, "word": " Yes.", "probability": 0.9877}],
            }
        ],
        "turns": [
            {
                "speaker": "agent",
                "speaker_confidence": None,
                "start": 0.5,
                "end": 2,
                "text": "Yes.",
                "loudness_dbfs": -25,
                "pitch": {"hertz": 220, "spread_semitones": 0.0, "offset_semitones": 0.0},
            }
        ],
        "talk": {
            "speech_seconds": 6.5,
            "silence_seconds": 2.5,
            "overlap_seconds": 0.25,
            "overlaps": 2,
            "interruptions": 1,
            "channels": [
                {
                    "channel": 0,
                    "speech_seconds": 4.0,
                    "share": 0.6154,
                    "interruptions": 1,
                    "longest_monologue": {"start": 0.5, "end": 4.5},
                    "words": 9,
                    "word_unit": "word",
                    "words_per_minute": 135.0,
                    "median_response_seconds": 0.75,
                    "longest_response": {"start": 7.0, "end": 8.25},
                    "loudness_dbfs": [0, -25, -96],
                    "pitch_hertz": 220,
                },
                {"channel": 1, "speech_seconds": 0.0, "share": None, "interruptions": 0, "longest_monologue": None}
                | dict.fromkeys(NEW_FACTS),
            ],
            "holds": [{"start": 10.0, "end": 30.0, "kind": "sound"}],
            "overlap_instances": [{"start": 1.5, "end": 2.0, "channel": 1, "over": [0], "is_interruption": True}],
        },
        "warnings": [
            {"code": "redecoded", "message": "A window was decoded again.", "channel": 0, "start": 0.5, "end": 2},
            {"code": "quiet", "message": "The recording is quiet."},
        ],
    }


def test_facts_that_an_older_version_did_not_know_are_null() -> None:
    stored = json.loads(stored_transcripts.dump_json(replace(CALL, talk=TALK)))
    del stored["talk"]["overlap_instances"]
    for channel in stored["talk"]["channels"]:
        for name in ("packed_loudness", "packed_pitch", *NEW_FACTS[:5]):
            del channel[name]

    shown = json.loads(render(stored_transcripts.validate_python(stored), ID, Format.JSON))

    assert shown["talk"]["overlaps"] == 2
    assert shown["talk"]["overlap_instances"] is None
    assert [channel[name] for channel in shown["talk"]["channels"] for name in NEW_FACTS] == [None] * 14
    assert [(turn["loudness_dbfs"], turn["pitch"]) for turn in shown["turns"]] == [(None, None)] * 3


def test_json_has_words_only_if_they_were_requested() -> None:
    assert "words" not in json.loads(render(MONO, ID, Format.JSON))["segments"][0]


def test_text_of_one_channel_has_a_text_line_for_each_segment() -> None:
    assert render(MONO, ID, Format.TEXT) == "Anna here.\nOne moment please.\n"


def test_text_of_a_call_has_a_text_line_for_each_turn() -> None:
    assert render(CALL, ID, Format.TEXT) == (
        "[00:00] agent: Anna here.\n[00:01] customer: Hi, <b>Tom</b> & Sons -->\n[01:01:01] agent: Bye.\n"
    )


def test_srt_of_a_call_names_the_speakers() -> None:
    assert render(CALL, ID, Format.SRT) == (
        "1\n00:00:00,500 --> 00:00:02,000\nagent: Anna here.\n\n"
        "2\n00:00:01,500 --> 00:00:03,000\ncustomer: Hi, <b>Tom</b> & Sons ->\n\n"
        "3\n01:01:01,250 --> 01:01:02,250\nagent: Bye.\n"
    )


def test_vtt_of_a_call_has_a_voice_for_each_speaker() -> None:
    assert render(CALL, ID, Format.VTT) == (
        "WEBVTT\n\n"
        "00:00.500 --> 00:02.000\n<v agent>Anna here.\n\n"
        "00:01.500 --> 00:03.000\n<v customer>Hi, &lt;b&gt;Tom&lt;/b&gt; &amp; Sons --&gt;\n\n"
        "01:01:01.250 --> 01:01:02.250\n<v agent>Bye.\n"
    )


def test_subtitles_of_one_channel_have_no_names() -> None:
    assert "agent" not in render(MONO, ID, Format.SRT) + render(MONO, ID, Format.VTT)


def test_the_name_of_a_voice_is_escaped() -> None:
    sales = Channel(0, "A>B & Co", "en", 0.9, 1.0)
    assert "<v A&gt;B &amp; Co>Hi." in render(
        transcript(said(0, 1, "Hi.", sales), channels=(sales, CUSTOMER)), ID, Format.VTT
    )


def test_tsv_is_the_same_as_the_whisper_command_line_writes() -> None:
    assert render(MONO, ID, Format.TSV) == "start\tend\ttext\n500\t2000\tAnna here.\n2000\t4000\tOne moment please.\n"


def test_whisper_json_is_the_same_as_the_whisper_command_line_writes() -> None:
    words = (Word(0.5, 1, " Anna", 0.9), Word(1, 2, " here.", 0.98765))
    assert json.loads(render(transcript(said(0.5, 2, "Anna here.", words=words)), ID, Format.WHISPER)) == {
        "text": " Anna here.",
        "segments": [
            {
                "id": 0,
                "seek": 50,
                "start": 0.5,
                "end": 2,
                "text": " Anna here.",
                "tokens": [],
                "temperature": 0.2,
                "avg_logprob": -0.2346,
                "compression_ratio": 1.2346,
                "no_speech_prob": 0.0,
                "words": [
                    {"word": " Anna", "start": 0.5, "end": 1, "probability": 0.9},
                    {"word": " here.", "start": 1, "end": 2, "probability": 0.9877},
                ],
            }
        ],
        "language": "en",
    }


def test_whisper_json_has_the_keys_and_types_of_the_whisper_command_line_even_for_silence() -> None:
    result = json.loads(render(Transcript(None, None, 9, (AGENT,), ()), ID, Format.WHISPER))

    assert result == {"text": "", "segments": [], "language": "und"}


def test_text_has_no_spaces_in_languages_without_spaces() -> None:
    segments = tuple(
        Segment(n, 0, "", n, n + 1, text, "zh", 0, -0.2, 1.2, 0) for n, text in enumerate(["你好。", "再见。"])
    )
    chinese = Transcript("zh", 0.9, 2, (AGENT,), segments)

    assert chinese.text == "你好。再见。"
    assert json.loads(render(chinese, ID, Format.WHISPER))["text"] == "你好。再见。"


@pytest.mark.parametrize(
    ("target", "nothing"),
    [(Format.TEXT, ""), (Format.SRT, ""), (Format.VTT, "WEBVTT\n"), (Format.TSV, "start\tend\ttext\n")],
)
def test_silence_is_an_empty_document(target: Format, nothing: str) -> None:
    silence = Transcript(None, None, 9, (AGENT,), ())
    assert render(silence, ID, target) == nothing
    assert silence.text == ""


# What a client can send: no control characters, no lone surrogates.
texts = st.text(st.characters(exclude_categories=["Cc", "Cs"]) | st.sampled_from("ab ,.-->&<\n\t字。"), max_size=200)


@st.composite
def calls(draw: st.DrawFn) -> Transcript:
    """Two channels, each with monotonic times, some segments with words."""
    channels = []
    for channel in (AGENT, CUSTOMER):
        now, segments = 0.0, []
        for text in draw(st.lists(texts, max_size=5)):
            start = now + draw(st.floats(0, 4000))
            now = start + draw(st.floats(0, 30))
            segments.append(said(start, now, text, channel, draw(st.none() | st.just(_words(text, start, now)))))
        channels.append(segments)
    return Transcript("en", 0.9, 1e6, (AGENT, CUSTOMER), ordered(chain.from_iterable(channels)))


def _words(text: str, start: float, end: float) -> tuple[Word, ...]:
    found = text.split()
    step = (end - start) / max(len(found), 1)
    return tuple(Word(start + n * step, start + (n + 0.9) * step, f" {word}", 0.9) for n, word in enumerate(found))


ARROW = re.compile("-+>")


def _letters(text: str) -> str:
    return "".join(text.split())


@pytest.mark.parametrize("arrow", ["-->", "--->", "----->"])
def test_text_in_srt_cannot_look_like_times(arrow: str) -> None:
    call = replace(CALL, channels=(AGENT,), segments=(said(0, 1, f"A {arrow} B", AGENT),))

    assert render(call, ID, Format.SRT) == "1\n00:00:00,000 --> 00:00:01,000\nA -> B\n"


@settings(deadline=None)
@given(calls())
def test_srt_parses_with_all_the_text_in_order(call: Transcript) -> None:
    parsed = list(srt.parse(render(call, ID, Format.SRT)))

    assert [cue.index for cue in parsed] == list(range(1, len(parsed) + 1))
    assert all(timedelta() < cue.end - cue.start <= timedelta(seconds=7) for cue in parsed)
    assert [cue.start for cue in parsed] == sorted(cue.start for cue in parsed)
    for label in ("agent", "customer"):
        lines = [cue.content.removeprefix(f"{label}:") for cue in parsed if cue.content.startswith(f"{label}:")]
        expected = "".join(_letters(s.text) for s in call.segments if s.speaker == label)
        assert not any("-->" in line for line in lines)
        assert ARROW.sub("", _letters("".join(lines))) == ARROW.sub("", expected)


@settings(deadline=None)
@given(calls())
def test_vtt_parses_with_all_the_text_in_order(call: Transcript) -> None:
    parsed = WebVTT.from_string(render(call, ID, Format.VTT), strict=True).captions

    starts = [cue.start_time.in_milliseconds() for cue in parsed]
    assert starts == sorted(starts)
    assert all(0 < cue.end_time.in_milliseconds() - start <= 7000 for cue, start in zip(parsed, starts, strict=True))
    for label in ("agent", "customer"):
        own = [cue for cue in parsed if cue.voice == label]
        assert all(before.end_time <= after.start_time for before, after in pairwise(own))
        voiced = [cue.raw_text.removeprefix(f"<v {label}>") for cue in own]
        expected = "".join(_letters(s.text) for s in call.segments if s.speaker == label)
        assert _letters(html.unescape("".join(voiced))) == expected


def voice(start: float, end: float, text: str, speaker: str | None) -> Segment:
    return replace(said(start, end, text), speaker=speaker, speaker_confidence=None if speaker is None else 0.91)


VOICES = transcript(
    voice(0.5, 2, "Anna here.", "speaker_1"),
    voice(2.5, 3.5, "Hi, Anna.", "speaker_2"),
    voice(3.6, 3.9, "Hm.", None),
    voice(4, 5, "Bye.", "speaker_1"),
)


def test_voices_on_one_track_are_named_in_every_format_that_has_names() -> None:
    assert render(VOICES, ID, Format.TEXT).splitlines() == [
        "[00:00] speaker_1: Anna here.",
        "[00:02] speaker_2: Hi, Anna.",
        "[00:03] Unknown: Hm.",
        "[00:04] speaker_1: Bye.",
    ]
    assert [cue.content for cue in srt.parse(render(VOICES, ID, Format.SRT))] == [
        "speaker_1: Anna here.",
        "speaker_2: Hi, Anna.",
        "Unknown: Hm.",
        "speaker_1: Bye.",
    ]
    voices = re.findall("<v (.*?)>", render(VOICES, ID, Format.VTT))
    assert voices == ["speaker_1", "speaker_2", "Unknown", "speaker_1"]


def test_json_has_null_for_a_speaker_that_is_not_known() -> None:
    read = json.loads(render(VOICES, ID, Format.JSON))
    for parts in (read["segments"], read["turns"]):
        assert [(each["speaker"], each["speaker_confidence"]) for each in parts] == [
            ("speaker_1", 0.91),
            ("speaker_2", 0.91),
            (None, None),
            ("speaker_1", 0.91),
        ]


def test_a_transcript_that_an_older_version_stored_has_no_confidence() -> None:
    stored = json.loads(stored_transcripts.dump_json(CALL))
    for segment in stored["segments"]:
        del segment["speaker_confidence"]
    read = stored_transcripts.validate_python(stored)
    assert read == CALL
    assert not any(segment.is_by_voice for segment in read.segments)
