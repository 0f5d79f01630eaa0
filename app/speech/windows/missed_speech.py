"""Speech that the model has passed over: a decoder may stop in the middle of a window, or begin there; pure.

Whisper's own remedy, to go on from the last timestamp, has no place where windows are decoded side by side, so each
window is looked through once its words have their times.
"""

from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from unicodedata import category

from app.audio.pcm import SAMPLE_RATE
from app.speech.windows.cutting import Window
from app.speech.windows.word_times import SHORTEST_SECONDS, sentence_ends
from app.transcripts.transcript import Word

# Speech without a word: no more than 1.3 s in windows of noisy calls that were well heard, 1.9 to 9 s in the others.
PASSED_OVER_SECONDS = 1.5
LONGEST_WORD_SECONDS = 0.8  # an alignment stretches a word over what was not written
FIGURE_SECONDS = 0.6  # "$149" takes as long as "one hundred and forty-nine dollars"
FIGURES = frozenset({"Nd", "Sc"})  # of Unicode's categories: digits and currencies
MOST_TORN_OFF = 3  # words at the beginning of a sentence; more are spoken where they stand
TORN_OFF_SECONDS = 0.3  # of each, for want of better


def find_missed(window: Window, words: Sequence[Word]) -> tuple[tuple[Word, ...], tuple[Window, ...]]:
    """The stretches of a window that hold speech but none of its words, as windows of their own, after the words.

    `words` were aligned with the speech, and have the times of the recording. Where something was passed over, words
    stand beside it: no longer than they may be, and a sentence's first ones with the others. Else they stay as they
    are. Of a window without words nothing is left: it was judged to hold none.
    """
    if not words:
        return (), ()
    placed = _rejoined(window, [_unstretched(word) for word in words])
    gaps = zip((None, *placed), (*placed, None), strict=True)
    rests = tuple(rest for before, after in gaps if (rest := _rest(window, before, after)))
    return (tuple(placed) if rests else tuple(words)), rests


def _unstretched(word: Word) -> Word:
    return replace(word, start=max(word.start, word.end - max(LONGEST_WORD_SECONDS, _figures_seconds(word))))


def _rejoined(window: Window, words: Sequence[Word]) -> list[Word]:
    """Puts the first words of a sentence back to the others, where something was passed over between them.

    The decoder passes over whole sentences, and the alignment then leaves the first words of the next one before these.
    """
    placed = list(words)
    ends = (at for at, (word, after) in enumerate(pairwise(placed), start=1) if sentence_ends(word, after))
    for first, end in pairwise([0, *ends, len(placed)]):
        before = placed[first - 1] if first else None
        for rest in range(min(first + MOST_TORN_OFF, end - 1), first, -1):
            if _rest(window, placed[rest - 1], placed[rest]):
                together = _put_back(placed[first:rest], placed[rest], window)
                if together and _rest(window, before, together[0]):
                    placed[first : rest + 1] = together
                break
    return placed


def _put_back(words: Sequence[Word], after: Word, window: Window) -> list[Word]:
    """The words one after the other before another one, in its piece of the window; none if it has no room."""
    # By its middle: a word's ends are rounded, and may lie in the pieces beside its own.
    middle = (after.start + after.end) / 2 * SAMPLE_RATE
    earliest = max(piece.start / SAMPLE_RATE for piece in window.pieces if piece.start < middle)
    latest = max(after.start, earliest + SHORTEST_SECONDS * len(words))
    if after.end - latest < SHORTEST_SECONDS:
        return []
    pace = min(TORN_OFF_SECONDS, (latest - earliest) / len(words))
    starts = [latest - pace * left for left in range(len(words), 0, -1)]
    placed = [replace(word, start=start, end=start + pace) for word, start in zip(words, starts, strict=True)]
    return [*placed, replace(after, start=latest)]


def _rest(window: Window, before: Word | None, after: Word | None) -> Window | None:
    """What was passed over between two words; None for the window's edge. Figures may be said beside their word."""
    start, end = before.end if before else window.start, after.start if after else window.end
    figures = sum(max(0.0, _figures_seconds(word) - (word.end - word.start)) for word in (before, after) if word)
    if window.speech_seconds(start, end) < PASSED_OVER_SECONDS + figures:
        return None
    return window.between(start, end)


def _figures_seconds(word: Word) -> float:
    return FIGURE_SECONDS * sum(category(character) in FIGURES for character in word.word)
