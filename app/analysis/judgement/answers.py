"""What the language model is asked for, as pydantic models, and how its answers are read; pure."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Generic, Literal, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, FiniteFloat, ValidationError
from pydantic_core import from_json

MOST_TEXT = 4000  # characters
MOST_ITEMS = 50
MOST_KEYWORDS = 20
OTHER_INTENT = "other"
_END_OF_THOUGHTS = "</think>"
_FENCE = "```"


def _plain(value: Any) -> Any:
    """A text without NUL, which PostgreSQL does not store, and no longer than a person would read."""
    return value.replace("\0", "").strip()[:MOST_TEXT] if isinstance(value, str) else value


def _text_of(value: Any) -> Any:
    return "" if value is None else _plain(value)


Plain = Annotated[str, BeforeValidator(_text_of)]
Value = Annotated[str | FiniteFloat | bool | None, BeforeValidator(_plain)]  # JSON of PostgreSQL has no infinity
Sentiment = Literal["positive", "neutral", "negative"]


class Asked(BaseModel):
    """All members are required, and others are not allowed, because some servers refuse any other schema.

    Other members of an answer are ignored.
    """

    model_config = ConfigDict(extra="ignore", json_schema_extra={"additionalProperties": False})


class Statement(Asked):
    text: Plain
    turns: list[int]


class Resolved(Asked):
    value: bool | None
    turns: list[int]


class Intent(Asked):
    value: Plain
    turns: list[int]


class TurnSentiment(Asked):
    turn: int
    value: Sentiment


class Answer(Asked):
    question: Plain
    value: Value
    turns: list[int]


class Joined(Asked):
    """What is asked about the whole call."""

    summary: Statement
    reason: Statement
    outcome: Statement
    resolved: Resolved
    intent: Intent
    answers: list[Answer]


class Judgement(Joined):
    """What is asked about a call, or a part of it."""

    sentiment: list[TurnSentiment]
    action_items: list[Statement]
    keywords: list[Plain]


Kind = TypeVar("Kind", bound=Asked)


@dataclass(frozen=True)
class Wish(Generic[Kind]):
    """What an answer must be: its model, and the intents of which it has to choose one. Without intents, any fits."""

    model: type[Kind]
    intents: Collection[str] = ()

    def schema(self) -> dict[str, Any]:
        schema = self.model.model_json_schema()
        if self.intents:
            schema["$defs"]["Intent"]["properties"]["value"] = {"type": "string", "enum": self._allowed}
        return schema

    @property
    def _allowed(self) -> list[str]:
        return [*dict.fromkeys([*self.intents, OTHER_INTENT])]

    def read(self, found: Mapping[str, Any]) -> Kind:
        """Raises ValueError that says what is wrong, without a text of the call."""
        try:
            answer = self.model.model_validate(found)
        except ValidationError as error:
            raise ValueError(_in_words(error)) from None
        if self.intents and isinstance(answer, Joined) and answer.intent.value not in ("", *self._allowed):
            raise ValueError(f"intent.value must be one of {', '.join(self._allowed)}")
        return answer


def object_of(text: str, *, in_prose: bool) -> dict[str, Any]:
    """The JSON object that a model wrote. If it may be `in_prose`, text and fences around it are ignored.

    Raises ValueError.
    """
    candidates = [text]
    if in_prose:
        text = text.rpartition(_END_OF_THOUGHTS)[2]
        candidates = [text, *_fenced(text), *_outermost(text)]
    for candidate in candidates:
        try:
            found = from_json(candidate, allow_inf_nan=False)
        except ValueError:
            continue
        if isinstance(found, dict):
            return found
    raise ValueError("it is not one JSON object")


def _fenced(text: str) -> list[str]:
    """What stands between fences. No regular expression is used, because an answer of a million newlines would take it
    hours.
    """
    return [block.removeprefix("json") for block in text.split(_FENCE)[1:-1:2]]


def _outermost(text: str) -> list[str]:
    """From the first opening brace to the last closing one."""
    start, end = text.find("{"), text.rfind("}")
    return [text[start : end + 1]] if 0 <= start < end else []


def _in_words(error: ValidationError) -> str:
    first = error.errors(include_input=False, include_context=False, include_url=False)[0]
    return f"{'.'.join(map(str, first['loc']))}: {first['msg']}"
