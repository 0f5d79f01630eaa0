"""One Whisper model in memory: encodes, detects languages, recognizes, and times words.

It hides faster-whisper and CTranslate2 from `recognizing.py`, which decides what to do with the results. All threads
share a loaded model. It is never unloaded, because CTranslate2 may crash a process that frees a model and continues.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from math import isfinite
from pathlib import Path
from typing import Any

import ctranslate2
import numpy as np
from faster_whisper import WhisperModel
from faster_whisper.tokenizer import Tokenizer
from faster_whisper.transcribe import get_suppressed_tokens, merge_punctuations

from app.audio.pcm import SAMPLE_RATE
from app.errors import GpuOutOfMemory
from app.speech.model import Care, Device, DeviceLost, Samples
from app.speech.readable import visible
from app.speech.whisper.encoded import ENCODED_PER_SECOND, Encoded
from app.speech.whisper.gates import CALM, FULL_CONTEXT_SECONDS, Hypothesis, Try
from app.speech.whisper.languages import LATIN_TOKENS_PER_CHARACTER, SENTENCES
from app.transcripts.transcript import LANGUAGES_WITHOUT_SPACES, Task, Word

FRAMES_PER_SECOND = 100
TOKEN_SECONDS = 0.02
MAX_BIAS_TOKENS = 223  # half of the model's text context, as in OpenAI's Whisper
MAX_LENGTH = 448
MAX_ALIGNED_TOKENS = MAX_LENGTH - 8  # the model puts its own tokens before and behind the text
WARM_UP_TOKENS = 24
LANGUAGE_SECONDS = 10
STRETCH_SECONDS = 6
SILENCE_SECONDS = 2
SMALL_CONTEXTS_SECONDS = (15, 20)
# Drafts of live calls may be less exact, so they get contexts in which a small model takes half the time. Final texts
# get worse in contexts below 12 s (decision 70). Without this silence after the speech the model repeats itself.
LIVE_CONTEXTS_SECONDS: Mapping[Care, Sequence[int]] = {"draft": (4, 6, 8, 10, 12), "quick": (12,)}
LIVE_SILENCE_SECONDS = 3
SMALL_WIDTH = 512  # of `base`, in numbers per frame
PREPENDED = "\"'“¿([{-"
APPENDED = "\"'.。,，!！?？:：”)]}、"


@dataclass(frozen=True, slots=True)
class Utterance:
    """The text of a window of `seconds`, to be aligned with its sound."""

    language: str
    tokens: tuple[int, ...]
    seconds: float


def shortest_context(contexts: Sequence[int], speech_seconds: float) -> int:
    """The first of the ascending contexts that leaves silence after the speech; the longest if none does."""
    return next((context for context in contexts if context >= speech_seconds + SILENCE_SECONDS), contexts[-1])


class Whisper:
    """One model in memory."""

    def __init__(self, folder: Path, device: Device, beam_size: int) -> None:
        self._model = WhisperModel(
            str(folder),
            device=device.kind,
            device_index=list(device.indexes),
            compute_type=device.compute_type,
            cpu_threads=1,
            num_workers=device.threads if device.kind == "cpu" else 1,
        )
        self.device = device
        self._beam_size = beam_size
        self.multilingual = bool(self._model.model.is_multilingual)
        self.languages: Sequence[str] = self._model.supported_languages
        self._suppressed = list(get_suppressed_tokens(self._tokenizer("en", "transcribe"), [-1]))
        self.width = self._find_width()
        self._contexts = self._find_contexts()

    @property
    def window_seconds(self) -> int:
        """The most speech that a window may hold. In a context full of speech the model repeats itself endlessly."""
        return self._contexts[-1] - SILENCE_SECONDS

    def context_seconds(self, speech_seconds: float, care: Care = "full") -> int:
        """The context of a window with `speech_seconds` of speech."""
        usual = shortest_context(self._contexts, speech_seconds)
        if self._contexts != SMALL_CONTEXTS_SECONDS:
            return usual
        live = LIVE_CONTEXTS_SECONDS.get(care, ())
        return next((each for each in live if each >= speech_seconds + LIVE_SILENCE_SECONDS), usual)

    @property
    def keeps_encodings(self) -> bool:
        """Whether encodings are made one by one and joined later. They may stay in memory, but not on a GPU."""
        return self.device.kind == "cpu"

    def encode(self, windows: Sequence[Samples], context_seconds: int) -> Encoded:
        """Encodes windows of up to `context_seconds`, padded with silence to the context.

        On a processor they are encoded one by one, because a batch is not faster there. Raises GpuOutOfMemory.
        """
        features = [self._features(window, context_seconds) for window in windows]
        with _own_errors():
            if self.device.kind == "cuda":
                return Encoded([self._model.encode(np.stack(features))])
            return Encoded([self._model.encode(feature[None]) for feature in features])

    def detect_languages(self, encoded: Encoded, rows: Sequence[int]) -> list[dict[str, float]]:
        """The probability of each language code, for each of some windows, by their first 10 s."""
        if not rows:
            return []
        return self._detect(encoded.rows(rows, LANGUAGE_SECONDS * ENCODED_PER_SECOND))

    def detect_changes(self, encoded: Encoded, seconds: float) -> list[dict[str, float]]:
        """The probability of each language code, for equal stretches of the first window, which lasts `seconds`."""
        return self._detect(encoded.stretches(round(seconds / STRETCH_SECONDS), seconds))

    def _detect(self, encoded: ctranslate2.StorageView) -> list[dict[str, float]]:
        with _own_errors():
            found = self._model.model.detect_language(encoded)
        return [{token[2:-2]: probability for token, probability in row} for row in found]

    def prompt(self, language: str, task: Task, prompt: str, hotwords: Sequence[str]) -> list[int]:
        """The tokens that the model starts from. Hotwords and prompt are cut to what fits."""
        tokenizer = self._tokenizer(language, task)
        hot = tokenizer.encode(" " + ", ".join(hotwords))[: MAX_BIAS_TOKENS // 2] if hotwords else []
        said = tokenizer.encode(" " + prompt.strip())[-(MAX_BIAS_TOKENS - len(hot)) :] if prompt.strip() else []
        return list(self._model.get_prompt(tokenizer, hot + said, without_timestamps=task == "transcribe"))

    def recognize(
        self, encoded: Encoded, prompts: Sequence[list[int]], most_tokens: Sequence[int], how: Try
    ) -> list[list[Hypothesis]]:
        """Recognizes each window, starting from its prompt. Returns one hypothesis per temperature for each window.

        All prompts have the same length. `most_tokens` is how many tokens the text of each window may have. CTranslate2
        knows one length for a whole batch, so a text may get longer than that, but it is marked as cut.

        Raises GpuOutOfMemory.
        """
        bound = max(most_tokens)
        side_by_side = self.device.kind == "cpu"  # on a GPU, each call would hold a copy of what was encoded
        # CTranslate2 gives a text half of this length, or what the prompt without its last token leaves of it.
        max_length = min(MAX_LENGTH, max(2 * bound, bound + len(prompts[0]) - 1))
        with _own_errors():
            started = [
                self._model.model.generate(
                    encoded.joined,
                    list(prompts),
                    asynchronous=side_by_side,
                    max_length=max_length,
                    suppress_tokens=self._suppressed,
                    return_scores=True,
                    return_no_speech_prob=True,
                    **self._search(how, temperature),
                )
                for temperature in how.temperatures
            ]
            results = [[each.result() if side_by_side else each for each in batch] for batch in started]
        return [
            [
                self._hypothesis(result, temperature, most)
                for result, temperature in zip(of_window, how.temperatures, strict=True)
            ]
            for most, *of_window in zip(most_tokens, *results, strict=True)
        ]

    def _search(self, how: Try, temperature: float) -> dict[str, Any]:
        if not temperature:
            return {"beam_size": 1 if how.greedy else self._beam_size}
        return {"beam_size": 1, "sampling_topk": 0, "sampling_temperature": temperature}

    @cache  # noqa: B019  a model lives as long as its process
    def tokens_per_character(self, language: str) -> float:
        """How many tokens the model needs for a character of a language, on average."""
        sentence = SENTENCES.get(language)
        if sentence is None:
            return LATIN_TOKENS_PER_CHARACTER
        tokens = self._tokenizer("en", "transcribe").encode(sentence)
        return max(LATIN_TOKENS_PER_CHARACTER, len(tokens) / len(sentence))

    def tokens(self, text: str, language: str) -> tuple[int, ...] | None:
        """The tokens of a text that another model wrote. None if they are more than Whisper can align."""
        first = "" if language in LANGUAGES_WITHOUT_SPACES else " "
        found = self._tokenizer(language, "transcribe").encode(first + text)
        return tuple(found) if 0 < len(found) <= MAX_ALIGNED_TOKENS else None

    def align(self, encoded: Encoded, utterances: Mapping[int, Utterance]) -> dict[int, tuple[Word, ...]]:
        """Words with their times in the window, by row of what was encoded. Raises GpuOutOfMemory."""
        aligned: dict[int, tuple[Word, ...]] = {}
        for language in {utterance.language for utterance in utterances.values()}:
            rows = [row for row, utterance in utterances.items() if utterance.language == language]
            tokenizer = self._tokenizer(language, "transcribe")
            with _own_errors():
                found = self._model.find_alignment(
                    tokenizer,
                    [[token for token in utterances[row].tokens if token < tokenizer.eot] for row in rows],
                    encoded.rows(rows),
                    [round(utterances[row].seconds * FRAMES_PER_SECOND) for row in rows],
                )
            for row, words in zip(rows, found, strict=True):
                merge_punctuations(words, PREPENDED, APPENDED)
                aligned[row] = tuple(_word(word) for word in words if visible(word["word"]))
        return aligned

    def phrases(self, hypothesis: Hypothesis, seconds: float) -> tuple[Word, ...]:
        """The phrases between the timestamp tokens, with their times in a window that lasts `seconds`."""
        tokenizer = self._tokenizer("en", "transcribe")
        first_timestamp = tokenizer.timestamp_begin
        phrases, start, text = [], 0.0, list[int]()
        for token in (*hypothesis.tokens, first_timestamp + round(seconds / TOKEN_SECONDS)):
            if token < first_timestamp:
                text.append(token)
                continue
            end = (token - first_timestamp) * TOKEN_SECONDS
            if text:
                phrases.append(Word(start, max(start, end), visible(tokenizer.decode(text)), hypothesis.probability))
            start, text = end, []
        return tuple(phrases)

    def warm_up(self) -> None:
        """Runs every step once on silence, so that no recording waits for it, or is the first to find a fault.

        It uses as little as it can, because the C library keeps the memory that this takes.
        """
        context = self._contexts[0]
        encoded = self.encode([np.zeros(SAMPLE_RATE, np.float32)], context)
        if self.multilingual:
            self.detect_languages(encoded, [0])
        prompt = self.prompt("en", "transcribe", "", ())
        self.recognize(encoded, [prompt], [WARM_UP_TOKENS], Try(context, CALM, prompted=False))
        tokens = tuple(self._tokenizer("en", "transcribe").encode(" Hello."))
        self.align(encoded, {0: Utterance("en", tokens, 1.0)})

    def _features(self, window: Samples, context_seconds: int) -> Samples:
        padding = context_seconds * SAMPLE_RATE - len(window)
        features = self._model.feature_extractor(window, padding=padding)
        return np.ascontiguousarray(features[:, : context_seconds * FRAMES_PER_SECOND])

    def _find_contexts(self) -> tuple[int, ...]:
        """Shorter contexts make small models faster on a processor (measured on `base`). Others use the full one."""
        if self.device.kind == "cuda":
            return (FULL_CONTEXT_SECONDS,)
        return SMALL_CONTEXTS_SECONDS if self.width <= SMALL_WIDTH else (FULL_CONTEXT_SECONDS,)

    def _find_width(self) -> int:
        """The numbers per frame. The library says them only by what it encodes."""
        silence = np.zeros((self._model.feature_extractor.mel_filters.shape[0], 2 * FRAMES_PER_SECOND), np.float32)
        return int(self._model.encode(silence).shape[-1])

    def _hypothesis(self, result: Any, temperature: float, most_tokens: int) -> Hypothesis:
        tokens = tuple(result.sequences_ids[0])
        return Hypothesis(
            text=visible(self._tokenizer("en", "transcribe").decode(tokens)).strip(),
            tokens=tokens,
            avg_logprob=result.scores[0] * len(tokens) / (len(tokens) + 1),
            no_speech_prob=_finite(result.no_speech_prob),
            temperature=temperature,
            cut=len(tokens) >= most_tokens,
        )

    @cache  # noqa: B019  a model lives as long as its process
    def _tokenizer(self, language: str, task: Task) -> Tokenizer:
        return Tokenizer(self._model.hf_tokenizer, self.multilingual, task=task, language=language)


def _word(word: dict[str, Any]) -> Word:
    start, end = _finite(word["start"]), _finite(word["end"])
    return Word(start, max(start, end), visible(word["word"]), _finite(word["probability"]))


def _finite(number: float) -> float:
    return float(number) if isfinite(number) else 0.0


@contextmanager
def _own_errors() -> Iterator[None]:
    """Raises GpuOutOfMemory or DeviceLost instead of the errors of a GPU.

    A process survives a lack of memory. After any other error of the GPU, it can use that GPU no more.
    """
    try:
        yield
    except RuntimeError as error:
        if re.search("out of memory|ALLOC_FAILED", str(error)):  # of CUDA, and of cuBLAS
            raise GpuOutOfMemory from error
        if re.search("cuda|cublas|cudnn", str(error), re.IGNORECASE):
            raise DeviceLost from error
        raise
