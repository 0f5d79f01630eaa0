"""Recognizes batches of windows with one Whisper model, as the `Model` of `app/speech/model.py`.

The gates judge each result. If a result fails, the window is recognized again in another way, in a later batch.
"""

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

from app.errors import GpuOutOfMemory
from app.speech.candidates import OWN_LANGUAGE_SECONDS, among, own_language
from app.speech.model import (
    Again,
    Answer,
    Device,
    DeviceLost,
    ModelUnavailable,
    NoSpeech,
    Prepared,
    Recognized,
    Samples,
    Scores,
    WindowRequest,
)
from app.speech.plausibility import DROPPED, REPEATED
from app.speech.whisper.adapter import Utterance, Whisper
from app.speech.whisper.encoded import Encoded
from app.speech.whisper.gates import Hypothesis, Try, Verdict, judge, likeliest, may_be_sound, most_tokens, tries_with
from app.transcripts.transcript import Options, TranscriptWarning, WarningCode, Word

CHANGE_SECONDS = 9  # shorter windows are not searched for a change of the language


@dataclass(frozen=True, slots=True, eq=False)
class TryState:
    """What Whisper remembers of a window from one try to the next.

    `tries_left` are in their order. `failed` holds the hypotheses of the tries before. `encoded` is what the encoder
    made of the window for the context of the next try, or None if that is not kept.
    """

    tries_left: tuple[Try, ...]
    failed: tuple[tuple[Hypothesis, Verdict], ...] = ()
    encoded: Encoded | None = None


@dataclass(frozen=True, slots=True, eq=False)
class _Final:
    """The judgement of a window that is not tried again. `hypothesis` is None if it holds no believable speech."""

    request: WindowRequest
    verdict: Verdict
    hypothesis: Hypothesis | None
    failed: tuple[tuple[Hypothesis, Verdict], ...]


class WhisperRecognizer:
    """One Whisper model behind the seam."""

    def __init__(self, whisper: Whisper) -> None:
        self.whisper = whisper
        self.window_seconds = whisper.window_seconds
        self.languages: Sequence[str] = whisper.languages

    def prepare(self, request: WindowRequest, read: Callable[[], Samples]) -> Prepared:
        """Encodes the window if its language must be detected, or if encodings are kept.

        Looks for a change of the language only in an encoding that is kept, because this needs no other run.
        """
        state, whisper = self._state(request), self.whisper
        if request.language and not whisper.keeps_encodings:
            return Prepared(state)
        encoded = whisper.encode([read()], state.tries_left[0].context_seconds)
        languages = None if request.language else whisper.detect_languages(encoded, [0])[0]
        if not whisper.keeps_encodings:
            return Prepared(state, languages)
        looks = request.language_is_detected and request.seconds >= CHANGE_SECONDS
        stretches = whisper.detect_changes(encoded, request.seconds) if looks else ()
        return Prepared(replace(state, encoded=encoded), languages, stretches)

    def kind(self, request: WindowRequest) -> Hashable:
        way = self._state(request).tries_left[0]
        prompt_length = len(self._prompt(request, way)) if way.prompted else 0
        return request.options.task, way.context_seconds, way.temperatures, way.greedy, prompt_length

    def recognize(self, batch: Sequence[tuple[WindowRequest, Samples]]) -> Sequence[Answer]:
        states = [self._state(request) for request, _ in batch]
        way = states[0].tries_left[0]
        encoded = self._encode(batch, states, way.context_seconds)
        requests = self._with_languages(encoded, [request for request, _ in batch])
        hypotheses = self.whisper.recognize(
            encoded,
            [self._prompt(request, way) for request in requests],
            [self._most_tokens(request) for request in requests],
            way,
        )
        judged = [_judge(*each) for each in zip(requests, states, hypotheses, strict=True)]
        timed = self._timed(encoded, {row: result for row, result in enumerate(judged) if isinstance(result, _Final)})
        return [
            self._answer(result, timed.get(row))
            if isinstance(result, _Final)
            else Again(replace(result, state=self._with_encoding(result.state, encoded, row, way)))
            for row, result in enumerate(judged)
        ]

    def _state(self, request: WindowRequest) -> TryState:
        if request.state is None:
            context_seconds = self.whisper.context_seconds(request.seconds, request.care)
            prompted = bool(_bias(request.options).strip())
            return TryState(tries_with(request.care, context_seconds, prompted))
        state: TryState = request.state
        return state

    def _prompt(self, request: WindowRequest, way: Try) -> list[int]:
        """The tokens that the model starts from."""
        options = request.options
        if not way.prompted:
            return self.whisper.prompt(request.language, options.task, "", ())
        return self.whisper.prompt(request.language, options.task, options.prompt or "", options.hotwords)

    def _most_tokens(self, request: WindowRequest) -> int:
        """How many tokens the text of a window may have. A translation is in English."""
        language = "en" if request.options.task == "translate" else request.language
        return most_tokens(request.seconds, self.whisper.tokens_per_character(language))

    def _encode(
        self, batch: Sequence[tuple[WindowRequest, Samples]], states: Sequence[TryState], context_seconds: int
    ) -> Encoded:
        whisper = self.whisper
        if not whisper.keeps_encodings:
            return whisper.encode([samples for _, samples in batch], context_seconds)
        parts = [
            each.encoded or whisper.encode([samples], context_seconds)
            for each, (_, samples) in zip(states, batch, strict=True)
        ]
        return sum(parts[1:], start=parts[0])

    def _with_encoding(self, state: TryState, encoded: Encoded, row: int, way: Try) -> TryState:
        """Keeps what the encoder made of a window if the next way has the same context."""
        if not self.whisper.keeps_encodings or state.tries_left[0].context_seconds != way.context_seconds:
            return replace(state, encoded=None)
        return replace(state, encoded=encoded.only(row))

    def _with_languages(self, encoded: Encoded, batch: Sequence[WindowRequest]) -> list[WindowRequest]:
        """Gives a window its own language if it is clearly not in the language of its channel.

        No window is detected twice: neither if `prepare` detected its language, nor if it is recognized again.
        """
        requests = list(batch)
        long = [
            row
            for row, request in enumerate(requests)
            if request.language_is_detected and request.seconds >= OWN_LANGUAGE_SECONDS
        ]
        for row, probabilities in zip(long, self.whisper.detect_languages(encoded, long), strict=True):
            request = requests[row]
            own = own_language(among(request.options.languages, probabilities), request.seconds)
            requests[row] = replace(request, language=own or request.language, language_is_detected=False)
        return requests

    def _timed(self, encoded: Encoded, final: Mapping[int, _Final]) -> Mapping[int, tuple[Word, ...]]:
        """Returns the words of each row with their times.

        Returns nothing for drafts, and nothing for translations. Translations do not hold the words that were spoken,
        so they cannot be aligned with the sound.
        """
        spoken = {
            row: (each.request, each.hypothesis)
            for row, each in final.items()
            if each.hypothesis and each.request.care != "draft"
        }
        if any(request.options.task == "translate" for request, _ in spoken.values()):
            return {}
        return self.whisper.align(
            encoded,
            {
                row: Utterance(request.language, hypothesis.tokens, request.seconds)
                for row, (request, hypothesis) in spoken.items()
            },
        )

    def _answer(self, final: _Final, words: tuple[Word, ...] | None) -> Recognized | NoSpeech:
        """The answer for the engine. A translation gets the times that the model writes between its phrases."""
        request, hypothesis = final.request, final.hypothesis
        if hypothesis is None:
            return NoSpeech(_warning(final))
        phrases: tuple[Word, ...] = ()
        if request.options.task == "translate":
            phrases = self.whisper.phrases(hypothesis, request.seconds)
        elif not words:
            phrases = (Word(0.0, request.seconds, f" {hypothesis.text}", hypothesis.probability),)
        return Recognized(
            text=hypothesis.text,
            language=request.language,
            words=words or None,
            phrases=phrases,
            scores=_scores(hypothesis),
            warning=_warning(final),
        )


