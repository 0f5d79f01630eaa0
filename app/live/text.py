"""The live text of a call that is redacted: what is private is taken out of each utterance before anybody reads it.

Numbers are said with pauses, so that one utterance may hold only a part of one. And the language of a short utterance
is often detected wrongly. So all numbers of all languages that the rules know are taken out, and no partial text is
sent. The transcript of the recording is redacted as a whole later, with less taken out.
"""

from collections.abc import Iterator
from dataclasses import replace

from app.privacy.lexicon import languages
from app.privacy.numbers import runs_of
from app.privacy.redaction import redact
from app.privacy.spoken import streams_of
from app.speech.live.events import Final
from app.transcripts.entities import Entity
from app.transcripts.transcript import Options, Segment, Transcript, Word


def redacted_text(final: Final, options: Options) -> str:
    words = final.words or (Word(final.start, final.end, final.text),)
    segment = Segment(0, final.channel, "", final.start, final.end, final.text, final.language, words=tuple(words))
    (kept,) = redact(_of(segment), frozenset(options.redact), options.redact_terms).transcript.segments
    return _without(kept, set(_numbers(kept)))


def _of(segment: Segment) -> Transcript:
    return Transcript(None, None, segment.end, (), (segment,))


def _numbers(segment: Segment) -> Iterator[int]:
    """The words that are numbers in some language, or that have a digit."""
    for position, word in enumerate(segment.words or ()):
        if any(map(str.isdigit, word.word)):
            yield position
    for language in languages():
        for stream in streams_of(_of(replace(segment, language=language))):
            for run in runs_of(stream):
                places = [token.place.word for token in stream.tokens[run.first : run.last]]
                yield from range(min(places), max(places) + 1)


def _without(segment: Segment, numbers: set[int]) -> str:
    """The text with one mark for numbers in a row."""
    text = ""
    for position, word in enumerate(segment.words or ()):
        if position not in numbers:
            text += word.word
        elif position - 1 not in numbers:
            text += f"{' ' * word.word.startswith(' ')}[{Entity.NUMBER}]"
    return text.strip()
