"""Sends one request to an OpenAI-compatible chat endpoint, and says what came back.

Texts of the server never become part of an error: they may repeat the prompt, which holds what was said.
"""

import asyncio
import math
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Any

import httpx
from pydantic_core import from_json

from app import metrics
from app.analysis.judgement.dividing import tokens_of
from app.errors import JudgementRefused, JudgementUnavailable, JudgementUnfit
from app.network.operators_server import BUSY_STATUSES, AnswerTooLarge, open_client, post
from app.network.retry_after import asked_pause

MOST_ANSWER_BYTES = 2_000_000
MOST_TOKENS = 10_000_000  # that a server may say it has used for one request
TOO_LONG_WORDS = ("context length", "context_length", "context window", "context size", "n_ctx", "prompt is too long")
# Servers answer these if they do not know the asked form of the answer. llama.cpp's server for Python answers 500.
REFUSING_STATUSES = (HTTPStatus.BAD_REQUEST, HTTPStatus.UNPROCESSABLE_ENTITY)
FORM_STATUSES = frozenset({400, 422, 500, 501})

Message = Mapping[str, str]


class PromptTooLong(Exception):
    """The server says that the prompt has more tokens than its model can read."""


class FormRefused(Exception):
    """The server refuses the request with a status that may mean that it does not know the form of the answer."""

    def __init__(self, status: int) -> None:
        super().__init__(f"it answered {status}")
        self.status = status


@dataclass(frozen=True)
class Endpoint:
    """Where the model is. `url` is the base of the API, such as `http://gpu:8000/v1`."""

    url: str
    model: str
    key: str | None = field(default=None, repr=False)
    timeout_seconds: float = 120.0

    @property
    def chat_url(self) -> str:
        return f"{self.url.rstrip('/').removesuffix('/chat/completions')}/chat/completions"


@dataclass(frozen=True)
class Completion:
    """What the model wrote. If it `is_cut_off`, it reached the limit of tokens before its end."""

    text: str
    is_cut_off: bool
    tokens: int


@dataclass
class Spent:
    """The tokens that an attempt has used so far, also if it fails in the end."""

    tokens: int = 0
    requests: int = 0


@dataclass
class Dialect:
    """Names and values that servers disagree on. OpenAI's newer models refuse the older ones, and older servers ignore
    the newer ones, so a request begins with the older ones.
    """

    limit: str = "max_tokens"
    temperature: float | None = 0.0

    def body(self, most_tokens: int) -> dict[str, Any]:
        chosen = {} if self.temperature is None else {"temperature": self.temperature}
        return chosen | {self.limit: most_tokens, "stream": False}

    def learn(self, status: int, answer: bytes) -> bool:
        """Whether a refusal says something new about the dialect, so that the request is worth repeating."""
        known = replace(self)
        if status in REFUSING_STATUSES:
            said = _said(answer)
            self.limit = "max_completion_tokens" if "max_completion_tokens" in said else self.limit
            self.temperature = None if "temperature" in said else self.temperature
        return self != known


