"""The transcript as clients read it in JSON. The API's schema and the rendered JSON are made of these classes.

They take the values of `transcript.py` as they are, and round them: times to milliseconds, probabilities and scores to
four digits. The fields that a client sees are named here and nowhere else. Pure.
"""

from typing import Annotated, Any, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, WithJsonSchema

from app.transcripts.dialogue import turns
from app.transcripts.transcript import HoldKind, Transcript

Seconds = Annotated[float, AfterValidator(lambda seconds: round(seconds, 3))]
Digits = Annotated[float, AfterValidator(lambda number: round(number, 4))]


class _View(BaseModel):
    model_config = ConfigDict(from_attributes=True)


class WarningOut(_View):
    """Something that a reader of the transcript should know."""

    model_config = ConfigDict(extra="allow")

    code: str
    message: str
    channel: int | None = None
    start: Seconds | None = None
    end: Seconds | None = None


class WordOut(_View):
    """A word as the model wrote it, with its leading space and its punctuation."""

    start: Seconds
    end: Seconds
    word: str
    probability: Digits | None = Field(description="Null if the model does not measure it.")


class SegmentOut(_View):
    """A stretch of one channel's speech."""

    id: int
    channel: int
    speaker: str
    start: Seconds = Field(description="Seconds from the start of the recording.")
    end: Seconds
    text: str
    language: str
    temperature: Digits | None = Field(
        description="Above 0 if earlier results failed the safeguards, so that the model recognized this stretch "
        "again. This field and the next three are null if the model does not measure them."
    )
    avg_logprob: Digits | None
    compression_ratio: Digits | None
    no_speech_prob: Digits | None
    words: list[WordOut] | None = Field(
        default=None, description="The words of the segment. Left out if the job did not ask for `word_timestamps`."
    )


class TurnOut(_View):
    """Consecutive segments of one speaker."""

    speaker: str
    start: Seconds
    end: Seconds
    text: str


class ChannelOut(_View):
    """One audio track of the recording."""

    index: int
    label: str
    language: str | None
    language_probability: Digits | None
    speech_seconds: Seconds


class SpanOut(_View):
    """A stretch of the recording, in seconds."""

    start: Seconds
    end: Seconds


class HoldOut(SpanOut):
    """A stretch of ten seconds or more without speech. There is speech before it and after it."""

    kind: HoldKind = Field(
        description="`sound` if something about as loud as the call is heard, such as music. Otherwise `silence`."
    )


class ChannelTalkOut(_View):
    """How much one channel took part in the call."""

    channel: int
    speech_seconds: Seconds
    share: Digits | None = Field(
        description="Its part of the speech of all channels, from 0 to 1. Null if there is no speech."
    )
    interruptions: int = Field(
        description="How often it began while another channel spoke, and went on after the other one ended."
    )
    longest_monologue: SpanOut | None = Field(
        description="Its longest stretch of speech. A pause of more than 3 s ends it, and so does more than 1 s of "
        "speech on another channel."
    )


class TalkOut(_View):
    """Facts of the call, computed from voice activity. Those that need two tracks are null if there is only one."""

    speech_seconds: Seconds = Field(description="Seconds in which somebody speaks.")
    silence_seconds: Seconds = Field(description="Seconds in which there is no speech.")
    overlap_seconds: Seconds | None = Field(description="Seconds in which two or more people speak.")
    overlaps: int | None = Field(description="How often a speaker began while another one spoke, for 0.3 s or more.")
    interruptions: int | None = Field(
        description="How many overlaps ended while the speaker who began later still spoke."
    )
    channels: list[ChannelTalkOut]
    holds: list[HoldOut]


class TranscriptOut(_View):
    """The transcript of one recording. Its segments are ordered by their start."""

    id: Annotated[str, WithJsonSchema({"type": "string", "format": "uuid"})]  # a file's name on the command line
    text: str
    language: str | None
    language_probability: Digits | None
    duration: Seconds
    channels: list[ChannelOut]
    segments: list[SegmentOut]
    turns: list[TurnOut]
    talk: TalkOut
    warnings: list[WarningOut]

    @classmethod
    def of(cls, transcript: Transcript, transcription_id: str) -> Self:
        values = {name: getattr(transcript, name) for name in cls.model_fields if hasattr(transcript, name)}
        return cls.model_validate({**values, "id": transcription_id, "turns": turns(transcript.segments)})

    def content(self) -> dict[str, Any]:
        """The values for JSON.

        Words that the client did not request are left out. So are a warning's channel and times if it has none.
        """
        content = self.model_dump()
        content["warnings"] = [warning.model_dump(exclude_none=True) for warning in self.warnings]
        for segment in content["segments"]:
            if segment["words"] is None:
                del segment["words"]
        return content
