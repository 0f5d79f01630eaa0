"""Scorecards: who answers which question, what counts, and the evidence."""

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from app.analysis.rules.applying import apply
from app.analysis.rules.definitions import Category, Definitions, Scorecard, stored
from app.analysis.rules.results import Answer, Evidence, RuleResults, stored_scores
from app.analysis.rules.scoring import ModelAnswer, with_answers
from tests.analysis.test_rules import TALK, call

CATEGORIES: dict[str, dict[str, Any]] = {
    "greeting": {"role": "agent", "any_of": ["good morning"], "first_seconds": 20},
    "sorry": {"role": "agent", "any_of": ["sorry"]},
    "refund": {"role": "customer", "any_of": ["refund"]},
    "visitor": {"role": "visitor", "none_of": ["bye"]},
}
CALL = call((0, 0, "Good morning."), (1, 3, "A refund, please."), (0, 6, "Yes."), talk=TALK)


def scored(*questions: dict[str, Any], **card: Any) -> RuleResults:
    asked = [{"question": f"Question {number}?", **question} for number, question in enumerate(questions)]
    scorecard = Scorecard.model_validate({"questions": asked, **card})
    assert Scorecard.model_validate(stored(scorecard)) == scorecard
    categories = {name: Category.model_validate(category) for name, category in CATEGORIES.items()}
    return apply(CALL, Definitions(categories, {"quality": scorecard}))


def answer(question: dict[str, Any]) -> Answer:
    return scored(question).scores[0].answers[0]


def test_points_are_the_weights_of_what_is_as_it_should_be() -> None:
    results = scored(
        {"by": "category", "category": "greeting", "weight": 2},
        {"by": "category", "category": "sorry", "weight": 3},
        {"by": "fact", "fact": "longest_hold", "at_most": 60},
        {"by": "category", "category": "visitor", "weight": 5},
        {"by": "model", "weight": 7},
    )
    [score] = results.scores
    assert (score.scorecard, score.points, score.possible) == ("quality", 3, 6)
    assert [(one.value, one.points, one.possible, one.not_applicable) for one in score.answers] == [
        (True, 2, 2, False),
        (False, 0, 3, False),
        (35.0, 1, 1, False),
        (None, None, None, True),
        (None, None, None, False),
    ]
    assert score.answers[0].evidence == (Evidence(1, 0),)
    assert results.content()["scores"][0]["answers"][0]["evidence"] == [{"turn": 1, "start": 0}]
    assert [one.is_left for one in score.answers] == [False, False, False, False, True]
    assert (score.answers[4].weight, score.answers[4].expected) == (7, True)
    assert stored_scores(results.content()["scores"]) == [score]


@pytest.mark.parametrize(
    ("question", "expected"),
    [
        ({"by": "category", "category": "sorry", "expected": False}, (False, 1, False)),
        ({"by": "category", "category": "refund", "expected": False}, (True, 0, False)),
        ({"by": "category", "category": "sorry", "applies_if": "refund"}, (False, 0, False)),
        ({"by": "category", "category": "refund", "applies_if": "sorry"}, (None, None, True)),
        ({"by": "category", "category": "deleted"}, (None, None, True)),
        ({"by": "fact", "fact": "talk_share", "role": "agent", "at_most": 0.7}, (0.8, 0, False)),
        ({"by": "fact", "fact": "interruptions", "at_most": 3}, (3, 1, False)),
        ({"by": "fact", "fact": "interruptions", "role": "customer", "at_most": 0}, (0, 1, False)),
        ({"by": "fact", "fact": "words_per_minute", "role": "agent", "at_most": 200}, (None, None, True)),
        ({"by": "fact", "fact": "overlaps", "at_most": 3}, (None, None, True)),
        ({"by": "model", "applies_if": "sorry"}, (None, None, True)),
    ],
)
def test_each_question_has_an_answer(question: dict[str, Any], expected: tuple[Any, ...]) -> None:
    given = answer(question)
    assert (given.value, given.points, given.not_applicable) == expected


