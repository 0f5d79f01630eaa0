"""Finds what only its announcement tells: dates of birth, addresses and names. Best effort. Pure."""

from collections.abc import Iterator, Set

from app.privacy.cues import Cues, begins_at
from app.privacy.lexicon import Lexicon
from app.privacy.marks import Mark
from app.privacy.numbers import numbers_in
from app.privacy.spoken import Stream, Token
from app.transcripts.entities import Entity

NEAR_TOKENS = 10  # between an announcement and what it announces
LONGEST_DATE, LONGEST_ADDRESS, LONGEST_NAME = 16, 30, 3
MOST_FILLERS = 4  # tokens between an announcement and the name
LONGEST_HAN_NAME, LONGEST_KANA_NAME = 4, 8
ENDS = frozenset(".?!。？！")
HAN_ENDS = ENDS | frozenset("，,、的です")
SURNAMES = frozenset(
    "王李张刘陈杨黄赵吴周徐孙马朱胡郭何高林罗郑梁谢宋唐许韩冯邓曹彭曾肖田董袁潘于蒋蔡余杜叶程苏魏吕丁任沈姚卢姜崔钟谭陆汪范金石廖贾夏韦付方白邹孟熊秦邱江尹薛闫段雷侯龙史陶黎贺顾毛郝龚邵万钱严覃武戴莫孔向汤"
)


def announced(stream: Stream, cues: Cues) -> Iterator[Mark]:
    numbers = {at for number in numbers_in(stream, with_ordinals=True) for at in range(number.first, number.last)}
    yield from _dates(stream, cues, numbers)
    yield from _addresses(stream, cues, numbers)
    yield from _names(stream, cues)


def _dates(stream: Stream, cues: Cues, numbers: Set[int]) -> Iterator[Mark]:
    """`numbers` are the tokens that are a part of a number."""

    def is_date(at: int) -> bool:
        return at in numbers or stream.tokens[at].text in stream.lexicon(at).months

    for cue in cues.of(stream, Entity.DATE_OF_BIRTH):
        after = range(cue.last, min(cue.last + NEAR_TOKENS, len(stream.tokens)))
        before = range(cue.first - 1, max(cue.first - NEAR_TOKENS, -1), -1)
        at = next((at for at in (*after, *before) if is_date(at)), None)
        if at is None:
            continue
        first = last = at
        while first > 0 and at - first < LONGEST_DATE and (is_date(first - 1) or _is_small(stream, first - 1)):
            first -= 1
        while last < len(stream.tokens) and last - at < LONGEST_DATE and (is_date(last) or _is_small(stream, last)):
            last += 1
        inside = [position for position in range(first, last) if is_date(position)]
        yield Mark(stream.channel, inside[0], inside[-1] + 1, Entity.DATE_OF_BIRTH)


def _is_small(stream: Stream, at: int) -> bool:
    """Whether a token may stand inside a date."""
    text = stream.tokens[at].text
    return text in stream.lexicon(at).in_dates or text in ",-/.、'"


def _addresses(stream: Stream, cues: Cues, numbers: Set[int]) -> Iterator[Mark]:
    """An address goes to the end of its sentence, and has a number."""
    for cue in cues.of(stream, Entity.ADDRESS):
        last = cue.last
        while last < len(stream.tokens) and last - cue.last < LONGEST_ADDRESS and not _ends(stream, last):
            last += 1
        if not numbers.isdisjoint(range(cue.last, last)):
            yield Mark(stream.channel, cue.last, last, Entity.ADDRESS)


def _ends(stream: Stream, at: int) -> bool:
    """Whether a sentence ends with this token. A point inside a number or a word ends none."""
    if stream.tokens[at].text not in ENDS:
        return False
    return at + 1 >= len(stream.tokens) or not stream.tokens[at + 1].glued


def _names(stream: Stream, cues: Cues) -> Iterator[Mark]:
    for cue in cues.of(stream, Entity.NAME):
        yield from _name_at(stream, cue.last, cue.first, least=1)
    for at in range(len(stream.tokens)):
        lexicon = stream.lexicon(at)
        if length := begins_at(stream, at, lexicon.weak_names):
            yield from _name_at(stream, at + length, at, least=2)


def _name_at(stream: Stream, after: int, before: int, *, least: int) -> Iterator[Mark]:
    """The name after an announcement, or before it in Japanese, if it has at least so many words."""
    if after >= len(stream.tokens) and not before:
        return
    lexicon = stream.lexicon(min(after, len(stream.tokens) - 1))
    if lexicon.has_spaces:
        last = after = _behind_fillers(stream, after, lexicon)
        while last < len(stream.tokens) and last - after < LONGEST_NAME and _may_be_name(stream.tokens[last]):
            last += 1
        if last - after >= least:
            yield Mark(stream.channel, after, last, Entity.NAME)
    else:
        yield from _han_name(stream, after, before, lexicon, is_weak=least > 1)


def _behind_fillers(stream: Stream, at: int, lexicon: Lexicon) -> int:
    """The first token that is no sign and no filler, such as "um"."""
    last = min(at + MOST_FILLERS, len(stream.tokens))
    while at < last and (stream.tokens[at].text in ",-–…" or begins_at(stream, at, lexicon.fillers)):
        at += 1
    return at


def _may_be_name(token: Token) -> bool:
    return token.is_capitalized and len(token.text) > 1


def _han_name(stream: Stream, after: int, before: int, lexicon: Lexicon, *, is_weak: bool) -> Iterator[Mark]:
    if lexicon.language == "ja" and stream.tokens[before].text in "と申":
        first = before
        while first > 0 and before - first < LONGEST_HAN_NAME + 1 and stream.tokens[first - 1].text not in HAN_ENDS:
            first -= 1
        if first < before:
            yield Mark(stream.channel, first, before, Entity.NAME)
        return
    while after < len(stream.tokens) and stream.tokens[after].text in ",，、":
        after += 1
    longest = LONGEST_KANA_NAME if lexicon.language == "ja" else LONGEST_HAN_NAME
    last = after
    while last < len(stream.tokens) and last - after < longest and stream.tokens[last].text not in HAN_ENDS:
        last += 1
    if last == after or (is_weak and (stream.tokens[after].text not in SURNAMES or last - after not in (2, 3))):
        return
    yield Mark(stream.channel, after, last, Entity.NAME)
