"""Whisper as a family of models: recognizes a batch of windows, judges each, and asks again for those that failed.

It must not know jobs, channels or recordings: `app/speech/model.py` says what it is asked and what it answers.
"""

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

from app.errors import GpuOutOfMemory
from app.speech.model import (
    Again,
    Answer,
    Ask,
    DeviceLost,
    ModelUnavailable,
    NoSpeech,
    Prepared,
    Recognized,
    Samples,
    Scores,
)
from app.speech.whisper.adapter import Encoded, Utterance, Whisper
from app.speech.whisper.device import Device
from app.speech.whisper.gates import Hypothesis, Try, Verdict, judge, likeliest, tries
from app.transcripts.transcript import Options, TranscriptWarning, WarningCode, Word

# A window may have a language of its own if it is long and clear. Short ones are often taken for another language.
OWN_LANGUAGE_PROBABILITY = 0.9
OWN_LANGUAGE_SECONDS = 5


@dataclass(frozen=True, slots=True, eq=False)
class Attempts:
    """What Whisper keeps for a window: the `ways` that are left, the next one first, and the hypotheses that `failed`.

    `encoded` is what the encoder made of the window for the context of the next way, if that is kept.
    """

    ways: tuple[Try, ...]
    failed: tuple[tuple[Hypothesis, Verdict], ...] = ()
    encoded: Encoded | None = None


@dataclass(frozen=True, slots=True, eq=False)
class _Final:
    """The judgement of a window that is not tried again. `hypothesis` is None if it holds no believable speech."""

    ask: Ask
    verdict: Verdict
    hypothesis: Hypothesis | None
    failed: tuple[tuple[Hypothesis, Verdict], ...]


class WhisperModel:
    """One Whisper model behind the seam."""

    def __init__(self, whisper: Whisper) -> None:
        self.whisper = whisper
        self.window_seconds = whisper.window_seconds
        self.languages: Sequence[str] = whisper.languages

    def prepare(self, ask: Ask, read: Callable[[], Samples]) -> Prepared:
        """Encodes the window if its language must be detected, or if encodings are kept."""
        attempts, whisper = self._attempts(ask), self.whisper
        if ask.language and not whisper.keeps_encodings:
            return Prepared(attempts)
        encoded = whisper.encode([read()], attempts.ways[0].context_seconds)
        languages = None if ask.language else whisper.detect_languages(encoded, [0])[0]
        return Prepared(replace(attempts, encoded=encoded) if whisper.keeps_encodings else attempts, languages)

    def kind(self, ask: Ask) -> Hashable:
        way = self._attempts(ask).ways[0]
        prompt_length = len(self._prompt(ask, way)) if way.prompted else 0
        return ask.options.task, way.context_seconds, way.temperature, prompt_length

    def recognize(self, batch: Sequence[tuple[Ask, Samples]]) -> Sequence[Answer]:
        attempts = [self._attempts(ask) for ask, _ in batch]
        way = attempts[0].ways[0]
        encoded = self._encode(batch, attempts, way.context_seconds)
        asks = self._with_languages(encoded, [ask for ask, _ in batch])
        hypotheses = self.whisper.recognize(encoded, [self._prompt(ask, way) for ask in asks], way)
        judged = [_judge(*each) for each in zip(asks, attempts, hypotheses, strict=True)]
        timed = self._timed(encoded, {row: result for row, result in enumerate(judged) if isinstance(result, _Final)})
        return [
            self._answer(result, timed.get(row))
            if isinstance(result, _Final)
            else Again(replace(result, state=self._with_encoding(result.state, encoded, row, way)))
            for row, result in enumerate(judged)
        ]

    def _attempts(self, ask: Ask) -> Attempts:
        if ask.state is None:
            return Attempts(tries(self.whisper.context_seconds(ask.seconds), prompted=bool(_bias(ask.options).strip())))
        attempts: Attempts = ask.state
        return attempts

    def _prompt(self, ask: Ask, way: Try) -> list[int]:
        """The tokens that the model starts from."""
        options = ask.options
        if not way.prompted:
            return self.whisper.prompt(ask.language, options.task, "", ())
        return self.whisper.prompt(ask.language, options.task, options.prompt or "", options.hotwords)

    def _encode(
        self, batch: Sequence[tuple[Ask, Samples]], attempts: Sequence[Attempts], context_seconds: int
    ) -> Encoded:
        whisper = self.whisper
        if not whisper.keeps_encodings:
            return whisper.encode([samples for _, samples in batch], context_seconds)
        parts = [
            each.encoded or whisper.encode([samples], context_seconds)
            for each, (_, samples) in zip(attempts, batch, strict=True)
        ]
        return sum(parts[1:], start=parts[0])

    def _with_encoding(self, attempts: Attempts, encoded: Encoded, row: int, way: Try) -> Attempts:
        """Keeps what the encoder made of a window if the next way has the same context."""
        if not self.whisper.keeps_encodings or attempts.ways[0].context_seconds != way.context_seconds:
            return replace(attempts, encoded=None)
        return replace(attempts, encoded=encoded.only(row))

    def _with_languages(self, encoded: Encoded, batch: Sequence[Ask]) -> list[Ask]:
        """Gives a window its own language if it is clearly not in the language of its channel."""
        asks = list(batch)
        long = [row for row, ask in enumerate(asks) if ask.language_is_detected and ask.seconds >= OWN_LANGUAGE_SECONDS]
        for row, probabilities in zip(long, self.whisper.detect_languages(encoded, long), strict=True):
            language, probability = max(probabilities.items(), key=lambda item: item[1])
            if probability >= OWN_LANGUAGE_PROBABILITY:
                asks[row] = replace(asks[row], language=language)
        return asks

    def _timed(self, encoded: Encoded, final: Mapping[int, _Final]) -> Mapping[int, tuple[Word, ...]]:
        """By row, the words with their times; nothing for a translation.

        A translation does not hold the words that were spoken, so it cannot be aligned with the sound.
        """
        spoken = {row: (each.ask, each.hypothesis) for row, each in final.items() if each.hypothesis}
        if any(ask.options.task == "translate" for ask, _ in spoken.values()):
            return {}
        return self.whisper.align(
            encoded,
            {row: Utterance(ask.language, hypothesis.tokens, ask.seconds) for row, (ask, hypothesis) in spoken.items()},
        )

    def _answer(self, final: _Final, words: tuple[Word, ...] | None) -> Recognized | NoSpeech:
        """Of a translation the times are those that the model writes between phrases."""
        ask, hypothesis = final.ask, final.hypothesis
        if hypothesis is None:
            return NoSpeech(_warning(final))
        phrases: tuple[Word, ...] = ()
        if ask.options.task == "translate":
            phrases = self.whisper.phrases(hypothesis, ask.seconds)
        elif not words:
            phrases = (Word(0.0, ask.seconds, f" {hypothesis.text}", hypothesis.probability),)
        return Recognized(
            text=hypothesis.text,
            language=ask.language,
            words=words or None,
            phrases=phrases,
            scores=_scores(hypothesis),
            warning=_warning(final),
        )


