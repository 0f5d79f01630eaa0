"""Hands a batch of windows to their model, and settles the windows that the model is done with.

To settle a window is to find its words, its missed speech and its warning, and to record them at its session.
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TypeAlias

from app import metrics
from app.speech.call.segments import Heard
from app.speech.live.passes import LivePass
from app.speech.model import Again, Answer, NoSpeech, Recognized, Samples
from app.speech.reader import read_window
from app.speech.session import PendingWindow
from app.speech.windows.cutting import Window
from app.speech.windows.missed_speech import find_missed
from app.speech.windows.word_times import spread, to_recording_times
from app.transcripts.transcript import TranscriptWarning, Word

logger = logging.getLogger(__name__)

# Windows of missed speech are searched for more missed speech, up to this generation.
MOST_GENERATIONS = 2
# If a model asks for the same window more often, it will probably never stop. Whisper asks fewer than ten times.
MOST_REPEATS = 20


class AskedTooOften(Exception):
    """A model asked for the same window again and again, which is a fault in its code."""


@dataclass(frozen=True, slots=True, eq=False)
class _Settlement:
    """The result of a window, before it is recorded at the window's session."""

    pending: PendingWindow
    heard: Heard | None
    missed: Sequence[PendingWindow]
    warning: TranscriptWarning | None


Work: TypeAlias = PendingWindow | LivePass
"""What a batch may hold: windows of recordings, and passes over the utterances of live calls."""


def recognize_batch(batch: Sequence[Work]) -> list[Work]:
    """Recognizes windows of one kind and settles them. Returns the windows that must be recognized next or again.

    If this raises an error, no window has been settled. If a recording cannot be read, only its own job fails.
    """
    readable = [(pending, samples) for pending in batch if (samples := _read(pending)) is not None]
    if not readable:
        return []
    answers = batch[0].job.model.recognize([(pending.request, samples) for pending, samples in readable])
    model = batch[0].request.options.model
    metrics.batch_recognized(model, len(readable))
    every = list(zip((pending for pending, _ in readable), answers, strict=True))
    answered = [(pending, answer) for pending, answer in every if isinstance(pending, PendingWindow)]
    settlements = [_settlement_of(pending, answer) for pending, answer in answered if not isinstance(answer, Again)]
    queued_next: list[Work] = [_repeated(pending, answer) for pending, answer in answered if isinstance(answer, Again)]
    queued_next += [missed for settlement in settlements for missed in settlement.missed]
    for settlement in settlements:
        _hand_over(settlement)
    for pending, answer in every:
        if isinstance(pending, LivePass):
            queued_next += pending.answered(answer)
    _count(model, [answer for _, answer in every])
    return queued_next


def _count(model: str, answers: Sequence[Answer]) -> None:
    """A window is dropped if something was said in it that cannot be believed. One of silence is accepted."""
    retried = sum(isinstance(answer, Again) for answer in answers)
    dropped = sum(isinstance(answer, NoSpeech) and answer.warning is not None for answer in answers)
    for result, count in (("accepted", len(answers) - retried - dropped), ("retried", retried), ("dropped", dropped)):
        metrics.windows_recognized(model, result, count)


def _read(pending: Work) -> "Samples | None":
    """The window's samples. If they cannot be read, the job fails, and this returns None.

    The recording may be gone because the client has cancelled the job.
    """
    try:
        if isinstance(pending, LivePass):
            return pending.samples()
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


def _settlement_of(pending: PendingWindow, answer: Recognized | NoSpeech) -> _Settlement:
    warning = _placed(answer.warning, pending)
    if isinstance(answer, NoSpeech):
        return _Settlement(pending, None, (), warning)
    words, missed = _words(pending, answer)
    is_spread = answer.words is None and len(answer.phrases) < 2
    heard = Heard(pending.channel, answer.language, answer.scores, words, is_spread=is_spread)
    return _Settlement(pending, heard, [_of_missed(pending, answer.language, window) for window in missed], warning)


def _words(pending: PendingWindow, answer: Recognized) -> tuple[tuple[Word, ...], Sequence[Window]]:
    """The words with their times in the recording, and windows of the speech that has no words.

    Only words that are aligned with the sound show what was missed.
    """
    window, duration = pending.window, pending.job.call.duration
    if answer.words is None:
        phrases = answer.phrases or (Word(0.0, window.seconds, f" {answer.text}"),)
        return to_recording_times(spread(phrases), window, duration, aligned=False), ()
    words = to_recording_times(answer.words, window, duration)
    return (words, ()) if pending.generation == MOST_GENERATIONS else find_missed(window, words)


def _of_missed(pending: PendingWindow, language: str, window: Window) -> PendingWindow:
    request = pending.job.request_for(window, language, detects=pending.job.detects_language)
    return replace(pending, window=window, request=request, generation=pending.generation + 1, repeats=0)


def _placed(warning: TranscriptWarning | None, pending: PendingWindow) -> TranscriptWarning | None:
    if warning is None:
        return None
    start, end = round(pending.window.start, 2), round(pending.window.end, 2)
    return replace(warning, channel=pending.channel, start=start, end=end)


def _hand_over(settlement: _Settlement) -> None:
    """Records a result. Never raises an error, because a batch that is settled in part must not be recognized again."""
    job = settlement.pending.job
    try:
        missed = [pending.window for pending in settlement.missed]
        job.settle(settlement.pending.window, settlement.heard, settlement.warning, missed)
    except Exception as error:
        logger.exception("speech.settle_failed")
        job.fail(error)
