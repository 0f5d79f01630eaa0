"""Speech that the model has passed over: a decoder may stop in the middle of a window, or begin there; pure.

Whisper's own remedy, to go on from the last timestamp, has no place where windows are decoded side by side, so each
window is looked through once its words have their times.
"""

from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from unicodedata import category

from app.audio.pcm import SAMPLE_RATE
from app.speech.timing import ends_sentence
from app.speech.transcript import Word
from app.speech.windows import Window

# Speech without a word: no more than 1.3 s in windows of noisy calls that were well heard, 1.9 to 9 s in the others.
PASSED_OVER_SECONDS = 1.5
LONGEST_WORD_SECONDS = 0.8  # an alignment stretches a word over what was not written
FIGURE_SECONDS = 0.6  # "$149" takes as long as "one hundred and forty-nine dollars"
FIGURES = frozenset({"Nd", "Sc"})  # of Unicode's categories: digits and currencies
MOST_TORN_OFF = 3  # words at the beginning of a sentence; more are spoken where they stand
TORN_OFF_SECONDS = 0.3  # of each, for want of better


def passed_over(window: Window, words: Sequence[Word]) -> tuple[Window, ...]:
    """The stretches of a window that hold speech but none of its words, as windows of their own.

    `words` were aligned with the speech, and have the times of the recording. Of a window without words nothing is
    left: it was judged to hold none.
    """
    if not words:
        return ()
    placed = rejoined(window, words)
    gaps = zip((None, *placed), (*placed, None), strict=True)
    return tuple(rest for before, after in gaps if (rest := _rest(window, before, after)))


def rejoined(window: Window, words: Sequence[Word]) -> tuple[Word, ...]:
    """The words beside what was passed over, which has its place before them: none longer than it may be.

    An alignment leaves the first words of a sentence at the end of the sentence before, and what was passed over then
    lies within the sentence: these words are put back to the others.
    """
    placed = _unstretched(words)
    beginnings = [0, *(index + 1 for index, word in enumerate(placed) if ends_sentence(word.word))]
    for first, end in pairwise([*beginnings, len(placed)]):
        for torn_off in range(min(MOST_TORN_OFF, end - first - 1), 0, -1):
            rest = first + torn_off
            if _rest(window, placed[rest - 1], placed[rest]):
                placed[first:rest] = _just_before(placed[rest], window, placed[first:rest])
                break
    return tuple(placed)


def _unstretched(words: Sequence[Word]) -> list[Word]:
    return [
        replace(word, start=max(word.start, word.end - max(LONGEST_WORD_SECONDS, _figures_seconds(word))))
        for word in words
    ]


def _just_before(after: Word, window: Window, words: Sequence[Word]) -> list[Word]:
    """The words one after the other up to another one, within its piece of the window."""
    earliest = max(piece.start / SAMPLE_RATE for piece in window.pieces if piece.start <= after.start * SAMPLE_RATE)
    pace = min(TORN_OFF_SECONDS, max(0.0, after.start - earliest) / len(words))
    starts = [after.start - pace * left for left in range(len(words), 0, -1)]
    return [replace(word, start=start, end=start + pace) for word, start in zip(words, starts, strict=True)]


def _rest(window: Window, before: Word | None, after: Word | None) -> Window | None:
    """What was passed over between two words; None for the window's edge. Figures may be said beside their word."""
    start, end = before.end if before else window.start, after.start if after else window.end
    figures = sum(max(0.0, _figures_seconds(word) - (word.end - word.start)) for word in (before, after) if word)
    if window.speech_seconds(start, end) < PASSED_OVER_SECONDS + figures:
        return None
    return window.between(start, end)


def _figures_seconds(word: Word) -> float:
    return FIGURE_SECONDS * sum(category(character) in FIGURES for character in word.word)
