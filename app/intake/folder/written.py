"""Reads the transcript back from the output files of a recording, if they are all there.

The loop that a folder replaces never transcribed such a recording again, so a move from one to the other costs nothing.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from app.deliveries.outputs import OutputFile
from app.storage.file_url import path_of
from app.transcripts.formats import Format
from app.transcripts.transcript import Channel, Segment, Transcript

MOST_BYTES = 64 * 1024 * 1024
SPEAKER = "speaker"
PREFERRED = (Format.JSON, Format.WHISPER, Format.TEXT)


def transcript_in(files: Sequence[OutputFile]) -> Transcript | None:
    """The transcript that the files hold. None if one of them is missing or cannot be a transcript. Raises OSError.

    Times and speakers are known if one of the files is JSON, ours or Whisper's. Otherwise there is only the text.
    """
    contents: dict[Format, str] = {}
    for file in files:
        content = _read(path_of(file.url))
        if content is None:
            return None
        contents[file.format] = content
    for form in (*PREFERRED, *contents):
        if form in contents:
            return _parsed(contents[form]) if form in (Format.JSON, Format.WHISPER) else _of_text(contents[form])
    return None


def _read(path: Path) -> str | None:
    """Raises OSError if there is a file that cannot be read."""
    try:
        with path.open("rb") as file:
            content = file.read(MOST_BYTES + 1)
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
        return None
    return content.decode(errors="replace") if len(content) <= MOST_BYTES else None


def _parsed(content: str) -> Transcript | None:
    """None if a file was only partly written, or is something else."""
    try:
        body = json.loads(content)
        segments = tuple(_segment(number, each, body) for number, each in enumerate(body.get("segments") or ()))
        text = body.get("text")
    except (ValueError, TypeError, KeyError, AttributeError):
        return None
    if not segments:
        return _of_text(text) if isinstance(text, str) else None
    return _transcript(body.get("language"), segments)


def _segment(number: int, each: Mapping[str, Any], body: Mapping[str, Any]) -> Segment:
    return Segment(
        id=number,
        channel=int(each.get("channel") or 0),
        speaker=str(each.get("speaker") or SPEAKER),
        start=float(each["start"]),
        end=float(each["end"]),
        text=str(each["text"]).strip(),
        language=str(each.get("language") or body.get("language") or "und"),
    )


def _of_text(text: str) -> Transcript:
    said = text.strip()
    return _transcript(None, (Segment(0, 0, SPEAKER, 0.0, 0.0, said, "und"),) if said else ())


def _transcript(language: object, segments: tuple[Segment, ...]) -> Transcript:
    known = language if isinstance(language, str) and language != "und" else None
    seconds = dict.fromkeys(sorted({segment.channel for segment in segments}) or [0], 0.0)
    labels = {segment.channel: segment.speaker for segment in segments}
    for segment in segments:
        seconds[segment.channel] += max(0.0, segment.end - segment.start)
    channels = tuple(
        Channel(index, labels.get(index, SPEAKER), known, None, spoken) for index, spoken in seconds.items()
    )
    return Transcript(known, None, max((segment.end for segment in segments), default=0.0), channels, segments)
