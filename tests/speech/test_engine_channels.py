"""The engine on calls of several channels, with the real `base`."""

from collections.abc import Mapping, Sequence
from threading import Event

import numpy as np
import pytest

from app.audio.pcm import SAMPLE_RATE
from app.speech.engine import Engine
from app.speech.reader import SURE_SHARE
from app.speech.session import Session
from app.speech.whisper.adapter import Whisper
from app.speech.whisper.encoded import Encoded
from app.transcripts.dialogue import turns
from app.transcripts.transcript import Options
from app.transcripts.voice import heard_turns
from testing.hearing import COUNTING, FEW, FOX, HELLO, error_rate, ignore
from testing.speech_samples import sample
from tests.speech.conftest import Record, Samples, hold_music, ringing, silence, speech, telephone

DOUBT = {"pl": 0.4, "pt": 0.35, "es": 0.25}


async def test_each_channel_has_its_speaker_and_its_language(engine: Engine, record: Record) -> None:
    agent = record(speech(FOX), silence(8))
    customer = record(silence(5), speech(sample("pt", "pangrama")))
    options = Options(model="base", channels="split", channel_labels=("agent",))

    transcript = await engine.transcribe([agent, customer], options, ignore)

    assert [(channel.label, channel.language) for channel in transcript.channels] == [
        ("agent", "en"),
        ("channel_1", "pt"),
    ]
    assert {(segment.speaker, segment.language) for segment in transcript.segments} == {
        ("agent", "en"),
        ("channel_1", "pt"),
    }
    assert transcript.duration == agent.duration_seconds


def decide_after_spanish_was_heard(monkeypatch: pytest.MonkeyPatch) -> None:
    """Makes a window in doubt wait until its call has a vote for Spanish, because two threads read the channels."""
    vote, was_heard = Session.vote, Event()

    def vote_in_order(session: Session, probabilities: Mapping[str, float], seconds: float) -> None:
        if probabilities == DOUBT:
            assert was_heard.wait(60)
        vote(session, probabilities, seconds)
        if probabilities != DOUBT:
            was_heard.set()

    monkeypatch.setattr(Session, "vote", vote_in_order)


async def test_a_channel_whose_language_is_in_doubt_gets_the_language_of_the_call(
    engine: Engine, record: Record, monkeypatch: pytest.MonkeyPatch
) -> None:
    detect = Whisper.detect_languages

    def sure_of_spanish_only(whisper: Whisper, encoded: Encoded, rows: Sequence[int]) -> list[dict[str, float]]:
        return [found if found.get("es", 0) > 0.5 else DOUBT for found in detect(whisper, encoded, rows)]

    monkeypatch.setattr(Whisper, "detect_languages", sure_of_spanish_only)
    doubtful = speech(sample("pl", "witaj_swiecie"))
    alone = await engine.transcribe([record(doubtful)], Options(model="base", channels="split"), ignore)
    agent = record(*[speech(sample("es", "conteo"))] * 3)
    customer = record(silence(100), doubtful)
    decide_after_spanish_was_heard(monkeypatch)

    together = await engine.transcribe([agent, customer], Options(model="base", channels="split"), ignore)

    assert alone.channels[0].language == "pl"
    assert (alone.channels[0].language_probability or 1) < SURE_SHARE
    assert [channel.language for channel in together.channels] == ["es", "es"]


async def test_identical_channels_are_transcribed_once(engine: Engine, record: Record) -> None:
    channels = [record(speech(FOX)), record(0.5 * speech(FOX))]
    options = Options(model="base", channels="split", channel_labels=("agent", "customer"))

    transcript = await engine.transcribe(channels, options, ignore)

    assert error_rate(FOX.text, transcript.text) <= FEW
    assert {(segment.channel, segment.speaker) for segment in transcript.segments} == {(0, "speaker")}
    assert [(channel.label, channel.language) for channel in transcript.channels] == [
        ("agent", "en"),
        ("customer", "en"),
    ]
    assert [(warning.code, warning.channel) for warning in transcript.warnings] == [("channels_identical", 1)]


async def test_bleed_is_removed_from_the_wrong_channel(engine: Engine, record: Record) -> None:
    agent = np.concatenate([speech(FOX), silence(6)])
    customer = np.concatenate([silence(len(agent) / SAMPLE_RATE - 4), speech(COUNTING), silence(4)])[: len(agent)]
    channels = [record(agent + 0.2 * customer), record(customer + 0.2 * agent)]
    options = Options(model="base", channels="split", channel_labels=("agent", "customer"), language="en")

    transcript = await engine.transcribe(channels, options, ignore)

    assert [turn.speaker for turn in turns(transcript.segments)] == ["agent", "customer"]
    agents = " ".join(segment.text for segment in transcript.segments if segment.speaker == "agent")
    assert error_rate(FOX.text, agents) <= FEW
    assert {(warning.code, warning.channel) for warning in transcript.warnings} == {
        ("bleed_removed", 0),
        ("bleed_removed", 1),
    }
    assert (transcript.talk.overlaps, transcript.talk.interruptions) == (0, 0)


