"""Speech that the model has passed over: a decoder may stop in the middle of a window, or begin there; pure.

Whisper's own remedy, to go on from the last timestamp, has no place where windows are decoded side by side, so each
window is looked through once its words have their times.
"""

from collections.abc import Sequence
from itertools import pairwise

from app.speech.transcript import Word
from app.speech.windows import Window

# Speech without a word: no more than 1.3 s in windows of noisy calls that were well heard, 1.9 to 9 s in the others.
PASSED_OVER_SECONDS = 1.5
LONGEST_WORD_SECONDS = 0.8  # an alignment stretches a word over what was not written
FEWEST_HEARD_SECONDS = 1.0  # so that what is left of a window is shorter than the window


def passed_over(window: Window, words: Sequence[Word]) -> tuple[Window, ...]:
    """The stretches of a window that hold speech but none of its words, as windows of their own.

    `words` have the times of the recording. Nothing is left of a window without words.
    """
    if not words:
        return ()
    stretches = pairwise([window.start, *(edge for word in words for edge in (_start(word), word.end)), window.end])
    between_words = list(stretches)[::2]
    left = tuple(
        rest
        for start, end in between_words
        if window.speech_seconds(start, end) >= PASSED_OVER_SECONDS and (rest := window.between(start, end))
    )
    return left if window.seconds - sum(rest.seconds for rest in left) >= FEWEST_HEARD_SECONDS else ()


def _start(word: Word) -> float:
    return max(word.start, word.end - LONGEST_WORD_SECONDS)
