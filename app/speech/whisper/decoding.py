"""Decodes a batch of windows, judges each, and sends back those that must be decoded again."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from app.speech.call.segments import Heard
from app.speech.reader import read_window
from app.speech.session import PendingWindow
from app.speech.whisper.adapter import Encoded, Samples, Utterance, Whisper
from app.speech.whisper.gates import Decoded, Try, Verdict, judge, likeliest
from app.speech.windows.missed_speech import look_through
from app.speech.windows.word_times import place, spread
from app.transcripts.transcript import TranscriptWarning, WarningCode, Word

logger = logging.getLogger(__name__)

# A window of its own language must be long and clear: short ones are often taken for another language.
OWN_LANGUAGE_PROBABILITY = 0.9
OWN_LANGUAGE_SECONDS = 5

MOST_GENERATIONS = 2  # of windows out of what was passed over in a window


@dataclass(frozen=True)
class _Words:
    """The words of a window, in the time of the recording; `are_aligned` with what sounds there, or spread over it."""

    words: tuple[Word, ...]
    are_aligned: bool


@dataclass(frozen=True)
class _Final:
    """What is settled for a window: `decoded` is None when it holds no speech, or none to be believed."""

    pending: PendingWindow
    verdict: Verdict
    decoded: Decoded | None


def decode_batch(batch: Sequence[PendingWindow]) -> list[PendingWindow]:
    """Decodes windows of one kind; gives those to decode again, and settles the others.

    Nothing is settled when it raises. A window whose recording cannot be read ends its own job only.
    """
    readable = [(pending, samples) for pending in batch if (samples := _read(pending)) is not None]
    if not readable:
        return []
    whisper, way = batch[0].job.whisper, batch[0].ways[0]
    encoded = _encode(whisper, readable, way.context_seconds)
    rows = _with_languages(whisper, encoded, [pending for pending, _ in readable])
    prompts = [pending.job.prompt(pending.language, way) for pending in rows]
    judged = [_judge(row, decoded) for row, decoded in zip(rows, whisper.decode(encoded, prompts, way), strict=True)]
    final = {row: result for row, result in enumerate(judged) if isinstance(result, _Final)}
    words = _words(whisper, encoded, final)
    looked_through = {row: _look_through(final[row].pending, aligned) for row, aligned in words.items()}
    again = [
        *(
            replace(result, encoded=_kept(whisper, encoded, row, way, result.ways[0]))
            for row, result in enumerate(judged)
            if isinstance(result, PendingWindow)
        ),
        *(rest for _, rests in looked_through.values() for rest in rests),
    ]
    for row, result in final.items():
        _settle(result, *looked_through.get(row, (None, [])))
    return again


def _read(pending: PendingWindow) -> Samples | None:
    """The window's samples, or None when its recording is gone, as it is when the client has cancelled."""
    try:
        return read_window(pending.job.call.channels[pending.channel], pending.window)
    except OSError as error:
        if not pending.job.ended:
            logger.exception("speech.read_failed")
        pending.job.fail(error)
        return None


def _encode(whisper: Whisper, readable: Sequence[tuple[PendingWindow, Samples]], context_seconds: int) -> Encoded:
    if not whisper.keeps_encodings:
        return whisper.encode([samples for _, samples in readable], context_seconds)
    parts = [pending.encoded or whisper.encode([samples], context_seconds) for pending, samples in readable]
    return sum(parts[1:], start=parts[0])


def _kept(whisper: Whisper, encoded: Encoded, row: int, way: Try, following: Try) -> Encoded | None:
    """What the encoder made of a window, where the next way of decoding it has the same context."""
    if not whisper.keeps_encodings or following.context_seconds != way.context_seconds:
        return None
    return encoded.only(row)


def _with_languages(whisper: Whisper, encoded: Encoded, batch: Sequence[PendingWindow]) -> list[PendingWindow]:
    """Gives a window that is clearly in another language than its channel its own."""
    rows = list(batch)
    long = [
        row for row, pending in enumerate(rows) if pending.detected and pending.window.seconds >= OWN_LANGUAGE_SECONDS
    ]
    for row, probabilities in zip(long, whisper.detect_languages(encoded, long), strict=True):
        language, probability = max(probabilities.items(), key=lambda item: item[1])
        if probability >= OWN_LANGUAGE_PROBABILITY:
            rows[row] = replace(rows[row], language=language)
    return rows


