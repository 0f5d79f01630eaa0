"""Finds speech with reference texts on this machine, as sentences at the sample rate of a telephone."""

import gzip
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import av
import numpy as np
from numpy.typing import NDArray

from testing.recordings import SAMPLE_CALL
from testing.speech_samples import samples

RATE = 8000
TURN_MARGIN_SECONDS = 0.1
PROMPTS = Path("/usr/share/asterisk/sounds")
PROMPT_TEXTS = "/usr/share/doc/asterisk-core-sounds-{0}/core-sounds-{0}.txt.gz"
PROMPT_LANGUAGES = ("en", "es")
SPOKEN = re.compile(
    r"[^\d\[\](){}<>*#]+"
)  # brackets contain descriptions of sounds, and a digit can be read in more than one way
FEWEST_WORDS = 4

Samples = NDArray[np.float32]


@dataclass(frozen=True)
class Sentence:
    """A spoken sentence. The samples are in −1…1, at the sample rate RATE."""

    language: str
    text: str
    samples: Samples


def sentences() -> tuple[list[Sentence], list[str]]:
    """Returns all speech on this machine, in a stable order, and the names of its sources."""
    found = [Sentence(each.language, each.text, decoded(each.path)[0]) for each in samples()]
    found += _turns_of_the_sample_call()
    names = ["pytest-audioeval", "samples/sample_call.wav"]
    for language in PROMPT_LANGUAGES:
        if prompts := list(_prompts(language)):
            found += prompts
            names.append(f"asterisk-core-sounds-{language}")
    return found, names


def _turns_of_the_sample_call() -> list[Sentence]:
    call = json.loads(SAMPLE_CALL.with_suffix(".json").read_text())
    audio = decoded(SAMPLE_CALL)
    return [
        Sentence(call["language"], turn["text"], audio[turn["channel"]][_around(turn["start"], turn["end"])])
        for turn in call["turns"]
    ]


def _around(start: float, end: float) -> slice:
    return slice(max(0, round((start - TURN_MARGIN_SECONDS) * RATE)), round((end + TURN_MARGIN_SECONDS) * RATE))


def _prompts(language: str) -> Iterator[Sentence]:
    """Yields the telephone prompts of Debian's packages asterisk-core-sounds-*, if they are installed."""
    texts = Path(PROMPT_TEXTS.format(language))
    if not texts.exists():
        return
    for line in gzip.decompress(texts.read_bytes()).decode(errors="replace").splitlines():
        name, _, text = line.partition(": ")
        path = PROMPTS / language / f"{name}.wav"
        whole = len(text.split()) >= FEWEST_WORDS and "..." not in text
        if whole and SPOKEN.fullmatch(text) and path.is_file():
            yield Sentence(language, text, decoded(path)[0])


def decoded(path: Path) -> Samples:
    """Returns the samples of the shape (channels, samples), at the sample rate RATE."""
    resampler = av.AudioResampler(format="fltp", rate=RATE)
    with av.open(str(path)) as container:
        frames = [part for frame in container.decode(audio=0) for part in resampler.resample(frame)]
    frames += resampler.resample(None)
    return np.concatenate([frame.to_ndarray() for frame in frames], axis=1).astype(np.float32)
