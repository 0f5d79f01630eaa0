"""A transcript in the shapes that OpenAI's clients read. Pure: it knows no HTTP and no database.

The shapes are the models of the packages `openai` for Python and npm. Clients in other languages read strictly, so
every field that those models require is there, and no number is null.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from math import ceil
from string import ascii_uppercase
from typing import Any

from app.api.openai.shapes import (
    SEGMENT,
    Delta,
    Diarized,
    DiarizedSegment,
    Done,
    OnlyText,
    OpenAILanguage,
    OpenAIUsage,
    OpenAIWord,
    Plain,
    PlainSegment,
    Verbose,
)
from app.speech import language_tags
from app.transcripts import formats
from app.transcripts.dialogue import turns
from app.transcripts.subtitles import UNKNOWN, name_of, one_line
from app.transcripts.transcript import Segment, Task, Transcript, Word

# The models of OpenAI's clients require a language even if there is no speech.
UNKNOWN_LANGUAGE = "unknown"


class ResponseFormat(StrEnum):
    JSON = "json"
    TEXT = "text"
    SRT = "srt"
    VTT = "vtt"
    VERBOSE_JSON = "verbose_json"
    DIARIZED_JSON = "diarized_json"

    @property
    def media_type(self) -> str:
        """The media type with which OpenAI answers. It sends srt as plain text."""
        return _MEDIA_TYPES.get(self, "application/json")


_MEDIA_TYPES = {
    ResponseFormat.TEXT: "text/plain; charset=utf-8",
    ResponseFormat.SRT: "text/plain; charset=utf-8",
    ResponseFormat.VTT: "text/vtt; charset=utf-8",
}


@dataclass(frozen=True, slots=True)
class Wanted:
    """What the client asked for. `words` and `segments` matter for `verbose_json` only.

    If the client has `named` speakers, their names are kept. The others are A, B, C … by channel.
    """

    format: ResponseFormat = ResponseFormat.JSON
    task: Task = "transcribe"
    words: bool = False
    segments: bool = True
    named: bool = False


def render(transcript: Transcript, wanted: Wanted) -> str:
    """The body of the answer."""
    named = _with_speakers(transcript, named=wanted.named)
    match wanted.format:
        case ResponseFormat.JSON:
            return _dump(_plain(named))
        case ResponseFormat.VERBOSE_JSON:
            return _dump(_verbose(named, wanted))
        case ResponseFormat.DIARIZED_JSON:
            return _dump(_diarized(named, wanted.task))
        case ResponseFormat.TEXT:
            return f"{named.text}\n"
        case ResponseFormat.SRT:
            return formats.render(named, "", formats.Format.SRT)
        case ResponseFormat.VTT:
            return formats.render(named, "", formats.Format.VTT)


def only_text(transcript: Transcript) -> str:
    """The body of an answer with nothing but the text."""
    return _dump(OnlyText(text=transcript.text))


def usage(seconds: float) -> OpenAIUsage:
    """What the request used. OpenAI rounds up to whole seconds, and some clients read only whole numbers here."""
    return {"type": "duration", "seconds": ceil(seconds)}


def dialogue_text(transcript: Transcript, *, named: bool) -> str:
    """The dialogue, with one line `speaker: text` for each turn."""
    return _lines(_with_speakers(transcript, named=named))


def delta_event(text: str) -> Delta:
    """A stream's event for text that is final and follows the text of the events before it."""
    return {"type": "transcript.text.delta", "delta": text}


def segment_event(segment: Segment, number: int, *, named: bool) -> DiarizedSegment:
    """A stream's event for a segment of a dialogue. `number` counts from 1, as in the segments of `diarized_json`."""
    return _diarized_segment(_with_speaker(segment, named=named), number)


def done_event(transcript: Transcript, wanted: Wanted) -> Done:
    """The last event of a stream, with the whole text."""
    diarized = wanted.format is ResponseFormat.DIARIZED_JSON
    text = dialogue_text(transcript, named=wanted.named) if diarized else transcript.text
    return {
        "type": "transcript.text.done",
        "text": text,
        "languages": _languages(transcript),
        "usage": usage(transcript.duration),
    }


def _dump(body: Mapping[str, Any]) -> str:
    return json.dumps(body, ensure_ascii=False)


def _with_speakers(transcript: Transcript, *, named: bool) -> Transcript:
    channels = (replace(each, label=_label(each.label, each.index, named=named)) for each in transcript.channels)
    segments = (_with_speaker(segment, named=named) for segment in transcript.segments)
    return replace(transcript, channels=tuple(channels), segments=tuple(segments))


