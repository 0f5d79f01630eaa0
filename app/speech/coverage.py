"""Speech that the model has passed over: a decoder may stop in the middle of a window, or begin there; pure.

Whisper's own remedy, to go on from the last timestamp, has no place where windows are decoded side by side, so each
window is looked through once its words have their times.
"""

from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise

from app.speech.transcript import Word
from app.speech.windows import Window

# Speech without a word: no more than 1.3 s in windows of noisy calls that were well heard, 1.9 to 9 s in the others.
PASSED_OVER_SECONDS = 1.5
LONGEST_WORD_SECONDS = 0.8  # an alignment stretches a word over what was not written


def passed_over(window: Window, words: Sequence[Word]) -> tuple[Window, ...]:
    """The stretches of a window that hold speech but none of its words, as windows of their own.

    `words` were aligned with the speech, and have the times of the recording. Of a window without words nothing is
    left: it was judged to hold none.
    """
    if not words:
        return ()
    edges = [window.start, *(edge for word in unstretched(words) for edge in (word.start, word.end)), window.end]
    return tuple(
        rest
        for start, end in list(pairwise(edges))[::2]
        if window.speech_seconds(start, end) >= PASSED_OVER_SECONDS and (rest := window.between(start, end))
    )


def unstretched(words: Sequence[Word]) -> tuple[Word, ...]:
    """The words, none longer than LONGEST_WORD: what was passed over has its place before them."""
    return tuple(replace(word, start=max(word.start, word.end - LONGEST_WORD_SECONDS)) for word in words)
