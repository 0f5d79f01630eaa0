"""The live text of a call that is redacted: what is private is taken out of each utterance before anybody reads it.

Numbers are said with pauses, so that one utterance may hold only a part of one. So all numbers are taken out, and no
partial text is told. The transcript of the recording is redacted as a whole later, with less taken out.
"""

from app.privacy.numbers import runs_of
from app.privacy.redaction import redact
from app.privacy.spoken import streams_of
from app.speech.live.events import Final
from app.transcripts.entities import Entity
from app.transcripts.transcript import Options, Segment, Transcript, Word


def redacted_text(final: Final, options: Options) -> str:
    words = final.words or (Word(final.start, final.end, final.text),)
    segment = Segment(0, final.channel, "", final.start, final.end, final.text, final.language, words=tuple(words))
    result = redact(Transcript(None, None, final.end, (), (segment,)), frozenset(options.redact), options.redact_terms)
    return _without_numbers(result.transcript)


def _without_numbers(transcript: Transcript) -> str:
    (segment,) = transcript.segments
    words = [word.word for word in segment.words or ()]
    if not words:
        return segment.text
    for stream in streams_of(transcript):
        for run in runs_of(stream):
            places = [token.place.word for token in stream.tokens[run.first : run.last]]
            first, last = min(places), max(places)
            space = " " if words[first].startswith(" ") else ""
            words[first] = f"{space}[{Entity.NUMBER}]"
            for word in range(first + 1, last + 1):
                words[word] = ""
    return "".join(words).strip()
