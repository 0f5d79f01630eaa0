"""The questions of scorecards that the language model answers. Pure.

The model gets an id for each question, because it would not repeat a long text exactly. A text that several scorecards
ask is asked once.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from app.analysis.judgement.answers import MOST_ITEMS
from app.analysis.judgement.dividing import tokens_of
from app.analysis.judgement.judging import Judged, Question
from app.analysis.rules.results import Evidence, Score
from app.analysis.rules.scoring import ModelAnswer

SHARE_OF_PROMPT = 4  # the questions get a quarter of it, so that there is room for the call
_YES = frozenset({"true", "yes", "1", "y", "sí", "si", "oui", "ja", "sim", "sì", "是", "是的", "对", "有", "はい"})
_NO = frozenset({"false", "no", "0", "n", "non", "nein", "nee", "não", "否", "不是", "不", "没有", "いいえ"})


def left(scores: Sequence[Score], prompt_tokens: int) -> list[Question]:
    """The questions that are left for the model. Those that do not fit into its prompt stay unanswered."""
    texts = dict.fromkeys(answer.question for score in scores for answer in score.answers if answer.is_left)
    fitting: list[Question] = []
    room = prompt_tokens // SHARE_OF_PROMPT
    for text in texts:
        room -= tokens_of(text)
        if room < 0 or len(fitting) == MOST_ITEMS:
            break
        fitting.append(Question(f"q{len(fitting) + 1}", text))
    return fitting


def in_words(judged: Judged, asked: Sequence[Question]) -> Judged:
    """The judgement whose answers name the texts of the questions instead of their ids."""
    texts = {question.id: question.text for question in asked}
    answers = [each | {"question": texts[each["question"]]} for each in judged.fields.get("answers", ())]
    return replace(judged, fields={**judged.fields, "answers": answers})


def answers(judgement: Mapping[str, Any] | None, starts: Mapping[int, float]) -> dict[str, ModelAnswer]:
    """What a judgement answers to questions. `starts` are the beginnings of the turns by their numbers."""
    return {
        each["question"]: ModelAnswer(
            _yes_or_no(each["value"]), tuple(Evidence(turn, starts[turn]) for turn in each["turns"] if turn in starts)
        )
        for each in (judgement or {}).get("answers", ())
    }


def _yes_or_no(value: str | float | bool | None) -> bool | None:
    """None for anything else, which a model may write although it was asked for yes or no."""
    word = f"{value:g}" if isinstance(value, float) else str(value)
    word = word.strip(" .。!！").casefold()
    return True if word in _YES else False if word in _NO else None
