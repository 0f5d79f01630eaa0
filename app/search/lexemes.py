"""The lexemes of a call, as values of PostgreSQL's type `tsvector`. Pure.

A lexeme is a word, a character of a script without spaces, or two such characters that are neighbours. With the
positions of its lexemes a `tsvector` knows phrases. The hashes of two neighbouring words have no positions. They exist
because the index knows no positions: by its words alone, it would find a common phrase in almost every call.

PostgreSQL keeps 255 positions of a lexeme, none of them higher than 16383, and 1 MB in all. So the first row of a long
call has all of its lexemes, without positions, and further rows have the positions of parts that overlap.
"""

from binascii import crc32
from collections import defaultdict
from collections.abc import Iterator, Sequence

from app.search.words import Unit, units

OVERLAP = 40  # units; as many as a phrase may have
MOST_POSITIONS = 255
LAST_POSITION = 16_000
MOST_BYTES = 1_000_000
ALL_PAIRS = "*"  # stands for the pairs of a call that has too many of them
_PAIR, _TENANT = "+", "@"
_DIGITS = "0123456789abcdefghijklmnopqrstuv"

Lexemes = dict[str, list[int]]


def rows_of(texts: Sequence[str], tenant: str) -> list[str]:
    """The values of a call's rows: one for the whole call and, if it is long, one for each of its parts.

    Phrases do not reach from one text into the next.
    """
    spoken = [units(text) for text in texts]
    parts = list(_parts(spoken))
    whole: Lexemes = {tenant_lexeme(tenant): []}
    for found in spoken:
        for lexeme, _ in _lexemes(found):
            whole.setdefault(lexeme, [])
        for pair in _pairs(found):
            whole.setdefault(pair, [])
    if len(parts) == 1:
        return [_vector(_fitting(whole | parts[0]))]
    return [_vector(_fitting(whole)), *map(_vector, parts)]


def tenant_lexeme(tenant: str) -> str:
    return _TENANT + tenant


def pair_lexeme(left: str, right: str) -> str:
    """Twenty bits of a hash, in four letters. More would make the index larger and hardly better."""
    number = crc32(f"{left} {right}".encode())
    return _PAIR + "".join(_DIGITS[number >> shift & 31] for shift in (0, 5, 10, 15))


def quoted(lexeme: str) -> str:
    """The lexeme as it stands in the text of a `tsvector` or a `tsquery`."""
    escaped = lexeme.replace("\\", "\\\\").replace("'", "''")
    return f"'{escaped}'"


def _lexemes(spoken: Sequence[Unit]) -> Iterator[tuple[str, int]]:
    """Each lexeme of a text and its position."""
    for at, unit in enumerate(spoken):
        yield unit.text, at
        if unit.run is not None and at + 1 < len(spoken) and spoken[at + 1].run == unit.run:
            yield unit.text + spoken[at + 1].text, at


def _pairs(spoken: Sequence[Unit]) -> Iterator[str]:
    for at in range(len(spoken) - 1):
        left, right = spoken[at], spoken[at + 1]
        if left.run is None or left.run != right.run:
            yield pair_lexeme(left.text, right.text)


def _parts(spoken: Sequence[Sequence[Unit]]) -> Iterator[Lexemes]:
    """The positions, in as many parts as PostgreSQL needs. A part begins with the last units of the part before it."""
    part: Lexemes = defaultdict(list)
    position = 1
    for text in spoken:
        begin = 0
        while (full_at := _add(part, position, text[begin:])) is not None:
            yield part
            part, position, begin = defaultdict(list), 1, begin + max(0, full_at - OVERLAP)
        position += len(text) - begin + 1  # the gap that no phrase crosses
    yield part


def _add(part: Lexemes, position: int, text: Sequence[Unit]) -> int | None:
    """Add the units of a text. Returns which unit did not fit, or None."""
    for lexeme, at in _lexemes(text):
        if len(part[lexeme]) == MOST_POSITIONS or position + at > LAST_POSITION:
            return at
        part[lexeme].append(position + at)
    return None


def _fitting(whole: Lexemes) -> Lexemes:
    """As much of the lexemes as PostgreSQL takes. If there are too many, the hashes go first."""
    if _bytes(whole) <= MOST_BYTES:
        return whole
    words = {lexeme: positions for lexeme, positions in whole.items() if lexeme[0] != _PAIR}
    size = _bytes(words)
    while size > MOST_BYTES:  # hours of speech in which hardly a word occurs twice
        size -= _bytes(dict([words.popitem()]))
    return {ALL_PAIRS: list[int](), **words}


def _bytes(lexemes: Lexemes) -> int:
    return sum(len(lexeme.encode()) + 4 + 2 * len(positions) for lexeme, positions in lexemes.items())


def _vector(lexemes: Lexemes) -> str:
    return " ".join(
        quoted(lexeme) + (":" + ",".join(map(str, positions)) if positions else "")
        for lexeme, positions in lexemes.items()
    )
