"""What clients get of analyses, as pydantic models. It must not know HTTP."""

from datetime import datetime
from typing import Any, Literal, Self
from uuid import UUID

from pydantic import BaseModel, Field

from app.analysis.models import Analysis, AnalysisStatus
from app.analysis.rules.results import AnsweredBy

Mood = Literal["positive", "neutral", "negative"]
Turns = list[int]
TURNS = Field(
    description="The numbers of the turns that support it, counted from 1 in the `turns` of the transcript.",
    examples=[[2, 5]],
)


class StatementOut(BaseModel):
    """Something that the language model says about the call."""

    text: str = Field(description="Plain text. It may contain anything, so escape it before you show it in a page.")
    turns: Turns = TURNS


class ResolvedOut(BaseModel):
    """Whether the customer's concern was settled in the call."""

    value: bool
    turns: Turns = TURNS


class IntentOut(BaseModel):
    """What the customer wants."""

    value: str = Field(
        examples=["complaint"], description="One of the operator's intents or `other`, if the operator has set some."
    )
    turns: Turns = TURNS


class AnswerOut(BaseModel):
    """An answer of the language model to a question of a scorecard."""

    question: str = Field(description="The question, as the scorecard asks it.")
    value: str | float | bool
    turns: Turns = TURNS


class TurnSentimentOut(BaseModel):
    """The sentiment of one turn, as the language model sees it."""

    turn: int
    value: Mood


class SharesOut(BaseModel):
    """Parts of the judged turns, from 0 to 1. Null if no turn was judged."""

    positive: float | None
    neutral: float | None
    negative: float | None


class SideSentimentOut(BaseModel):
    """How one speaker sounds in the course of the call. It is computed from the sentiment of the turns."""

    speaker: str = Field(examples=["customer"])
    turns: int = Field(description="How many turns of the speaker were judged.")
    shares: SharesOut
    quarters: list[float | None] = Field(
        description="The mean of each quarter of the call's time, from -1, all negative, to 1, all positive. Null if "
        "no turn in it was judged."
    )


class SentimentOut(BaseModel):
    turns: list[TurnSentimentOut] = Field(description="By the numbers of the turns. Some turns may be missing.")
    sides: list[SideSentimentOut]


class MatchOut(BaseModel):
    """Where a condition of a category holds. What holds in the call as a whole has neither turn nor times."""

    condition: str = Field(
        description="The field of the category. Those of `also` are counted from 0.", examples=["any_of", "also.0.hold"]
    )
    turn: int | None = Field(description="The number of the turn, counted from 1.", examples=[2])
    start: float | None = Field(description="Seconds from the beginning of the recording.", examples=[4.2])
    end: float | None = Field(examples=[6.8])
    text: str | None = Field(description="The phrase or example, as the category has it.", examples=["refund*"])
    score: float = Field(description="1 if the words are the same. Otherwise how close the meanings are.", examples=[1])
    value: float | None = Field(
        description="What was measured, such as the seconds of a hold. Null if the condition is about words.",
        examples=[None],
    )


class CategoryFoundOut(BaseModel):
    """A category that the call is in."""

    name: str = Field(examples=["refund"])
    sure: bool = Field(
        description="False if a meaning is neither close nor far. Then somebody should listen to the turns."
    )
    matches: list[MatchOut] = Field(description="What shows it, in the order of the call. At most 50.")


class EvidenceOut(BaseModel):
    """A turn that shows an answer."""

    turn: int = Field(description="The number of the turn, counted from 1.", examples=[1])
    start: float = Field(description="Where to listen: seconds from the beginning of the recording.", examples=[0.0])


class ScoreAnswerOut(BaseModel):
    """The answer to a question of a scorecard."""

    question: str = Field(examples=["Does the agent greet the customer?"])
    by: AnsweredBy = Field(description="Who answers it: a category, a fact, or the language model.")
    weight: float = Field(description="The points of the right answer.", examples=[2.0])
    expected: bool | None = Field(description="The right answer. Null if a fact answers the question.", examples=[True])
    value: bool | float | None = Field(
        description="Whether the category or the model says yes, or the fact. Null if there is no answer.",
        examples=[True],
    )
    points: float | None = Field(description="Null if the question does not count.", examples=[2.0])
    possible: float | None = Field(
        description="The `weight`, or null if the question does not count: it is not applicable, nobody can be sure, "
        "or the language model has not answered it.",
        examples=[2.0],
    )
    not_applicable: bool = Field(description="The question is for other calls, or the call does not show the answer.")
    not_sure: bool = Field(description="A person should listen to the turns of `evidence` and decide.")
    evidence: list[EvidenceOut]
    fact: str | None = Field(default=None, description="The fact that answers it, or null.", examples=[None])
    role: str | None = Field(default=None, description="Whose fact it is, if it is about one speaker.", examples=[None])
    at_least: float | None = Field(default=None, description="The lowest right value of the fact.", examples=[None])
    at_most: float | None = Field(default=None, description="The highest right value of the fact.", examples=[None])


