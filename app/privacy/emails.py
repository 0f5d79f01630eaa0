"""Finds e-mail addresses, written or spelled: "john dot smith at example dot com". Pure.

Models often miss the word for "@". So an address is also found by its end, such as "dot com", after a word that
announces an address or next to the name of a provider.
"""

from collections.abc import Iterator

from rapidfuzz import fuzz

from app.privacy.cues import begins_at, ends_before
from app.privacy.lexicon import Lexicon
from app.privacy.spoken import Stream

LEAST_GLUED = 6
LEAST_RUN_TOGETHER = 12  # characters of a word before `.com` that is likely several words
LEAST_LIKENESS = 80.0
MOST_SIGN_TOKENS = 2
MOST_TOKENS = 16  # before and after the sign
MOST_BEHIND_UNDERSCORE = 12
MOST_WRITTEN_TOKENS = 40
ANNOUNCED_TOKENS = 30
MOST_ENDS = 4  # as in `.com.br`
PARTS = frozenset("._-+%")
ENDS = frozenset(
    "com net org edu info biz eu io de at ch es mx ar fr be it pt br uk co cn jp us ca nl "
    "comercial comune commerciale komm kom comm comme ee".split()
)
PROVIDERS = frozenset(
    "gmail hotmail outlook yahoo icloud gmx aol proton protonmail googlemail live msn qq 163 126 sina libero "
    "orange laposte freenet terra uol wanadoo docomo softbank ezweb".split()
)
ANNOUNCERS = frozenset("email mail emails maile imeil emeil correo courriel mél adresse address e-mail correio".split())
KANA_ENDS = frozenset(map(tuple, ("コム", "ネット", "ジェーピー", "シーオー", "オーアールジー")))
HAN_ANNOUNCERS = frozenset(map(tuple, ("邮箱", "郵箱", "油箱", "メール", "アドレス")))


def emails_in(stream: Stream) -> Iterator[tuple[int, int]]:
    """Gives the tokens of each address: the first one, and the one behind the last."""
    at = 0
    while at < len(stream.tokens):
        found = (
            _written(stream, at)
            or _around_sign(stream, at)
            or _before_end(stream, at)
            or _around_underscore(stream, at)
        )
        if found:
            yield found
            at = max(at, found[1] - 1)
        at += 1


def _written(stream: Stream, at: int) -> tuple[int, int] | None:
    """An address that is written as one, whatever its ending: "anna@firma.se". Its sign is this token."""
    if stream.tokens[at].text != "@" or not stream.tokens[at].glued:
        return None
    first, last = at, at + 1
    while first > 0 and stream.tokens[first].glued and at - first < MOST_WRITTEN_TOKENS:
        first -= 1
    while last < len(stream.tokens) and stream.tokens[last].glued and last - at < MOST_WRITTEN_TOKENS:
        last += 1
    while last > at + 1 and not stream.tokens[last - 1].text.isalnum():
        last -= 1
    has_point = any(stream.tokens[inside].text == "." for inside in range(at + 1, last))
    return (first, last) if first < at and has_point else None


def _around_sign(stream: Stream, at: int) -> tuple[int, int] | None:
    """An address whose sign begins with this token."""
    lexicon = stream.lexicon(at)
    length = (
        1 if _is_sign(stream, at, lexicon) else begins_at(stream, at, lexicon.at) or _like_sign(stream, at, lexicon)
    )
    if not length:
        return None
    end = _end_after(stream, at + length, lexicon) or _announced_end(stream, at, length, lexicon)
    if end is None:
        return None
    return _start_before(stream, at, lexicon), end


def _announced_end(stream: Stream, at: int, length: int, lexicon: Lexicon) -> int | None:
    """Where an address ends that was announced and that has an ending that nobody knows: "at acme dot tech"."""
    if not any(_announces(stream, first) for first in range(max(0, at - ANNOUNCED_TOKENS), at)):
        return None
    for point in range(at + length, min(at + length + MOST_TOKENS, len(stream.tokens) - 1)):
        said = 1 if _is_point(stream, point) else begins_at(stream, point, lexicon.dot)
        if said and point + said < len(stream.tokens):
            return point + said + 1
    return None


def _is_sign(stream: Stream, at: int, lexicon: Lexicon) -> bool:
    """Whether a token is the sign, or the word for it with the domain glued to it, as in `chiocciolaexample`."""
    text = stream.tokens[at].text
    return text == "@" or any(text.startswith(word) for (word, *_) in lexicon.at if len(word) >= LEAST_GLUED)


def _like_sign(stream: Stream, at: int, lexicon: Lexicon) -> int:
    """How many tokens from this one are written instead of the word for the sign, such as `à Roba` for `arobase`."""
    said = ""
    for length, token in enumerate(stream.tokens[at : at + MOST_SIGN_TOKENS], start=1):
        said += token.text
        if said.isalpha() and any(
            len(word) >= LEAST_GLUED and fuzz.ratio(said, word, score_cutoff=LEAST_LIKENESS)
            for (word, *_) in lexicon.at
        ):
            return length
    return 0


