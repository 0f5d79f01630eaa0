"""Reads the transcript back from the output files of a recording, if they are all there.

The loop that a folder replaces never transcribed such a recording again, so a move from one to the other costs nothing.
"""

import json
import os
import stat
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from app.deliveries.outputs import OutputFile
from app.intake.requests import MOST_CHANNELS
from app.storage.file_url import path_of
from app.transcripts.formats import Format
from app.transcripts.transcript import Channel, Segment, Transcript

LONGEST_SECONDS = 30 * 24 * 3600.0
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
    """None if there is no regular file. Raises OSError if there is one that cannot be read."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)  # a pipe would wait for a writer
    except (FileNotFoundError, NotADirectoryError):
        return None
    with open(descriptor, "rb", closefd=True) as file:  # noqa: PTH123  it is a descriptor
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            return None
        content = file.read(MOST_BYTES + 1)
    return content.decode(errors="replace") if len(content) <= MOST_BYTES else None


def _parsed(content: str) -> Transcript | None:
    """None if a file was only partly written, or is something else."""
    try:
        body = json.loads(content)
        segments = tuple(_segment(number, each, body) for number, each in enumerate(body.get("segments") or ()))
        if segments:
            return _transcript(body.get("language"), segments)
        text = body.get("text")
        return _of_text(text) if isinstance(text, str) else None
    except (ValueError, TypeError, KeyError, AttributeError, ArithmeticError, RecursionError):
        return None


def _segment(number: int, each: Mapping[str, Any], body: Mapping[str, Any]) -> Segment:
    """Raises ValueError and others for what no transcript can hold."""
    channel, start, end = int(each.get("channel") or 0), float(each["start"]), float(each["end"])
    if not (0 <= start <= end <= LONGEST_SECONDS and 0 <= channel < MOST_CHANNELS):
        raise ValueError("a time or a channel that no recording has")
    return Segment(
        id=number,
        channel=channel,
        speaker=None
        if "speaker_confidence" in each and each["speaker"] is None
        else _storable(str(each.get("speaker") or SPEAKER)),
        speaker_confidence=_confidence(each.get("speaker_confidence")),
        start=start,
        end=end,
        text=_storable(str(each["text"]).strip()),
        language=_storable(str(each.get("language") or body.get("language") or "und")),
    )


def _confidence(number: object) -> float | None:
    """Raises ValueError for what is no confidence."""
    if number is None:
        return None
    if not isinstance(number, int | float) or not 0 <= number <= 1:
        raise ValueError("a confidence that no speaker can have")
    return float(number)


def _storable(text: str) -> str:
    """The text without NUL, which the database does not take. Raises ValueError if it is not Unicode."""
    text.encode()
    return text.replace("\0", "")


def _of_text(text: str) -> Transcript:
    said = _storable(text.strip())
    return _transcript(None, (Segment(0, 0, SPEAKER, 0.0, 0.0, said, "und"),) if said else ())


def _transcript(language: object, segments: tuple[Segment, ...]) -> Transcript:
    known = _storable(language) if isinstance(language, str) and language != "und" else None
    seconds = dict.fromkeys(sorted({segment.channel for segment in segments}) or [0], 0.0)
    labels = {each.channel: each.speaker for each in segments if each.speaker is not None and not each.is_by_voice}
    for segment in segments:
        seconds[segment.channel] += max(0.0, segment.end - segment.start)
    channels = tuple(
        Channel(index, labels.get(index, SPEAKER), known, None, spoken) for index, spoken in seconds.items()
    )
    return Transcript(known, None, max((segment.end for segment in segments), default=0.0), channels, segments)
