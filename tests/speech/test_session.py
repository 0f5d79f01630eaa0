"""The state of one recording while the engine works on it."""

import gc
import weakref
from collections.abc import Callable

import pytest

from app.errors import GpuOutOfMemory
from app.process.places import Rank
from app.speech.call.assemble import Call, ReadChannel
from app.speech.session import Session
from app.speech.windows.cutting import Piece, Window
from app.speech.windows.levels import measure
from app.transcripts.transcript import Channel, Options
from testing.hearing import ignore
from tests.speech.conftest import Record, silence
from tests.speech.test_model import Metronome

CHANNEL = ReadChannel(Channel(0, "speaker", None, None, 0.0), [])


def window(start: float, end: float) -> Window:
    return Window((Piece(round(start * 16_000), round(end * 16_000)),))


@pytest.fixture
def session(record: Record) -> Callable[..., Session]:
    """A session on ten seconds of one channel."""

    def make(report: Callable[[float], None] = ignore) -> Session:
        pcm = record(silence(10) + 0.1)
        call = Call((pcm,), Options("metronome"), measure([pcm]), pcm.duration_seconds)
        return Session(Metronome(), call, Rank(), report)

    return make


def test_progress_never_falls_and_reaches_one_at_the_end_of_the_channel(session: Callable[..., Session]) -> None:
    reported: list[float] = []
    job = session(reported.append)
    job.found([window(0, 3)], seconds_read=9)
    job.settle(window(0, 3), None, None, [])
    job.found([window(3, 9)], seconds_read=1)
    job.channel_read(CHANNEL)
    job.settle(window(3, 9), None, None, [])
    assert reported == sorted(reported)
    assert reported[-1] == 1.0


def test_a_channel_without_speech_is_done_when_it_is_read(session: Callable[..., Session]) -> None:
    reported: list[float] = []
    job = session(reported.append)
    job.found([], seconds_read=10)
    job.channel_read(CHANNEL)
    assert (reported, job.ended) == ([1.0], True)


def test_a_failed_session_keeps_no_batch_in_memory(session: Callable[..., Session]) -> None:
    class Batch:
        pass

    def run_out_of_memory() -> None:
        batch = Batch()
        kept.append(weakref.ref(batch))
        raise RuntimeError("CUDA out of memory")

    kept: list[weakref.ref[Batch]] = []
    job = session()
    try:
        try:
            run_out_of_memory()
        except RuntimeError as error:
            raise GpuOutOfMemory from error
    except GpuOutOfMemory as error:
        job.fail(error)
    gc.collect()
    assert isinstance(job.result.exception(), GpuOutOfMemory)
    assert kept[0]() is None
