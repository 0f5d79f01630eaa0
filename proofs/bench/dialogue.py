"""How well a call comes out as a dialogue, on composed calls and, if given, on real ones:

    .venv/bin/python -m proofs.bench.dialogue [--calls 3] [--seconds 40] [RECORDING …]

Each channel's words beside the same channel transcribed alone, the order of the turns, times of words, and what
is left of bleed at several levels.
"""

import argparse
import asyncio
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import jiwer
import numpy as np

from app.audio.decode import decode
from app.audio.pcm import PcmFile
from app.speech.engine import Engine, EngineConfig
from app.transcripts.transcript import Options, Transcript
from proofs.bench.compose import Utterance, conversation, texts_of, written
from proofs.bench.scoring import normalizer
from proofs.bench.sources import RATE, Samples, sentences
from proofs.bench.work import MODEL

BLEED_DB = (-20, -15, -10)
SPEECH_SHARE = 0.1  # of a sentence's loudest moment: where its sound begins and ends
LABELS = ("agent", "customer")
clean = normalizer("en")


@dataclass(frozen=True)
class Composed:
    """A call, (channels, samples), and what is said in it."""

    audio: Samples
    said: list[Utterance]


@dataclass(frozen=True)
class Heard:
    """A call as a dialogue, and each of its channels alone."""

    dialogue: Transcript
    alone: list[Transcript]


class Listener:
    """The engine, for recordings given as files or samples."""

    def __init__(self, engine: Engine, folder: Path) -> None:
        self._engine = engine
        self._folder = folder

    async def dialogue(self, path: Path) -> Heard:
        with tempfile.TemporaryDirectory(dir=self._folder) as folder:
            audio = await decode(path, Path(folder), split=True, max_seconds=7200)
            dialogue = await self._hear(audio.channels)
            return Heard(dialogue, [await self._hear([channel]) for channel in audio.channels])

    async def split(self, audio: Samples) -> Transcript:
        with tempfile.TemporaryDirectory(dir=self._folder) as folder:
            path = written(Path(folder) / "call.wav", audio)
            return await self._hear((await decode(path, Path(folder), split=True, max_seconds=7200)).channels)

    async def _hear(self, channels: Sequence[PcmFile]) -> Transcript:
        labels = LABELS if len(channels) > 1 else ()
        options = Options(MODEL, "en", channels="split", channel_labels=labels, word_timestamps=True)
        return await self._engine.transcribe(channels, options, on_progress=lambda done: None)


def compose(calls: int, seconds: float) -> list[Composed]:
    english = [sentence for sentence in sentences()[0] if sentence.language == "en"]
    return [Composed(*conversation(english, seconds, np.random.default_rng(number))) for number in range(calls)]


def channel_text(transcript: Transcript, channel: int) -> str:
    return clean(" ".join(segment.text for segment in transcript.segments if segment.channel == channel))


def error_rate(references: Sequence[str], heard: Sequence[str]) -> float:
    pairs = [pair for pair in zip(references, heard, strict=True) if pair[0]]
    return float(jiwer.wer([reference for reference, _ in pairs], [text for _, text in pairs]))


def tell_accuracy(name: str, heard: Sequence[Heard], references: Sequence[Sequence[str]]) -> None:
    for channel, label in enumerate(LABELS):
        alone = [channel_text(each.alone[channel], 0) for each in heard]
        together = [channel_text(each.dialogue, channel) for each in heard]
        texts = [clean(each[channel]) for each in references] if references else alone
        line = f"{name}, {label}: WER in the dialogue {error_rate(texts, together):.1%}"
        print(f"{line}, alone {error_rate(texts, alone):.1%}")