@dataclass(frozen=True)
class ChatClient:
    """Its representation hides the endpoint, which holds a key."""

    endpoint: Endpoint = field(repr=False)
    http: httpx.AsyncClient = field(repr=False)
    dialect: Dialect = field(default_factory=Dialect)

    async def complete(
        self, messages: Sequence[Message], spent: Spent, *, most_tokens: int, form: Mapping[str, Any] | None = None
    ) -> Completion:
        """Ask the model once. `form` is the `response_format` of the request.

        Raises PromptTooLong, FormRefused, JudgementUnavailable, JudgementRefused and JudgementUnfit.
        """
        body: dict[str, Any] = {"model": self.endpoint.model, "messages": list(messages)}
        body |= {} if form is None else {"response_format": form}
        began, result = time.monotonic(), "failed"
        try:
            async with asyncio.timeout(self.endpoint.timeout_seconds):
                status, headers, answer = await self._post(body, most_tokens, spent)
            completion = _read(status, headers, answer, tokens_of("".join(each["content"] for each in messages)))
            spent.tokens += completion.tokens
            metrics.analysis_tokens(completion.tokens)
            result = "answered"
        except TimeoutError:
            result = "timeout"
            raise JudgementUnavailable(
                f"The language model did not answer within {self.endpoint.timeout_seconds:g} s."
            ) from None
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            result = "unreachable"
            raise JudgementUnavailable(f"The language model cannot be reached: {type(error).__name__}.") from None
        else:
            return completion
        finally:
            metrics.analysis_requested(result, time.monotonic() - began)

    async def _post(self, body: Mapping[str, Any], most_tokens: int, spent: Spent) -> tuple[int, httpx.Headers, bytes]:
        while True:
            spent.requests += 1
            answer = await self._send({**body, **self.dialect.body(most_tokens)})
            if not self.dialect.learn(answer[0], answer[2]):
                return answer

    async def _send(self, body: Mapping[str, Any]) -> tuple[int, httpx.Headers, bytes]:
        endpoint = self.endpoint
        try:
            return await post(self.http, endpoint.chat_url, endpoint.key, MOST_ANSWER_BYTES, json=body)
        except AnswerTooLarge:
            raise JudgementUnfit(
                f"The server of the language model sent more than {MOST_ANSWER_BYTES} bytes."
            ) from None


@asynccontextmanager
async def open_chat(endpoint: Endpoint, connections: int) -> AsyncIterator[ChatClient]:
    """Gives a client with connections of its own, until the end of the block."""
    async with open_client(endpoint.timeout_seconds, connections) as http:
        yield ChatClient(endpoint, http)


def _read(status: int, headers: httpx.Headers, answer: bytes, prompt_tokens: int) -> Completion:
    if status != HTTPStatus.OK:
        raise _trouble(status, headers, answer)
    try:
        read = from_json(answer)
        choice = read["choices"][0]
        text, reason = choice["message"]["content"], choice.get("finish_reason")
    except (ValueError, LookupError, TypeError, AttributeError):
        raise JudgementUnavailable("The server of the language model sent something that is no completion.") from None
    if not isinstance(text, str):
        raise JudgementUnfit("The language model answered without a text.")
    usage = read.get("usage")
    tokens = usage.get("total_tokens") if isinstance(usage, dict) else None
    if not (isinstance(tokens, int) and 0 < tokens <= MOST_TOKENS):
        tokens = prompt_tokens + tokens_of(text)
    return Completion(text, reason == "length", tokens)


def _trouble(status: int, headers: httpx.Headers, answer: bytes) -> Exception:
    said = _said(answer)
    if status in (400, 413, 422, 500) and any(words in said for words in TOO_LONG_WORDS):
        return PromptTooLong()
    if status in FORM_STATUSES:
        return FormRefused(status)
    if status in BUSY_STATUSES or status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        return JudgementUnavailable(
            f"The server of the language model answered {status}.", retry_after=_retry_after(headers)
        )
    return refusal(status)


def _said(answer: bytes) -> str:
    return answer[:10_000].decode(errors="replace").lower()


def refusal(status: int) -> JudgementRefused:
    hints = {
        401: ": CALLSCRIBE_LLM_API_KEY is missing or wrong",
        403: ": the key may not use this model",
        404: ": CALLSCRIBE_LLM_URL or CALLSCRIBE_LLM_MODEL is wrong",
    }
    redirect = ": redirects are not followed" if 300 <= status < 400 else ""
    return JudgementRefused(f"The server of the language model answered {status}{hints.get(status, redirect)}.")


def _retry_after(headers: httpx.Headers) -> int | None:
    wait = asked_pause(headers, datetime.now(UTC))
    return math.ceil(wait.total_seconds()) or None
