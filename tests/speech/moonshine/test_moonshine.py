"""Moonshine with its real weights: alone, and beside Whisper in one engine."""

import asyncio
import subprocess
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from app.audio.pcm import SAMPLE_RATE
from app.speech.engine import Engine, EngineConfig
from app.speech.families import Families
from app.speech.model import DeviceChoice, ModelUnavailable, Samples, TextRequest, WindowRequest
from app.speech.moonshine import model, weights
from app.speech.moonshine.model import Moonshine
from app.speech.moonshine.weights import NAME
from app.speech.timed_text import TimedText
from app.speech.whisper.recognizing import WhisperRecognizer
from app.transcripts.transcript import Options
from testing.hearing import COUNTING, FEW, FOX, HELLO, error_rate, ignore
from testing.speech_samples import samples
from tests.speech.conftest import Record, noise, silence, speech

pytestmark = pytest.mark.skipif(weights.folder() is None, reason="there is no wheel of Moonshine for this machine")
SAID = (FOX, HELLO)


@pytest.fixture(scope="module")
def moonshine() -> Moonshine:
    return model.load(weights.fetch())


def texts(moonshine: Moonshine, *windows: Samples, attempt: int = 0) -> list[str]:
    return [
        written.text for written in moonshine.write([(TextRequest("en", attempt=attempt), each) for each in windows])
    ]


def test_each_window_of_a_batch_gets_its_own_text(moonshine: Moonshine) -> None:
    written = texts(moonshine, *(speech(said) for said in SAID))
    for said, text in zip(SAID, written, strict=True):
        assert error_rate(said.text, text) <= FEW


@pytest.mark.parametrize("window", [silence(0.001), silence(1), silence(28), noise(28)])
def test_nothing_is_written_where_nobody_speaks(moonshine: Moonshine, window: Samples) -> None:
    assert texts(moonshine, window) == [""]


@pytest.mark.parametrize("attempt", [0, 1])
def test_each_attempt_writes_a_window_to_its_end(moonshine: Moonshine, attempt: int) -> None:
    said = [each for each in samples("en") if each != COUNTING]
    window = np.concatenate([part for each in said for part in (speech(each), silence(0.5))])[: 28 * SAMPLE_RATE]
    assert error_rate(" ".join(each.text for each in said), texts(moonshine, window, attempt=attempt)[0]) <= FEW


def test_threads_may_call_at_the_same_time_and_the_model_starts_none(moonshine: Moonshine) -> None:
    windows = [speech(said) for said in SAID]
    alone = texts(moonshine, *windows)
    with ThreadPoolExecutor(3) as threads:
        together = list(threads.map(lambda _: texts(moonshine, *windows), range(3)))
    assert together == [alone] * 3


def test_the_model_starts_no_threads() -> None:
    """Its wheel is only for Linux, so the threads can be counted there."""
    program = (
        "import os, numpy\n"
        "from app.speech.moonshine import model, weights\n"
        "before = len(os.listdir('/proc/self/task'))\n"
        "model.load(weights.fetch())\n"
        "print(len(os.listdir('/proc/self/task')) - before)"
    )
    assert subprocess.check_output([sys.executable, "-c", program], text=True).strip() == "0"


def test_a_missing_wheel_is_named_with_the_command_that_installs_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(weights, "PACKAGE", "a_wheel_that_is_not_installed")
    families = Families()
    assert NAME not in families.bundled()
    assert families.examine(NAME, tmp_path) is None
    assert families.locate(NAME, tmp_path) is None
    with pytest.raises(ModelUnavailable, match=r"pip install 'callscribe\[moonshine\]'"):
        families.check(NAME, DeviceChoice())
    with pytest.raises(ModelUnavailable, match=r"pip install 'callscribe\[moonshine\]'"):
        families.fetch(NAME, tmp_path)


def test_weights_that_differ_from_those_of_the_wheel_are_not_loaded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    families = Families()
    found = families.examine(NAME, tmp_path)
    assert found is not None
    assert (found.damage, found.compared_with) == ("", "the SHA-256 of moonshine-cpp 0.1.4")
    for name in weights.SHA256:
        (tmp_path / name).write_bytes((found.folder / name).read_bytes())
    (tmp_path / weights.VOCABULARY).write_bytes(b"other")
    monkeypatch.setattr(weights, "folder", lambda: tmp_path)
    with pytest.raises(ModelUnavailable, match="tokenizer"):
        families.fetch(NAME, tmp_path)


def test_its_model_is_listed_and_says_what_it_can_do() -> None:
    families = Families()
    abilities = families.abilities(NAME)
    assert NAME in families.bundled()
    assert (abilities.family, abilities.languages) == ("moonshine", ("en",))
    assert (abilities.translates, abilities.words, abilities.prompt) == (False, True, False)
    assert families.abilities("base").family == "whisper"


@pytest.fixture(scope="module")
def both(models_dir: Path) -> Iterator[Engine]:
    engine = Engine(EngineConfig(models=("base", NAME), models_dir=models_dir))
    engine.load()
    yield engine
    engine.close()


async def test_its_words_get_the_times_of_their_sound(both: Engine, record: Record) -> None:
    call = record(silence(2), speech(FOX), silence(8), speech(HELLO), silence(2))
    transcripts = [
        await both.transcribe([call], Options(name, word_timestamps=True), ignore) for name in ("base", NAME)
    ]

    for transcript in transcripts:
        assert error_rate(f"{FOX.text} {HELLO.text}", transcript.text) <= FEW
        assert (transcript.language, transcript.warnings) == ("en", ())
    starts, own = ([segment.words[0].start for segment in each.segments if segment.words] for each in transcripts)
    assert starts == pytest.approx(own, abs=0.2)


async def test_two_families_under_load_advance_side_by_side_and_share_no_batch(
    both: Engine, record: Record, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Recordings of both models wait from the start. Neither model waits until the other is done."""
    batches: list[tuple[str, set[str]]] = []

    def noting(family: type) -> None:
        recognize = family.recognize  # type: ignore[attr-defined]

        def noted(self: object, batch: Sequence[tuple[WindowRequest, Samples]]) -> object:
            batches.append((family.__name__, {request.options.model for request, _ in batch}))
            return recognize(self, batch)

        monkeypatch.setattr(family, "recognize", noted)

    noting(TimedText)
    noting(WhisperRecognizer)
    asked = [(said, name) for said in (FOX, HELLO) * 3 for name in ("base", NAME)]
    transcripts = await asyncio.gather(
        *(
            both.transcribe([record(speech(said), silence(1))], Options(name, language="en"), ignore)
            for said, name in asked
        )
    )

    for (said, _), transcript in zip(asked, transcripts, strict=True):
        assert error_rate(said.text, transcript.text) <= FEW
    assert {(family, *models) for family, models in batches} == {("TimedText", NAME), ("WhisperRecognizer", "base")}
    half = [family for family, _ in batches[: len(batches) // 2 + 1]]
    assert {"TimedText", "WhisperRecognizer"} == set(half)
