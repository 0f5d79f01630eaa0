"""A transcript as clients read it: JSON, plain text, subtitles, a table. Pure functions; nothing is stored."""

import json
import re
from enum import StrEnum
from html import escape

from app.transcripts.dialogue import turns
from app.transcripts.subtitles import Cue, cues, one_line
from app.transcripts.transcript import Channel, Hold, Segment, Span, Talk, Transcript, TranscriptWarning, Turn, Word


class Format(StrEnum):
    JSON = "json"
    TEXT = "text"
    SRT = "srt"
    VTT = "vtt"
    TSV = "tsv"
    WHISPER = "whisper"

    @property
    def media_type(self) -> str:
        return _MEDIA_TYPES[self]


_MEDIA_TYPES = {
    Format.JSON: "application/json",
    Format.TEXT: "text/plain",
    Format.SRT: "application/x-subrip",
    Format.VTT: "text/vtt",
    Format.TSV: "text/tab-separated-values",
    Format.WHISPER: "application/json",
}


def render(transcript: Transcript, transcription_id: str, target: Format) -> str:
    """The transcript in one format. Times are rounded to milliseconds, probabilities to four digits.

    - json: the transcript resource of the API.
    - text: a line per segment; with several channels, a line `[mm:ss] agent: …` per turn (hours where needed).
    - srt, vtt: the cues of `subtitles.cues`. With several channels each names its speaker: `agent: …` in srt, the
      voice `<v agent>` in vtt.
    - tsv, whisper: what the command line of openai-whisper writes as `.tsv` and `.json` (whisper/utils.py).
    """
    match target:
        case Format.JSON:
            return _dump(_resource(transcript, transcription_id))
        case Format.TEXT:
            return _text(transcript)
        case Format.SRT:
            return _srt(transcript)
        case Format.VTT:
            return _vtt(transcript)
        case Format.TSV:
            return _tsv(transcript)
        case Format.WHISPER:
            return _dump(_whisper(transcript))


# In a cue's text, this would be taken for its times.
_ARROW = re.compile("-+->")


def _dump(body: dict[str, object]) -> str:
    return json.dumps(body, ensure_ascii=False)


def _resource(transcript: Transcript, transcription_id: str) -> dict[str, object]:
    return {
        "id": transcription_id,
        "text": transcript.text,
        "language": transcript.language,
        "language_probability": _digits(transcript.language_probability),
        "duration": _seconds(transcript.duration),
        "channels": [_channel(channel) for channel in transcript.channels],
        "segments": [_segment(segment) for segment in transcript.segments],
        "turns": [_turn(turn) for turn in turns(transcript.segments)],
        "talk": _talk(transcript.talk),
        "warnings": [_warning(warning) for warning in transcript.warnings],
    }


def _channel(channel: Channel) -> dict[str, object]:
    return {
        "index": channel.index,
        "label": channel.label,
        "language": channel.language,
        "language_probability": _digits(channel.language_probability),
        "speech_seconds": _seconds(channel.speech_seconds),
    }


def _segment(segment: Segment) -> dict[str, object]:
    return {
        "id": segment.id,
        "channel": segment.channel,
        "speaker": segment.speaker,
        **_span(segment),
        "text": segment.text,
        "language": segment.language,
        **_scores(segment),
        **_words(segment),
    }


def _turn(turn: Turn) -> dict[str, object]:
    return {"speaker": turn.speaker, **_span(turn), "text": turn.text}


def _talk(talk: Talk) -> dict[str, object]:
    return {
        "speech_seconds": _seconds(talk.speech_seconds),
        "silence_seconds": _seconds(talk.silence_seconds),
        "overlap_seconds": _seconds(talk.overlap_seconds),
        "overlaps": talk.overlaps,
        "interruptions": talk.interruptions,
        "channels": [
            {
                "channel": channel.channel,
                "speech_seconds": _seconds(channel.speech_seconds),
                "share": _digits(channel.share),
                "interruptions": channel.interruptions,
                "longest_monologue": _span(channel.longest_monologue) if channel.longest_monologue else None,
            }
            for channel in talk.channels
        ],
        "holds": [{**_span(hold), "kind": hold.kind} for hold in talk.holds],
    }


