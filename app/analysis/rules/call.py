"""A completed call as rules see it: its turns from 1, who speaks, its facts and its metadata. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Self

from app.search.words import same_form
from app.transcripts.dialogue import grouped
from app.transcripts.transcript import ChannelTalk, Segment, Talk, Transcript, Turn
from app.transcripts.voice import heard_turns


@dataclass(frozen=True, slots=True)
class Part:
    """A segment of a turn: a sentence, or the words between two pauses."""

    start: float
    end: float
    text: str


@dataclass(frozen=True, slots=True)
class CallTurn:
    """A turn of the dialogue. `number` counts from 1, as everywhere in analyses. Older transcripts have no loudness."""

    number: int
    channel: int
    role: str | None
    start: float
    end: float
    text: str
    language: str
    parts: tuple[Part, ...]
    loudness_dbfs: int | None = None


@dataclass(frozen=True, slots=True)
class Call:
    """`roles` are the labels of the channels by their index, such as `agent` and `customer`."""

    turns: tuple[CallTurn, ...]
    roles: Mapping[int, str]
    duration: float
    language: str | None = None
    talk: Talk = field(default_factory=Talk)
    metadata: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def of(cls, transcript: Transcript, metadata: Mapping[str, Any]) -> Self:
        groups = zip(heard_turns(transcript), grouped(transcript.segments), strict=True)
        return cls(
            turns=tuple(_turn(number, *group) for number, group in enumerate(groups, start=1)),
            roles={channel.index: channel.label for channel in transcript.channels} or _roles(transcript.segments),
            duration=transcript.duration,
            language=transcript.language,
            talk=transcript.talk,
            metadata=metadata,
        )

    def channels_of(self, role: str) -> frozenset[int]:
        """The channels with this label. Case and accents do not count."""
        return frozenset(index for index, label in self.roles.items() if same_form(label) == same_form(role))

    def talk_of(self, role: str) -> ChannelTalk | None:
        """The facts of the only channel with this label. None if there is none."""
        channels = self.channels_of(role)
        found = [talk for talk in self.talk.channels if talk.channel in channels]
        return found[0] if len(found) == 1 else None

    def turn_at(self, seconds: float, channel: int | None = None) -> CallTurn | None:
        """The last turn that begins by this time, of this channel or of any."""
        begun = (turn for turn in reversed(self.turns) if turn.start <= seconds)
        return next((turn for turn in begun if channel in (None, turn.channel)), None)


def _turn(number: int, heard: Turn, segments: Sequence[Segment]) -> CallTurn:
    languages = [segment.language for segment in segments]
    return CallTurn(
        number=number,
        channel=segments[0].channel,
        role=heard.speaker,
        start=heard.start,
        end=heard.end,
        text=heard.text,
        language=max(languages, key=languages.count),
        parts=tuple(Part(segment.start, segment.end, segment.text) for segment in segments),
        loudness_dbfs=heard.loudness_dbfs,
    )


def _roles(segments: Sequence[Segment]) -> dict[int, str]:
    return {segment.channel: segment.speaker or "" for segment in segments}
