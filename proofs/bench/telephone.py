"""Ways of making telephone speech ready for the engine, compared by its word errors over several lines:

    .venv/bin/python -m proofs.bench.telephone [--every 4] [--ways WAY …] [--lines LINE …]

Every way gets the same recordings. `--every 4` takes each fourth of them, for a first look.
"""

import argparse
import asyncio
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import jiwer
import numpy as np
from numpy.typing import NDArray

from app.audio.pcm import PcmFile
from app.speech.engine import Engine, EngineConfig
from app.transcripts.transcript import Options
from proofs.bench.lines import LINES, Recording, recordings
from proofs.bench.scoring import normalizer
from proofs.bench.sources import Samples
from proofs.bench.ways import TODAY, WAYS
from proofs.bench.work import MODEL

DRAWS = 5000
SURE = (2.5, 97.5)  # percentiles
Scores = Mapping[tuple[str, str], "Score"]
"""By way and line."""


@dataclass(frozen=True)
class Score:
    """Of each recording: the words that are wrong, missing or too many, and those of the reference."""

    errors: NDArray[np.int64]
    words: NDArray[np.int64]

    @property
    def rate(self) -> float:
        return float(self.errors.sum() / self.words.sum())


def joined(scores: Sequence[Score]) -> Score:
    """Of recordings over several lines, taken as one each."""
    return Score(np.sum([each.errors for each in scores], axis=0), np.sum([each.words for each in scores], axis=0))


def gain(way: Score, today: Score) -> tuple[float, float, float]:
    """By how much more is wrong than today, as a share of the words, and where that surely lies: a paired bootstrap."""
    drawn = np.random.default_rng(0).integers(0, len(today.words), (DRAWS, len(today.words)))
    more = (way.errors - today.errors)[drawn].sum(axis=1) / today.words[drawn].sum(axis=1)
    least, most = np.percentile(more, SURE)
    return way.rate - today.rate, float(least), float(most)


class Listener:
    """The engine, for recordings that were sent over a line and made ready in some way."""

    def __init__(self, engine: Engine, spoken: Sequence[Recording], folder: Path) -> None:
        self._engine = engine
        self._spoken = spoken
        self._folder = folder

    async def scores(self, ways: Sequence[str], lines: Sequence[str]) -> Scores:
        found = {}
        for name in lines:
            chances = (np.random.default_rng(at) for at in range(len(self._spoken)))
            sent = [LINES[name].send(each.speech, next(chances), self._folder) for each in self._spoken]
            for way in ways:
                found[way, name] = await self._score([WAYS[way](samples) for samples in sent])
                print(f"{name}, {way}: {found[way, name].errors.sum()}", file=sys.stderr, flush=True)
        return found

    async def _score(self, ready: Sequence[Samples]) -> Score:
        texts = await asyncio.gather(*(self._text(at, samples) for at, samples in enumerate(ready)))
        counts = [count(each, text) for each, text in zip(self._spoken, texts, strict=True)]
        errors, words = np.array(counts).T
        return Score(errors, words)

    async def _text(self, at: int, samples: Samples) -> str:
        pcm = PcmFile(self._folder / f"{at}.pcm")
        pcm.path.write_bytes((samples * 32767).astype("<i2").tobytes())
        options = Options(MODEL, self._spoken[at].language)
        transcript = await self._engine.transcribe([pcm], options, on_progress=lambda done: None)
        return " ".join(segment.text for segment in transcript.segments)


def count(spoken: Recording, heard: str) -> tuple[int, int]:
    """Words wrong, missing or too many, and words of the reference."""
    clean = normalizer(spoken.language)
    measured = jiwer.process_words(clean(spoken.text), clean(heard))
    wrong = measured.substitutions + measured.deletions
    return wrong + measured.insertions, wrong + measured.hits


def tell(scores: Scores, ways: Sequence[str], lines: Sequence[str]) -> None:
    """One table, in Markdown."""
    today = joined([scores[TODAY, line] for line in lines])
    print(f"Words wrong, of {today.words.sum() // len(lines)} words in {len(today.words)} recordings over each line.\n")
    print("|", " | ".join(["way", *lines, "all", "more than today, 95 %"]), "|")
    print("|---" * (len(lines) + 3) + "|")
    for way in ways:
        over = [scores[way, line] for line in lines]
        change, least, most = gain(joined(over), today)
        rates = [f"{each.rate:.1%}" for each in (*over, joined(over))]
        print("|", " | ".join([way, *rates, f"{change:+.1%} ({least:+.1%} … {most:+.1%})"]), "|", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--every", type=int, default=1)
    parser.add_argument("--ways", nargs="+", choices=WAYS, default=list(WAYS))
    parser.add_argument("--lines", nargs="+", choices=LINES, default=list(LINES))
    chosen = parser.parse_args()
    ways = [TODAY, *(way for way in chosen.ways if way != TODAY)]
    spoken = list(islice(recordings(), 0, None, chosen.every))
    with tempfile.TemporaryDirectory() as folder:
        engine = Engine(EngineConfig(models=(MODEL,), models_dir=Path(folder)))
        engine.load()
        scores = asyncio.run(Listener(engine, spoken, Path(folder)).scores(ways, chosen.lines))
        tell(scores, ways, chosen.lines)
        engine.close()


if __name__ == "__main__":
    main()
