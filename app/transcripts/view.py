"""The transcript as clients read it in JSON. The API's schema and the rendered JSON are made of these classes.

They take the values of `transcript.py` as they are, and round them: times to milliseconds, probabilities and scores to
four digits. The fields that a client sees are named here and nowhere else. Pure.
"""

from typing import Annotated, Any, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, WithJsonSchema

from app.transcripts.transcript import HoldKind, Transcript, WordUnit
from app.transcripts.voice import heard_turns

Seconds = Annotated[float, AfterValidator(lambda seconds: round(seconds, 3))]
Tenths = Annotated[float, AfterValidator(lambda number: round(number, 1))]
Digits = Annotated[float, AfterValidator(lambda number: round(number, 4))]


SPEAKER = (
    "The label of the channel. With `diarize=true`, a voice, such as `speaker_1`, or null if it is not sure who speaks."
    " Without `diarize=true` it is never null."
)
CONFIDENCE = (
    "With `diarize=true`, how sure the speaker's name is, from 0 to 1. Null if there is no name, and for "
    "all other jobs."
)


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
    speaker: str | None = Field(description=SPEAKER)
    speaker_confidence: Digits | None = Field(description=CONFIDENCE)
    start: Seconds = Field(description="Seconds from the start of the recording.")
    end: Seconds
    text: str
    language: str
    temperature: Digits | None = Field(
        description="The temperature of the model's sampling. It is above 0 if results at lower temperatures failed "
        "the safeguards. This score is null if the model does not measure it, as are `avg_logprob`, "
        "`compression_ratio` and `no_speech_prob`."
    )
    avg_logprob: Digits | None
    compression_ratio: Digits | None
    no_speech_prob: Digits | None
    words: list[WordOut] | None = Field(
        default=None,
        description="The words of the segment. The field is left out if the job did not ask for `word_timestamps`.",
    )


class PitchOut(_View):
    """How high a voice is in a turn. Telephones, noise and colds change it, so it says nothing about feelings."""

    hertz: int = Field(description="The median pitch.")
    spread_semitones: Tenths = Field(description="How far apart the pitches are, without the highest and lowest tenth.")
    offset_semitones: Tenths | None = Field(
        description="How far the median pitch is above the speaker's `pitch_hertz` in `talk`. It is negative below "
        "that. Null if the speaker's usual pitch is not known."
    )


class TurnOut(_View):
    """Consecutive segments of one speaker."""

    speaker: str | None = Field(description=SPEAKER)
    speaker_confidence: Digits | None = Field(description=CONFIDENCE)
    start: Seconds
    end: Seconds
    text: str
    loudness_dbfs: int | None = Field(
        description="The median of the channel's `loudness_dbfs` during the turn. Null in transcripts that an older "
        "version wrote."
    )
    pitch: PitchOut | None = Field(
        description="Null if less than a second of the voice is clear, if there is only one track, and in transcripts "
        "that an older version wrote. Where others speak too, it is not measured."
    )


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
        description="`sound` if there is something about as loud as the call, such as music. Otherwise `silence`."
    )


class OverlapOut(SpanOut):
    """A stretch in which a speaker began while another one spoke."""

    channel: int = Field(description="The channel that began later.")
    over: list[int] = Field(description="The channels that were speaking.")
    is_interruption: bool = Field(
        description='Whether the channel went on after one of the others had stopped. An "mm-hm" is an overlap, but '
        "no interruption."
    )


class ChannelTalkOut(_View):
    """How one channel took part in the call."""

    channel: int
    speech_seconds: Seconds
    share: Digits | None = Field(
        description="The channel's part of the speech of all channels, from 0 to 1. Null if there is no speech."
    )
    interruptions: int = Field(
        description="How often this channel began to speak while another one spoke, and went on after the other one "
        "had stopped."
    )
    longest_monologue: SpanOut | None = Field(
        description="The channel's longest stretch of speech. Pauses of up to 3 s do not end it, if no other channel "
        "speaks for more than 1 s in them."
    )
    words: int | None = Field(
        description="How many words of the transcript the channel says. Null if the text is a translation, and in "
        "transcripts that an older version wrote."
    )
    word_unit: WordUnit | None = Field(
        description="What `words` counts. In languages that are written without spaces (Chinese, Japanese, Thai, Lao, "
        "Burmese) these are characters. In a channel with both, it is the more frequent unit. Null if there are no "
        "words."
    )
    words_per_minute: Tenths | None = Field(
        description="The words per minute of the channel's own speech, in `word_unit`. Null if it speaks for less than "
        "5 s."
    )
    median_response_seconds: Seconds | None = Field(
        description="The median time from the end of another speaker's turn to the beginning of this channel's answer. "
        "It counts as 0 if the channel began before the other one had stopped. What is said entirely within another's "
        "turn is no answer, and neither is what follows hold music. Null if the channel never answers."
    )
    longest_response: SpanOut | None = Field(
        description="The longest of these times: from the end of the other's turn to the beginning of the answer."
    )
    loudness_dbfs: list[int] | None = Field(
        description="The loudness of each second of the channel, in dB below full scale: 0 is the loudest possible "
        "sound, -96 is digital silence. Null in transcripts that an older version wrote."
    )
    pitch_hertz: int | None = Field(
        description="The speaker's usual pitch: the median of the whole call. Null if less than 5 s of the voice is "
        "clear, and if there is only one track."
    )


class TalkOut(_View):
    """Facts about the call, computed from its sound and text. Facts about overlaps are null if there is only one track.

    Facts that an older version did not know are null in its transcripts.
    """

    speech_seconds: Seconds = Field(description="Seconds in which somebody speaks.")
    silence_seconds: Seconds = Field(description="Seconds in which there is no speech.")
    overlap_seconds: Seconds | None = Field(description="Seconds in which two or more people speak.")
    overlaps: int | None = Field(
        description="How often a speaker began while another one spoke. Only overlaps of 0.3 s or more are counted."
    )
    interruptions: int | None = Field(
        description="How many of these overlaps ended because an earlier speaker stopped, while the later one went on."
    )
    channels: list[ChannelTalkOut]
    holds: list[HoldOut]
    overlap_instances: list[OverlapOut] | None = Field(
        description="Each of the `overlaps`, ordered by start. So many of them are interruptions as `interruptions` "
        "says."
    )


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
        return cls.model_validate({**values, "id": transcription_id, "turns": heard_turns(transcript)})

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
