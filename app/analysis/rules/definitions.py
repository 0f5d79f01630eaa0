"""What a tenant's people write: categories, which are conditions over a call, and scorecards. Pure.

These are the bodies of requests, and they are stored as they are. So a new field must have a default.
"""

import re
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Discriminator, Field, Tag, model_validator

from app import wording
from app.analysis.rules import facts
from app.analysis.rules.facts import Fact
from app.errors import FieldError, InvalidRequest
from app.search.words import units
from app.speech.call.talk import HOLD_SECONDS
from app.speech.language_tags import candidate_of
from app.transcripts.series import SILENCE_DBFS

LONGEST_NAME = 64
MOST_PHRASES = 100
MOST_FURTHER = 10
MOST_QUESTIONS = 50
SHORTEST_BEGINNING = 2

_NAME = re.compile(rf"[^\W_][\w .-]{{0,{LONGEST_NAME - 1}}}")

By = Literal["words", "meaning"]


def checked_name(name: str, field: str) -> str:
    """The name of a category or scorecard in one form of Unicode. Raises InvalidRequest."""
    name = unicodedata.normalize("NFC", name)
    if not _NAME.fullmatch(name) or name != name.rstrip():
        detail = (
            f"must have 1 to {LONGEST_NAME} characters: letters and digits of any script, spaces, `.`, `_` and `-`; it "
            "must begin with a letter or digit"
        )
        raise InvalidRequest("The name is not valid.", errors=(FieldError(field, detail),))
    return name


def _checked_phrase(phrase: str) -> str:
    words, is_open = without_star(phrase)
    found = units(words)
    if not found:
        raise ValueError("must have a letter or a digit")
    if "*" in words:
        raise ValueError("may have `*` only at its end, for all words that begin so")
    if is_open and (not words[-1:].isalnum() or len(found[-1].text) < SHORTEST_BEGINNING):
        raise ValueError(f"must have at least {SHORTEST_BEGINNING} letters before `*`")
    return phrase


def without_star(phrase: str) -> tuple[str, bool]:
    """The phrase without its `*`, and whether it has one: then its last word may be the beginning of a longer one."""
    words = phrase.strip()
    return words.removesuffix("*"), words.endswith("*")


def _one_or_many(value: object) -> str:
    return wording.MANY if isinstance(value, list) else wording.ONE


def _as_name(name: str) -> str:
    try:
        return checked_name(name, "")
    except InvalidRequest as error:
        raise ValueError(error.errors[0].detail) from None


Phrase = Annotated[str, Field(max_length=200, pattern=wording.NO_NUL), AfterValidator(_checked_phrase)]
Phrases = Annotated[list[Phrase], Field(min_length=1, max_length=MOST_PHRASES)]
Role = Annotated[str, Field(min_length=1, max_length=40, pattern=wording.NO_NUL)]
Name = Annotated[str, Field(min_length=1, max_length=LONGEST_NAME), AfterValidator(_as_name)]
Language = Annotated[str, Field(max_length=64), AfterValidator(candidate_of)]
Languages = Annotated[
    Annotated[Language, Tag(wording.ONE)]
    | Annotated[list[Language], Field(min_length=1, max_length=100), Tag(wording.MANY)],
    Discriminator(_one_or_many),
]
MetadataText = Annotated[str, Field(max_length=500, pattern=wording.NO_NUL)]
MetadataTexts = Annotated[
    Annotated[MetadataText, Tag(wording.ONE)]
    | Annotated[list[MetadataText], Field(min_length=1, max_length=100), Tag(wording.MANY)],
    Discriminator(_one_or_many),
]
MetadataName = Annotated[str, Field(min_length=1, max_length=200, pattern=wording.NO_NUL)]
Number = Annotated[float, Field(ge=-1000, le=1_000_000)]
Decibels = Annotated[float, Field(ge=SILENCE_DBFS, le=0)]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class Range(_Part):
    """The values that a fact may have. Send one limit or both."""

    at_least: Number | None = None
    at_most: Number | None = None

    @model_validator(mode="after")
    def _has_limits(self) -> Self:
        if self.at_least is None and self.at_most is None:
            raise ValueError("must have `at_least`, `at_most` or both")
        if self.at_least is not None and self.at_most is not None and self.at_least > self.at_most:
            raise ValueError("`at_least` must not be above `at_most`")
        return self

    def holds(self, value: float) -> bool:
        above = self.at_least is None or value >= self.at_least
        return above and (self.at_most is None or value <= self.at_most)


class Share(Range):
    """A part of a whole, from 0 to 1."""

    at_least: Annotated[float, Field(ge=0, le=1)] | None = None
    at_most: Annotated[float, Field(ge=0, le=1)] | None = None


class Loudness(Range):
    """dB below full scale, from -96 to 0."""

    at_least: Decibels | None = None
    at_most: Decibels | None = None


class LongerThan(_Part):
    longer_than: float = Field(
        ge=HOLD_SECONDS,
        le=86_400,
        description=f"Seconds, at least {HOLD_SECONDS:g}.",
    )