class ScoreOut(BaseModel):
    """The result of a scorecard. The sums are over the questions that count."""

    scorecard: str = Field(examples=["quality"])
    points: float = Field(examples=[2.0])
    possible: float = Field(description="The points of a call with only right answers.", examples=[3.0])
    answers: list[ScoreAnswerOut]


class AnalysisErrorOut(BaseModel):
    """Why there is no judgement."""

    code: str = Field(examples=["judgement_unfit"])
    message: str


class AnalysisRetryOut(BaseModel):
    """Why the last attempt of a waiting analysis ended, and when the next one is due."""

    code: str = Field(examples=["judgement_unavailable"])
    message: str
    at: datetime


class AnalysesAskedOut(BaseModel):
    """How many analyses were queued."""

    queued: int = Field(description="Calls whose analysis waited or ran already are not counted.", examples=[4182])
    next_cursor: UUID | None = Field(
        description="If it is not null, there are more calls. Send the same request once more with it as `cursor`."
    )


class AnalysesWaitingOut(BaseModel):
    """How many analyses are not done."""

    pending: int = Field(description="Also those that wait for another attempt, or for the budget of another day.")
    in_progress: int


class AnalysisOut(BaseModel):
    """What was found out about a call. What rules found is in `categories` and `scores`.

    `summary` to `answers` are what a language model says. Each names the turns that support it. All of them are null
    until the language model has judged the call, and also if none judges the calls of this tenant.
    """

    transcription_id: UUID
    status: AnalysisStatus
    attempts: int = Field(description="How often the analysis was begun. Attempts that were stopped are not counted.")
    summary: StatementOut | None
    reason: StatementOut | None = Field(description="Why the customer called.")
    outcome: StatementOut | None = Field(description="How the call ended for the customer.")
    resolved: ResolvedOut | None = Field(description="Null if the call does not show it.")
    intent: IntentOut | None
    sentiment: SentimentOut | None
    action_items: list[StatementOut] | None = Field(description="What somebody promised to do after the call.")
    keywords: list[str] | None = Field(description="Words of the call.")
    answers: list[AnswerOut] | None
    categories: list[CategoryFoundOut] | None = Field(
        description="The categories that the call is in, or may be in. Null until rules have been applied."
    )
    scores: list[ScoreOut] | None = Field(
        description="The results of the scorecards that apply to the call. Null until rules have been applied. "
        "Questions for the language model are answered later."
    )
    dropped: int = Field(
        description="How many statements of the model were left out, because they name no turn, or one that does not "
        "exist, or a keyword that was not said."
    )
    model: str | None = Field(description="The language model that judged the call.", examples=["qwen2.5-14b-instruct"])
    prompt_version: str | None = Field(
        description="The hash of the prompts. Judgements with the same model and hash can be compared.",
        examples=["3f1c9a0b77d2"],
    )
    language: str | None = Field(description="The language that the model was asked to write in.", examples=["en"])
    tokens: int = Field(description="The tokens that the model has read and written for this analysis.")
    error: AnalysisErrorOut | None = Field(description="Null unless the status is `failed`.")
    retry: AnalysisRetryOut | None = Field(
        description="Null unless the status is `pending` and an attempt has ended without success."
    )
    created_at: datetime
    started_at: datetime | None
    completed_at: datetime | None = Field(description="When the analysis was completed or has failed. Null until then.")

    @classmethod
    def of(cls, row: Analysis) -> Self:
        columns: dict[str, Any] = {name: getattr(row, name, None) for name in cls.model_fields}
        error = None if row.error_code is None else {"code": row.error_code, "message": row.error_message or ""}
        ended = {
            "error": error if row.status == AnalysisStatus.FAILED else None,
            "retry": {**error, "at": row.run_at}
            if error and row.attempts and row.status == AnalysisStatus.PENDING
            else None,
        }
        return cls.model_validate(columns | (row.judgement or {}) | ended)
