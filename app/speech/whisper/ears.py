"""Whisper as the ears of models that only write text: it detects languages, and times words that others wrote."""

from collections.abc import Callable, Sequence

from app.speech.model import Prepared, Samples, WindowRequest
from app.speech.whisper.adapter import Utterance
from app.speech.whisper.recognizing import TryState, WhisperRecognizer
from app.transcripts.transcript import Word


class WhisperEars:
    """The `Ears` of `app/speech/model.py`. Its model may be one that is served too."""

    def __init__(self, recognizer: WhisperRecognizer) -> None:
        self._recognizer = recognizer
        self._whisper = recognizer.whisper
        self.window_seconds = recognizer.window_seconds
        self.languages: Sequence[str] = recognizer.languages

    def prepare(self, request: WindowRequest, read: Callable[[], Samples]) -> Prepared:
        return self._recognizer.prepare(request, read)

    def align(self, batch: Sequence[tuple[WindowRequest, Samples, str]]) -> Sequence[tuple[Word, ...]]:
        return [self._aligned(*each) for each in batch]

    def _aligned(self, request: WindowRequest, samples: Samples, text: str) -> tuple[Word, ...]:
        """Uses what `prepare` encoded, if that was kept."""
        tokens = self._whisper.tokens(text, request.language)
        if tokens is None:
            return ()
        encoded = request.state.encoded if isinstance(request.state, TryState) else None
        if encoded is None:
            encoded = self._whisper.encode([samples], self._whisper.context_seconds(request.seconds))
        return self._whisper.align(encoded, {0: Utterance(request.language, tokens, request.seconds)})[0]
