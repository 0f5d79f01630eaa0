"""Which calls a list or a report is about, by what their analyses found out. `jobs.reads.listing` knows the rest."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from sqlalchemy import ColumnElement, Text, case, cast, literal, null
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.orm import aliased
from sqlmodel import col, select

from app.analysis.models import Analysis
from app.jobs.models import Transcription

CLEAR_MOOD = 0.2  # a call with a smaller surplus of positive or negative turns is neutral


class Sentiment(StrEnum):
    POSITIVE = "positive"
    NEUTRAL = "neutral"
    NEGATIVE = "negative"


def sentiment_column(analysis: Any = Analysis) -> ColumnElement[Any]:
    """The customer's sentiment in a call, as text. Null if it was not judged."""
    mood = col(analysis.mood)
    return case(
        (mood.is_(None), null()),
        (mood >= CLEAR_MOOD, Sentiment.POSITIVE),
        (mood <= -CLEAR_MOOD, Sentiment.NEGATIVE),
        else_=Sentiment.NEUTRAL,
    )


def model_column() -> ColumnElement[Any]:
    options: Any = col(Transcription.options)
    model: ColumnElement[Any] = options["model"].astext
    return model


@dataclass(frozen=True)
class Filters:
    """A call has to fit all of them: one of the values of each that has any."""

    categories: Sequence[str] = ()
    scorecards: Sequence[str] = ()
    intents: Sequence[str] = ()
    sentiments: Sequence[Sentiment] = ()
    resolved: bool | None = None
    models: Sequence[str] = ()

    def parameters(self) -> list[tuple[str, str]]:
        """As the list of calls takes them."""
        named = {
            "category": self.categories,
            "scorecard": self.scorecards,
            "intent": self.intents,
            "sentiment": [each.value for each in self.sentiments],
            "resolved": [] if self.resolved is None else [str(self.resolved).lower()],
            "model": self.models,
        }
        return [(name, value) for name, values in named.items() for value in values]

    def conditions(self) -> list[ColumnElement[bool]]:
        """The conditions for a row of `transcription`."""
        conditions: list[ColumnElement[bool]] = []
        if self.models:
            conditions.append(model_column().in_(self.models))
        found: list[ColumnElement[bool]] = []
        analysis = aliased(Analysis)  # a report reads the table itself
        for column, names in ((analysis.category_names, self.categories), (analysis.scorecards, self.scorecards)):
            if names:
                found.append(col(column).op("?|")(cast(literal(list(names), ARRAY(Text)), ARRAY(Text))))
        if self.intents:
            found.append(col(analysis.intent_name).in_(self.intents))
        if self.sentiments:
            found.append(sentiment_column(analysis).in_([each.value for each in self.sentiments]))
        if self.resolved is not None:
            found.append(col(analysis.is_resolved).is_(self.resolved))
        if found:
            of_call = select(analysis.transcription_id).where(analysis.transcription_id == Transcription.id, *found)
            conditions.append(of_call.correlate(Transcription).exists())
        return conditions
