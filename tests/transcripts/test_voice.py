import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.transcripts.series import NO_PITCH, PITCHES_PER_SECOND, dbfs_of, hertz_of, level_of, packed, step_of, unpacked
from app.transcripts.transcript import ChannelTalk, Segment, Talk, Transcript
from app.transcripts.voice import heard_turns


def said(start: float, end: float, channel: int = 0) -> Segment:
    return Segment(0, channel, f"channel_{channel}", start, end, "Yes.", "en")


def call(segments: list[Segment], dbfs: list[int], hertz: list[float]) -> Transcript:
    """A call whose channel 0 has a loudness and a pitch in each second; a pitch of 0 is none."""
    steps = [step_of(each) if each else NO_PITCH for each in hertz for _ in range(PITCHES_PER_SECOND)]
    channel = ChannelTalk(0, 10, 1, 0, None, packed_loudness=packed(map(level_of, dbfs)), packed_pitch=packed(steps))
    return Transcript("en", 1, len(dbfs), (), tuple(segments), talk=Talk(channels=(channel,)))


def test_a_turn_has_the_median_loudness_of_its_seconds() -> None:
    segments = [said(0.2, 2.9), said(3.6, 4.4), said(8, 9), said(9, 12)]

    first, second = heard_turns(call(segments, [-20, -25, -22, -60, -61, -90, -90, -90, -30, -28, -29], []))

    assert first.loudness_dbfs == -25  # of −20, −25, −22 and the second that holds the middle of a short segment
    assert second.loudness_dbfs == -29


def test_a_turn_has_its_pitch_and_its_distance_from_the_usual_one() -> None:
    hertz = [100.0] * 6 + [200.0] * 2

    low, high = heard_turns(call([said(0, 2), said(6, 8)], [-20] * 8, hertz))

    assert low.pitch is not None
    assert high.pitch is not None
    assert (low.pitch.hertz, low.pitch.spread_semitones, low.pitch.offset_semitones) == (100, 0, 0)
    assert (high.pitch.hertz, high.pitch.spread_semitones, high.pitch.offset_semitones) == (200, 0, 12)


def test_the_spread_leaves_out_the_highest_and_the_lowest_tenth() -> None:
    (turn,) = heard_turns(call([said(0, 20)], [-20] * 20, [60.0, *[100.0] * 9, *[200.0] * 9, 600.0]))

    assert turn.pitch is not None
    assert turn.pitch.spread_semitones == pytest.approx(12)


@pytest.mark.parametrize(
    ("segment", "hertz"),
    [(said(0, 0.9), [100.0] * 10), (said(0, 9), [0.0] * 9 + [100.0]), (said(3, 9, channel=1), [100.0] * 10)],
)
def test_a_turn_without_a_second_of_clear_voice_has_no_pitch(segment: Segment, hertz: list[float]) -> None:
    (turn,) = heard_turns(call([segment], [-20] * 10, hertz))

    assert turn.pitch is None


def test_a_speaker_with_little_clear_voice_has_no_usual_pitch() -> None:
    transcript = call([said(0, 4)], [-20] * 4, [100.0] * 4)

    (turn,) = heard_turns(transcript)

    assert transcript.talk.channels[0].pitch_hertz is None
    assert turn.pitch is not None
    assert turn.pitch.offset_semitones is None


def test_a_turn_after_the_end_of_the_measurements_has_no_sound() -> None:
    (turn,) = heard_turns(call([said(100, 200)], [-20], [100]))

    assert (turn.loudness_dbfs, turn.pitch) == (None, None)


@given(st.lists(st.integers(0, 255)))
def test_what_is_packed_comes_back(values: list[int]) -> None:
    assert list(unpacked(packed(values))) == values


@given(st.floats(-200, 20), st.floats(20, 2000))
def test_measurements_fit_into_a_byte_and_come_back_nearly_the_same(dbfs: float, hertz: float) -> None:
    assert 0 <= level_of(dbfs) <= 255
    assert dbfs_of(level_of(dbfs)) == pytest.approx(min(0, max(-96, dbfs)), abs=0.5)
    assert NO_PITCH < step_of(hertz) <= 255
    assert hertz_of(step_of(hertz)) == pytest.approx(min(690, max(60, hertz)), rel=0.005)