async def test_a_silent_channel_and_a_channel_without_speech_have_warnings(engine: Engine, record: Record) -> None:
    channels = [record(speech(FOX)), record(silence(2)), record(ringing(2))]

    transcript = await engine.transcribe(channels, Options(model="base", channels="split"), ignore)

    assert [(warning.code, warning.channel) for warning in transcript.warnings] == [
        ("channel_silent", 1),
        ("no_speech", 2),
    ]


async def test_a_mono_recording_is_not_split_and_its_speaker_has_no_name(engine: Engine, record: Record) -> None:
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


async def test_the_facts_of_a_composed_call_are_those_that_it_was_composed_of(engine: Engine, record: Record) -> None:
    """The agent speaks, the customer answers after 2 s, and the agent begins 1.5 s before the customer has ended."""
    fox, counting = voiced(speech(FOX)), voiced(speech(COUNTING))
    answered = seconds(fox) + 2
    interrupted = answered + seconds(counting) - 1.5
    later = interrupted + seconds(fox) + 1
    end = later + seconds(fox) + 1
    agent = laid_out(end, (0, fox), (interrupted, fox), (later, fox))
    customer = laid_out(end, (answered, counting * np.float32(0.5)))
    options = Options(model="base", channels="split", language="en")

    transcript = await engine.transcribe([record(telephone(agent)), record(telephone(customer))], options, ignore)

    talk = transcript.talk
    (overlap,) = talk.overlap_instances or ()
    assert (talk.overlaps, talk.interruptions) == (1, 1)
    assert (overlap.channel, overlap.over, overlap.is_interruption) == (0, (1,), True)
    assert (overlap.start, overlap.end) == pytest.approx((interrupted, interrupted + 1.5), abs=0.3)
    agent_talk, customer_talk = talk.channels
    assert customer_talk.longest_response is not None
    assert customer_talk.longest_response.start == pytest.approx(seconds(fox), abs=0.3)
    assert customer_talk.median_response_seconds == pytest.approx(2, abs=0.5)
    assert agent_talk.median_response_seconds == 0
    assert agent_talk.words == pytest.approx(3 * len(FOX.text.split()), abs=4)
    assert agent_talk.words_per_minute == pytest.approx(len(FOX.text.split()) * 60 / seconds(fox), rel=0.25)
    first, second, *_ = heard_turns(transcript)
    assert first.loudness_dbfs is not None
    assert second.loudness_dbfs is not None
    assert first.loudness_dbfs - second.loudness_dbfs == pytest.approx(
        20 * np.log10(np.std(fox) / np.std(counting / 2)), abs=3
    )
    assert first.pitch is not None
    assert first.pitch.hertz == pytest.approx(200, abs=20)


def seconds(samples: Samples) -> float:
    return len(samples) / SAMPLE_RATE


def voiced(samples: Samples) -> Samples:
    """The samples without the silence at both ends."""
    loud = np.flatnonzero(np.abs(samples) > 0.02)
    return samples[loud[0] : loud[-1] + 1]


def laid_out(length: float, *parts: tuple[float, Samples]) -> Samples:
    """A channel of `length` seconds in which each part begins at its time."""
    channel = silence(length)
    for start, samples in parts:
        first = round(start * SAMPLE_RATE)
        channel[first : first + len(samples)] += samples
    return channel


async def test_one_track_has_loudness_and_words_but_no_pitch(engine: Engine, record: Record) -> None:
    transcript = await engine.transcribe([record(speech(FOX))], Options(model="base", language="en"), ignore)

    (channel,) = transcript.talk.channels
    (turn, *_) = heard_turns(transcript)
    assert channel.words == pytest.approx(len(FOX.text.split()), abs=2)
    assert channel.loudness_dbfs is not None
    assert len(channel.loudness_dbfs) == -(-transcript.duration // 1)
    assert turn.loudness_dbfs == pytest.approx(20 * np.log10(np.std(voiced(speech(FOX)))), abs=3)
    assert (channel.pitch_hertz, turn.pitch, channel.longest_response) == (None, None, None)


async def test_the_words_of_a_translation_say_nothing_about_the_speed_of_speech(engine: Engine, record: Record) -> None:
    options = Options(model="base", language="es", task="translate")

    transcript = await engine.transcribe([record(speech(sample("es", "pangrama")))], options, ignore)

    assert [(each.words, each.words_per_minute) for each in transcript.talk.channels] == [(None, None)]


async def test_a_call_without_sound_has_no_facts_about_voices(engine: Engine, record: Record) -> None:
    transcript = await engine.transcribe([record(silence(3)), record(silence(2))], Options(model="base"), ignore)

    for channel in transcript.talk.channels:
        assert channel.loudness_dbfs == [-96] * 3
        assert (channel.words, channel.words_per_minute, channel.pitch_hertz) == (0, None, None)
    assert transcript.talk.overlap_instances == ()
