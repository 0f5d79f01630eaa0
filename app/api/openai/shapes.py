"""The members of the answers and events for OpenAI's clients: their names, types and descriptions.

`answers` makes its bodies of these types, and the OpenAPI document describes them. So the type checker finds a
member that only one of the two knows.
"""

from typing import (
    Annotated,
    Literal,
    NotRequired,  # pydantic cannot read those of `typing` before Python 3.12
)

from pydantic import Field
from typing_extensions import TypedDict

from app.api.openai.errors import OpenAIErrorDetail
from app.transcripts.transcript import Task

SEGMENT: Literal["transcript.text.segment"] = "transcript.text.segment"

Text = Annotated[str, Field(description="The whole text.")]
Dialogue = Annotated[str, Field(description="It has a text line `speaker: text` for each turn.")]
DoneText = Annotated[str, Field(description="The whole text. For `diarized_json` it has a text line for each turn.")]
TaskName = Annotated[Task, Field(description="What the service did: `transcribe` or `translate`.")]
Duration = Annotated[float, Field(description="The seconds of the recording.")]
Time = Annotated[float, Field(description="Seconds from the start of the recording.")]
Speaker = Annotated[str, Field(description="The name of the speaker, or a letter if the client sent no name.")]


class OpenAIUsage(TypedDict):
    """What the request used."""

    type: Annotated[Literal["duration"], Field(description="Always `duration`.")]
    seconds: Annotated[int, Field(description="The seconds of the recording, rounded up.")]


class OpenAILanguage(TypedDict):
    """A language of the recording."""

    code: Annotated[str, Field(description="The ISO 639-1 code, such as `en`.")]


Languages = Annotated[list[OpenAILanguage], Field(description="The languages of the recording and of its channels.")]


class Span(TypedDict):
    start: Time
    end: Time


class OpenAIWord(Span):
    """A word with its time."""

    word: str


class WhisperSegment(Span):
    id: Annotated[int, Field(description="It counts from 0.")]
    seek: Annotated[int, Field(description="The start in hundredths of a second.")]
    text: Annotated[str, Field(description="It begins with a space if the language has spaces.")]
    tokens: Annotated[list[int], Field(description="Always empty.")]
    temperature: Annotated[
        float,
        Field(description="Above 0 if earlier results failed the safeguards. A score that is not measured is 0."),
    ]
    avg_logprob: Annotated[float, Field(description="The average log-probability of a token.")]
    compression_ratio: Annotated[float, Field(description="Above 2.4, the text probably repeats itself.")]
    no_speech_prob: Annotated[float, Field(description="The probability that there is no speech.")]


class PlainSegment(WhisperSegment):
    speaker: NotRequired[Speaker]


class DiarizedSegment(Span):
    type: Annotated[Literal["transcript.text.segment"], Field(description="Always `transcript.text.segment`.")]
    id: Annotated[str, Field(description="Such as `seg_001`.")]
    text: str
    speaker: Speaker


class Plain(TypedDict):
    text: Text
    usage: OpenAIUsage
    languages: Languages
    segments: list[PlainSegment]


class Verbose(TypedDict):
    task: TaskName
    language: Annotated[str, Field(description="The English name of the language, in lower case.")]
    duration: Duration
    text: Text
    segments: NotRequired[list[WhisperSegment]]
    words: NotRequired[Annotated[list[OpenAIWord], Field(description="If `timestamp_granularities` has `word`.")]]
    usage: OpenAIUsage


class Diarized(TypedDict):
    task: TaskName
    duration: Duration
    text: Dialogue
    segments: list[DiarizedSegment]
    usage: OpenAIUsage


class OnlyText(TypedDict):
    text: Text


class Delta(TypedDict):
    type: Literal["transcript.text.delta"]
    delta: Annotated[str, Field(description="Text that is final. It follows the text of the events before it.")]
    segment_id: NotRequired[Annotated[str, Field(description="For `diarized_json`: the `id` of the segment.")]]


class Done(TypedDict):
    type: Literal["transcript.text.done"]
    text: DoneText
    languages: Languages
    usage: OpenAIUsage


class ErrorEvent(TypedDict):
    error: Annotated[OpenAIErrorDetail, Field(description="The job has ended without a transcript.")]
