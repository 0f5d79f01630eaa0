"""Makes a whole `Model` of a model that only writes text, with the help of a Whisper model.

Whisper detects the language of each window, and finds the time of each word that the other model wrote. The probability
that Whisper gives these words shows whether the text can be what was said.
"""

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from app.speech.model import (
    Again,
    Answer,
    Ears,
    NoSpeech,
    Prepared,
    Recognized,
    Samples,
    TextModel,
    TextRequest,
    WindowRequest,
    Written,
)
from app.speech.plausibility import DROPPED, REPEATED, SHORT_SECONDS, is_plausible
from app.speech.readable import readable
from app.transcripts.transcript import TranscriptWarning, WarningCode, Word

MOST_ATTEMPTS = 2
# Whisper gives the words of another language, or of another call, less than this on average (decision 71).
LEAST_PROBABILITY = 0.2
LONG_SECONDS = 5.0  # of music or noise, which voice activity seldom takes for speech for so long


@dataclass(frozen=True, slots=True, eq=False)
class TextState:
    """What is remembered of a window: how often it was written, and what Whisper's `prepare` has kept for `align`."""

    attempt: int = 0
    heard: Any = None


class TimedText:
    """The model and its ears behind the seam. A window may be no longer than both can take."""

    def __init__(self, model: TextModel, ears: Ears) -> None:
        self._model = model
        self._ears = ears
        self.window_seconds = min(model.window_seconds, ears.window_seconds)
        self.languages: Sequence[str] = model.languages

    def prepare(self, request: WindowRequest, read: Callable[[], Samples]) -> Prepared:
        """Drafts of a known language need nothing of Whisper, because their words get no times."""
        if request.language and request.care == "draft":
            return Prepared(TextState())
        prepared = self._ears.prepare(request, read)
        known = set(self.languages)
        return Prepared(
            TextState(heard=prepared.state),
            None if prepared.languages is None else _only(known, prepared.languages),
            [_only(known, stretch) for stretch in prepared.stretches],
        )

    def kind(self, request: WindowRequest) -> Hashable:
        return _state(request).attempt

    def recognize(self, batch: Sequence[tuple[WindowRequest, Samples]]) -> Sequence[Answer]:
        requests = [_asked(request) for request, _ in batch]
        texts = self._model.write(
            [(asked, samples) for asked, (_, samples) in zip(requests, batch, strict=True)],
        )
        return [
            self._judged(request, samples, asked, written)
            for (request, samples), asked, written in zip(batch, requests, texts, strict=True)
        ]

    def _judged(self, request: WindowRequest, samples: Samples, asked: TextRequest, written: Written) -> Answer:
        """A text that cannot be believed is asked for again, and dropped if the next one cannot be believed either.

        A text that is merely doubtful is kept, with a warning.
        """
        if written.is_refused:
            return NoSpeech(_REFUSED)
        text = readable(written.text)
        first = asked.attempt == 0
        if not text:
            if first and request.seconds > SHORT_SECONDS:
                return _again(request)
            return NoSpeech(_NOTHING if request.seconds > LONG_SECONDS else None)
        if not is_plausible(text, request.seconds, " ".join((*asked.hotwords, asked.prompt))):
            return _again(request) if first else NoSpeech(DROPPED)
        language = self._language(request, written.language)
        if request.care == "draft":
            return Recognized(text, language)
        request = replace(request, language=language)
        words = self._ears.align([(replace(request, state=_state(request).heard), samples, text)])[0]
        warning = None
        if _is_doubtful(words) or not first:
            if first:
                return _again(request)
            warning = _KEPT if _is_doubtful(words) else REPEATED
        return Recognized(text, language, words=words or None, warning=warning)

    def _language(self, request: WindowRequest, named: str) -> str:
        """The language that the model names, if the client has left it open."""
        options = request.options
        if options.language is not None or named not in self.languages:
            return request.language
        return named if not options.languages or named in options.languages else request.language


_NOTHING = TranscriptWarning(WarningCode.WINDOW_DROPPED, "The model wrote nothing here, although somebody may speak")
_REFUSED = TranscriptWarning(WarningCode.WINDOW_DROPPED, "The server of the model refused to transcribe this")
_KEPT = TranscriptWarning(
    WarningCode.WINDOW_REDECODED, "Hard to understand: the model tried several times, and the last result was kept"
)


def _state(request: WindowRequest) -> TextState:
    return request.state if isinstance(request.state, TextState) else TextState()


def _asked(request: WindowRequest) -> TextRequest:
    attempt, options = _state(request).attempt, request.options
    if attempt:
        return TextRequest(request.language, attempt=attempt, is_wanted=request.is_wanted)
    return TextRequest(request.language, options.prompt or "", options.hotwords, is_wanted=request.is_wanted)


def _again(request: WindowRequest) -> Again:
    state = _state(request)
    return Again(replace(request, state=replace(state, attempt=state.attempt + 1)))


def _is_doubtful(words: Sequence[Word]) -> bool:
    """Also if there are no words, because then the text is longer than any that Whisper can find in a window."""
    known = [word.probability for word in words if word.probability is not None]
    return not known or sum(known) / len(known) < LEAST_PROBABILITY


def _only(languages: set[str], probabilities: Mapping[str, float]) -> Mapping[str, float]:
    return {language: probability for language, probability in probabilities.items() if language in languages}
