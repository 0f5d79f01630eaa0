"""Finds what is spelled letter by letter, such as `S-I-T-I-L-L-E`, which is mostly a name. Pure."""

from collections.abc import Iterator

from app.privacy.cues import begins_at
from app.privacy.marks import Mark
from app.privacy.spoken import Stream
from app.transcripts.entities import Entity

LEAST_LETTERS = 4  # three are more often an abbreviation
SIGNS = frozenset("-–.,")


def spelled_names(stream: Stream) -> Iterator[Mark]:
    """Each name from its first letter to its last. Signs and words such as "double" may stand between two letters."""
    letters: list[int] = []
    at = 0
    while at < len(stream.tokens):
        lexicon = stream.lexicon(at)
        if _is_letter(stream, at):
            letters.append(at)
        elif letters and (length := begins_at(stream, at, lexicon.doubles | lexicon.triples)):
            at += length - 1
        elif stream.tokens[at].text not in SIGNS or _ends_sentence(stream, at):
            yield from _marked(stream, letters)
            letters = []
        at += 1
    yield from _marked(stream, letters)


def _marked(stream: Stream, letters: list[int]) -> Iterator[Mark]:
    is_stammer = len({stream.tokens[at].text for at in letters}) == 1  # "I, I, I, I think"
    if len(letters) >= LEAST_LETTERS and not is_stammer:
        yield Mark(stream.channel, letters[0], letters[-1] + 1, Entity.NAME)


def _is_letter(stream: Stream, at: int) -> bool:
    """Whether a token is a spelled letter. A small vowel may be a word, so it counts only behind a hyphen."""
    token = stream.tokens[at]
    if token.is_letter:
        return True
    is_hyphenated = at > 0 and token.glued and stream.tokens[at - 1].text in "-–"
    return is_hyphenated and len(token.text) == 1 and token.text.isascii() and token.text.isalpha()


def _ends_sentence(stream: Stream, at: int) -> bool:
    """Whether a point is the end of a sentence rather than one behind a letter, as in `S. I. T.`."""
    return stream.tokens[at].text == "." and not (at > 0 and _is_letter(stream, at - 1))
