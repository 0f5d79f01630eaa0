"""Composes phone calls from reference speech. Machines with the same sources get the same calls."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.random import Generator

from proofs.bench.calls import Call
from proofs.bench.sources import RATE, Samples, Sentence
from testing.media import write_audio

SPEECH_LEVEL = 0.08  # root mean square, about −22 dBFS
BAND_HERTZ = (300, 3400)
CLEAN, NOISY, WORDLESS = "clean", "noisy", "wordless"


@dataclass(frozen=True)
class Plan:
    """Asks for one call in each of `languages`, which lasts between `shortest` and `longest` seconds.

    Only English and Spanish have enough sentences for long calls. Calls in other languages stay short.
    """

    languages: tuple[str, ...]
    shortest: float
    longest: float
    wordless_seconds: float


@dataclass(frozen=True)
class Utterance:
    """A sentence in a composed call. Times are in seconds and include the silence at both ends of the sentence."""

    channel: int
    start: float
    end: float
    text: str


FULL = Plan(tuple("en en es fr en en es hi en en it es en en ja pl en es en pt en es en zh".split()), 18, 240, 60)
QUICK = Plan(("en", "fr", "es", "en"), 20, 30, 6)


def compose(folder: Path, plan: Plan, sentences: Sequence[Sentence]) -> list[Call]:
    """Writes stereo calls in which agent and customer take turns.

    Every second call has noise and a telephone's bandwidth.
    """
    lengths = np.geomspace(plan.shortest, plan.longest, len(plan.languages))
    np.random.default_rng(6).shuffle(lengths)
    calls = []
    for number, (language, seconds) in enumerate(zip(plan.languages, lengths, strict=True)):
        chance = np.random.default_rng(number)
        spoken = [sentence for sentence in sentences if sentence.language == language]
        audio, said = conversation(spoken, float(seconds), chance)
        condition = NOISY if number % 2 else CLEAN
        if condition == NOISY:
            audio = np.stack([_telephone(channel, chance) for channel in audio])
        path = written(folder / f"call-{number:02}-{language}-{condition}.wav", audio)
        calls.append(Call(path, len(audio), audio.shape[1] / RATE, condition, language, texts_of(said)))
    return calls


def simple_sounds(folder: Path, seconds: float) -> list[Call]:
    """Writes recordings without speech: silence, noise, ringing and music."""
    time = np.arange(round(seconds * RATE)) / RATE
    noise = np.random.default_rng(0).normal(0, 0.05, len(time))
    ringing = 0.1 * (np.sin(2 * np.pi * 440 * time) + np.sin(2 * np.pi * 480 * time)) * (time % 6 < 2)
    notes = 220 * 2 ** (np.array([0, 4, 7, 12, 9, 7, 5, 4])[(time * 2).astype(int) % 8] / 12)
    music = sum(0.1 / part * np.sin(2 * np.pi * part * notes * time) for part in (1, 2, 3))
    sounds = {"silence": np.zeros_like(time), "noise": noise, "ringing": ringing, "music": np.asarray(music)}
    return [
        Call(written(folder / f"{name}.wav", samples[None].astype(np.float32)), 1, seconds, WORDLESS, texts=("",))
        for name, samples in sounds.items()
    ]


def conversation(spoken: Sequence[Sentence], seconds: float, chance: Generator) -> tuple[Samples, list[Utterance]]:
    """Returns the audio as (channels, samples), and its sentences in order of their start.

    No sentence is used twice. The audio ends after about `seconds`, or sooner if no sentences are left.
    """
    left = [[spoken[index] for index in chance.permutation(len(spoken))] for _ in range(2)]
    said: list[Utterance] = []
    parts: list[tuple[int, int, Samples]] = []
    now, speaker = chance.uniform(0.3, 1.0), 0
    while left[speaker] and (now < seconds or not _has_spoken(speaker, said)):
        for _ in range(chance.integers(1, 4)):
            if left[speaker] and (now < seconds or not _has_spoken(speaker, said)):
                sentence = left[speaker].pop()
                length = len(sentence.samples) / RATE
                said.append(Utterance(speaker, now, now + length, sentence.text))
                parts.append((speaker, round(now * RATE), _levelled(sentence.samples, chance)))
                now += length + chance.uniform(0.1, 0.5)
        now += chance.uniform(0.1, 1.0)
        speaker = 1 - speaker
    audio = np.zeros((2, round(now * RATE)), np.float32)
    for channel, start, samples in parts:
        audio[channel, start : start + len(samples)] += samples
    return audio, said


def texts_of(said: Sequence[Utterance]) -> tuple[str, ...]:
    """Returns the text of each channel."""
    return tuple(" ".join(each.text for each in said if each.channel == channel) for channel in range(2))


def _has_spoken(speaker: int, said: Sequence[Utterance]) -> bool:
    return any(each.channel == speaker for each in said)


def _levelled(samples: Samples, chance: Generator) -> Samples:
    level = float(np.sqrt(np.mean(samples**2))) or 1.0
    return samples * np.float32(SPEECH_LEVEL / level * chance.uniform(0.5, 1.2))


def _telephone(samples: Samples, chance: Generator) -> Samples:
    """Adds noise 15 to 20 dB below the speech, then keeps only the bandwidth of a telephone."""
    noise = chance.normal(0, SPEECH_LEVEL * 10 ** (-chance.uniform(15, 20) / 20), len(samples))
    spectrum = np.fft.rfft(samples + noise)
    hertz = np.fft.rfftfreq(len(samples), 1 / RATE)
    spectrum[(hertz < BAND_HERTZ[0]) | (hertz > BAND_HERTZ[1])] = 0
    return np.fft.irfft(spectrum, len(samples)).astype(np.float32)


def written(path: Path, audio: Samples) -> Path:
    return write_audio(path, np.clip(audio, -1, 1), RATE, container="wav", codec="pcm_mulaw")