def _with_speaker(segment: Segment, *, named: bool) -> Segment:
    return replace(segment, speaker=_speaker(segment, named=named))


def _speaker(segment: Segment, *, named: bool) -> str:
    """The client's name of the channel, or a letter. A voice of several on one channel has the letter of its number.

    The client's names are not given to voices, because nobody knows whose voice is whose.
    """
    if segment.speaker is None:
        return UNKNOWN
    if segment.is_by_voice:
        return ascii_uppercase[int(segment.speaker.rpartition("_")[2]) - 1]
    return _label(segment.speaker, segment.channel, named=named)


def _label(label: str, channel: int, *, named: bool) -> str:
    """The client's name of a speaker, or a letter. The decoder takes at most eight channels, so there is one for each.

    A label such as `channel_1` is what the service gives to a channel for which the client has sent no name.
    """
    return label if named and label != f"channel_{channel}" else ascii_uppercase[channel]


def _plain(transcript: Transcript) -> Plain:
    """OpenAI sends no segments here. We do, because a client joins their texts to the text of a telephone call.

    They are those of `verbose_json`, because another client refuses an answer with segments that lack a member.
    """
    return {
        "text": transcript.text,
        "usage": usage(transcript.duration),
        "languages": _languages(transcript),
        "segments": [
            _plain_segment(segment, number, is_dialogue=transcript.is_dialogue)
            for number, segment in enumerate(transcript.segments)
        ],
    }


def _plain_segment(segment: Segment, number: int, *, is_dialogue: bool) -> PlainSegment:
    plain = _verbose_segment(segment, number)
    if is_dialogue:
        plain["speaker"] = name_of(segment.speaker)
    return plain


def _languages(transcript: Transcript) -> list[OpenAILanguage]:
    spoken = [transcript.language, *(channel.language for channel in transcript.channels)]
    return [{"code": code} for code in dict.fromkeys(spoken) if code is not None]


def _verbose(transcript: Transcript, wanted: Wanted) -> Verbose:
    body: Verbose = {
        "task": wanted.task,
        "language": _language(transcript, wanted.task),
        "duration": round(transcript.duration, 3),
        "text": transcript.text,
        "usage": usage(transcript.duration),
    }
    if wanted.segments:
        body["segments"] = [_verbose_segment(segment, number) for number, segment in enumerate(transcript.segments)]
    if wanted.words:
        words = (word for segment in transcript.segments for word in segment.words or ())
        body["words"] = [_word(word) for word in sorted(words, key=lambda word: word.start)]
    return body


def _language(transcript: Transcript, task: Task) -> str:
    if task == "translate":
        return "english"
    return language_tags.name_of(transcript.language) if transcript.language else UNKNOWN_LANGUAGE


def _verbose_segment(segment: Segment, number: int) -> PlainSegment:
    """As Whisper writes a segment. We keep no tokens, so there are none; `seek` is the frame of the start.

    A score that the model does not measure is 0, which no client takes for a sign of a bad segment.
    """
    return {
        "id": number,
        "seek": int(segment.start * 100),
        "start": _seconds(segment.start),
        "end": _seconds(segment.end),
        "text": _spaced(segment),
        "tokens": [],
        "temperature": _score(segment.temperature),
        "avg_logprob": _score(segment.avg_logprob),
        "compression_ratio": _score(segment.compression_ratio),
        "no_speech_prob": _score(segment.no_speech_prob),
    }


def _score(measured: float | None) -> float:
    return round(measured or 0.0, 4)


def _spaced(segment: Segment) -> str:
    """The text with a space before it, as Whisper writes it, because some clients join the texts without one."""
    return f" {segment.text}" if segment.has_spaces else segment.text


def _word(word: Word) -> OpenAIWord:
    return {"word": word.word.strip(), "start": _seconds(word.start), "end": _seconds(word.end)}


def _seconds(time: float) -> float:
    return round(time, 3)


def _diarized(transcript: Transcript, task: Task) -> Diarized:
    return {
        "task": task,
        "duration": round(transcript.duration, 3),
        "text": _lines(transcript),
        "segments": [_diarized_segment(segment, number) for number, segment in enumerate(transcript.segments, start=1)],
        "usage": usage(transcript.duration),
    }


def _diarized_segment(segment: Segment, number: int) -> DiarizedSegment:
    return {
        "type": SEGMENT,
        "id": f"seg_{number:03}",
        "start": _seconds(segment.start),
        "end": _seconds(segment.end),
        "text": segment.text,
        "speaker": name_of(segment.speaker),
    }


def _lines(transcript: Transcript) -> str:
    return "\n".join(f"{name_of(turn.speaker)}: {one_line(turn.text)}" for turn in turns(transcript.segments))
