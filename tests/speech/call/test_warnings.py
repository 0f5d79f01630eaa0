from dataclasses import replace

import pytest

from app.audio.decode import Loss
from app.speech.call.bleed import Bleed
from app.speech.call.warnings import Findings, warnings_of, with_losses
from app.speech.windows.levels import Levels
from app.transcripts.transcript import Channel, Options, Span, Talk, Transcript, TranscriptWarning

AGENT, CUSTOMER = Channel(0, "agent", "en", 0.9, 30.0), Channel(1, "customer", "en", 0.9, 20.0)
WELL = Findings(
    Options("base", channels="split"),
    60.0,
    Levels((0.1, 0.1), (0.0, 0.0), (None, None)),
    (AGENT, CUSTOMER),
    Talk(speech_seconds=45, silence_seconds=15),
    (),
)
DEAD = replace(CUSTOMER, language=None, speech_seconds=0.0)


def codes_of(found: Findings) -> list[tuple[str, int | None]]:
    return [(warning.code, warning.channel) for warning in warnings_of(found)]


def test_a_good_call_has_no_warning() -> None:
    assert warnings_of(WELL) == ()


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        (replace(WELL, channels=(AGENT,)), [("mono_not_split", 0)]),
        (replace(WELL, channels=(AGENT,), options=Options("base")), []),
        (
            replace(WELL, channels=(AGENT,), options=Options("base", channel_labels=("agent",))),
            [("labels_unused", None)],
        ),
        (
            replace(WELL, channels=(AGENT,), options=Options("base", channel_labels=("caller",), diarize=True)),
            [],
        ),
        (replace(WELL, levels=Levels((0.1, 0.1), (0, 0), (None, 0))), [("channels_identical", 1)]),
        (replace(WELL, channels=(AGENT, DEAD)), [("no_speech", 1)]),
        (
            replace(WELL, channels=(AGENT, DEAD), levels=Levels((0.1, 1e-4), (0, 0), (None, None))),
            [("channel_silent", 1)],
        ),
        (replace(WELL, levels=Levels((0.1, 0.1), (0.0009, 0.001), (None, None))), [("clipping", 1)]),
        (replace(WELL, talk=Talk(speech_seconds=12, silence_seconds=48)), [("mostly_silence", None)]),
        (replace(WELL, talk=Talk(speech_seconds=13, silence_seconds=47)), []),
        (replace(WELL, duration=20, talk=Talk(speech_seconds=1, silence_seconds=19)), []),
        (replace(WELL, channels=(DEAD,), talk=Talk(silence_seconds=60), options=Options("base")), [("no_speech", 1)]),
    ],
)
def test_each_fault_has_its_warning(found: Findings, expected: list[tuple[str, int | None]]) -> None:
    assert codes_of(found) == expected


def test_the_warning_of_bleed_has_its_channel_and_times() -> None:
    gone = Bleed(1, 12, (Span(3.001, 4), Span(50, 51.5)))
    message = "12 words of another channel were heard here too, fainter, and were taken out"

    assert warnings_of(replace(WELL, bleed=(gone,))) == (TranscriptWarning("bleed_removed", message, 1, 3.0, 51.5),)


def test_the_warning_of_clipping_says_how_much() -> None:
    [warning] = warnings_of(replace(WELL, levels=Levels((0.5, 0.1), (0.0312, 0), (None, None))))
    assert warning.message.startswith("3.1% of the samples are at full scale")


LOSSES = (Loss("damaged", 3.21), Loss("track", 60.0))


def test_the_warning_of_a_cut_off_recording_comes_first() -> None:
    clipped = TranscriptWarning("clipping", "loud", 0)
    transcript = Transcript("en", 0.9, 28.83, (), (), (clipped,))

    assert with_losses(transcript, None) is transcript
    [damaged, left_out] = with_losses(replace(transcript, warnings=()), None, LOSSES).warnings
    assert (damaged.code, damaged.message[:6]) == ("damaged", "3.2 s ")
    assert (left_out.code, left_out.message[:29]) == ("left_out", "An audio track of 60.0 s was ")
    [first, second] = with_losses(transcript, 57.669).warnings
    assert (first.code, second) == ("truncated", clipped)
    assert first.message == "The recording is cut off or damaged: it announces 57.7 s, and 28.8 s came out"
