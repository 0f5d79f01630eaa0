"""Hands a batch of windows to their model, and settles each window: its words, its missed speech, its warning.

To settle a window is to end the work on it and to record the result at its session.
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace

from app.speech.call.segments import Heard
from app.speech.model import Again, NoSpeech, Recognized, Samples, WindowRequest
from app.speech.reader import read_window
from app.speech.session import PendingWindow
from app.speech.windows.cutting import Window
from app.speech.windows.missed_speech import find_missed
from app.speech.windows.word_times import place, spread
from app.transcripts.transcript import TranscriptWarning, Word

logger = logging.getLogger(__name__)

# Windows of missed speech are searched for more missed speech, up to this generation.
MOST_GENERATIONS = 2
# A model that asks for a window more often would never end. Whisper asks fewer than ten times.
MOST_REPEATS = 20


class AskedTooOften(Exception):
    """A model asked for the same window again and again. It is a fault of the model's code."""


@dataclass(frozen=True, slots=True, eq=False)
class _Outcome:
    """What came of a window that its model is done with, before its job learns of it."""

    pending: PendingWindow
    heard: Heard | None
    missed: Sequence[PendingWindow]
    warning: TranscriptWarning | None


def recognize_batch(batch: Sequence[PendingWindow]) -> list[PendingWindow]:
    """Recognizes windows of one kind and settles them. Returns the windows that must be recognized next or again.

    If this raises an error, no window has been settled. If a recording cannot be read, only its own job fails.
    """
    readable = [(pending, samples) for pending in batch if (samples := _read(pending)) is not None]
    if not readable:
        return []
    answers = batch[0].job.model.recognize([(pending.request, samples) for pending, samples in readable])
    answered = list(zip((pending for pending, _ in readable), answers, strict=True))
    outcomes = [_outcome_of(pending, answer) for pending, answer in answered if not isinstance(answer, Again)]
    again = [_repeated(pending, answer) for pending, answer in answered if isinstance(answer, Again)]
    again += [missed for outcome in outcomes for missed in outcome.missed]
    for outcome in outcomes:
        _hand_over(outcome)
    return again


def _read(pending: PendingWindow) -> "Samples | None":
    """The window's samples. None if its recording is gone, for example because the client has cancelled the job."""
    try:
        return read_window(pending.job.call.channels[pending.channel], pending.window)
    except OSError as error:
        if not pending.job.ended:
            logger.exception("speech.read_failed")
        pending.job.fail(error)
        return None


def _repeated(pending: PendingWindow, answer: Again) -> PendingWindow:
    """The window to recognize again. If its job fails here, the batcher drops it, as it does for all ended jobs."""
    if pending.repeats == MOST_REPEATS:
        pending.job.fail(AskedTooOften(f"the model asked for a window more than {MOST_REPEATS} times"))
    return replace(pending, request=answer.request, repeats=pending.repeats + 1)


def _outcome_of(pending: PendingWindow, answer: Recognized | NoSpeech) -> _Outcome:
    warning = _placed(answer.warning, pending)
    if isinstance(answer, NoSpeech):
        return _Outcome(pending, None, (), warning)
    words, missed = _words(pending, answer)
    heard = Heard(pending.channel, answer.language, answer.scores, words)
    return _Outcome(pending, heard, [_of_missed(pending, answer.language, window) for window in missed], warning)


def _words(pending: PendingWindow, answer: Recognized) -> tuple[tuple[Word, ...], Sequence[Window]]:
    """The words with their times in the recording, and windows of the speech that has no words.

    Only words that are aligned with the sound show what was missed.
    """
    window, duration = pending.window, pending.job.call.duration
    if answer.words is None:
        phrases = answer.phrases or (Word(0.0, window.seconds, f" {answer.text}"),)
        return place(spread(phrases), window, duration, aligned=False), ()
    words = place(answer.words, window, duration)
    return (words, ()) if pending.generation == MOST_GENERATIONS else find_missed(window, words)


def _of_missed(pending: PendingWindow, language: str, window: Window) -> PendingWindow:
    request = WindowRequest(pending.request.options, window.seconds, language, pending.request.language_is_detected)
    return replace(pending, window=window, request=request, generation=pending.generation + 1, repeats=0)


def _placed(warning: TranscriptWarning | None, pending: PendingWindow) -> TranscriptWarning | None:
    if warning is None:
        return None
    start, end = round(pending.window.start, 2), round(pending.window.end, 2)
    return replace(warning, channel=pending.channel, start=start, end=end)


def _hand_over(outcome: _Outcome) -> None:
    """Records a result. Never raises an error, because a batch that is settled in part must not be recognized again."""
    job = outcome.pending.job
    try:
        missed = [pending.window for pending in outcome.missed]
        job.settle(outcome.pending.window, outcome.heard, outcome.warning, missed)
    except Exception as error:
        logger.exception("speech.settle_failed")
        job.fail(error)