def _judge(pending: PendingWindow, decoded: Decoded) -> PendingWindow | _Final:
    """Accepts what was decoded, sends the window to the next way of decoding, or takes the best there was."""
    way, *others = pending.ways
    verdict = judge(decoded, pending.window.seconds, pending.job.bias if way.prompted else "")
    if verdict is Verdict.ACCEPTED:
        return _Final(pending, verdict, decoded)
    if verdict is Verdict.SILENT:
        return _Final(pending, verdict, None)
    failed = (*pending.failed, (decoded, verdict))
    if not decoded.text:  # at rising temperatures the model would write something, whatever it hears
        others = [other for other in others if not other.temperature]
    if others:
        return replace(pending, ways=tuple(others), failed=failed)
    return _Final(replace(pending, failed=failed), verdict, likeliest(failed))


def _words(whisper: Whisper, encoded: Encoded, final: Mapping[int, _Final]) -> dict[int, _Words]:
    """Words in the time of the recording, by row of the batch.

    A translation cannot be aligned with the speech, whose words it does not hold: its times are those that the
    model writes between phrases, shared by the words of a phrase.
    """
    spoken = {row: (result.pending, result.decoded) for row, result in final.items() if result.decoded}
    if any(pending.job.call.options.task == "translate" for pending, _ in spoken.values()):
        phrases = {row: whisper.phrases(decoded, pending.window.seconds) for row, (pending, decoded) in spoken.items()}
        return {row: _placed(pending, spread(phrases[row]), is_aligned=False) for row, (pending, _) in spoken.items()}
    aligned = whisper.align(
        encoded,
        {
            row: Utterance(pending.language, decoded.tokens, pending.window.seconds)
            for row, (pending, decoded) in spoken.items()
        },
    )
    return {
        row: _placed(pending, aligned[row] or _unaligned(pending, decoded), is_aligned=bool(aligned[row]))
        for row, (pending, decoded) in spoken.items()
    }


def _placed(pending: PendingWindow, words: tuple[Word, ...], *, is_aligned: bool) -> _Words:
    return _Words(place(words, pending.window, pending.job.call.duration), is_aligned)


def _unaligned(pending: PendingWindow, decoded: Decoded) -> tuple[Word, ...]:
    return spread([Word(0.0, pending.window.seconds, f" {decoded.text}", decoded.probability)])


def _look_through(pending: PendingWindow, words: _Words) -> tuple[_Words, list[PendingWindow]]:
    """The words of a window, and what was passed over in it, as windows of their own."""
    if not words.are_aligned or pending.generation == MOST_GENERATIONS:
        return words, []
    beside, rests = look_through(pending.window, words.words)
    anew = replace(pending, generation=pending.generation + 1, failed=(), encoded=None)
    return replace(words, words=beside), [replace(anew, window=rest, ways=pending.job.ways(rest)) for rest in rests]


def _settle(final: _Final, words: _Words | None, rests: Sequence[PendingWindow]) -> None:
    """Never raises: a batch that is settled in part must not be decoded again."""
    pending, decoded = final.pending, final.decoded
    try:
        heard = None
        if decoded and words:
            heard = Heard(pending.channel, pending.language, decoded, words.words)
        pending.job.settle(pending.window, heard, _warning(final), [rest.window for rest in rests])
    except Exception as error:
        logger.exception("speech.settle_failed")
        pending.job.fail(error)


def _warning(final: _Final) -> TranscriptWarning | None:
    pending, decoded = final.pending, final.decoded
    if not pending.failed:
        return None
    if decoded is None:
        code, message = WarningCode.WINDOW_DROPPED, "Nothing that could be believed was heard here"
    elif final.verdict is Verdict.ACCEPTED:
        code, message = (
            WarningCode.WINDOW_REDECODED,
            f"Hard to make out: decoded again, at temperature {decoded.temperature:g}",
        )
    else:
        code, message = (
            WarningCode.WINDOW_REDECODED,
            "Hard to make out: decoded again and again without a sure result, and the likeliest was kept",
        )
    start, end = round(pending.window.start, 2), round(pending.window.end, 2)
    return TranscriptWarning(code, message, pending.channel, start, end)
