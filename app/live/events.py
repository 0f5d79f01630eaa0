"""The events that a live call sends to its client and to everybody who follows it.

All times are seconds from the start of the call. `as_json` gives the objects of our own dialect, which followers read
too. The other dialects write the same events in their own words. Values only.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, TypeAlias
from uuid import UUID

from app.transcripts.transcript import Word


@dataclass(frozen=True, slots=True)
class Started:
    """The call is open. `resume` lets the client go on with the same recording after a `Reconnect`."""

    kind: ClassVar = "started"
    id: UUID
    links: dict[str, str]
    resume: str | None = None

    def as_json(self) -> dict[str, Any]:
        fields = {"type": self.kind, "id": str(self.id), "links": self.links}
        return fields if self.resume is None else fields | {"resume": self.resume}


@dataclass(frozen=True, slots=True)
class SpeechStarted:
    kind: ClassVar = "speech_started"
    channel: int
    speaker: str
    start: float

    def as_json(self) -> dict[str, Any]:
        return {"type": self.kind, "channel": self.channel, "speaker": self.speaker, "start": self.start}


@dataclass(frozen=True, slots=True)
class SpeechStopped:
    kind: ClassVar = "speech_stopped"
    channel: int
    speaker: str
    end: float

    def as_json(self) -> dict[str, Any]:
        return {"type": self.kind, "channel": self.channel, "speaker": self.speaker, "end": self.end}


@dataclass(frozen=True, slots=True)
class Partial:
    """The text of an utterance so far. It replaces the partials before it, and only grows until the final text.

    `utterance` numbers the utterances of a channel from 0. The numbers of a call that was resumed have a gap.
    """

    kind: ClassVar = "partial"
    channel: int
    speaker: str
    utterance: int
    text: str
    start: float

    def as_json(self) -> dict[str, Any]:
        return {
            "type": self.kind,
            "channel": self.channel,
            "speaker": self.speaker,
            "utterance": self.utterance,
            "text": self.text,
            "start": self.start,
        }


@dataclass(frozen=True, slots=True)
class Transcript:
    """The final text of an utterance. It is empty if the partials turned out to be no speech."""

    kind: ClassVar = "transcript"
    channel: int
    speaker: str
    utterance: int
    text: str
    start: float
    end: float
    language: str | None = None
    words: Sequence[Word] | None = None

    def as_json(self) -> dict[str, Any]:
        fields: dict[str, Any] = {
            "type": self.kind,
            "channel": self.channel,
            "speaker": self.speaker,
            "utterance": self.utterance,
            "text": self.text,
            "start": self.start,
            "end": self.end,
            "language": self.language,
        }
        if self.words is not None:
            fields["words"] = [
                {"start": word.start, "end": word.end, "word": word.word, "probability": word.probability}
                for word in self.words
            ]
        return fields


@dataclass(frozen=True, slots=True)
class Warned:
    """Something that the reader of the live text should know. The transcript of the recording is not affected."""

    kind: ClassVar = "warning"
    code: str
    message: str
    channel: int | None = None

    def as_json(self) -> dict[str, Any]:
        return {"type": self.kind, "code": self.code, "message": self.message, "channel": self.channel}


@dataclass(frozen=True, slots=True)
class Reconnect:
    """The process is stopped. A client that resumes soon goes on with the same recording."""

    kind: ClassVar = "reconnect"
    resume: str

    def as_json(self) -> dict[str, Any]:
        return {"type": self.kind, "resume": self.resume}


@dataclass(frozen=True, slots=True)
class Stopped:
    """The call has ended. `id` is that of its transcription, or None if no sound came."""

    kind: ClassVar = "stopped"
    id: UUID | None
    links: dict[str, str]
    reason: str = "stop"

    def as_json(self) -> dict[str, Any]:
        return {
            "type": self.kind,
            "id": None if self.id is None else str(self.id),
            "links": self.links,
            "reason": self.reason,
        }


LiveEvent: TypeAlias = Started | SpeechStarted | SpeechStopped | Partial | Transcript | Warned | Reconnect | Stopped
