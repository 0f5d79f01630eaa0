"""One pass of a model over an utterance, as a job of the batcher. Any thread may call its methods.

A pass reads its samples from the channel's file when its turn comes, so that utterances that wait need no memory.
"""

from collections.abc import Callable, Hashable, Mapping, Sequence
from concurrent.futures import Future, InvalidStateError
from contextlib import suppress
from dataclasses import dataclass, replace

from app.audio.pcm import PcmFile
from app.process.places import Rank
from app.speech.candidates import among
from app.speech.model import Again, Answer, Care, Model, Recognized, Samples, WindowRequest
from app.speech.reader import read_window
from app.speech.windows.cutting import Window
from app.transcripts.transcript import Options

FINAL_PRIORITY, DRAFT_PRIORITY, USUAL_PRIORITY = -2, -1, Rank().priority
"""The first two are more urgent than any job. A final text goes before the drafts of others."""
MOST_REPEATS = 4


@dataclass(frozen=True, slots=True)
class Asked:
    """What a pass is asked. `language` is empty if it has to be detected.

    `votes` are the seconds of each language that were heard before in the channel, which help to detect it.
    """

    model: Model
    pcm: PcmFile
    window: Window
    options: Options
    language: str
    detects: bool
    votes: Mapping[str, float]
    rank: Rank
    care: Care


@dataclass(frozen=True, slots=True)
class PassResult:
    """What was heard; None if nothing was. `languages` were detected; empty if the language was known."""

    heard: Recognized | None
    languages: Mapping[str, float]


class LivePass:
    """It is a job, its only source and its only item at the same time."""

    def __init__(self, asked: Asked) -> None:
        self.asked = asked
        self.model = asked.model
        self.rank = asked.rank
        self.result: Future[PassResult] = Future()
        self.request = WindowRequest(
            asked.options,
            asked.window.seconds,
            asked.language,
            asked.detects,
            care=asked.care,
            is_wanted=lambda: not self.ended,
        )
        self._languages: Mapping[str, float] = {}
        self._repeats = 0
        self._is_prepared = False

    @property
    def job(self) -> "LivePass":
        return self

    @property
    def ended(self) -> bool:
        return self.result.done()

    @property
    def exhausted(self) -> bool:
        return self._is_prepared

    @property
    def hurries(self) -> Callable[[], bool] | None:
        return None

    @property
    def again(self) -> bool:
        return False  # a pass does not wait to be tried again with others

    @property
    def kind(self) -> Hashable:
        return id(self.model), self.model.kind(self.request)

    def fail(self, error: Exception) -> None:
        error.__traceback__ = None
        with suppress(InvalidStateError):
            self.result.set_exception(error)

    def advance(self) -> Sequence["LivePass"]:
        """Prepares the window, and decides its language if that is not known."""
        self._is_prepared = True
        prepared = self.model.prepare(self.request, self.samples)
        if prepared.languages:
            self._languages = among(self.asked.options.languages, prepared.languages)
            self.request = replace(self.request, language=self._likeliest(), language_is_detected=False)
        self.request = replace(self.request, state=prepared.state)
        return [self]

    def samples(self) -> Samples:
        return read_window(self.asked.pcm, self.asked.window)

    def answered(self, answer: Answer) -> Sequence["LivePass"]:
        """Takes the model's answer. Returns the pass if the model has to hear it again."""
        self._repeats += 1
        if isinstance(answer, Again) and self._repeats < MOST_REPEATS:
            self.request = answer.request
            return [self]
        heard = answer if isinstance(answer, Recognized) else None
        with suppress(InvalidStateError):
            self.result.set_result(PassResult(heard, self._languages))
        return []

    def _likeliest(self) -> str:
        seconds = self.asked.window.seconds
        sums = {
            language: self.asked.votes.get(language, 0.0) + probability * seconds
            for language, probability in self._languages.items()
        }
        return max(sums, key=sums.__getitem__, default="")
