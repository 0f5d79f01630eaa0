"""Keeps what a model said only if turns of the call support it; pure.

A statement that names no turn, or a turn that does not exist, is dropped. Nobody could check it.
"""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeVar

from app.analysis.judgement.answers import (
    MOST_ITEMS,
    MOST_KEYWORDS,
    Answer,
    Intent,
    Joined,
    Judgement,
    Resolved,
    Statement,
    TurnSentiment,
)
from app.analysis.judgement.dividing import one_line


class Supported(Protocol):
    turns: list[int]


Said = TypeVar("Said", bound=Supported)


@dataclass
class Evidence:
    """The turns that a request showed to the model. `dropped` counts what names others or none.

    `text` is what was said in them, for keywords. `questions` are the ids that were asked.
    """

    numbers: Collection[int]
    questions: Collection[str] = ()
    text: str = ""
    dropped: int = field(default=0)

    def one(self, said: Said, *, is_empty: bool) -> Said | None:
        """What was said, with each turn once, or None if it says nothing or nothing supports it."""
        if is_empty:
            return None
        said.turns = list(dict.fromkeys(said.turns))
        if said.turns and all(number in self.numbers for number in said.turns):
            return said
        self.dropped += 1
        return None

    def _some(self, said: Iterable[Said | None]) -> list[Said]:
        return [each for each in said if each is not None][:MOST_ITEMS]

    def statement(self, said: Statement) -> Statement | None:
        return self.one(said, is_empty=not said.text)

    def resolved(self, said: Resolved) -> Resolved | None:
        return self.one(said, is_empty=said.value is None)

    def intent(self, said: Intent) -> Intent | None:
        return self.one(said, is_empty=not said.value)

    def statements(self, said: Sequence[Statement]) -> list[Statement]:
        return self._some(self.statement(each) for each in said)

    def answers(self, said: Sequence[Answer]) -> list[Answer]:
        """The first answer to each question that was asked."""
        asked = {each.question: each for each in reversed(said) if each.question in self.questions}
        known = [asked[question] for question in self.questions if question in asked]
        return self._some(self.one(each, is_empty=each.value is None or each.value == "") for each in known)

    def sentiment(self, said: Sequence[TurnSentiment]) -> list[TurnSentiment]:
        """The first sentiment of each turn, in the order of the turns."""
        kept: dict[int, TurnSentiment] = {}
        for each in said:
            if each.turn in self.numbers:
                kept.setdefault(each.turn, each)
            else:
                self.dropped += 1
        return [kept[number] for number in sorted(kept)]

    def keywords(self, said: Sequence[str]) -> list[str]:
        """Those that were said in the call."""
        heard = one_line(self.text).casefold()
        given = [word for word in dict.fromkeys(map(one_line, said)) if word]
        kept = [word for word in given if word.casefold() in heard]
        self.dropped += len(given) - len(kept)
        return kept[:MOST_KEYWORDS]


@dataclass(frozen=True)
class Whole:
    """What is known about a whole call, or about one part of it."""

    summary: Statement | None = None
    reason: Statement | None = None
    outcome: Statement | None = None
    resolved: Resolved | None = None
    intent: Intent | None = None
    answers: list[Answer] = field(default_factory=list)

    @classmethod
    def of(cls, said: Joined, evidence: Evidence) -> "Whole":
        return cls(
            evidence.statement(said.summary),
            evidence.statement(said.reason),
            evidence.statement(said.outcome),
            evidence.resolved(said.resolved),
            evidence.intent(said.intent),
            evidence.answers(said.answers),
        )

    @property
    def numbers(self) -> set[int]:
        """The turns that it names."""
        said: list[Any] = [self.summary, self.reason, self.outcome, self.resolved, self.intent, *self.answers]
        return {number for each in said if each is not None for number in each.turns}


@dataclass(frozen=True)
class Details:
    """What is known about single turns."""

    sentiment: list[TurnSentiment] = field(default_factory=list)
    action_items: list[Statement] = field(default_factory=list)
    keywords: list[str] = field(default_factory=list)

    @classmethod
    def of(cls, said: Judgement, evidence: Evidence) -> "Details":
        return cls(
            evidence.sentiment(said.sentiment),
            evidence.statements(said.action_items),
            evidence.keywords(said.keywords),
        )

    @classmethod
    def joined(cls, parts: Sequence["Details"]) -> "Details":
        """The details of all parts of a call, in their order. A long turn may be in two parts, so its first counts."""
        sentiment = {each.turn: each for part in reversed(parts) for each in part.sentiment}
        items = [item for part in parts for item in part.action_items]
        words = dict.fromkeys(word for part in parts for word in part.keywords)
        return cls([sentiment[turn] for turn in sorted(sentiment)], items[:MOST_ITEMS], list(words)[:MOST_KEYWORDS])
