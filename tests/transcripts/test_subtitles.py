import pytest

from app.transcripts.subtitles import Cue, cues
from app.transcripts.transcript import Segment, Word

PLATE = "Thank you for calling the repair shop, this is Anna. How can I help you, and what is your number plate?"


def said(start: float, end: float, text: str, speaker: str = "agent", language: str = "en") -> Segment:
    channel = int(speaker == "customer")
    return Segment(7, channel, speaker, start, end, text, language, 0.0, -0.2, 1.2, 0.01)


def timed(start: float, *words: tuple[str, float, float]) -> Segment:
    found = tuple(Word(start + begin, start + end, word, 0.9) for word, begin, end in words)
    text = "".join(word.word for word in found).strip()
    return Segment(0, 0, "agent", start, found[-1].end, text, "en", 0.0, -0.2, 1.2, 0.01, found)


def test_a_short_segment_is_one_cue_in_balanced_lines() -> None:
    assert cues([said(0, 4, "This is the longest text that still fits into two lines.")], name_speakers=False) == (
        Cue(0, 4000, "agent", ("This is the longest text that", "still fits into two lines.")),
    )


def test_a_long_segment_is_cut_at_sentences_and_shares_its_time_by_length() -> None:
    first, second = cues([said(10, 16, PLATE)], name_speakers=False)

    assert first == Cue(10_000, second.start_ms, "agent", ("Thank you for calling the", "repair shop, this is Anna."))
    assert second.lines == ("How can I help you,", "and what is your number plate?")
    assert second.end_ms == 16_000
    assert first.end_ms == pytest.approx(13_000, abs=150)


def test_cues_take_the_times_of_their_words() -> None:
    words = [(" Wait,", 0.1, 0.4), (" please.", 0.5, 0.9), (" Here", 8.0, 8.4), (" it", 8.4, 8.5), (" is.", 8.5, 8.9)]
    assert cues([timed(60, *words)], name_speakers=False) == (
        Cue(60_100, 61_100, "agent", ("Wait, please.",)),
        Cue(68_000, 69_000, "agent", ("Here it is.",)),
    )


def test_words_that_do_not_match_the_text_give_no_times() -> None:
    segment = said(0, 2, "Anna speaking.")
    with_other_words = Segment(0, 0, "agent", 0, 2, segment.text, "en", 0, 0, 1, 0, (Word(5, 6, " Bob", 0.5),))
    assert cues([with_other_words], name_speakers=False) == cues([segment], name_speakers=False)


def test_wide_characters_take_two_columns_and_lines_break_after_closing_marks() -> None:
    text = "おはようございます。今日は車の修理についてお電話しました。予約は明日の午前十時でお願いできますか。"
    assert [cue.lines for cue in cues([said(0, 7, text, language="ja")], name_speakers=False)] == [
        ("おはようございます。", "今日は車の修理についてお電話しました。"),
        ("予約は明日の午前十時でお願いできますか。",),
    ]


def test_no_line_begins_with_a_closing_mark() -> None:
    words = [" «", " Oui,", " je", " suis", " là.", " »", " Puis", " il", " est", " parti", " chez", " lui."]
    segment = timed(0, *((word, at / 2, (at + 1) / 2) for at, word in enumerate(words)))

    assert [cue.lines for cue in cues([segment], name_speakers=False)] == [
        ("« Oui, je suis là. »", "Puis il est parti chez lui."),
    ]


def test_two_speakers_who_speak_at_the_same_time_are_shown_at_the_same_time() -> None:
    found = cues([said(0, 6, PLATE), said(1, 1.5, "Hello?", "customer")], name_speakers=True)

    assert [cue.lines[0] for cue in found] == [
        "agent: Thank you for calling the",
        "customer: Hello?",
        "agent: How can I help you,",
    ]
    assert found[1].end_ms < found[0].end_ms == found[2].start_ms


@pytest.mark.parametrize("text", ["https://example.org/" + "x" * 200, "字" * 100, "Mm."])
def test_lines_and_cues_keep_their_limits_for_any_text(text: str) -> None:
    for cue in cues([said(0, 30, text, language="zh")], name_speakers=False):
        assert all(len(line) + line.count("字") <= 42 for line in cue.lines)
        assert len(cue.lines) <= 2
        assert 0 < cue.end_ms - cue.start_ms <= 7000


def test_a_segment_without_length_is_shown_and_one_without_text_is_not() -> None:
    assert cues([said(1, 1, "Yes."), said(2, 3, "  ")], name_speakers=True) == (
        Cue(1000, 2000, "agent", ("agent: Yes.",)),
    )


def test_a_cue_too_short_to_be_read_stays_until_the_next_cue_or_the_end() -> None:
    spoken = [said(0, 0.3, "Yes."), said(0.7, 0.9, "No.", "customer"), said(8, 8.2, "Bye.")]
    shown = cues(spoken, name_speakers=False, duration=8.5)
    assert [(cue.start_ms, cue.end_ms) for cue in shown] == [(0, 700), (700, 1700), (8000, 8500)]


def test_a_word_too_short_to_be_shown_alone_is_shown_with_the_next_ones() -> None:
    shown = cues([said(0, 0.4, "Yes."), said(0.5, 2.5, "I can do that."), said(4, 5, "Fine.")], name_speakers=True)
    assert [cue.lines for cue in shown] == [("agent: Yes. I can do that.",), ("agent: Fine.",)]
    assert (shown[0].start_ms, shown[0].end_ms) == (0, 2500)


def test_two_speakers_are_never_in_one_cue() -> None:
    shown = cues([said(0, 0.4, "Yes."), said(0.5, 2.5, "Good.", "customer")], name_speakers=True)
    assert [cue.lines for cue in shown] == [("agent: Yes.",), ("customer: Good.",)]


@pytest.mark.parametrize("length", [25, 40, 60])
def test_a_long_name_gets_its_own_line(length: int) -> None:
    shown = cues([said(0, 6, PLATE, "a" * length)], name_speakers=True)

    names = {cue.lines[0] for cue in shown}
    assert names == {f"{'a' * length}:" if length < 42 else f"{'a' * 40}…:"}
    assert all(len(line) <= 42 for cue in shown for line in cue.lines)
    assert len(shown) < 5
    assert " ".join(cue.lines[1] for cue in shown) == PLATE


def test_a_word_that_fits_only_without_the_speakers_name_is_below_the_name() -> None:
    [cue] = cues([said(0, 3, "Donaudampfschifffahrtsgesellschaft")], name_speakers=True)

    assert cue.lines == ("agent: Donaudampfschifffahrtsgesellschaft",)

    [cue] = cues([said(0, 3, "Donaudampfschifffahrtsgesellschafts" + "büro")], name_speakers=True)

    assert cue.lines == ("agent:", "Donaudampfschifffahrtsgesellschaftsbüro")
