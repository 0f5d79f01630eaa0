"""Renders a transcript in the formats that clients read: JSON, plain text, subtitles, a table. Pure; stores nothing."""

import json
import re
from collections.abc import Sequence
from enum import StrEnum
from html import escape

from app.transcripts.dialogue import turns
from app.transcripts.subtitles import Cue, cues, name_of, one_line
from app.transcripts.transcript import Transcript
from app.transcripts.view import TranscriptOut


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


def endings(formats: Sequence[Format]) -> dict[Format, str]:
    """Returns the ending of each format's file. Whisper's JSON ends like JSON, unless there is a file of both."""
    names = {form: form.value for form in formats} | {Format.TEXT: "txt", Format.WHISPER: "json"}
    if {Format.JSON, Format.WHISPER} <= set(formats):
        names[Format.WHISPER] = "whisper.json"
    return {form: names[form] for form in formats}


def render(transcript: Transcript, transcription_id: str, target: Format) -> str:
    """The transcript in one format. Times are rounded to milliseconds, probabilities to four digits.

    - json: the transcript resource of the API.
    - text: a line per segment; with several speakers, a line `[mm:ss] agent: …` per turn (with hours if needed).
    - srt, vtt: the cues of `subtitles.cues`. If there are several speakers, each cue names its own, with
      `agent: …` in srt and with the voice `<v agent>` in vtt.
    - tsv, whisper: what the command line of openai-whisper writes as `.tsv` and `.json` (whisper/utils.py).
    """
    match target:
        case Format.JSON:
            return _dump(TranscriptOut.of(transcript, transcription_id).content())
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


SCORES = ("temperature", "avg_logprob", "compression_ratio", "no_speech_prob")

# In the text of a cue, a reader would take this for the times of the next cue.
_ARROW = re.compile("-+->")


def _dump(body: dict[str, object]) -> str:
    return json.dumps(body, ensure_ascii=False)


def _whisper(transcript: Transcript) -> dict[str, object]:
    """The result of whisper's `transcribe`. We keep no tokens, so there are none; `seek` is the frame of the start.

    Whisper's language is always a string. Without speech it is `und`, which is "undetermined" in ISO 639.
    """
    shown = TranscriptOut.of(transcript, "").content()["segments"]
    texts = [f" {segment.text}" if segment.has_spaces else segment.text for segment in transcript.segments]
    segments = [
        {
            "id": number,
            "seek": int(segment.start * 100),
            "start": values["start"],
            "end": values["end"],
            "text": text,
            "tokens": [],
            **{name: values[name] for name in (*SCORES, "words") if name in values},
        }
        for number, (segment, values, text) in enumerate(zip(transcript.segments, shown, texts, strict=True))
    ]
    return {"text": "".join(texts), "segments": segments, "language": transcript.language or "und"}


def _text(transcript: Transcript) -> str:
    if transcript.is_dialogue:
        said = turns(transcript.segments)
        lines = [f"[{clock(turn.start)}] {name_of(turn.speaker)}: {one_line(turn.text)}" for turn in said]
    else:
        lines = [one_line(segment.text) for segment in transcript.segments]
    return "".join(f"{line}\n" for line in lines)


def _tsv(transcript: Transcript) -> str:
    rows = [f"{round(s.start * 1000)}\t{round(s.end * 1000)}\t{one_line(s.text)}\n" for s in transcript.segments]
    return "".join(["start\tend\ttext\n", *rows])


def _srt(transcript: Transcript) -> str:
    blocks = []
    for number, cue in enumerate(_cues(transcript, name_speakers=transcript.is_dialogue), start=1):
        text = _ARROW.sub("->", "\n".join(cue.lines))
        blocks.append(f"{number}\n{_srt_time(cue.start_ms)} --> {_srt_time(cue.end_ms)}\n{text}\n")
    return "\n".join(blocks)


def _vtt(transcript: Transcript) -> str:
    blocks = ["WEBVTT\n"]
    for cue in _cues(transcript, name_speakers=False):
        voice = f"<v {escape(name_of(cue.speaker), quote=False)}>" if transcript.is_dialogue else ""
        text = escape("\n".join(cue.lines), quote=False)
        blocks.append(f"{_vtt_time(cue.start_ms)} --> {_vtt_time(cue.end_ms)}\n{voice}{text}\n")
    return "\n".join(blocks)


def _cues(transcript: Transcript, *, name_speakers: bool) -> tuple[Cue, ...]:
    return cues(transcript.segments, name_speakers=name_speakers, duration=transcript.duration)


def clock(seconds: float) -> str:
    minutes, second = divmod(int(seconds), 60)
    return f"{minutes:02}:{second:02}" if minutes < 60 else f"{minutes // 60:02}:{minutes % 60:02}:{second:02}"


def _vtt_time(milliseconds: int) -> str:
    return f"{clock(milliseconds // 1000)}.{milliseconds % 1000:03}"


def _srt_time(milliseconds: int) -> str:
    return f"{milliseconds // 3_600_000:02}:{clock(milliseconds // 1000 % 3600)},{milliseconds % 1000:03}"