def _warning(warning: TranscriptWarning) -> dict[str, object]:
    place = {"channel": warning.channel, "start": _seconds(warning.start), "end": _seconds(warning.end)}
    known = {name: value for name, value in place.items() if value is not None}
    return {"code": warning.code, "message": warning.message, **known}


def _whisper(transcript: Transcript) -> dict[str, object]:
    """The result of whisper's `transcribe`, without what we do not keep: no tokens, and `seek` is the start's frame.

    Whisper's language is always a string: without speech it is ISO 639's `und`, undetermined.
    """
    segments = [
        {
            "id": number,
            "seek": int(segment.start * 100),
            **_span(segment),
            "text": _as_decoded(segment),
            "tokens": [],
            **_scores(segment),
            **_words(segment),
        }
        for number, segment in enumerate(transcript.segments)
    ]
    text = "".join(_as_decoded(segment) for segment in transcript.segments)
    return {"text": text, "segments": segments, "language": transcript.language or "und"}


def _as_decoded(segment: Segment) -> str:
    return f" {segment.text}" if segment.has_spaces else segment.text


def _span(timed: Segment | Turn | Word | Span | Hold) -> dict[str, object]:
    return {"start": _seconds(timed.start), "end": _seconds(timed.end)}


def _scores(segment: Segment) -> dict[str, object]:
    names = ("temperature", "avg_logprob", "compression_ratio", "no_speech_prob")
    return {name: _digits(getattr(segment, name)) for name in names}


def _words(segment: Segment) -> dict[str, object]:
    if segment.words is None:
        return {}
    return {"words": [{**_span(w), "word": w.word, "probability": _digits(w.probability)} for w in segment.words]}


def _seconds(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds, 3)


def _digits(number: float | None) -> float | None:
    return None if number is None else round(number, 4)


def _text(transcript: Transcript) -> str:
    if _is_dialogue(transcript):
        said = turns(transcript.segments)
        lines = [f"[{clock(turn.start)}] {one_line(turn.speaker)}: {one_line(turn.text)}" for turn in said]
    else:
        lines = [one_line(segment.text) for segment in transcript.segments]
    return "".join(f"{line}\n" for line in lines)


def _tsv(transcript: Transcript) -> str:
    rows = [f"{round(s.start * 1000)}\t{round(s.end * 1000)}\t{one_line(s.text)}\n" for s in transcript.segments]
    return "".join(["start\tend\ttext\n", *rows])


def _srt(transcript: Transcript) -> str:
    blocks = []
    for number, cue in enumerate(_cues(transcript, name_speakers=_is_dialogue(transcript)), start=1):
        text = _ARROW.sub("->", "\n".join(cue.lines))
        blocks.append(f"{number}\n{_srt_time(cue.start_ms)} --> {_srt_time(cue.end_ms)}\n{text}\n")
    return "\n".join(blocks)


def _vtt(transcript: Transcript) -> str:
    blocks = ["WEBVTT\n"]
    for cue in _cues(transcript, name_speakers=False):
        voice = f"<v {escape(one_line(cue.speaker), quote=False)}>" if _is_dialogue(transcript) else ""
        text = escape("\n".join(cue.lines), quote=False)
        blocks.append(f"{_vtt_time(cue.start_ms)} --> {_vtt_time(cue.end_ms)}\n{voice}{text}\n")
    return "\n".join(blocks)


def _cues(transcript: Transcript, *, name_speakers: bool) -> tuple[Cue, ...]:
    return cues(transcript.segments, name_speakers=name_speakers, duration=transcript.duration)


def _is_dialogue(transcript: Transcript) -> bool:
    return len(transcript.channels) > 1


def clock(seconds: float) -> str:
    minutes, second = divmod(int(seconds), 60)
    return f"{minutes:02}:{second:02}" if minutes < 60 else f"{minutes // 60:02}:{minutes % 60:02}:{second:02}"


def _vtt_time(milliseconds: int) -> str:
    return f"{clock(milliseconds // 1000)}.{milliseconds % 1000:03}"


def _srt_time(milliseconds: int) -> str:
    return f"{milliseconds // 3_600_000:02}:{clock(milliseconds // 1000 % 3600)},{milliseconds % 1000:03}"
