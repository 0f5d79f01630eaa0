"""Judges a call with the language model: its turns → statements, each with the turns that support it.

A call that is too long for one request is judged in parts, and one more request joins what was said about them. A part
that the server finds too long, although our estimate did not, is halved.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel

from app.analysis.judgement.answers import OTHER_INTENT, Joined, Judgement, Wish
from app.analysis.judgement.client import Message, PromptTooLong, Spent
from app.analysis.judgement.dividing import Part, Room, Turn, groups, one_line, parts, tokens_of
from app.analysis.judgement.evidence import Details, Evidence, Whole
from app.analysis.judgement.ladder import Ladder
from app.analysis.judgement.moods import sides
from app.analysis.judgement.prompts import Prompts
from app.errors import JudgementUnfit

CORRECTION_TOKENS = 200
PART_NOTE = "The call is long. This is only a part of its transcript.\n"
THE_CALLS_OWN = "the language of the call"


@dataclass(frozen=True)
class Call:
    """What the model gets of a call. `language` is an ISO 639-1 code, or None. `duration` is in seconds."""

    turns: Sequence[Turn]
    duration: float
    language: str | None = None


@dataclass(frozen=True)
class Question:
    """A question of a scorecard. `id` is what the answer names."""

    id: str
    text: str


@dataclass(frozen=True)
class Judged:
    """`fields` are those of an analysis, as clients read them. `dropped` counts statements without evidence."""

    fields: dict[str, Any]
    dropped: int
    model: str | None
    prompt_version: str | None
    language: str | None

    def columns(self) -> dict[str, Any]:
        return {
            "judgement": self.fields,
            "dropped": self.dropped,
            "model": self.model,
            "prompt_version": self.prompt_version,
            "language": self.language,
        }


@dataclass(frozen=True)
class Judge:
    """`language` is that of all answers, or None for that of the call. `intents` are those to choose from, or none."""

    ladder: Ladder
    prompts: Prompts
    room: Room
    language: str | None = None
    intents: Sequence[str] = ()

    async def judge(self, call: Call, spent: Spent, questions: Sequence[Question] = ()) -> Judged:
        """Raises JudgementUnavailable, JudgementRefused and JudgementUnfit. `spent` counts in any case."""
        language = self.language or call.language
        if not call.turns:  # nobody spoke, so there is nothing to ask
            return Judged(_fields(Whole(), Details(), call), 0, None, None, None)
        try:
            return await _Task(self, call, questions, spent, language).judged()
        except PromptTooLong:
            raise JudgementUnfit(
                "The server finds even short parts of the call too long: CALLSCRIBE_LLM_CONTEXT_TOKENS is too large."
            ) from None


@dataclass(frozen=True)
class _Found:
    """What is known about one part of a call."""

    whole: Whole
    details: Details
    dropped: int


@dataclass(frozen=True)
class _Task:
    """One call, while it is judged."""

    judge: Judge
    call: Call
    questions: Sequence[Question]
    spent: Spent
    language: str | None

    async def judged(self) -> Judged:
        around = self._tokens_around("judge", part_note=PART_NOTE, transcript="")
        cut = parts(self.call.turns, self.judge.room, around)
        found = [each for part in cut for each in await self._judged_part(part, is_whole=len(cut) == 1)]
        whole, dropped = await self._joined([each.whole for each in found])
        details = Details.joined([each.details for each in found])
        return Judged(
            _fields(whole, details, self.call),
            dropped + sum(each.dropped for each in found),
            self.judge.ladder.chat.endpoint.model,
            self.judge.prompts.version,
            self.language,
        )

    async def _judged_part(self, part: Part, *, is_whole: bool) -> list["_Found"]:
        """What is said about a part. If the server finds it too long, its halves are judged. Raises PromptTooLong."""
        messages = self._messages("judge", part_note="" if is_whole else PART_NOTE, transcript=part.text)
        wish = Wish(Judgement, self.judge.intents)
        try:
            said = await self.judge.ladder.ask(messages, wish, self.spent, self.judge.room.answer_tokens)
        except PromptTooLong:
            halves = part.halves()
            if not halves:
                raise
            return [each for half in halves for each in await self._judged_part(half, is_whole=False)]
        evidence = Evidence(part.numbers, self._asked, part.text)
        return [_Found(Whole.of(said, evidence), Details.of(said, evidence), evidence.dropped)]

    async def _joined(self, wholes: Sequence[Whole]) -> tuple[Whole, int]:
        """Join the parts, in several rounds if their notes are too long for one request."""
        dropped = 0
        most_tokens = max(1, self.judge.room.prompt_tokens - self._tokens_around("reduce", notes=""))
        while len(wholes) > 1:
            grouped = groups(wholes, lambda each: tokens_of(_notes(each)), most_tokens)
            if len(grouped) == len(wholes):
                grouped = [list(wholes[at : at + 2]) for at in range(0, len(wholes), 2)]
            joined = []
            for group in grouped:
                whole, missing = (group[0], 0) if len(group) == 1 else await self._joined_once(group)
                joined.append(whole)
                dropped += missing
            wholes = joined
        return wholes[0], dropped

    async def _joined_once(self, group: Sequence[Whole]) -> tuple[Whole, int]:
        messages = self._messages("reduce", notes="\n".join(map(_notes, group)))
        wish = Wish(Joined, self.judge.intents)
        said = await self.judge.ladder.ask(messages, wish, self.spent, self.judge.room.answer_tokens)
        evidence = Evidence(set().union(*(each.numbers for each in group)), self._asked)
        return Whole.of(said, evidence), evidence.dropped

    @property
    def _asked(self) -> list[str]:
        return [question.id for question in self.questions]

    def _messages(self, name: str, **values: str) -> list[Message]:
        intents = self.judge.intents
        choice = ", ".join(json.dumps(each, ensure_ascii=False) for each in [*intents, OTHER_INTENT])
        asked = {
            "intent": f"one of {choice}" if intents else "what the customer wants, in two to five words",
            "questions": "\n".join(f"{each.id}: {one_line(each.text)}" for each in self.questions) or "(none)",
        }
        language = THE_CALLS_OWN if self.language is None else f'the language with the ISO 639-1 code "{self.language}"'
        prompts = self.judge.prompts
        return [
            {"role": "system", "content": prompts.filled("system", language=language)},
            {"role": "user", "content": prompts.filled(name, **asked, **values)},
        ]

    def _tokens_around(self, name: str, **values: str) -> int:
        """The tokens of a request without what was said, and with room for asking once more."""
        return sum(tokens_of(each["content"]) for each in self._messages(name, **values)) + CORRECTION_TOKENS


def _notes(whole: Whole) -> str:
    return json.dumps({name: value for name, value in _shown(whole).items() if value}, ensure_ascii=False)


def _shown(whole: Whole) -> dict[str, Any]:
    return {name: _plain(getattr(whole, name)) for name in whole.__dataclass_fields__}


def _plain(value: Any) -> Any:
    if isinstance(value, list):
        return [_plain(each) for each in value]
    return value.model_dump() if isinstance(value, BaseModel) else value


def _fields(whole: Whole, details: Details, call: Call) -> dict[str, Any]:
    mood = {"turns": _plain(details.sentiment), "sides": sides(details.sentiment, call.turns, call.duration)}
    return {
        **_shown(whole),
        "sentiment": mood,
        "action_items": _plain(details.action_items),
        "keywords": details.keywords,
    }
