"""Finds speech that the model missed, because it may stop in the middle of a window, or start there; pure.

Whisper itself would continue after the last timestamp. That is not possible when windows are recognized in batches. So
each window is searched for speech without words, once its words have their times.
"""

from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from unicodedata import category

from app.audio.pcm import SAMPLE_RATE
from app.speech.windows.cutting import Window
from app.speech.windows.word_times import SHORTEST_SECONDS, sentence_ends
from app.transcripts.transcript import Word

# Speech without a word lasts up to 1.3 s in windows of noisy calls that were recognized well, 1.9 to 9 s in the others.
SHORTEST_MISSED_SECONDS = 1.5
LONGEST_BESIDE_MISSED_SECONDS = 0.8  # because an alignment stretches a word over missed speech
FIGURE_SECONDS = 0.6  # for each digit: "$149" takes as long as "one hundred and forty-nine dollars"
FIGURES = frozenset({"Nd", "Sc"})  # of Unicode's categories: digits and currencies
MOST_SEPARATED = 3  # words that alignment may leave before a gap; if there are more, they were spoken there
SEPARATED_WORD_SECONDS = 0.3  # a guess, because their true length is not known


def find_missed(window: Window, words: Sequence[Word]) -> tuple[tuple[Word, ...], tuple[Window, ...]]:
    """Returns the words, and a window for each stretch of speech that has no word.

    `words` were aligned with the speech and have the times of the recording. If speech was missed, the returned words
    are corrected: none is longer than LONGEST_BESIDE_MISSED_SECONDS (figures may be), and the first words of a sentence
    move next to its other words. Otherwise the words are returned unchanged. A window without words has no missed
    speech, because the model was believed when it wrote none.
    """
    if not words:
        return (), ()
    corrected = _rejoined(window, [_unstretched(word) for word in words])
    gaps = zip((None, *corrected), (*corrected, None), strict=True)
    missed = tuple(part for before, after in gaps if (part := _missed(window, before, after)))
    return (tuple(corrected) if missed else tuple(words)), missed


def _unstretched(word: Word) -> Word:
    return replace(word, start=max(word.start, word.end - max(LONGEST_BESIDE_MISSED_SECONDS, _figures_seconds(word))))


def _rejoined(window: Window, words: Sequence[Word]) -> list[Word]:
    """Moves the first words of a sentence next to its other words, if speech was missed between them.

    If the model misses whole sentences, the alignment leaves the first words of the next sentence before the gap.
    """
    placed = list(words)
    ends = (at for at, (word, after) in enumerate(pairwise(placed), start=1) if sentence_ends(word, after))
    for first, end in pairwise([0, *ends, len(placed)]):
        before = placed[first - 1] if first else None
        for other in range(min(first + MOST_SEPARATED, end - 1), first, -1):
            if _missed(window, placed[other - 1], placed[other]):
                together = _moved(placed[first:other], placed[other], window)
                if together and _missed(window, before, together[0]):
                    placed[first : other + 1] = together
                break
    return placed


def _moved(words: Sequence[Word], after: Word, window: Window) -> list[Word]:
    """The words, moved directly before `after` in the same piece of the window. Empty if they do not fit there."""
    # The middle shows the piece, because the ends of a word are rounded and may be in the pieces beside it.
    middle = (after.start + after.end) / 2 * SAMPLE_RATE
    earliest = max(piece.start / SAMPLE_RATE for piece in window.pieces if piece.start < middle)
    latest = max(after.start, earliest + SHORTEST_SECONDS * len(words))
    if after.end - latest < SHORTEST_SECONDS:
        return []
    pace = min(SEPARATED_WORD_SECONDS, (latest - earliest) / len(words))
    starts = [latest - pace * left for left in range(len(words), 0, -1)]
    placed = [replace(word, start=start, end=start + pace) for word, start in zip(words, starts, strict=True)]
    return [*placed, replace(after, start=latest)]


def _missed(window: Window, before: Word | None, after: Word | None) -> Window | None:
    """The speech that was missed between two words, or None. A word is None at the edge of the window.

    Figures take longer to say than to write, so some speech beside them counts as theirs.
    """
    start, end = before.end if before else window.start, after.start if after else window.end
    figures = sum(max(0.0, _figures_seconds(word) - (word.end - word.start)) for word in (before, after) if word)
    if window.speech_seconds(start, end) < SHORTEST_MISSED_SECONDS + figures:
        return None
    return window.between(start, end)


def _figures_seconds(word: Word) -> float:
    return FIGURE_SECONDS * sum(category(character) in FIGURES for character in word.word)
