"""The forms and answers of the OpenAI-shaped routes, in the OpenAPI document.

They are written by hand because these routes read their forms while they arrive, so FastAPI does not see them.
"""

from typing import Any

from app.api.openai.answers import ResponseFormat
from app.api.openai.errors import MEDIA_TYPE
from app.api.problems import COMMON_ERRORS, ERROR_SCHEMA, openai_responses
from app.errors import (
    BadMedia,
    InsufficientStorage,
    ModelNotFound,
    NoAudio,
    NotFound,
    QueueFull,
    RequestTimeout,
    ShuttingDown,
    TooLarge,
    TooLong,
    UnsupportedMedia,
)

TEXT_EXAMPLE = "Thank you for calling. How can I help you?"
_JSON_EXAMPLES: dict[str, Any] = {
    "json": {
        "text": TEXT_EXAMPLE,
        "usage": {"type": "duration", "seconds": 8},
        "languages": [{"code": "en"}],
        "segments": [
            {
                "id": 0,
                "seek": 20,
                "start": 0.2,
                "end": 2.9,
                "text": f" {TEXT_EXAMPLE}",
                "tokens": [],
                "temperature": 0.0,
                "avg_logprob": -0.21,
                "compression_ratio": 1.05,
                "no_speech_prob": 0.01,
            }
        ],
    },
    "verbose_json": {
        "task": "transcribe",
        "language": "english",
        "duration": 7.1,
        "text": TEXT_EXAMPLE,
        "segments": [
            {
                "id": 0,
                "seek": 20,
                "start": 0.2,
                "end": 2.9,
                "text": f" {TEXT_EXAMPLE}",
                "tokens": [],
                "temperature": 0.0,
                "avg_logprob": -0.1834,
                "compression_ratio": 0.97,
                "no_speech_prob": 0.0112,
            }
        ],
        "usage": {"type": "duration", "seconds": 8},
    },
    "diarized_json": {
        "task": "transcribe",
        "duration": 7.1,
        "text": f"A: {TEXT_EXAMPLE}",
        "segments": [
            {
                "type": "transcript.text.segment",
                "id": "seg_001",
                "start": 0.2,
                "end": 2.9,
                "text": TEXT_EXAMPLE,
                "speaker": "A",
            }
        ],
        "usage": {"type": "duration", "seconds": 8},
    },
}
_EVENTS_EXAMPLE = f'''data: {{"type": "transcript.text.delta", "delta": "{TEXT_EXAMPLE}"}}

data: {{"type": "transcript.text.done", "text": "{TEXT_EXAMPLE}", "usage": {{"type": "duration", "seconds": 8}}}}

'''
_ERRORS = openai_responses(
    *COMMON_ERRORS,
    ModelNotFound,
    NotFound,
    RequestTimeout,
    TooLarge,
    UnsupportedMedia,
    NoAudio,
    BadMedia,
    TooLong,
    QueueFull,
    InsufficientStorage,
    ShuttingDown,
)
_JOB_ID = {
    "X-Callscribe-Id": {
        "description": "The id of the transcription. Its dialogue, warnings and webhooks are at "
        "`/v1/transcriptions/{id}`.",
        "schema": {"type": "string", "format": "uuid"},
    }
}
TRANSCRIBED: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "The text. `response_format` decides its form. With `stream=true` it comes in events.",
        "headers": _JOB_ID,
        "content": {
            "application/json": {
                "schema": {"type": "object", "properties": {"text": {"type": "string"}}, "required": ["text"]},
                "examples": {name: {"value": value} for name, value in _JSON_EXAMPLES.items()},
            },
            "text/plain": {"schema": {"type": "string"}, "example": f"{TEXT_EXAMPLE}\n"},
            "text/vtt": {
                "schema": {"type": "string"},
                "example": f"WEBVTT\n\n00:00.200 --> 00:02.900\n{TEXT_EXAMPLE}\n",
            },
            "text/event-stream": {"schema": {"type": "string"}, "example": _EVENTS_EXAMPLE},
        },
    },
    **_ERRORS,
}
TEXT_ONLY: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "The text.",
        "headers": _JOB_ID,
        "content": {
            "application/json": {
                "schema": {"type": "object", "properties": {"text": {"type": "string"}}, "required": ["text"]},
                "example": {"text": TEXT_EXAMPLE},
            }
        },
    },
    **_ERRORS,
}

_FILE = {
    "type": "string",
    "format": "binary",
    "contentMediaType": "application/octet-stream",
    "description": "The recording.",
}


def _text(description: str) -> dict[str, Any]:
    return {"type": "string", "description": description, "examples": [""]}


def _texts(description: str) -> dict[str, Any]:
    return {
        "type": "array",
        "items": {"type": "string", "examples": [""]},
        "description": f"{description} The name may end in `[]`, and the list may be JSON text.",
        "examples": [[]],
    }


_MODEL = _text(
    "A name from `GET /v1/models`. OpenAI's names, such as `whisper-1`, mean the default model. If you leave the field "
    "out, the service uses the default model."
)
_LANGUAGE = _text("The language of the recording, such as `en`. `auto` and an empty field mean that it is detected.")
_SHARED = {
    "model": _MODEL,
    "prompt": _text("A text with names and terms that the model should expect. Only its last 2000 characters count."),
    "keywords": _texts("Words that the model should expect."),
    "response_format": {
        "type": "string",
        "enum": list(ResponseFormat),
        "description": "The form of the answer. The default is `json`. `diarized_json` names the speakers. It needs a "
        "recording with a channel for each speaker.",
        "examples": ["json"],
    },
    "temperature": _text("A number from 0 to 1. It has no effect, because the service chooses the temperature itself."),
    "timestamp_granularities": _texts("`word`, `segment` or both, for `verbose_json`. The default is `segment`."),
    "stream": {
        "type": "boolean",
        "description": "If true, the text comes in events while the job runs.",
        "examples": [False],
    },
    "known_speaker_names": _texts(
        "The names of the speakers in the order of the channels. The service then transcribes each channel by itself."
    ),
    "channels": {
        "type": "string",
        "enum": ["mix", "split"],
        "description": "This field is not OpenAI's. It means the same as for `POST /v1/transcriptions`.",
        "examples": ["mix"],
    },
}


def _form(properties: dict[str, Any], file: str = "file") -> dict[str, Any]:
    lists = [name for name, field in properties.items() if field.get("type") == "array"]
    schema = {"type": "object", "properties": {file: _FILE, **properties}, "required": [file]}
    encoding = {name: {"style": "form", "explode": True} for name in lists}
    content = {"schema": schema, **({"encoding": encoding} if encoding else {})}
    return {"requestBody": {"required": True, "content": {"multipart/form-data": content}}}


TRANSCRIBE = _form(
    {
        **_SHARED,
        "language": _LANGUAGE,
        "languages": _texts("The languages among which the language of the recording is detected."),
    }
)
TRANSLATE = _form(_SHARED)
TRANSCRIBE_AUDIO = _form({"model": _MODEL, "language": _LANGUAGE}, "audio")


def with_nulls(operation: dict[str, Any]) -> None:
    """Writes `"param": null` into the examples of errors again, because FastAPI drops nulls in them."""
    for response in operation["responses"].values():
        content = response.get("content", {}).get(MEDIA_TYPE, {})
        if content.get("schema") == ERROR_SCHEMA:
            for example in content["examples"].values():
                example["value"]["error"].setdefault("param", None)
