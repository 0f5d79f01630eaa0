"""Sends one window to an OpenAI-compatible transcription endpoint, and says what came back.

Texts of the server never become part of an error, because they may repeat what was said, or the key.
"""

import asyncio
import io
import json
import ssl
import wave
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import lru_cache
from http import HTTPStatus
from typing import Any

import httpx
import numpy as np

from app.audio.known_speech import known_speech
from app.audio.pcm import SAMPLE_RATE
from app.network.operators_server import BUSY_STATUSES, CONNECT_SECONDS, AnswerTooLarge, open_client, post
from app.network.retry_after import asked_pause
from app.speech.endpoints import ONE_WINDOW, Endpoint
from app.speech.language_tags import code_of
from app.speech.model import Samples, TextRequest, Written
from app.speech.readable import readable

TRIAL_SECONDS = 3.0
MOST_ANSWER_BYTES = 1_000_000
ROUTE = "/audio/transcriptions"
SECOND_ATTEMPT_TEMPERATURE = "0.4"
OPERATORS_STATUSES: Mapping[int, str] = {
    401: "its key in CALLSCRIBE_REMOTE_KEYS is missing or wrong",
    403: "the key may not use this model",
    404: "the URL or the model in CALLSCRIBE_MODEL is wrong",
    405: "the URL in CALLSCRIBE_MODEL is wrong",
}
REFUSING_STATUSES = frozenset({400, 413, 415, 422})


class Failing(Exception):
    """The server did not answer as it should. That may pass. The message says why, on one line."""

    def __init__(self, reason: str, *, is_timeout: bool = False) -> None:
        super().__init__(reason)
        self.is_timeout = is_timeout


class Busy(Exception):
    """The server asks to send less. `seconds` is how long to wait, if it said so."""

    def __init__(self, status: int, seconds: float | None) -> None:
        super().__init__(f"it answered {status}: it gets too many requests")
        self.seconds = seconds


class Misused(Exception):
    """The server refuses all requests of this service until the operator changes something."""


class Refused(Exception):
    """The server refuses this request. It may take another one."""

    def __init__(self, status: int, seconds: float) -> None:
        super().__init__(f"it answered {status} to {seconds:.1f} s of speech")


class RemoteClient:
    """A client with connections of its own. Use it on one event loop only."""

    def __init__(self, endpoint: Endpoint) -> None:
        self._endpoint = endpoint
        self._url = endpoint.url.removesuffix(ROUTE) + ROUTE
        connections = endpoint.concurrency + 1  # one for trials
        self._http = open_client(endpoint.timeout_seconds, connections)

    async def close(self) -> None:
        await self._http.aclose()

    async def transcribe(self, request: TextRequest, samples: Samples) -> Written:
        """Raises Failing, Busy, Misused and Refused."""
        seconds = self._endpoint.timeout_seconds
        try:
            async with asyncio.timeout(seconds):
                status, headers, answer = await self._post(_fields(self._endpoint.model, request), wav(samples))
        except httpx.ConnectTimeout:
            raise Failing(f"it cannot be reached: no connection within {CONNECT_SECONDS:g} s") from None
        except (TimeoutError, httpx.TimeoutException):
            raise Failing(f"it did not answer within {seconds:g} s", is_timeout=True) from None
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise Failing(f"it cannot be reached: {_why(error)}") from None
        except AnswerTooLarge:
            raise Failing(f"it sent more than {MOST_ANSWER_BYTES} bytes") from None
        if status in REFUSING_STATUSES:
            raise Refused(status, len(samples) / SAMPLE_RATE)
        if not 200 <= status < 300:
            raise _trouble(status, headers, self._url)
        return _written(answer)

    async def try_out(self, seconds: float) -> None:
        """Sends speech that is known to be good. Raises the same errors, and Failing if no text comes back."""
        speech = _speech(seconds)
        try:
            written = await self.transcribe(TextRequest("en"), speech)
        except Refused:  # it may not know the language
            written = await self.transcribe(TextRequest(""), speech)
        if not written.text:
            raise Failing("it wrote nothing for speech that is known to be good")

    async def _post(self, fields: Mapping[str, str], sound: bytes) -> tuple[int, httpx.Headers, bytes]:
        headers, files = {ONE_WINDOW: "true"}, {"file": ("window.wav", sound, "audio/wav")}
        key = self._endpoint.key
        return await post(self._http, self._url, key, MOST_ANSWER_BYTES, headers, data=fields, files=files)


