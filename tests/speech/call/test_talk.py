from collections.abc import Sequence
from time import process_time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.speech.call.talk import MIN_OVERLAP_SECONDS, talk, without
from app.transcripts.transcript import ChannelTalk, Hold, Overlap, Span, Talk


def spans(*edges: tuple[float, float]) -> list[Span]:
    return [Span(*edge) for edge in edges]


def quiet(span: Span) -> bool:
    return False


def of(agent: Sequence[Span], customer: Sequence[Span], duration: float = 60.0) -> Talk:
    return talk({0: agent, 1: customer}, duration, quiet)


def test_each_channel_has_its_speech_and_its_share() -> None:
    facts = of(spans((0, 6), (20, 23)), spans((6.5, 9.5)), duration=30)

    assert (facts.speech_seconds, facts.silence_seconds, facts.overlap_seconds) == (12, 18, 0)
    assert facts.channels == (
        ChannelTalk(0, 9, 0.75, 0, Span(0, 6), median_response_seconds=10.5, longest_response=Span(9.5, 20)),
        ChannelTalk(1, 3, 0.25, 0, Span(6.5, 9.5), median_response_seconds=0.5, longest_response=Span(6, 6.5)),
    )


def test_a_speaker_who_outlasts_the_other_has_interrupted() -> None:
    facts = of(spans((0, 5)), spans((4, 9)))

    assert (facts.overlap_seconds, facts.overlaps, facts.interruptions) == (1, 1, 1)
    assert [channel.interruptions for channel in facts.channels] == [0, 1]


def test_overlaps_tell_when_they_were_who_began_and_over_whom() -> None:
    facts = of(spans((0, 5), (12, 12.5)), spans((4, 9), (11, 14)))

    assert facts.overlap_instances == (
        Overlap(4, 5, 1, (0,), is_interruption=True),
        Overlap(12, 12.5, 0, (1,), is_interruption=False),
    )


def test_an_overlap_with_several_speakers_names_them_and_ends_with_the_last() -> None:
    facts = talk({0: spans((0, 5)), 1: spans((0, 8)), 2: spans((2, 6))}, 60, quiet)

    assert facts.overlap_instances == (
        Overlap(0, 5, 1, (0,), is_interruption=True),
        Overlap(2, 6, 2, (0, 1), is_interruption=True),
    )


def test_a_backchannel_is_an_overlap_but_not_an_interruption() -> None:
    facts = of(spans((0, 5)), spans((2, 2.5)))

    assert (facts.overlap_seconds, facts.overlaps, facts.interruptions) == (0.5, 1, 0)


@pytest.mark.parametrize(("starts", "overlaps"), [(4.6, 1), (4.8, 0)])
def test_turns_that_only_touch_do_not_overlap(starts: float, overlaps: int) -> None:
    assert of(spans((0, 5)), spans((starts, 9))).overlaps == overlaps


def test_two_starts_at_the_same_moment_are_one_overlap() -> None:
    assert of(spans((1, 3)), spans((1, 4))).overlaps == 1


def test_a_monologue_continues_through_pauses_and_backchannels_but_not_through_answers() -> None:
    agent = spans((0, 10), (12, 20), (22, 30), (36, 40))
    facts = of(agent, spans((10.5, 11.2), (20.2, 21.9)))

    assert facts.channels[0].longest_monologue == Span(0, 20)


def test_a_long_answer_that_lasts_through_a_pause_ends_a_monologue() -> None:
    facts = of(spans((0, 10), (12, 20)), spans((8, 12.5)))

    assert facts.channels[0].longest_monologue == Span(0, 10)


def test_holds_are_long_stretches_between_speech() -> None:
    heard = []

    def has_sound(span: Span) -> bool:
        heard.append(span)
        return span.start == 15

    facts = talk({0: spans((12, 15), (40, 42)), 1: spans((42, 43), (52, 53), (62.9, 64))}, 100, has_sound)

    assert facts.holds == (Hold(15, 40, "sound"),)
    assert heard == [Span(15, 40)]


def test_a_pause_of_ten_seconds_is_a_hold() -> None:
    assert of(spans((0, 1), (11, 12)), []).holds == (Hold(1, 11, "silence"),)


def test_a_single_track_has_no_count_of_overlaps() -> None:
    facts = talk({0: spans((0, 2))}, 4, quiet)

    assert (facts.overlap_seconds, facts.overlaps, facts.interruptions) == (None, None, None)
    assert facts.overlap_instances is None
    assert facts.channels == (ChannelTalk(0, 2, 1.0, 0, Span(0, 2)),)


def test_silence_has_no_shares() -> None:
    facts = of([], [], duration=5)

    assert (facts.speech_seconds, facts.silence_seconds) == (0, 5)
    assert facts.channels == (ChannelTalk(0, 0, None, 0, None), ChannelTalk(1, 0, None, 0, None))


def test_steady_speech_that_was_cut_is_one_run() -> None:
    cut = spans(*((at, at + 9) for at in range(0, 54, 9)))

    backchannel = of(cut, spans((17, 18.5)))
    assert (backchannel.overlaps, backchannel.interruptions) == (1, 0)
    assert backchannel.channels[0].longest_monologue == Span(0, 54)
    both = of(cut, cut)
    assert (both.overlaps, both.interruptions) == (1, 0)


def test_an_interruption_of_several_speakers_is_counted_once() -> None:
    facts = talk({0: spans((0, 5)), 1: spans((0, 8)), 2: spans((2, 6))}, 60, quiet)

    assert (facts.overlaps, facts.interruptions) == (2, 2)
    assert [channel.interruptions for channel in facts.channels] == [0, 1, 1]