def test_facts_of_a_question_lead_to_the_turns_that_show_them() -> None:
    assert answer({"by": "fact", "fact": "longest_hold", "at_most": 60}).evidence == (Evidence(3, 60.0),)


def test_a_scorecard_may_be_for_the_calls_of_a_category() -> None:
    question = {"by": "category", "category": "greeting"}
    assert scored(question, applies_if="refund").scores
    assert not scored(question, applies_if="sorry").scores
    assert not scored({"by": "model"}, applies_if="sorry").scores
    assert not answer({"by": "model", "applies_if": "sorry"}).is_left


def test_the_language_model_answers_what_is_left() -> None:
    results = scored({"by": "category", "category": "greeting"}, {"by": "model", "weight": 4}, {"by": "model"})
    answers: Mapping[str, ModelAnswer] = {
        "Question 1?": ModelAnswer(True, (Evidence(2, 3.0),)),
        "Question 2?": ModelAnswer(None),
        "Question 0?": ModelAnswer(False),
    }
    [score] = with_answers(results.scores, answers)
    assert (score.points, score.possible) == (5, 5)
    assert score.answers[1].evidence == (Evidence(2, 3.0),)
    assert (score.answers[2].value, score.answers[2].not_sure) == (None, True)
    results = scored({"by": "model", "expected": False})
    answers = {"Question 0?": ModelAnswer(True)}
    [unexpected] = with_answers(results.scores, answers)
    assert (unexpected.points, unexpected.possible) == (0, 1)


@pytest.mark.parametrize(
    ("card", "error"),
    [
        ({"questions": []}, "at least 1 item"),
        ({"questions": [{"question": "?"}]}, "must have the field `by`"),
        ({"questions": [{"question": "?", "by": "guess"}]}, "must have the field `by`"),
        ({"questions": [{"question": "?", "by": "category"}]}, "Field required"),
        ({"questions": [{"question": "?", "by": "category", "category": "/"}]}, "must have 1 to 64 characters"),
        ({"questions": [{"question": "?", "by": "fact", "fact": "mood", "at_most": 1}]}, "Input should be 'duration'"),
        ({"questions": [{"question": "?", "by": "fact", "fact": "duration"}]}, "must have `at_least`"),
        ({"questions": [{"question": "?", "by": "fact", "fact": "talk_share", "at_most": 1}]}, "needs a `role`"),
        (
            {"questions": [{"question": "?", "by": "fact", "fact": "holds", "role": "agent", "at_most": 1}]},
            "takes no `role`",
        ),
        ({"questions": [{"question": "?", "by": "model", "weight": 0}]}, "greater than 0"),
        ({"questions": [{"question": "?", "by": "model"}] * 2}, "must differ from one another"),
    ],
)
def test_scorecards_that_make_no_sense_are_refused(card: dict[str, Any], error: str) -> None:
    with pytest.raises(ValidationError) as refused:
        Scorecard.model_validate(card)
    assert error in str(refused.value)


def test_a_scorecard_names_the_categories_that_it_needs() -> None:
    questions = [
        {"question": "a", "by": "category", "category": "greeting"},
        {"question": "b", "by": "model", "applies_if": "refund"},
        {"question": "c", "by": "category", "category": "greeting"},
    ]
    card = Scorecard.model_validate({"applies_if": "visitor", "questions": questions})
    assert card.categories == {
        "visitor": "applies_if",
        "greeting": "questions.0.category",
        "refund": "questions.1.applies_if",
    }


def test_the_examples_of_the_guide_are_taken_as_they_stand() -> None:
    guide = (Path(__file__).parents[2] / "docs" / "checks.md").read_text()
    sent = re.findall(r"categories/\w+ [^\n]*\n? *-d '(\{.*?\})'", guide, re.DOTALL)
    cards = re.findall(r"scorecards/\w+ [^\n]*-d '(\{.*?\n\})'", guide, re.DOTALL)
    blocks = re.findall(r"```json\n(.*?)```", guide, re.DOTALL)
    shown = [json.loads(each) for each in (*sent, *cards, *blocks)]
    assert len(shown) >= 10
    for each in shown:
        (Scorecard if "questions" in each else Category).model_validate(each)