def tell_order(calls: Sequence[Composed], heard: Sequence[Heard]) -> None:
    """Words that carry their speaker, in order of time: an error in the order counts beside one in a word."""
    expected = [_tagged([(LABELS[each.channel], each.text) for each in call.said]) for call in calls]
    found = [_tagged([(each.speaker, each.text) for each in one.dialogue.segments]) for one in heard]
    print(f"words with their speaker in the order of the call: {error_rate(expected, found):.1%} wrong")
    changes = [_speakers([LABELS[each.channel] for each in call.said]) for call in calls]
    turns = [_speakers([each.speaker for each in one.dialogue.segments]) for one in heard]
    right = sum(before == after for before, after in zip(changes, turns, strict=True))
    print(f"calls whose turns are all in order: {right} of {len(calls)}, {sum(map(len, changes))} turns in all")


def tell_times(calls: Sequence[Composed], heard: Sequence[Heard]) -> None:
    """The first and last word of each sentence beside where the sentence's sound begins and ends."""
    errors = []
    for call, one in zip(calls, heard, strict=True):
        for each in call.said:
            start, end = _sound(call.audio[each.channel], each)
            words = [
                word
                for segment in one.dialogue.segments
                if segment.channel == each.channel
                for word in segment.words or ()
                if each.start <= (word.start + word.end) / 2 <= each.end
            ]
            if words:
                errors += [abs(words[0].start - start), abs(words[-1].end - end)]
    p95 = float(np.quantile(errors, 0.95))
    print(
        f"times of {len(errors)} words at the ends of sentences: median error {median(errors):.2f} s, p95 {p95:.2f} s"
    )


async def tell_bleed(listener: Listener, calls: Sequence[Composed]) -> None:
    for level in BLEED_DB:
        gain = np.float32(10 ** (level / 20))
        heard = [await listener.split(call.audio + gain * call.audio[::-1]) for call in calls]
        texts = [clean(text) for call in calls for text in texts_of(call.said)]
        found = [channel_text(one, channel) for one in heard for channel in range(2)]
        measured = jiwer.process_words(texts, found)
        words = measured.hits + measured.substitutions + measured.deletions
        overlap = sum(one.talk.overlap_seconds or 0 for one in heard)
        print(
            f"bleed at {level} dB: {measured.wer:.1%} WER, {measured.insertions / words:.1%} words too many,"
            f" {measured.deletions / words:.1%} missing, {overlap:.1f} s of overlap"
        )


def _tagged(said: Sequence[tuple[str, str]]) -> str:
    return " ".join(f"{speaker}:{word}" for speaker, text in said for word in clean(text).split())


def _speakers(speakers: Sequence[str]) -> list[str]:
    return [each for at, each in enumerate(speakers) if at == 0 or speakers[at - 1] != each]


def _sound(channel: Samples, said: Utterance) -> tuple[float, float]:
    """Where a sentence's sound begins and ends, in seconds of the call."""
    first = round(said.start * RATE)
    samples = np.abs(channel[first : round(said.end * RATE)])
    smooth = np.convolve(samples, np.full(RATE // 50, 50 / RATE), mode="same")
    loud = np.flatnonzero(smooth >= SPEECH_SHARE * smooth.max())
    return (first + int(loud[0])) / RATE, (first + int(loud[-1])) / RATE


async def run(listener: Listener, calls: Sequence[Composed], recordings: Sequence[Path], folder: Path) -> None:
    paths = [written(folder / f"{number}.wav", call.audio) for number, call in enumerate(calls)]
    heard = [await listener.dialogue(path) for path in paths]
    tell_accuracy("composed", heard, [texts_of(call.said) for call in calls])
    tell_order(calls, heard)
    tell_times(calls, heard)
    await tell_bleed(listener, calls)
    for path in recordings:
        one = await listener.dialogue(path)
        tell_accuracy(f"{path.name} against itself", [one], [])
        print(f"{path.name}: {one.dialogue.talk}, {[warning.code for warning in one.dialogue.warnings]}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--calls", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=40)
    parser.add_argument("recordings", nargs="*", type=Path)
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        engine = Engine(EngineConfig(models=(MODEL,), models_dir=Path(folder)))
        engine.load()
        calls = compose(chosen.calls, chosen.seconds)
        asyncio.run(run(Listener(engine, Path(folder)), calls, chosen.recordings, Path(folder)))
        engine.close()


if __name__ == "__main__":
    main()