_PHRASES = ("any_of", "all_of", "none_of")
_IN_TIME = (*_PHRASES, "silence", "hold", "loudness")
_OF_FACTS = ("interruptions", "talk_share", "words_per_minute", "duration")
_OTHERS = ("silence", "hold", "loudness", "language", "metadata")


class Condition(_Part):
    """Conditions over a call. All that are named must hold."""

    role: Role | None = Field(
        default=None,
        description="Who speaks: the label of a channel, such as `agent` or `customer`. If you leave it out, anybody. "
        "A call without a channel of this label does not fulfil the condition.",
        examples=["customer"],
    )
    any_of: Phrases | None = Field(default=None, description="At least one of these is said.", examples=[["refund"]])
    all_of: Phrases | None = Field(default=None, description="Each of these is said.")
    none_of: Phrases | None = Field(default=None, description="None of these is said.")
    by: By = Field(
        default="words",
        description="`words` finds the same words in the same order. A `*` at the end of a phrase stands for the rest "
        "of a word. `meaning` finds sentences that mean about the same as the examples, which must be in the language "
        "of the call.",
    )
    min_score: float | None = Field(
        default=None,
        ge=0.2,
        le=1,
        description="From which score on a sentence has the meaning for certain, if `by` is `meaning`. If you leave it "
        "out, it is 0.5, which is careful.",
    )
    first_seconds: float | None = Field(default=None, gt=0, le=86_400, description="Only so far from the beginning.")
    last_seconds: float | None = Field(default=None, gt=0, le=86_400, description="Only so far from the end.")
    from_percent: float | None = Field(default=None, ge=0, lt=100, description="Only from this percentage of the call.")
    to_percent: float | None = Field(default=None, gt=0, le=100, description="Only up to this percentage of the call.")
    silence: LongerThan | None = Field(default=None, description="A long stretch without speech and without sound.")
    hold: LongerThan | None = Field(default=None, description="A long stretch without speech, also one with music.")
    loudness: Loudness | None = Field(
        default=None,
        description="The role, or anybody, speaks so loud in a turn: the `loudness_dbfs` of turns, from -96 to 0.",
        examples=[{"at_least": -12}],
    )
    interruptions: Range | None = Field(default=None, description="How often the role interrupts, or anybody.")
    talk_share: Share | None = Field(default=None, description="The part of all speech that the role has.")
    words_per_minute: Range | None = Field(default=None, description="How fast the role speaks.")
    duration: Range | None = Field(default=None, description="The length of the call in seconds.")
    language: Languages | None = Field(default=None, description="The language of the call, or several of which any.")
    metadata: Annotated[dict[MetadataName, MetadataTexts], Field(min_length=1, max_length=20)] | None = Field(
        default=None,
        description="Values of the `metadata` of the transcription. A list means any of its values.",
        examples=[{"queue": ["billing", "sales"]}],
    )

    @model_validator(mode="after")
    def _makes_sense(self) -> Self:
        named = {name for name in (*_PHRASES, *_OF_FACTS, *_OTHERS) if getattr(self, name) is not None}
        has_phrases = not named.isdisjoint(_PHRASES)
        if not named:
            raise ValueError("must have a condition, such as `any_of`")
        if self.role is None and (missing := named & {"talk_share", "words_per_minute"}):
            raise ValueError(f"`{min(missing)}` needs a `role`")
        if self.role is not None and not has_phrases and named.isdisjoint({fact.value for fact in facts.TAKE_A_ROLE}):
            raise ValueError("`role` needs something that is about a speaker, such as `any_of`")
        if not has_phrases and "by" in self.model_fields_set:
            raise ValueError("`by` needs `any_of`, `all_of` or `none_of`")
        if self.min_score is not None and self.by != "meaning":
            raise ValueError("`min_score` needs `by` with the value `meaning`")
        if self.by == "meaning" and any(without_star(phrase)[1] for phrase in self.phrases):
            raise ValueError("a phrase may have `*` only if `by` is `words`")
        self._check_window(named)
        return self

    def _check_window(self, named: set[str]) -> None:
        percents = (self.from_percent is not None) or (self.to_percent is not None)
        windows = [self.first_seconds is not None, self.last_seconds is not None, percents]
        if sum(windows) > 1:
            raise ValueError("may have only one of `first_seconds`, `last_seconds`, and percentages")
        if any(windows) and named.isdisjoint(_IN_TIME):
            raise ValueError("a part of the call needs a phrase, `silence`, `hold` or `loudness`")
        if self.from_percent is not None and self.from_percent >= (self.to_percent or 100):
            raise ValueError("`from_percent` must be below `to_percent`")

    @property
    def phrases(self) -> Sequence[str]:
        return [*(self.any_of or ()), *(self.all_of or ()), *(self.none_of or ())]

    @property
    def facts(self) -> Sequence[tuple[Fact, Range]]:
        named = ((name, getattr(self, name)) for name in _OF_FACTS)
        return [(Fact(name), limits) for name, limits in named if limits is not None]

    def window(self, duration: float) -> tuple[float, float]:
        """From when to when something must begin, in a call of this length."""
        if self.first_seconds is not None:
            return 0.0, self.first_seconds
        if self.last_seconds is not None:
            return max(0.0, duration - self.last_seconds), float("inf")
        since = 0.0 if self.from_percent is None else duration * self.from_percent / 100
        until = float("inf") if self.to_percent in (None, 100) else duration * (self.to_percent or 0) / 100
        return since, until