async def trial(endpoint: Endpoint) -> str | None:
    """Sends a window of speech that is known to be good. Returns why the server cannot be used, or None."""
    client = RemoteClient(endpoint)
    try:
        await client.try_out(TRIAL_SECONDS)
    except (Failing, Busy, Misused, Refused) as error:
        return str(error)
    finally:
        await client.close()
    return None


@lru_cache(maxsize=4)
def _speech(seconds: float) -> Samples:
    return known_speech(seconds)


def wav(samples: Samples) -> bytes:
    """A WAV file of 16 bits, which are those of the decoded recording. `samples` are floats, 16 kHz, one channel."""
    file = io.BytesIO()
    with wave.open(file, "wb") as writer:
        writer.setnchannels(1)
        writer.setsampwidth(2)
        writer.setframerate(SAMPLE_RATE)
        writer.writeframes(np.rint(samples * 32768).clip(-32768, 32767).astype("<i2").tobytes())
    return file.getvalue()


def _fields(model: str, request: TextRequest) -> dict[str, str]:
    """Only fields that every server knows. So the hotwords are a part of the prompt."""
    prompt = ". ".join(filter(None, (", ".join(request.hotwords), request.prompt)))
    fields = {
        "model": model,
        "language": request.language,
        "response_format": "json",
        "prompt": prompt,
        "temperature": SECOND_ATTEMPT_TEMPERATURE if request.attempt else "0",
    }
    return {name: value for name, value in fields.items() if value}


def _why(error: Exception) -> str:
    """What a library says of a broken answer repeats a part of it, so only its kind is shown."""
    if isinstance(error, httpx.ProtocolError | httpx.DecodingError):
        return "it does not keep to HTTP"
    if isinstance(error, httpx.WriteError | httpx.ReadError):
        return "it broke the connection off, as a proxy does if a request is too large for it"
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, ssl.SSLError):
            return f"TLS: {cause.reason or type(cause).__name__}"
        cause = cause.__cause__ or cause.__context__
    return " ".join(str(error).split())[:200] or type(error).__name__


def _trouble(status: int, headers: httpx.Headers, url: str) -> Exception:
    wait = asked_pause(headers, datetime.now(UTC)).total_seconds() or None
    if status in BUSY_STATUSES or (status == HTTPStatus.SERVICE_UNAVAILABLE and wait):
        return Busy(status, wait)
    if status in OPERATORS_STATUSES:
        return Misused(f"{url} answered {status}: {OPERATORS_STATUSES[status]}")
    if 300 <= status < 400:
        return Misused(f"{url} answered {status}: redirects are not followed, so CALLSCRIBE_MODEL needs the final URL")
    return Failing(f"it answered {status}")


def _written(answer: bytes) -> Written:
    try:
        read = json.loads(answer)  # it takes halves of characters, which some servers write at the end of a text
        text = read["text"]
    except (ValueError, LookupError, TypeError, RecursionError):
        text = read = None
    if not isinstance(text, str):
        raise Failing("it sent something that is no transcription")
    return Written(readable(text), _language(read))


def _language(read: Mapping[str, Any]) -> str:
    """The language that the server names, in either of two members. Empty if it names none that is known."""
    named = read.get("language")
    if not named and isinstance(several := read.get("languages"), list) and len(several) == 1:
        named = several[0].get("code") if isinstance(several[0], dict) else several[0]
    try:
        return code_of(named) if isinstance(named, str) and named else ""
    except ValueError:
        return ""