_KEPT = TranscriptWarning(
    WarningCode.WINDOW_REDECODED, "Hard to understand: the model tried several times, and the likeliest result was kept"
)


@cache
def load(folder: Path, device: Device, beam_size: int) -> WhisperRecognizer:
    """Loads a model once per process, and runs it once. Raises ModelUnavailable."""
    try:
        whisper = Whisper(folder, device, beam_size)
        whisper.warm_up()
    except (OSError, RuntimeError, ValueError, GpuOutOfMemory, DeviceLost) as error:
        reason = error.__cause__ or error
        raise ModelUnavailable(f"The model in {folder} cannot be loaded: {reason}") from error
    return WhisperRecognizer(whisper)


def _bias(options: Options) -> str:
    """The words that the client expects."""
    return " ".join((*options.hotwords, options.prompt or ""))


def _judge(request: WindowRequest, state: TryState, hypotheses: Sequence[Hypothesis]) -> WindowRequest | _Final:
    """Accepts a hypothesis, or requests the next way. If no way is left, takes the likeliest hypothesis.

    There is a hypothesis for each temperature. The lowest temperature with an answer that is believed counts.
    """
    way, *others = state.tries_left
    failed = state.failed
    for hypothesis in hypotheses:
        verdict = judge(hypothesis, request.seconds, _bias(request.options) if way.prompted else "")
        if verdict is Verdict.ACCEPTED:
            return _Final(request, verdict, hypothesis, failed)
        if verdict is Verdict.SILENT:
            return _Final(request, verdict, None, failed)
        failed = (*failed, (hypothesis, verdict))
    is_sound = len(failed) > 1 and any(may_be_sound(each, request.seconds) for each, _ in failed)
    if is_sound or not any(each.text for each in hypotheses):  # text at rising temperatures would be invented
        others = [other for other in others if not other.samples]
    if others:
        return replace(request, state=replace(state, tries_left=tuple(others), failed=failed))
    return _Final(request, verdict, likeliest(failed, request.seconds), failed)


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
        return DROPPED
    return REPEATED if final.verdict is Verdict.ACCEPTED else _KEPT
