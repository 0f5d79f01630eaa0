"""What rules found in a call, with the turns that show it. Pure."""

from dataclasses import dataclass
from enum import IntEnum
from typing import Any, Literal

from pydantic import TypeAdapter

_AS_JSON: TypeAdapter[dict[str, Any]] = TypeAdapter(dict[str, Any])

AnsweredBy = Literal["category", "fact", "model"]


class Verdict(IntEnum):
    """Whether a condition holds. The lowest of several is that of all of them together.

    NOT_KNOWN is of conditions that cannot be checked in this call, such as what an agent says if no channel is the
    agent's. NOT_SURE is of meanings that are neither close nor far.
    """

    NO = 0
    NOT_KNOWN = 1
    NOT_SURE = 2
    YES = 3


@dataclass(frozen=True, slots=True)
class Match:
    """Where a condition holds.

    `condition` is the name of its field, such as `any_of` or `also.0.hold`. `text` is the phrase or example as the
    definition has it. `score` is 1 for the same words, and the closeness of meanings. `value` is that of a fact. What
    holds in the call as a whole has neither turn nor times.
    """

    condition: str
    turn: int | None = None
    start: float | None = None
    end: float | None = None
    text: str | None = None
    score: float = 1.0
    value: float | None = None


@dataclass(frozen=True, slots=True)
class CategoryResult:
    """A category that the call is in. It may be in it, if `sure` is False: then somebody should listen to the turns."""

    name: str
    sure: bool
    matches: tuple[Match, ...]


@dataclass(frozen=True, slots=True)
class Evidence:
    turn: int
    start: float


@dataclass(frozen=True, slots=True)
class Answer:
    """The answer to a question of a scorecard. `weight` and `expected` are those of the question.

    If a fact answers it, `fact` and `role` name it, and `at_least` and `at_most` are the limits of the right answer.
    `value` is whether the category or the model says yes, or the fact. `points` and `possible` are None if the question
    does not count: it is not applicable, nobody can be sure, or the language model has not answered it.
    """

    question: str
    by: AnsweredBy
    weight: float = 1.0
    expected: bool | None = None
    value: bool | float | None = None
    points: float | None = None
    possible: float | None = None
    not_applicable: bool = False
    not_sure: bool = False
    evidence: tuple[Evidence, ...] = ()
    fact: str | None = None
    role: str | None = None
    at_least: float | None = None
    at_most: float | None = None

    @property
    def is_left(self) -> bool:
        """Whether it is left for the language model, which answers with yes or no."""
        return self.by == "model" and self.value is None and not self.not_applicable and not self.not_sure


@dataclass(frozen=True, slots=True)
class Score:
    """The result of a scorecard. `points` and `possible` are the sums over the questions that count."""

    scorecard: str
    points: float
    possible: float
    answers: tuple[Answer, ...]


@dataclass(frozen=True, slots=True)
class RuleResults:
    """`trouble` is why some conditions are not known: meanings or too many phrases could not be compared."""

    categories: tuple[CategoryResult, ...] = ()
    scores: tuple[Score, ...] = ()
    trouble: str | None = None

    def content(self) -> dict[str, Any]:
        """`categories` and `scores` as JSON has them."""
        content = {"categories": self.categories, "scores": self.scores}
        as_json: dict[str, Any] = _AS_JSON.dump_python(content, mode="json")
        return as_json


_SCORES: TypeAdapter[list[Score]] = TypeAdapter(list[Score])


def stored_scores(content: list[dict[str, Any]] | None) -> list[Score]:
    """The scores that `RuleResults.content` has made JSON of."""
    return _SCORES.validate_python(content or [])
