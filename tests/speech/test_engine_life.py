"""The engine is loaded and closed, and an error in one recording does not disturb the others."""

import asyncio
import logging
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from threading import Event

import pytest

from app.audio.pcm import PcmFile
from app.speech.batching.batcher import EngineStopped
from app.speech.call import assemble, segments
from app.speech.engine import Engine, EngineConfig
from app.speech.model import DEFAULT_BEAM_SIZE, Care, DeviceChoice, ModelUnavailable
from app.speech.whisper import recognizing, weights
from app.speech.whisper.device import find_device
from app.transcripts.transcript import Options, Segment, Transcript
from testing.hearing import COUNTING, FEW, FOX, HELLO, Heard, error_rate, ignore
from tests.speech.conftest import Record, speech


async def test_a_cancelled_recording_does_not_disturb_the_others(engine: Engine, record: Record) -> None:
    long = record(*[speech(part) for part in (FOX, COUNTING, HELLO)] * 10)
    heard = Heard()
    cancelled = asyncio.create_task(engine.transcribe([long], Options(model="base"), heard))
    await heard.any.wait()
    cancelled.cancel()
    with pytest.raises(asyncio.CancelledError):
        await cancelled
    long.path.unlink()
    reports = len(heard.progress)

    transcript = await engine.transcribe([record(speech(FOX))], Options(model="base"), ignore)

    assert error_rate(FOX.text, transcript.text) <= FEW
    assert len(heard.progress) == reports


async def test_only_the_recording_that_is_missing_fails(engine: Engine, record: Record, tmp_path: Path) -> None:
    lost, found = await asyncio.gather(
        engine.transcribe([PcmFile(tmp_path / "none.pcm")], Options(model="base"), ignore),
        engine.transcribe([record(speech(FOX))], Options(model="base"), ignore),
        return_exceptions=True,
    )

    assert isinstance(lost, FileNotFoundError)
    assert not isinstance(found, BaseException)


async def test_only_the_transcript_that_cannot_be_assembled_fails(
    engine: Engine, record: Record, monkeypatch: pytest.MonkeyPatch
) -> None:
    def segments_of(
        heard: Iterable[segments.Heard], labels: Mapping[int, str], *, with_words: bool
    ) -> tuple[Segment, ...]:
        if "broken" in labels.values():
            raise ValueError(labels)
        return segments.segments_of(heard, labels, with_words=with_words)

    monkeypatch.setattr(assemble, "segments_of", segments_of)
    broken, whole = await asyncio.gather(
        *(
            engine.transcribe(
                [record(speech(FOX))], Options(model="base", language="en", channel_labels=(label,)), ignore
            )
            for label in ("broken", "whole")
        ),
        return_exceptions=True,
    )

    assert isinstance(broken, ValueError)
    assert isinstance(whole, Transcript)
    assert error_rate(FOX.text, whole.text) <= FEW


async def test_recordings_are_recognized_while_a_transcript_is_assembled(
    engine: Engine, record: Record, monkeypatch: pytest.MonkeyPatch
) -> None:
    others_are_heard = Event()

    def segments_of(
        heard: Iterable[segments.Heard], labels: Mapping[int, str], *, with_words: bool
    ) -> tuple[Segment, ...]:
        if "first" in labels.values():
            assert others_are_heard.wait(120)
        return segments.segments_of(heard, labels, with_words=with_words)

    async def transcribe(label: str) -> Transcript:
        options = Options(model="base", language="en", channel_labels=(label,))
        return await engine.transcribe([record(speech(HELLO))], options, ignore)

    monkeypatch.setattr(assemble, "segments_of", segments_of)
    first = asyncio.create_task(transcribe("first"))
    await asyncio.gather(*(transcribe(f"other {number}") for number in range(3)))
    others_are_heard.set()

    assert (await first).segments[0].speaker == "first"


async def test_closing_ends_unfinished_jobs(config: EngineConfig, record: Record) -> None:
    engine = Engine(config)
    assert not engine.ready
    engine.load()
    assert engine.ready
    waiting = asyncio.create_task(
        engine.transcribe(
            [record(*[speech(part) for part in (FOX, COUNTING, HELLO)] * 10)],
            Options(model="base", language="en"),
            ignore,
        )
    )
    await asyncio.sleep(0)

    await asyncio.to_thread(engine.close)

    with pytest.raises(EngineStopped):
        await waiting
    assert not engine.ready


@pytest.mark.parametrize(
    ("care", "speech_seconds", "context_seconds"),
    [
        ("full", 0.5, 15),
        ("full", 13, 15),
        ("full", 13.1, 20),
        ("full", 18, 20),
        ("full", 19, 20),
        ("draft", 1, 4),
        ("draft", 9.1, 15),
        ("quick", 1, 12),
        ("quick", 9.1, 15),
    ],
)
def test_a_window_gets_the_shortest_context_that_ends_in_silence(
    engine: Engine, models_dir: Path, care: Care, speech_seconds: float, context_seconds: int
) -> None:
    assert engine.ready
    base = recognizing.load(
        weights.fetch("base", models_dir), find_device(DeviceChoice("cpu", (), "auto")), DEFAULT_BEAM_SIZE
    )
    assert base.whisper.context_seconds(speech_seconds, care) == context_seconds


def test_a_missing_model_stops_the_load(models_dir: Path) -> None:
    engine = Engine(EngineConfig(models=("no-such-model",), models_dir=models_dir))

    with pytest.raises(ModelUnavailable, match="no-such-model"):
        engine.load()


@pytest.mark.parametrize("change", [{"device": "cuda"}, {"compute_type": "int9"}])
def test_the_error_for_a_machine_that_cannot_run_a_model_is_one_text_line(
    config: EngineConfig, change: dict[str, str]
) -> None:
    with pytest.raises(ModelUnavailable, match=r"cuda|int9") as raised:
        Engine(replace(config, **change)).load()  # type: ignore[arg-type]

    assert "\n" not in str(raised.value)


def test_a_folder_without_a_model_is_refused(config: EngineConfig, tmp_path: Path) -> None:
    (tmp_path / "model.bin").write_bytes(b"no weights")

    with pytest.raises(ModelUnavailable, match="cannot be loaded"):
        Engine(replace(config, models=(str(tmp_path),))).load()


@pytest.fixture
def english_only(models_dir: Path, tmp_path: Path) -> Callable[[str], EngineConfig]:
    """Makes a configuration that serves `tiny.en` from a folder with the given name."""

    def config(name: str) -> EngineConfig:
        (tmp_path / name).symlink_to(weights.fetch("tiny.en", models_dir))
        return EngineConfig((str(tmp_path / name),), models_dir, device="cpu")

    return config


def test_an_english_only_model_with_another_name_is_refused(english_only: Callable[[str], EngineConfig]) -> None:
    with pytest.raises(ModelUnavailable, match=r"ours' knows English only.* ends in \.en$"):
        Engine(english_only("ours")).load()


def test_an_english_only_model_whose_name_ends_in_en_is_loaded(
    english_only: Callable[[str], EngineConfig], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "app.speech")
    engine = Engine(english_only("ours.en"))

    engine.load()

    [message] = [record.getMessage() for record in caplog.records]
    assert "ours.en loaded on cpu as int8" in message
    assert engine.ready
    engine.close()
