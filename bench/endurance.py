"""What holds however long it lasts: memory, a short call's turn beside a long one, and no words where nobody speaks.

.venv/bin/python -m bench.endurance [wordless] [beside] [long] [many]
"""

import argparse
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import numpy as np
import psutil

from bench.compose import conversation, wordless, written
from bench.measure import Meter, resident_mib
from bench.ours import transcript_of
from bench.sources import RATE, Sentence, sentences
from bench.work import MODEL
from tests.service import Service, serving

WORDLESS_SECONDS = 600
SHORT_SECONDS, TWO_HOURS, FOUR_HOURS = 30, 2 * 3600, 4 * 3600
MANY, MANY_SECONDS = 500, 15
TRIES = 5
PIECE_SECONDS = 240  # of a long call, which repeats itself: there is not speech enough


def say_wordless(service: Service, folder: Path) -> None:
    """The words heard in ten minutes each of what is not speech, on the model and settings of the other benchmarks."""
    for call in wordless(folder, WORDLESS_SECONDS):
        transcript = transcript_of(service, service.create(call.path.read_bytes()))
        print(f"{call.path.stem}: {WORDLESS_SECONDS} s, {len(transcript['text'].split())} words", flush=True)


def say_beside(service: Service, folder: Path) -> None:
    """How long a short call takes by itself, and while a long one is transcribed."""
    short = _call(folder / "short.wav", SHORT_SECONDS)
    alone = [_timed(service, short) for _ in range(TRIES)]
    long = service.create(_call(folder / "long.wav", TWO_HOURS).read_bytes(), channels="split")
    service.running(long)
    while not service.read(long["links"]["self"])["progress"]:
        time.sleep(1)
    beside = [_timed(service, short) for _ in range(TRIES)]
    status = service.read(long["links"]["self"])["status"]
    assert status == "in_progress", f"the long call is {status} already"
    service.client.delete(long["links"]["self"]).raise_for_status()
    base = float(np.median(alone))
    print(f"a call of {SHORT_SECONDS} s alone: median {base:.2f} s of {_seconds(alone)}")
    print(f"beside one of two hours: {_seconds(beside)}; mean {np.mean(beside) / base:.2f}, ", end="")
    print(f"worst {max(beside) / base:.2f} times as long", flush=True)


def say_long(service: Service, folder: Path) -> None:
    """The service's memory while it transcribes four hours of two channels."""
    recording = _call(folder / "four-hours.wav", FOUR_HOURS)
    with _measured(service, "a call of four hours"):
        transcript_of(service, service.create(recording.read_bytes(), channels="split"))


def say_many(service: Service, folder: Path) -> None:
    """The service's memory over hundreds of jobs that wait together."""
    recording = _call(folder / "one-of-many.wav", MANY_SECONDS).read_bytes()
    with _measured(service, f"{MANY} calls of {MANY_SECONDS} s"):
        jobs = [service.create(recording, channels="split") for _ in range(MANY)]
        for job in jobs:
            transcript_of(service, job)


SCENARIOS: Final[dict[str, Callable[[Service, Path], None]]] = {
    "wordless": say_wordless,
    "beside": say_beside,
    "long": say_long,
    "many": say_many,
}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.endurance", description=__doc__)
    parser.add_argument("scenarios", nargs="*", metavar="scenario", help=", ".join(SCENARIOS))
    chosen: Sequence[str] = parser.parse_args().scenarios or tuple(SCENARIOS)
    for name in chosen:
        if name not in SCENARIOS:
            parser.error(f"{name} is none of {', '.join(SCENARIOS)}")
    for name in chosen:
        with (
            tempfile.TemporaryDirectory(prefix="callscribe-bench-") as folder,
            serving(Path(folder) / "data", MODEL=MODEL, DEVICE="cpu") as service,
        ):
            SCENARIOS[name](service, Path(folder))


def _call(path: Path, seconds: float) -> Path:
    """A stereo call in English."""
    spoken: list[Sentence] = [each for each in sentences()[0] if each.language == "en"]
    audio, _ = conversation(spoken, min(seconds, PIECE_SECONDS), np.random.default_rng(1))
    samples = round(seconds * RATE)
    return written(path, np.tile(audio, (1, -(-samples // audio.shape[1])))[:, :samples])


def _timed(service: Service, recording: Path) -> float:
    started = time.perf_counter()
    transcript_of(service, service.create(recording.read_bytes(), channels="split"))
    return time.perf_counter() - started


@contextmanager
def _measured(service: Service, what: str) -> Iterator[None]:
    process = psutil.Process(service.process.pid)
    idle = resident_mib(process)
    with Meter([process]) as meter:
        yield
    after = resident_mib(process)
    print(f"{what}: {meter.wall_seconds:.0f} s; memory {idle:.0f} MiB idle before, ", end="")
    print(f"{meter.peak_mib:.0f} at most, {after:.0f} after", flush=True)


def _seconds(values: Sequence[float]) -> str:
    return " ".join(f"{value:.2f}" for value in values)


if __name__ == "__main__":
    main()