def test_responses_are_from_the_end_of_a_turn_to_the_beginning_of_the_answer() -> None:
    agent, customer = of(
        spans((0, 5), (9, 12), (20, 22), (40, 41)), spans((6, 8), (12.5, 15), (21, 26), (45, 50))
    ).channels

    assert agent.median_response_seconds == 5  # of 1, 5 and 14
    assert agent.longest_response == Span(26, 40)
    assert customer.median_response_seconds == 0.75  # of 0, 0.5, 1 and 4
    assert customer.longest_response == Span(41, 45)


def test_an_answer_before_the_other_has_stopped_counts_as_immediate() -> None:
    _, customer = of(spans((0, 5)), spans((4, 9))).channels

    assert (customer.median_response_seconds, customer.longest_response) == (0, Span(4, 4))


def test_what_is_said_within_the_turn_of_another_is_no_answer() -> None:
    agent, customer = of(spans((0, 5), (6, 9)), spans((2, 2.5))).channels

    assert (agent.longest_response, customer.median_response_seconds, customer.longest_response) == (None, None, None)


def test_an_answer_after_hold_music_is_no_response_but_after_silence_it_is() -> None:
    def has_sound(span: Span) -> bool:
        return span.start == 8

    agent, customer = talk({0: spans((0, 5), (60, 65)), 1: spans((6, 8), (80, 82))}, 100, has_sound).channels

    assert agent.longest_response is None
    assert customer.longest_response == Span(65, 80)


def test_whoever_goes_on_after_a_pause_answers_nobody() -> None:
    agent, customer = of(spans((0, 5), (9, 12)), []).channels

    assert (agent.longest_response, customer.longest_response) == (None, None)


def test_tiny_remainders_of_runs_are_dropped() -> None:
    runs = spans((0, 2), (3, 8), (9, 9.1))

    assert without(runs, spans((-0.2, 1.9), (4, 6), (5, 5.5))) == spans((3, 4), (6, 8), (9, 9.1))


tracks = st.lists(st.tuples(st.just(0.0) | st.floats(0.01, 5), st.floats(0.1, 5)), max_size=8)


def laid_out(pauses: Sequence[tuple[float, float]]) -> list[Span]:
    runs, now = list[Span](), 0.0
    for pause, length in pauses:
        runs.append(Span(now + pause, now + pause + length))
        now = runs[-1].end
    return runs


@given(tracks, tracks)
def test_the_facts_of_a_call_agree_with_each_other(
    one: list[tuple[float, float]], two: list[tuple[float, float]]
) -> None:
    agent, customer = laid_out(one), laid_out(two)
    facts = of(agent, customer, duration=200)

    assert facts.overlap_seconds is not None
    assert facts.overlaps is not None
    assert facts.interruptions is not None
    assert facts.speech_seconds + facts.silence_seconds == pytest.approx(200)
    total = sum(channel.speech_seconds for channel in facts.channels)
    assert total == pytest.approx(facts.speech_seconds + facts.overlap_seconds)
    assert facts.interruptions <= facts.overlaps
    assert sum(channel.interruptions for channel in facts.channels) == facts.interruptions
    instances = facts.overlap_instances or ()
    assert len(instances) == facts.overlaps
    for channel in facts.channels:
        made = [each for each in instances if each.is_interruption and each.channel == channel.channel]
        assert len(made) == channel.interruptions
    assert sum(each.end - each.start for each in instances) <= facts.overlap_seconds + 1e-6
    assert all(each.end - each.start >= MIN_OVERLAP_SECONDS for each in instances)
    assert all(each.channel not in each.over for each in instances)


@given(tracks, tracks, tracks)
def test_no_fact_is_outside_the_speech_that_it_is_about(
    one: list[tuple[float, float]], two: list[tuple[float, float]], three: list[tuple[float, float]]
) -> None:
    runs = {number: laid_out(pauses) for number, pauses in enumerate((one, two, three))}
    facts = talk(runs, 200, quiet)
    for overlap in facts.overlap_instances or ():
        for channel in (overlap.channel, overlap.over[-1]):
            assert any(run.start < overlap.end and overlap.start < run.end for run in runs[channel])
    for each in facts.channels:
        for span in (each.longest_response, each.longest_monologue):
            assert span is None or 0 <= span.start <= span.end <= 200
        if each.longest_response:
            assert each.longest_response.end in [run.start for run in runs[each.channel]]
            assert each.median_response_seconds is not None
            assert each.median_response_seconds <= each.longest_response.seconds


def test_the_time_grows_with_the_length_of_the_call_and_not_faster() -> None:
    def seconds(hours: int) -> float:
        agent = spans(*((at, at + 1.6) for at in range(0, hours * 3600, 2)))
        customer = spans(*((at + 0.7, at + 2.2) for at in range(0, hours * 3600, 2)))
        started = process_time()
        facts = of(agent, customer, duration=hours * 3600)
        took = process_time() - started
        assert facts.overlaps is not None
        assert facts.overlaps >= hours * 1800
        return took

    short = min(seconds(1) for _ in range(3))
    assert min(seconds(8) for _ in range(3)) < 8 * 3 * short


@given(tracks, tracks)
def test_cuts_within_speech_do_not_change_the_facts(
    one: list[tuple[float, float]], two: list[tuple[float, float]]
) -> None:
    agent, customer = laid_out(one), laid_out(two)
    in_halves = [half for run in agent for half in halves(run)]

    whole, cut = of(agent, customer, duration=200), of(in_halves, customer, duration=200)

    assert (cut.overlaps, cut.interruptions, cut.holds) == (whole.overlaps, whole.interruptions, whole.holds)
    assert [each.longest_monologue for each in cut.channels] == [each.longest_monologue for each in whole.channels]


def halves(run: Span) -> tuple[Span, Span]:
    middle = (run.start + run.end) / 2
    return Span(run.start, middle), Span(middle, run.end)
