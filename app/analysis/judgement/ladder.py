"""Asks the language model for JSON in the strictest way that its server knows.

Servers differ: some enforce a JSON Schema, some only JSON, some nothing. A server that does not know what it is asked
for answers an error, or ignores it. So there is a ladder: the schema, then any JSON object, then the prompt alone. The
step on which a server answered is remembered, for an hour, because a server may be replaced.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Any

import structlog

from app.analysis.judgement.answers import Kind, Wish, object_of
from app.analysis.judgement.client import ChatClient, Completion, FormRefused, Message, Spent, refusal
from app.errors import JudgementUnavailable, JudgementUnfit

REMEMBERED_SECONDS = 3600.0

log = structlog.stdlib.get_logger("callscribe.analysis")


class Step(IntEnum):
    """How the form of the answer is asked for."""

    JSON_SCHEMA = 0
    JSON_OBJECT = 1
    PROMPT_ONLY = 2

    @property
    def shown(self) -> str:
        return self.name.lower()


@dataclass
class Ladder:
    """One for each endpoint. `correction` makes the message that asks once more of what is wrong with an answer."""

    chat: ChatClient
    correction: Callable[[str], str]
    step: Step = Step.JSON_SCHEMA
    _remembered_at: float = field(default=0.0, init=False)

    async def ask(self, messages: Sequence[Message], wish: Wish[Kind], spent: Spent, most_tokens: int) -> Kind:
        """The answer of the model. Raises PromptTooLong and the errors of analyses."""
        step = self._first_step()
        while True:
            try:
                answer = await self._ask_on(step, messages, wish, spent, most_tokens)
            except FormRefused as refused:
                if step is Step.PROMPT_ONLY:
                    raise _as_error(refused) from None
                step = Step(step + 1)
                continue
            self._remember(step)
            return answer

    def _first_step(self) -> Step:
        if self.step and time.monotonic() - self._remembered_at > REMEMBERED_SECONDS:
            self.step = Step.JSON_SCHEMA
        return self.step

    def _remember(self, step: Step) -> None:
        if step != self.step:
            log.info("the language model's server answers only to a weaker form of the request", form=step.shown)
            self.step, self._remembered_at = step, time.monotonic()

    async def _ask_on(
        self, step: Step, messages: Sequence[Message], wish: Wish[Kind], spent: Spent, most_tokens: int
    ) -> Kind:
        """Ask, and if the answer does not fit, once more with what is wrong.

        An answer that is no JSON at all, although the server accepted to make JSON, counts as a refusal of the form.
        """
        completion = await self._complete(step, messages, wish, spent, most_tokens)
        try:
            found = object_of(completion.text, in_prose=step is Step.PROMPT_ONLY)
        except ValueError as error:
            if step is not Step.PROMPT_ONLY:
                raise FormRefused(200) from None
            problem = str(error)
        else:
            try:
                return wish.read(found)
            except ValueError as error:
                problem = str(error)
        again = [
            *messages,
            {"role": "assistant", "content": completion.text},
            {"role": "user", "content": self.correction(problem)},
        ]
        completion = await self._complete(step, again, wish, spent, most_tokens)
        try:
            return wish.read(object_of(completion.text, in_prose=step is Step.PROMPT_ONLY))
        except ValueError as error:
            raise JudgementUnfit(
                f"The language model answered twice with something else than was asked: {error}"
            ) from None

    async def _complete(
        self, step: Step, messages: Sequence[Message], wish: Wish[Kind], spent: Spent, most_tokens: int
    ) -> Completion:
        completion = await self.chat.complete(messages, spent, most_tokens=most_tokens, form=_form(step, wish))
        if completion.is_cut_off:
            raise JudgementUnfit(
                f"The answer of the language model was cut off after {most_tokens} tokens. A larger "
                "CALLSCRIBE_LLM_CONTEXT_TOKENS leaves more room, if the model has it."
            )
        return completion


def _form(step: Step, wish: Wish[Any]) -> dict[str, Any] | None:
    match step:
        case Step.JSON_SCHEMA:
            schema = {"name": wish.model.__name__.lower(), "strict": True, "schema": wish.schema()}
            return {"type": "json_schema", "json_schema": schema}
        case Step.JSON_OBJECT:
            return {"type": "json_object"}
        case _:
            return None


def _as_error(refused: FormRefused) -> Exception:
    """The server refused the request in its simplest form, so the form is not the reason."""
    if refused.status >= 500:
        return JudgementUnavailable(f"The server of the language model answered {refused.status}.")
    return refusal(refused.status)