@cache
def load(folder: Path, device: Device) -> WhisperModel:
    """Loads a model once per process, and runs it once. Raises ModelUnavailable."""
    try:
        whisper = Whisper(folder, device)
        whisper.warm_up()
    except (OSError, RuntimeError, ValueError, GpuOutOfMemory, DeviceLost) as error:
        reason = error.__cause__ or error
        raise ModelUnavailable(f"The model in {folder} cannot be loaded: {reason}") from error
    return WhisperModel(whisper)


def _bias(options: Options) -> str:
    """The words that the client expects."""
    return " ".join((*options.hotwords, options.prompt or ""))


def _judge(ask: Ask, attempts: Attempts, hypothesis: Hypothesis) -> Ask | _Final:
    """Accepts the hypothesis, asks for the next way, or takes the best hypothesis if no way is left."""
    way, *others = attempts.ways
    verdict = judge(hypothesis, ask.seconds, _bias(ask.options) if way.prompted else "")
    if verdict is Verdict.ACCEPTED:
        return _Final(ask, verdict, hypothesis, attempts.failed)
    if verdict is Verdict.SILENT:
        return _Final(ask, verdict, None, attempts.failed)
    failed = (*attempts.failed, (hypothesis, verdict))
    if not hypothesis.text:  # at rising temperatures the model would write something, whatever it hears
        others = [other for other in others if not other.temperature]
    if others:
        return replace(ask, state=replace(attempts, ways=tuple(others), failed=failed))
    return _Final(ask, verdict, likeliest(failed), failed)


def _scores(hypothesis: Hypothesis) -> Scores:
    return Scores(
        temperature=hypothesis.temperature,
        avg_logprob=hypothesis.avg_logprob,
        compression_ratio=hypothesis.compression_ratio,
        no_speech_prob=hypothesis.no_speech_prob,
    )


def _warning(final: _Final) -> TranscriptWarning | None:
    if not final.failed:
        return None
    if final.hypothesis is None:
        return TranscriptWarning(WarningCode.WINDOW_DROPPED, "Nothing that could be believed was heard here")
    if final.verdict is Verdict.ACCEPTED:
        message = f"Hard to understand: recognized again, at temperature {final.hypothesis.temperature:g}"
    else:
        message = "Hard to understand: recognized several times without a sure result; the likeliest was kept"
    return TranscriptWarning(WarningCode.WINDOW_REDECODED, message)
