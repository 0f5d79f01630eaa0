"""Cuts segments into the cues of a subtitle file; pure."""

import re
import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate, chain, pairwise
from math import inf

from app.transcripts.punctuation import ends_clause, ends_sentence, only_closes
from app.transcripts.transcript import Segment

# As in most subtitle guidelines, such as Netflix's Timed Text Style Guide. A wide character takes two columns.
LINE_COLUMNS = 42
# A longer name gets the first line of the cue, and the words get the second.
LONGEST_LEAD_COLUMNS = 20
LONGEST_CUE_MS = 7_000
SHORTEST_CUE_MS = 1_000
UNKNOWN = "Unknown"  # stands for a speaker that is not known
# A segment too short to be read is shown with the next one of the same speaker, if that follows after such a pause.
JOINED_PAUSE_SECONDS = 0.8

# Unicode general categories
_MARKS = frozenset({"Mn", "Me", "Cf"})
_STAYS_WITH_LAST = _MARKS | {"Mc", "Lm", "Pe", "Pf", "Po"}
_STAYS_WITH_NEXT = frozenset({"Ps", "Pi"})


def one_line(text: str) -> str:
    """The text with each run of white space, line breaks included, replaced by one space."""
    return " ".join(text.split())


@dataclass(frozen=True, slots=True)
class Cue:
    """What a subtitle shows at one time: one or two lines of one speaker."""

    start_ms: int
    end_ms: int
    speaker: str | None
    lines: tuple[str, ...]


def cues(segments: Iterable[Segment], *, name_speakers: bool, duration: float = inf) -> tuple[Cue, ...]:
    """The segments as subtitles, ordered by their start.

    A cue has at most two lines of LINE_COLUMNS, and lasts at most LONGEST_CUE_MS. A longer segment is halved until its
    parts fit, at the end of a sentence or clause if one is near the middle. A part has the times of its words. If these
    have none, it has a part of the segment's time, by its width.

    Cues of one channel never overlap. Cues of two channels overlap if both spoke at the same time. A cue is shown for
    at least SHORTEST_CUE_MS, if neither the next cue nor the end of the recording (`duration`, seconds) comes first.
    With `name_speakers`, the first line starts with the speaker's name, such as `agent: `. A long name fills the line.
    """
    free_from_ms: defaultdict[int, int] = defaultdict(int)
    found = []
    for spoken in _joined(segments):
        segment = spoken[0]
        lead = _lead(segment.speaker) if name_speakers else ""
        for pieces, lines in _cut(_all_pieces(spoken), lead):
            start = max(pieces[0].start_ms, free_from_ms[segment.channel])
            end = min(max(pieces[-1].end_ms, start + 1), start + LONGEST_CUE_MS)
            found.append(Cue(start, end, segment.speaker, lines))
            free_from_ms[segment.channel] = end
    found.sort(key=lambda cue: cue.start_ms)
    next_starts = [*(cue.start_ms for cue in found[1:]), 1000 * duration]
    return tuple(_readable(cue, until) for cue, until in zip(found, next_starts, strict=bool(found)))


def name_of(speaker: str | None) -> str:
    """The name of a speaker as texts have it, on one line."""
    return UNKNOWN if speaker is None else one_line(speaker)


def _lead(speaker: str | None) -> str:
    """The speaker's name as it is written before the words. It is cut to the length of a line."""
    name = name_of(speaker)
    if _columns(f"{name}:") > LINE_COLUMNS:
        widths = accumulate(map(_columns, name))
        name = "".join(letter for letter, width in zip(name, widths, strict=True) if width <= LINE_COLUMNS - 2) + "…"
    return f"{name}: "


def _readable(cue: Cue, until_ms: float) -> Cue:
    """Makes a cue long enough to be read, if there is time."""
    return replace(cue, end_ms=max(cue.end_ms, int(min(cue.start_ms + SHORTEST_CUE_MS, until_ms))))


def _joined(segments: Iterable[Segment]) -> list[list[Segment]]:
    """Groups of segments that are shown together: those that are too short to be read, with the segment after them."""
    groups: list[list[Segment]] = []
    last: dict[int, list[Segment]] = {}
    for segment in segments:
        group = last.get(segment.channel)
        if group and _goes_on(group, segment):
            group.append(segment)
        else:
            last[segment.channel] = group = [segment]
            groups.append(group)
    return groups


def _goes_on(group: Sequence[Segment], segment: Segment) -> bool:
    short = 1000 * (group[-1].end - group[0].start) < SHORTEST_CUE_MS
    fits = 1000 * (segment.end - group[0].start) <= LONGEST_CUE_MS
    return (
        short
        and fits
        and group[-1].speaker == segment.speaker
        and segment.start - group[-1].end <= JOINED_PAUSE_SECONDS
    )


@dataclass(frozen=True, slots=True)
class _Piece:
    """A part without a line break inside: a word with its leading space, or a character of a script without spaces."""

    text: str
    start_ms: int
    end_ms: int


def _all_pieces(segments: Sequence[Segment]) -> list[_Piece]:
    first, *others = (_pieces(segment) for segment in segments)
    for segment, pieces in zip(segments[1:], others, strict=True):
        if pieces and segment.has_spaces:
            pieces[0] = replace(pieces[0], text=f" {pieces[0].text.lstrip()}")
        first += pieces
    return _with_closing_marks(first)