def _around_underscore(stream: Stream, at: int) -> tuple[int, int] | None:
    """A name with an underscore in it, up to the end of the sentence. In a call, that is an address or a login."""
    lexicon = stream.lexicon(at)
    length = begins_at(stream, at, lexicon.underscore)
    if not length:
        return None
    last = at + length
    while last < len(stream.tokens) and last - at < MOST_BEHIND_UNDERSCORE and not _ends(stream, last):
        last += 1
    return _start_before(stream, at, lexicon), last


def _before_end(stream: Stream, at: int) -> tuple[int, int] | None:
    """An address that was announced, and whose end ("dot com") begins with this token."""
    lexicon = stream.lexicon(at)
    end = _tail(stream, at, lexicon)
    if end is None:
        return None
    for first in range(at - 1, max(-1, at - ANNOUNCED_TOKENS), -1):
        if _announces(stream, first):
            return _skip(stream, first + 1, at, lexicon), end
    before = stream.tokens[at - 1].text if at else ""
    if before in PROVIDERS or (stream.tokens[at].glued and len(before) >= LEAST_RUN_TOGETHER):
        return _start_before(stream, at - 1, lexicon), end
    return None


def _announces(stream: Stream, at: int) -> bool:
    lexicon = stream.lexicon(at)
    if stream.tokens[at].text in ANNOUNCERS or ends_before(stream, at + 1, lexicon.underscore):
        return True
    return any(
        tuple(token.text for token in stream.tokens[at - len(each) + 1 : at + 1]) == each for each in HAN_ANNOUNCERS
    )


def _skip(stream: Stream, first: int, last: int, lexicon: Lexicon) -> int:
    """The first token that is no small word of the sentence, such as "is"."""
    while first < last - 1 and (stream.tokens[first].text in lexicon.stops or not stream.tokens[first].text.isalnum()):
        first += 1
    return first


def _end_after(stream: Stream, first: int, lexicon: Lexicon) -> int | None:
    """Where the address ends whose domain begins with this token, or None if it has no end such as "dot com"."""
    for at in range(first, min(first + MOST_TOKENS, len(stream.tokens))):
        if (end := _tail(stream, at, lexicon)) is not None:
            return end
    return None


def _tail(stream: Stream, at: int, lexicon: Lexicon) -> int | None:
    """Where the end of an address ends that begins with this token: "dot com", ".co.uk", "Punkt d e"."""
    end = None
    for _ in range(MOST_ENDS):
        length = 1 if _is_point(stream, at) else begins_at(stream, at, lexicon.dot)
        ending = _top_level(stream, at + length) if length else 0
        if not ending:
            break
        end = at = at + length + ending
    return end


def _is_point(stream: Stream, at: int) -> bool:
    return at < len(stream.tokens) and stream.tokens[at].text == "." and stream.tokens[at].glued


def _top_level(stream: Stream, at: int) -> int:
    """How many tokens are a top-level domain: a word, or two spelled letters."""
    if at >= len(stream.tokens):
        return 0
    text = stream.tokens[at].text
    if text in ENDS:
        return 1
    if length := begins_at(stream, at, KANA_ENDS):
        return length
    following = stream.tokens[at + 1].text if at + 1 < len(stream.tokens) else ""
    return 2 if len(text) == len(following) == 1 and text + following in ENDS else 0


def _start_before(stream: Stream, at: int, lexicon: Lexicon) -> int:
    """Where the address begins whose sign is this token."""
    first = at
    while first > 0 and at - first < MOST_TOKENS:
        token = stream.tokens[first - 1]
        if token.text in lexicon.stops or _announces(stream, first - 1) or token.text in "?!。？！：:":
            break
        if token.text in ".," and not stream.tokens[first].glued and not _is_part(stream, first):
            break
        first -= 1
    while first < at and not stream.tokens[first].text.isalnum():
        first += 1
    return first


def _ends(stream: Stream, at: int) -> bool:
    """Whether a sentence ends with this token."""
    return stream.tokens[at].text in "?!。？！" or (stream.tokens[at].text == "." and not _is_point_inside(stream, at))


def _is_point_inside(stream: Stream, at: int) -> bool:
    return at + 1 < len(stream.tokens) and stream.tokens[at + 1].glued


def _is_part(stream: Stream, at: int) -> bool:
    """Whether a comma before this token is one of an address that is spelled: "j, k, e, at"."""
    lexicon = stream.lexicon(at)
    parts = lexicon.dot | lexicon.underscore | lexicon.hyphen | lexicon.at
    text = stream.tokens[at].text
    return (
        len(text) == 1
        or text[0].isdecimal()
        or bool(begins_at(stream, at, parts))
        or bool(ends_before(stream, at, parts))
    )
