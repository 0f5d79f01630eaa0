"""Answers the questions of scorecards by categories and facts, and takes the answers of the language model. Pure."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from app.analysis.rules import facts
from app.analysis.rules.call import Call
from app.analysis.rules.checking import Checked
from app.analysis.rules.definitions import CategoryQuestion, FactQuestion, Question, Scorecard
from app.analysis.rules.facts import Place
from app.analysis.rules.results import Answer, Evidence, Match, Score, Verdict

MOST_EVIDENCE = 10


@dataclass(frozen=True, slots=True)
class ModelAnswer:
    """What the language model answers. `value` is None if it cannot say."""

    value: bool | None
    evidence: tuple[Evidence, ...] = ()


def score(call: Call, name: str, card: Scorecard, checked: Mapping[str, Checked]) -> Score:
    """The score of a call by rules. Answers that are left for the language model do not count yet."""
    return _summed(name, [_answer(call, question, checked) for question in card.questions])


def with_answers(scores: Iterable[Score], answers: Mapping[str, ModelAnswer]) -> list[Score]:
    """The scores with the answers of the language model, by the texts of the questions."""
    return [
        _summed(
            score.scorecard,
            [
                _by_model(answer, answers[answer.question]) if answer.is_left and answer.question in answers else answer
                for answer in score.answers
            ],
        )
        for score in scores
    ]


def applies(card: Scorecard, checked: Mapping[str, Checked]) -> bool:
    return card.applies_if is None or _verdict(card.applies_if, checked) is Verdict.YES


def _answer(call: Call, question: Question, checked: Mapping[str, Checked]) -> Answer:
    empty = Answer(question.question, question.by, question.weight, getattr(question, "expected", None))
    if isinstance(question, FactQuestion):
        empty = replace(
            empty,
            fact=question.fact.value,
            role=question.role,
            at_least=question.at_least,
            at_most=question.at_most,
        )
    condition = Verdict.YES if question.applies_if is None else _verdict(question.applies_if, checked)
    if condition is Verdict.NOT_SURE:
        return replace(empty, not_sure=True)
    if condition is not Verdict.YES:
        return replace(empty, not_applicable=True)
    if isinstance(question, CategoryQuestion):
        return _by_category(question, empty, checked)
    if isinstance(question, FactQuestion):
        return _by_fact(call, question, empty)
    return empty


def _by_category(question: CategoryQuestion, empty: Answer, checked: Mapping[str, Checked]) -> Answer:
    verdict = _verdict(question.category, checked)
    if verdict is Verdict.NOT_KNOWN:
        return replace(empty, not_applicable=True)
    evidence = _evidence(checked[question.category].matches)
    if verdict is Verdict.NOT_SURE:
        return replace(empty, not_sure=True, evidence=evidence)
    is_in = verdict is Verdict.YES
    counted = _counted(empty, is_in, is_right=is_in == question.expected)
    return replace(counted, evidence=evidence if is_in else ())


def _by_fact(call: Call, question: FactQuestion, empty: Answer) -> Answer:
    value = facts.value(call, question.fact, question.role)
    if value is None:
        return replace(empty, not_applicable=True)
    counted = _counted(empty, round(value, 3), is_right=question.holds(value))
    return replace(counted, evidence=_evidence(facts.places(call, question.fact, question.role)))


def _by_model(empty: Answer, given: ModelAnswer) -> Answer:
    if given.value is None:
        return replace(empty, not_sure=True, evidence=given.evidence)
    counted = _counted(empty, given.value, is_right=given.value == empty.expected)
    return replace(counted, evidence=given.evidence)


def _counted(empty: Answer, value: bool | float, *, is_right: bool) -> Answer:
    return replace(empty, value=value, points=empty.weight if is_right else 0.0, possible=empty.weight)


def _verdict(category: str, checked: Mapping[str, Checked]) -> Verdict:
    """A category that was deleted is not known."""
    return checked[category].verdict if category in checked else Verdict.NOT_KNOWN


def _evidence(places: Sequence[Match | Place]) -> tuple[Evidence, ...]:
    known = (Evidence(each.turn, each.start) for each in places if each.turn is not None and each.start is not None)
    return tuple(dict.fromkeys(known))[:MOST_EVIDENCE]


def _summed(scorecard: str, answers: Sequence[Answer]) -> Score:
    return Score(
        scorecard=scorecard,
        points=sum(answer.points or 0.0 for answer in answers),
        possible=sum(answer.possible or 0.0 for answer in answers),
        answers=tuple(answers),
    )
