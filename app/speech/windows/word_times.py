"""Turns times in a window into times in the recording, and repairs what alignment gets wrong; pure."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import replace
from itertools import pairwise
from math import inf
from statistics import median

from app.speech.windows.cutting import Window
from app.transcripts.punctuation import ends_sentence, only_closes
from app.transcripts.transcript import Word

ABBREVIATIONS = frozenset({"mr.", "mrs.", "ms.", "dr.", "st.", "prof.", "sr.", "sra.", "jr.", "vs."})
LONGEST_MEDIAN_SECONDS = 0.7
SHORTEST_SECONDS = 0.06


def to_recording_times(
    words: Sequence[Word], window: Window, duration: float, *, aligned: bool = True
) -> tuple[Word, ...]:
    """Words with times in a window → the words with times in the recording, which lasts `duration` seconds.

    Each word is within one piece of the window's speech. Only a word that alignment left without a length may begin
    SHORTEST_SECONDS before its piece. No word starts before the previous word has ended. Words that
    are `aligned` with the sound are shortened if the alignment has stretched them over a pause.
    """
    placed: list[Word] = []
    latest, begins_phrase = window.start, True
    for word in _tighten(words) if aligned else words:
        start, end = window.locate(word.start, word.end, begins_phrase=begins_phrase)
        start = max(start, latest)
        latest = max(start, end)
        placed.append(replace(word, start=start, end=latest))
        begins_phrase = ends_sentence(word.word)
    return tuple(
        replace(word, start=min(round(word.start, 2), duration), end=min(round(word.end, 2), duration))
        for word in _with_length(placed, window.start)
    )


def sentence_starts(words: Sequence[Word]) -> list[int]:
    """The places of the words that begin a sentence, without that of the first word.

    No sentence begins after a title such as "Mr.", nor in the middle of "8 a.m. then". Some models write a closing
    quote or bracket as a word of its own. It belongs to the sentence before it.
    """
    starts, said = [], ""
    for at, word in enumerate(words):
        if only_closes(word.word):
            continue
        if ends_sentence(said) and not (said.strip().casefold() in ABBREVIATIONS or word.word.strip()[:1].islower()):
            starts.append(at)
        said = word.word
    return starts


def _with_length(words: Sequence[Word], earliest: float) -> list[Word]:
    """Gives words without a length some of the time of the words before them.

    A word has no length if the alignment put it at the very end of the speech.
    """
    latest, reversed_words = inf, []
    for word in reversed(words):
        end = min(word.end, latest)
        latest = max(earliest, min(word.start, end - SHORTEST_SECONDS))
        reversed_words.append(replace(word, start=latest, end=max(latest, end)))
    return reversed_words[::-1]


def spread(phrases: Iterable[Word]) -> tuple[Word, ...]:
    """Phrases → words. Each word gets a part of its phrase's time, by its number of letters."""
    return tuple(word for phrase in phrases for word in _spread_phrase(phrase))


def _spread_phrase(phrase: Word) -> list[Word]:
    texts = re.findall(r"\s*\S+", phrase.word)
    pace = (phrase.end - phrase.start) / max(1, sum(len(text) for text in texts))
    words, start = [], phrase.start
    for text in texts:
        end = start + pace * len(text)
        words.append(replace(phrase, start=start, end=end, word=text))
        start = end
    return words


def _tighten(words: Sequence[Word]) -> list[Word]:
    """Shortens words that the alignment stretched over a pause.

    The first and the last word of a sentence become no longer than twice the median word, as in faster-whisper.
    """
    lengths = [word.end - word.start for word in words if word.end > word.start]
    if not lengths:
        return list(words)
    longest = 2 * min(LONGEST_MEDIAN_SECONDS, median(lengths))
    tight = [_shorten_start(words[0], longest)]
    for before, word in pairwise(words):
        tight.append(_shorten_start(word, longest) if ends_sentence(before.word) else word)
    return [
        replace(word, end=min(word.end, word.start + longest)) if ends_sentence(word.word) else word for word in tight
    ]


def _shorten_start(word: Word, longest: float) -> Word:
    return replace(word, start=max(word.start, word.end - longest))