class Category(Condition):
    """What a call must have to be in the category. All conditions must hold."""

    description: str = Field(
        default="", max_length=1000, pattern=wording.NO_NUL, description="For people: what the category means."
    )
    also: list[Condition] = Field(
        default_factory=list,
        max_length=MOST_FURTHER,
        description="Further conditions, such as something that another role says. All of them must hold too.",
    )

    @property
    def conditions(self) -> Sequence[tuple[str, Condition]]:
        """Each with what stands before the names of its fields."""
        return [("", self), *((f"also.{number}.", condition) for number, condition in enumerate(self.also))]

    @property
    def examples(self) -> Sequence[str]:
        """What is compared by meaning."""
        return [each for _, condition in self.conditions if condition.by == "meaning" for each in condition.phrases]

    @property
    def needs_meaning(self) -> bool:
        return bool(self.examples)


class _Question(_Part):
    question: str = Field(
        min_length=1, max_length=500, pattern=wording.NO_NUL, description="What is asked, for people."
    )
    weight: float = Field(default=1, gt=0, le=1000, description="The points of the right answer.")
    applies_if: Name | None = Field(
        default=None,
        description="The name of a category. The question is not applicable to calls that are not in it.",
    )


class CategoryQuestion(_Question):
    """A question that a category answers: whether the call is in it."""

    by: Literal["category"]
    category: Name = Field(description="The name of a category.")
    expected: bool = Field(default=True, description="Whether the call should be in the category.")


class FactQuestion(_Question, Range):
    """A question that a fact answers: whether it is within limits."""

    by: Literal["fact"]
    fact: Annotated[Fact, Field(strict=False)]
    role: Role | None = Field(default=None, description="Whose fact it is, if it is about one speaker.")

    @model_validator(mode="after")
    def _fits_the_fact(self) -> Self:
        if self.fact in facts.NEED_A_ROLE and self.role is None:
            raise ValueError(f"the fact `{self.fact}` needs a `role`")
        if self.fact not in facts.TAKE_A_ROLE and self.role is not None:
            raise ValueError(f"the fact `{self.fact}` is about the whole call and takes no `role`")
        return self


class ModelQuestion(_Question):
    """A question that the language model answers with yes or no, after the rules."""

    by: Literal["model"]
    expected: bool = Field(default=True, description="Whether `yes` is the right answer.")


def _by(value: object) -> str:
    return f"<{value.get('by') if isinstance(value, dict) else getattr(value, 'by', None)}>"


Question = Annotated[
    Annotated[CategoryQuestion, Tag("<category>")]
    | Annotated[FactQuestion, Tag("<fact>")]
    | Annotated[ModelQuestion, Tag("<model>")],
    Discriminator(
        _by,
        custom_error_type="by_whom",
        custom_error_message="must have the field `by` with the value `category`, `fact` or `model`",
    ),
]


class Scorecard(_Part):
    """Questions with weights. A call gets the points of the questions that are answered as they should be."""

    description: str = Field(
        default="", max_length=1000, pattern=wording.NO_NUL, description="For people: what the scorecard is for."
    )
    applies_if: Name | None = Field(
        default=None,
        description="The name of a category. Only its calls get a score. If you leave it out, all calls do.",
    )
    questions: list[Question] = Field(min_length=1, max_length=MOST_QUESTIONS)

    @model_validator(mode="after")
    def _asks_each_once(self) -> Self:
        if len({question.question for question in self.questions}) < len(self.questions):
            raise ValueError("the texts of the questions must differ from one another")
        return self

    @property
    def categories(self) -> Mapping[str, str]:
        """The categories that it needs, each with the first field that names it."""
        named = [("applies_if", self.applies_if)]
        for number, question in enumerate(self.questions):
            named += [(f"questions.{number}.applies_if", question.applies_if)]
            named += [(f"questions.{number}.category", getattr(question, "category", None))]
        return {name: at for at, name in reversed(named) if name is not None}


@dataclass(frozen=True)
class Definitions:
    """The categories and scorecards of a tenant by name."""

    categories: Mapping[str, Category] = field(default_factory=dict)
    scorecards: Mapping[str, Scorecard] = field(default_factory=dict)


def stored(definition: BaseModel) -> dict[str, Any]:
    """The definition as it was sent, without what was left out."""
    return definition.model_dump(mode="json", exclude_unset=True)
