"""Patterns such as `s3://bucket/2019/**/*.wav`, which name many objects of a bucket. Pure.

`*` stands for any text without a slash, `?` for one character that is no slash, and `**` for any text. `**/` stands for
any number of folders, also none. All other characters stand for themselves, and may be percent-encoded: `%2A` is a star
in a key.
"""

import re
from dataclasses import dataclass, field
from typing import Self
from urllib.parse import quote, unquote

from app.storage.s3_url import BUCKET, CONTROL_CHARACTERS

MAX_CHARACTERS = 1024
MOST_STATES = 10_000
TOKEN = re.compile(r"\*\*/|\*\*|\*|\?|[^*?]+")
FOLDERS, ANYTHING, ANY_NAME, ANY_CHARACTER = "**/", "**", "*", "?"
WILDCARDS = (FOLDERS, ANYTHING, ANY_NAME, ANY_CHARACTER)

Places = frozenset[int]


@dataclass(frozen=True)
class KeyPattern:
    """The keys of a bucket that match. All of them are below `folder`, which is empty for the whole bucket.

    `parts` are wildcards, and single characters that stand for themselves, which have a `=` before them.
    """

    bucket: str
    folder: str
    parts: tuple[str, ...]
    _next: dict[tuple[Places, str], Places] = field(default_factory=dict, compare=False, repr=False)

    @classmethod
    def parse(cls, url: str) -> Self:
        """Raises ValueError, whose text continues a sentence that begins with the pattern: "has no wildcard"."""
        bucket, slash, pattern = url.removeprefix("s3://").partition("/")
        if not url.startswith("s3://") or not BUCKET.fullmatch(bucket) or not slash or not pattern:
            raise ValueError("must be s3://bucket/pattern, such as s3://calls/2019/**/*.wav")
        if len(url) > MAX_CHARACTERS:
            raise ValueError(f"must have at most {MAX_CHARACTERS} characters")
        literals, parts = "", list[str]()
        is_literal = True
        for token in TOKEN.findall(pattern):
            if token in WILDCARDS:
                is_literal = False
                parts.append(token)
                continue
            text = _decoded(token)
            literals += text if is_literal else ""
            parts += [f"={character}" for character in text]
        if is_literal:
            raise ValueError("has no wildcard *, ** or ?; name single recordings in `urls`")
        return cls(bucket, literals.rpartition("/")[0], tuple(parts))

    def matches(self, key: str) -> bool:
        """It follows all ways through the pattern at the same time, so that no pattern takes long."""
        places = self._with_skipped({0})
        for character in key:
            followed = self._next.get((places, character))
            if followed is None:
                if len(self._next) >= MOST_STATES:
                    self._next.clear()
                followed = self._next[places, character] = self._following(places, character)
            places = followed
            if not places:
                return False
        return len(self.parts) in places

    def url_of(self, key: str) -> str:
        return f"s3://{self.bucket}/{quote(key)}"

    def _following(self, places: Places, character: str) -> Places:
        found = set[int]()
        for place in places:
            if place < 0:  # inside a folder that `**/` stands for
                found.add(place if character != "/" else ~place)
            elif place < len(self.parts):
                found |= self._after(place, self.parts[place], character)
        return self._with_skipped(found)

    def _after(self, place: int, part: str, character: str) -> set[int]:
        if part == FOLDERS:
            return {place} if character == "/" else {~place}
        if part == ANYTHING or (part == ANY_NAME and character != "/"):
            return {place}
        if part == f"={character}" or (part == ANY_CHARACTER and character != "/"):
            return {place + 1}
        return set()

    def _with_skipped(self, places: set[int]) -> Places:
        """The places, and those after parts that may stand for nothing."""
        found = set(places)
        for place in places:
            following = place
            while 0 <= following < len(self.parts) and self.parts[following] in (FOLDERS, ANYTHING, ANY_NAME):
                following += 1
                found.add(following)
        return frozenset(found)


def _decoded(text: str) -> str:
    try:
        decoded = unquote(text, errors="strict")
        decoded.encode()
    except UnicodeError:
        raise ValueError("has a key that is not UTF-8") from None
    if CONTROL_CHARACTERS.search(decoded):
        raise ValueError("has control characters")
    return decoded
