"""Words and voices → who says what."""

from collections.abc import Sequence
from dataclasses import replace

import pytest

from app.speech.call.segments import Heard, segments_of
from app.speech.call.speakers import by_voices
from app.speech.model import Scores
from app.speech.speakers.voices import VoiceTurn
from app.transcripts.transcript import Word

LABELS = {0: "speaker"}


def heard(text: str, start: float = 0.0, *, channel: int = 0, pace: float = 0.4) -> Heard:
    """Each word takes `pace` seconds."""
    words = [Word(start + at * pace, start + (at + 1) * pace, f" {word}") for at, word in enumerate(text.split())]
    return Heard(channel, "en", Scores(), tuple(words))


def said(
    windows: Sequence[Heard], turns: dict[int, list[VoiceTurn]], labels: dict[int, str] = LABELS, one_track: bool = True
) -> list[tuple[str | None, str]]:
    parts = by_voices(windows, turns, labels, one_track=one_track)
    return [(each.speaker, each.text) for each in segments_of(parts, labels, with_words=False)]


def test_a_segment_is_cut_where_the_voice_changes() -> None:
    turns = [VoiceTurn(0.0, 1.7, 0, 0.9), VoiceTurn(1.7, 4.0, 1, 0.8)]
    parts = by_voices([heard("who is calling please this is Ann speaking")], {0: turns}, LABELS, one_track=True)
    segments = segments_of(parts, LABELS, with_words=False)
    assert [(each.speaker, each.text) for each in segments] == [
        ("speaker_1", "who is calling please"),
        ("speaker_2", "this is Ann speaking"),
    ]
    assert [each.speaker_confidence for each in segments] == [pytest.approx(0.9), pytest.approx(0.8)]


def test_voices_are_numbered_in_the_order_of_what_they_say() -> None:
    turns = [VoiceTurn(0.0, 2.0, 0, 0.9), VoiceTurn(5.0, 7.0, 1, 0.9), VoiceTurn(8.0, 10.0, 0, 0.9)]
    spoken = [heard("I hear you well", 8.0), heard("can you hear me?", 5.0)]
    assert said(spoken, {0: turns}) == [("speaker_1", "can you hear me?"), ("speaker_2", "I hear you well")]


@pytest.mark.parametrize(
    "turn",
    [VoiceTurn(4.0, 6.0, None, 0.4), VoiceTurn(4.8, 5.2, 1, 0.9), VoiceTurn(9.0, 12.0, 1, 0.9)],
    ids=["the model is not sure", "the turn is shorter than 0.6 s", "nobody speaks near it"],
)
def test_nobody_is_named_without_being_sure(turn: VoiceTurn) -> None:
    turns = {0: [VoiceTurn(0.0, 2.0, 0, 0.9), turn]}
    parts = by_voices([heard("good morning", 0.5), heard("I see", 4.6)], turns, LABELS, one_track=True)
    first, second = segments_of(parts, LABELS, with_words=False)
    assert first.speaker == "speaker_1"
    assert (second.speaker, second.speaker_confidence) == (None, None)


def test_a_word_at_the_edge_of_a_sentence_stays_with_it() -> None:
    turns = {0: [VoiceTurn(0.0, 1.1, 0, 0.9), VoiceTurn(1.1, 3.0, 1, 0.9)]}
    assert said([heard("how are you? very well thanks.")], turns) == [
        ("speaker_1", "how are you?"),
        ("speaker_2", "very well thanks."),
    ]


def test_a_short_answer_has_its_own_voice() -> None:
    turns = {0: [VoiceTurn(0.0, 1.6, 0, 0.9), VoiceTurn(1.6, 2.4, 1, 0.9), VoiceTurn(2.4, 4.0, 0, 0.9)]}
    assert [speaker for speaker, _ in said([heard("are you there now? Yes, indeed. good then let us go.")], turns)] == [
        "speaker_1",
        "speaker_2",
        "speaker_1",
    ]


SPREAD = replace(heard("who is calling please this is Ann speaking"), is_spread=True)
ALL = "who is calling please this is Ann speaking"


@pytest.mark.parametrize("second", [1, None], ids=["another voice", "somebody unknown"])
def test_words_without_times_belong_to_nobody_if_several_voices_speak_in_their_window(second: int | None) -> None:
    turns = [VoiceTurn(0.0, 2.4, 0, 1.0), VoiceTurn(2.4, 4.0, second, 1.0)]
    [part] = segments_of(by_voices([SPREAD], {0: turns}, LABELS, one_track=True), LABELS, with_words=False)
    assert (part.speaker, part.speaker_confidence, part.text) == (None, None, ALL)


def test_words_without_times_belong_to_the_only_voice_of_their_window() -> None:
    turns = [VoiceTurn(0.1, 1.5, 0, 0.9), VoiceTurn(1.6, 2.0, 1, 0.9), VoiceTurn(2.1, 2.9, 0, 0.8)]
    turns = [VoiceTurn(-2.0, 0.1, 1, 0.7), *turns, VoiceTurn(3.0, 9.0, 1, 0.7)]
    [part] = segments_of(by_voices([SPREAD], {0: turns}, LABELS, one_track=True), LABELS, with_words=False)
    assert (part.speaker, part.text) == ("speaker_1", ALL)
    assert part.speaker_confidence == pytest.approx(0.8)


def test_one_voice_on_a_track_is_the_first_speaker() -> None:
    assert said([heard("only me")], {0: [VoiceTurn(0.0, 1.0, 0, 1.0)]}) == [("speaker_1", "only me")]


def test_only_a_channel_with_several_voices_numbers_them() -> None:
    turns = {
        0: [VoiceTurn(0.0, 2.0, 0, 0.9)],
        1: [VoiceTurn(3.0, 4.0, 0, 0.9), VoiceTurn(4.5, 6.0, 1, 0.9)],
    }
    spoken = [heard("good morning all", 0.0), heard("hello", 3.2, channel=1), heard("hello too", 4.8, channel=1)]
    assert said(spoken, turns, {0: "agent", 1: "customer"}, one_track=False) == [
        ("agent", "good morning all"),
        ("customer_1", "hello"),
        ("customer_2", "hello too"),
    ]


def test_without_voices_one_track_has_unknown_speakers_and_channels_keep_their_labels() -> None:
    assert said([heard("hello")], {}) == [(None, "hello")]
    assert said([heard("hello")], {}, {0: "agent", 1: "customer"}, one_track=False) == [("agent", "hello")]
