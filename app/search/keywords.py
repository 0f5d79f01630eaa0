"""The words of a call that say what it is about, for reports that count them over many calls. Pure.

Chinese is cut into words by rjieba. In Japanese, words are stretches of Chinese characters or of katakana. There are no
keywords of Thai, Lao, Burmese and Khmer, because nothing here can cut them.
"""

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from functools import cache
from itertools import groupby
from pathlib import Path

from app.search.words import LONGEST_WORD, Unit, units
from app.transcripts.entities import Entity

ENGLISH = "en"
MOST_KEYWORDS = 100  # of a call, so that a long one costs a report no more than others
SHORTEST_WORD = 3  # letters, or characters of a word that is written without spaces: 2
SHORTEST_UNSPACED = 2
LISTS = Path(__file__).with_name("stop_words")  # made of PostgreSQL's lists (Snowball), and words of telephone calls

_HAN = "\u3005\u3400-\u9fff\uf900-\ufaff\U00020000-\U000323af"
_OF_CHINESE = re.compile(f"[{_HAN}]{{{SHORTEST_UNSPACED},}}")
_OF_JAPANESE = re.compile(f"[{_HAN}]{{{SHORTEST_UNSPACED},}}|[\u30a1-\u30fa\u30fc]{{3,}}")
_OF_KOREAN = re.compile(f"[\uac00-\ud7a3]{{{SHORTEST_UNSPACED},}}")
_REDACTED = re.compile("|".join(re.escape(entity.label) for entity in Entity))


def keywords(said: Iterable[tuple[str, str]]) -> list[str]:
    """The keywords of a call, each once, of texts with their languages as ISO 639-1 codes.

    Numbers and words that most calls have are left out. Of a long call, the most frequent words are kept.
    """
    found = Counter(word for text, language in said for word in _words(_REDACTED.sub(" ", text), language))
    return sorted(word for word, _ in found.most_common(MOST_KEYWORDS))


def _words(text: str, language: str) -> Iterator[str]:
    stopped = stop_words(language) | stop_words(ENGLISH)  # people say "okay" and "hello" in any language
    for run, stretch in groupby(units(text), key=lambda unit: unit.run):
        for word in _spaced(text, stretch) if run is None else _unspaced(text, list(stretch), language):
            if word not in stopped:
                yield word


def _spaced(text: str, stretch: Iterable[Unit]) -> Iterator[str]:
    for unit in stretch:
        word = text[unit.start : unit.end].lower()
        if SHORTEST_WORD <= len(word) <= LONGEST_WORD and not any(map(str.isnumeric, word)):
            yield word


def _unspaced(text: str, stretch: Sequence[Unit], language: str) -> Iterator[str]:
    run = text[stretch[0].start : stretch[-1].end]
    if language == "ja":
        yield from _OF_JAPANESE.findall(run)
    elif language == "ko":
        yield from _OF_KOREAN.findall(run)
    else:
        yield from (word for word in _cut(run) if _OF_CHINESE.fullmatch(word))


def _cut(text: str) -> list[str]:
    import rjieba  # only for calls in Chinese: it keeps a dictionary in the memory

    return list(rjieba.cut(text))


@cache
def stop_words(language: str) -> frozenset[str]:
    """The words of a language that say nothing about a call. Empty for languages without a list."""
    lists = {path.stem: path for path in LISTS.glob("*.txt")}
    return frozenset(lists[language].read_text(encoding="utf-8").split()) if language in lists else frozenset()
