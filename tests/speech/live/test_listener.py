"""A channel of a live call on the real model: its file grows, and its text comes in events."""

import asyncio
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise

import numpy as np
import pytest

from app.audio.pcm import SAMPLE_RATE, PcmFile
from app.process.places import Rank
from app.speech.batching.batcher import EngineStopped
from app.speech.engine import Engine
from app.speech.live.events import Away, Final, Partial, SpeechStarted, SpeechStopped, UtteranceEvent
from app.speech.live.listener import ChannelListener
from app.speech.live.passes import FINAL_PRIORITY, LivePass
from app.speech.model import ModelAway, no_trouble
from app.transcripts.transcript import Options
from testing.speech_samples import sample, samples
from tests.speech.conftest import Record, silence, speech

RANK = Rank(0, "crm", "default")


async def heard_in(
    engine: Engine, whole: PcmFile, options: Options, *, partial_ms: int | None = 1000, pause: float = 0.0
) -> Sequence[UtteranceEvent]:
    """Lets the file grow by a fifth of a second at a time, after a pause."""
    events: list[UtteranceEvent] = []
    content, growing = whole.path.read_bytes(), PcmFile(whole.path.with_suffix(".live"))
    growing.path.touch()
    listener = engine.listen(growing, 0, options, RANK, events.append, partial_ms=partial_ms)
    with growing.path.open("ab", buffering=0) as file:
        for start in range(0, len(content), SAMPLE_RATE * 2 // 5):
            file.write(content[start : start + SAMPLE_RATE * 2 // 5])
            listener.advance(growing.samples)
            await asyncio.sleep(pause)
    await listener.finish()
    listener.close()
    return events


def words_of(text: str) -> list[str]:
    return "".join(character for character in text.lower() if character.isalnum() or character == " ").split()


async def test_each_utterance_has_its_events_in_order(engine: Engine, record: Record) -> None:
    fox = speech(sample("en", "quick_brown_fox"))
    whole = record(silence(1), fox, silence(2), fox, silence(1))
    events = await heard_in(engine, whole, Options(model="base", language="en"), pause=0.1)
    kinds = [type(event) for event in events if not isinstance(event, Partial)]
    assert sorted(map(str, kinds)) == sorted(map(str, [SpeechStarted, SpeechStopped, Final] * 2))
    finals = [event for event in events if isinstance(event, Final)]
    assert [final.utterance for final in finals] == [0, 1]
    for final in finals:
        assert "quick brown fox" in final.text.lower()
        assert final.language == "en"
        assert final.start - 0.5 <= final.words[0].start
        assert final.words[-1].end <= final.end + 0.5
    partials = [event for event in events if isinstance(event, Partial)]
    assert partials
    for before, after in pairwise(partials):
        if before.utterance == after.utterance:
            assert after.text.startswith(before.text), "what is shown stays"


async def test_without_partials_only_final_texts_come(engine: Engine, record: Record) -> None:
    whole = record(speech(sample("en", "quick_brown_fox")), silence(1))
    events = await heard_in(engine, whole, Options(model="base", language="en"), partial_ms=None)
    assert not [event for event in events if isinstance(event, Partial)]
    assert len([event for event in events if isinstance(event, Final)]) == 1


async def test_the_language_is_detected(engine: Engine, record: Record) -> None:
    whole = record(speech(samples("es")[0]), silence(1))
    finals = [each for each in await heard_in(engine, whole, Options(model="base")) if isinstance(each, Final)]
    assert [final.language for final in finals] == ["es"]


async def test_silence_and_noise_without_speech_give_no_text(engine: Engine, record: Record) -> None:
    noise = np.random.default_rng(1).normal(0, 0.01, 3 * SAMPLE_RATE).astype(np.float32)
    events = await heard_in(engine, record(silence(3), noise, silence(1)), Options(model="base", language="en"))
    assert [each for each in events if isinstance(each, Final)] == []


async def test_a_listener_that_is_closed_says_nothing_more(engine: Engine, record: Record) -> None:
    whole = record(speech(sample("en", "quick_brown_fox")), silence(1))
    events: list[UtteranceEvent] = []
    listener = engine.listen(whole, 0, Options(model="base", language="en"), RANK, events.append)
    listener.advance(whole.samples)
    listener.close()
    listener.close()
    await listener.finish()
    assert events == []
    assert engine._batchers["base"]._lanes.small_size is None


async def test_jobs_go_on_beside_live_calls(engine: Engine, record: Record) -> None:
    fox = speech(sample("en", "quick_brown_fox"))
    options = Options(model="base", language="en")
    whole = record(*[fox, silence(1)] * 6)
    alone = await engine.transcribe([whole], options, lambda _: None)
    job = asyncio.create_task(engine.transcribe([whole], options, lambda _: None))
    events = await heard_in(engine, record(*[fox, silence(1)] * 3), options, pause=0.05)
    assert len([each for each in events if isinstance(each, Final)]) == 3
    assert (await job).text == alone.text


async def test_a_recording_that_is_gone_ends_the_text_and_nothing_else(
    engine: Engine, record: Record, caplog: pytest.LogCaptureFixture
) -> None:
    whole = record(speech(sample("en", "quick_brown_fox")), silence(1))
    listener = engine.listen(PcmFile(whole.path.with_suffix(".gone")), 0, Options(model="base"), RANK, lambda _: None)
    listener.advance(whole.samples)
    await listener.finish()
    assert engine.ready


def unheard(
    engine: Engine,
    whole: PcmFile,
    voices: ThreadPoolExecutor,
    submit: Callable[[LivePass], None],
    trouble: Callable[[], str | None] = no_trouble,
) -> tuple[ChannelListener, list[UtteranceEvent]]:
    """A listener to a whole channel, whose passes `submit` takes."""
    events: list[UtteranceEvent] = []
    options = Options(model="base", language="en")
    listener = ChannelListener(
        engine._models["base"].model,
        whole,
        0,
        options,
        RANK,
        events.append,
        submit,
        voices,
        lambda: None,
        silence_ms=500,
        partial_ms=None,
        trouble=trouble,
    )
    listener.advance(whole.samples)
    return listener, events


async def test_who_waits_for_the_end_can_give_up(engine: Engine, record: Record) -> None:
    whole = record(speech(sample("en", "quick_brown_fox")), silence(1))
    submitted = asyncio.Event()
    with ThreadPoolExecutor(1) as voices:
        listener, _ = unheard(engine, whole, voices, lambda _: submitted.set())
        waiting = asyncio.create_task(listener.finish())
        await submitted.wait()
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        listener.close()
        await listener.finish()


async def test_a_model_that_is_away_is_reported_with_the_utterance(
    engine: Engine, record: Record, caplog: pytest.LogCaptureFixture
) -> None:
    whole = record(speech(sample("en", "quick_brown_fox")), silence(1))
    with ThreadPoolExecutor(1) as voices:
        listener, events = unheard(engine, whole, voices, lambda work: work.fail(ModelAway("it answered 502")))
        await listener.finish()
        assert [type(event) for event in events] == [SpeechStarted, SpeechStopped, Away]
        assert "live.pass_failed" not in caplog.messages


async def test_a_model_in_trouble_is_reported_before_its_pass_ends(engine: Engine, record: Record) -> None:
    whole = record(speech(sample("en", "quick_brown_fox")), silence(1))
    submitted = asyncio.Event()
    with ThreadPoolExecutor(1) as voices:
        listener, events = unheard(engine, whole, voices, lambda _: submitted.set(), lambda: "it answered 502")
        finishing = asyncio.create_task(listener.finish())
        await submitted.wait()
        assert [type(event) for event in events] == [SpeechStarted, SpeechStopped, Away]
        listener.close()
        await finishing


async def test_an_engine_that_stops_ends_the_text_and_not_the_call(engine: Engine, record: Record) -> None:
    def refuse(_: LivePass) -> None:
        raise EngineStopped

    whole = record(speech(sample("en", "quick_brown_fox")), silence(1))
    voices = ThreadPoolExecutor(1)
    listener, events = unheard(engine, whole, voices, refuse)
    await listener.finish()
    assert [type(event) for event in events] == [SpeechStarted, SpeechStopped]
    listener, events = unheard(engine, whole, voices, refuse)
    voices.shutdown()
    await listener.finish()
    assert events == []
    block = threading.Event()
    voices = ThreadPoolExecutor(1)
    voices.submit(block.wait)
    listener, events = unheard(engine, whole, voices, refuse)
    waiting = asyncio.create_task(listener.finish())
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    voices.shutdown(wait=False, cancel_futures=True)
    block.set()
    await waiting
    assert events == []


async def test_words_that_were_told_stay_if_the_model_fails(engine: Engine, record: Record) -> None:
    fox = speech(sample("en", "quick_brown_fox"))
    options = Options(model="base", language="en")
    events: list[UtteranceEvent] = []
    whole = record(fox, silence(1))
    growing = PcmFile(whole.path.with_suffix(".live"))
    content = whole.path.read_bytes()
    growing.path.touch()
    listener = engine.listen(growing, 0, options, RANK, events.append)
    submit = listener._submit

    def fail_final(work: LivePass) -> None:
        submit(work)
        if work.rank.priority == FINAL_PRIORITY:
            work.fail(ValueError("broken"))

    listener._submit = fail_final
    with growing.path.open("ab", buffering=0) as file:
        for start in range(0, len(content), SAMPLE_RATE // 2):
            file.write(content[start : start + SAMPLE_RATE // 2])
            listener.advance(growing.samples)
            await until_idle(listener)
    await listener.finish()
    listener.close()
    partials = [event for event in events if isinstance(event, Partial)]
    assert [event.text for event in events if isinstance(event, Final)] == [partials[-1].text]


async def until_idle(listener: ChannelListener) -> None:
    """Until the listener has heard what it was given, and has no pass under way."""
    while listener._hearing is not None or listener._passes is not None:
        await asyncio.wait([task for task in (listener._hearing, listener._passes) if task is not None])


async def test_a_final_text_holds_the_whole_utterance_although_it_is_begun_in_a_pause(
    engine: Engine, record: Record
) -> None:
    """The speaker pauses for 0.35 s: long enough to begin the final text early, and too short to end the utterance."""
    fox = speech(sample("en", "quick_brown_fox"))
    spoken = fox[np.abs(fox) > 0.01]
    cut = np.flatnonzero(np.abs(fox) > 0.01)[len(spoken) // 2]
    whole = record(silence(0.5), fox[:cut], silence(0.35), fox[cut:], silence(1))
    events = await heard_in(engine, whole, Options(model="base", language="en"), pause=0.1)
    finals = [event for event in events if isinstance(event, Final)]
    assert [final.utterance for final in finals] == list(range(len(finals)))
    text = " ".join(final.text for final in finals).lower()
    assert "brown fox" in text
    assert "dog" in text