def _with_closing_marks(pieces: Iterable[_Piece]) -> list[_Piece]:
    """Joins closing quotes and brackets with the piece before them, so that no line begins with one."""
    joined: list[_Piece] = []
    for piece in pieces:
        if joined and only_closes(piece.text):
            joined[-1] = replace(joined[-1], text=joined[-1].text + piece.text, end_ms=piece.end_ms)
        else:
            joined.append(piece)
    return joined


def _pieces(segment: Segment) -> list[_Piece]:
    text, words = one_line(segment.text), segment.words or ()
    if one_line("".join(word.word for word in words)) != text:
        return _timed(text, segment.start, segment.end, whole_words=segment.has_spaces)
    return list(chain.from_iterable(_timed(word.word, word.start, word.end, whole_words=True) for word in words))


def _timed(text: str, start: float, end: float, *, whole_words: bool) -> list[_Piece]:
    """The text in pieces. Each piece gets a part of the time, by its width."""
    texts = list(_split(text, whole_words))
    columns = list(accumulate(map(_columns, texts), initial=0))
    times = [round(1000 * (start + (end - start) * column / (columns[-1] or 1))) for column in columns]
    return [_Piece(text, *span) for text, span in zip(texts, pairwise(times), strict=True)]


def _split(text: str, whole_words: bool) -> Iterator[str]:
    for space, word in re.findall(r"(\s*)(\S+)", text):
        pieces = [word] if whole_words and _columns(word) <= LINE_COLUMNS else _characters(word)
        for number, piece in enumerate(pieces):
            yield f" {piece}" if space and number == 0 else piece


def _characters(word: str) -> Iterator[str]:
    """Cuts a word where East Asian typography may break a line.

    It never cuts before a closing mark, after an opening mark, or inside a Latin word.
    """
    piece = word[0]
    for character in word[1:]:
        together = (
            unicodedata.category(character) in _STAYS_WITH_LAST
            or unicodedata.category(piece[-1]) in _STAYS_WITH_NEXT
            or (piece + character).isascii()
        )
        if together and _columns(piece + character) <= LINE_COLUMNS:
            piece += character
        else:
            yield piece
            piece = character
    yield piece


def _cut(pieces: Sequence[_Piece], lead: str) -> Iterator[tuple[Sequence[_Piece], tuple[str, ...]]]:
    """Parts that each fit into one cue, with their lines. A single piece is never cut, even if it does not fit."""
    if not pieces:
        return
    lines = _lines(pieces, lead)
    is_short = pieces[-1].end_ms - pieces[0].start_ms <= LONGEST_CUE_MS
    if len(pieces) == 1 or (is_short and all(_columns(line) <= LINE_COLUMNS for line in lines)):
        yield pieces, lines
    else:
        middle = _best_break(pieces, range(1, len(pieces)))
        yield from _cut(pieces[:middle], lead)
        yield from _cut(pieces[middle:], lead)


def _lines(pieces: Sequence[_Piece], lead: str) -> tuple[str, ...]:
    """One line, or two of about the same length. If one of them is too long, the pieces do not fit into one cue.

    If the text cannot be broken, but fits into a line without the speaker's name, the name has a line of its own.
    """
    if _columns(lead) > LONGEST_LEAD_COLUMNS:
        return (lead.rstrip(), _text(pieces))
    whole = lead + _text(pieces)
    if not LINE_COLUMNS < _columns(whole) <= 2 * LINE_COLUMNS:
        return (whole,)
    pairs = {at: (lead + _text(pieces[:at]), _text(pieces[at:])) for at in range(1, len(pieces))}
    fitting = [at for at, pair in pairs.items() if all(_columns(line) <= LINE_COLUMNS for line in pair)]
    if fitting:
        return pairs[_best_break(pieces, fitting)]
    return (lead.rstrip(), _text(pieces)) if lead and _columns(_text(pieces)) <= LINE_COLUMNS else (whole,)


def _best_break(pieces: Sequence[_Piece], candidates: Iterable[int]) -> int:
    columns = list(accumulate(_columns(piece.text) for piece in pieces))
    middle = columns[-1] / 2

    def cost(at: int) -> float:
        off_middle = abs(columns[at - 1] - middle) / (columns[-1] or 1)
        return off_middle + _break_cost(pieces[at - 1].text, pieces[at].text)

    return min(candidates, key=cost)


def _break_cost(before: str, after: str) -> float:
    """How much a line break between two pieces disturbs a reader: 0 at the end of a sentence, 0.5 inside a word.

    `_best_break` adds this to the distance from the middle, which is a fraction of the text's width.
    """
    if ends_sentence(before):
        return 0.0
    if ends_clause(before):
        return 0.1
    return 0.25 if after.startswith(" ") else 0.5


def _text(pieces: Iterable[_Piece]) -> str:
    return "".join(piece.text for piece in pieces).strip()


def _columns(text: str) -> int:
    """The width in a fixed-pitch font: two columns for a wide East Asian character, none for a combining mark."""
    if text.isascii():
        return len(text)
    return sum(0 if unicodedata.category(c) in _MARKS else 1 + (unicodedata.east_asian_width(c) in "WF") for c in text)
