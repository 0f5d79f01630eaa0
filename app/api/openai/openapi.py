"""The forms and answers of the OpenAI-shaped routes, in the OpenAPI document.

They are written here because these routes read their forms while they arrive, so FastAPI does not see them.
"""

from typing import Any

from app.api.openai import examples, schemas, shapes
from app.api.openai.answers import ResponseFormat
from app.api.openai.errors import MEDIA_TYPE, failure_of, failure_of_job
from app.api.openai.fields import GRANULARITIES, OWN
from app.api.openapi_requests import form_fields
from app.api.problems import COMMON_ERRORS, ERROR_SCHEMA, UPLOAD_ERRORS, openai_responses
from app.errors import (
    BadRequest,
    FieldError,
    GpuOutOfMemory,
    InternalError,
    InvalidRequest,
    ModelNotFound,
    NotFound,
    TranscriptionFailed,
    WorkerCrashed,
)
from app.intake.requests import CreateTranscription
from app.jobs.lifecycle import Status
from app.wording import OF_ERRORS

_JOB_ID = {
    "X-Callscribe-Id": {
        "description": "The id of the transcription, if there is one. Its dialogue, warnings and webhooks are at "
        "`/v1/transcriptions/{id}`.",
        "schema": {"type": "string", "format": "uuid"},
    }
}
_REFUSED_FIELDS = (FieldError("language", "is not a language"), FieldError("file", OF_ERRORS["missing"]))


def _errors() -> dict[int | str, dict[str, Any]]:
    job_errors = (TranscriptionFailed, WorkerCrashed, GpuOutOfMemory)
    responses = openai_responses(
        *COMMON_ERRORS,
        BadRequest,
        ModelNotFound,
        NotFound,
        *UPLOAD_ERRORS,
        InternalError,
        more=[
            *(failure_of(InvalidRequest("Some fields are not valid.", errors=(field,))) for field in _REFUSED_FIELDS),
            failure_of_job(Status.CANCELLED, None, None),
            *(failure_of_job(Status.FAILED, error.code, f"{error.title}.") for error in job_errors),
        ],
    )
    for status in (400, 409, 500, 503):  # a job may end so
        responses[status]["headers"] = {**_JOB_ID, **responses[status].get("headers", {})}
    return responses


_ERRORS = _errors()
TRANSCRIBED: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "The text. `response_format` decides its form. With `stream=true` it comes in events: each is "
        "`data: `, an `OpenAIEvent` as JSON, and an empty line. A text line that begins with `:` only "
        "keeps the connection open.",
        "headers": _JOB_ID,
        "content": {
            "application/json": {
                "schema": schemas.TRANSCRIPTION,
                "examples": examples.bodies(
                    ResponseFormat.JSON, ResponseFormat.VERBOSE_JSON, ResponseFormat.DIARIZED_JSON
                ),
            },
            "text/plain": {
                "schema": {"type": "string"},
                "examples": {
                    form.value: {"value": examples.body(form)} for form in (ResponseFormat.TEXT, ResponseFormat.SRT)
                },
            },
            "text/vtt": {"schema": {"type": "string"}, "example": examples.body(ResponseFormat.VTT)},
            "text/event-stream": {"schema": {"type": "string"}, "examples": examples.streams()},
        },
    },
    **_ERRORS,
}
TEXT_ONLY: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "The text.",
        "headers": _JOB_ID,
        "content": {"application/json": {"schema": schemas.of(shapes.OnlyText), "example": examples.text_alone()}},
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


_OWN = [name for name in CreateTranscription.model_fields if name in OWN]
_OURS = form_fields(["language", "languages", "channels", "channel_labels", "hotwords", *_OWN])
"""The fields of `POST /v1/transcriptions` that mean the same here."""


def _ours(name: str, more: str) -> dict[str, Any]:
    return {**_OURS[name], "description": f"{_OURS[name]['description']} {more}"}


def _only_ours(name: str, more: str = "") -> dict[str, Any]:
    return _ours(name, f"This field is not OpenAI's. {more}".strip())


_OPENAIS = {
    "model": _text(
        "A name from `GET /v1/models`. OpenAI's names, such as `whisper-1`, mean the default model. If you leave the "
        "field out, the service uses the default model."
    ),
    "language": _ours("language", "The default is `auto`."),
    "languages": _OURS["languages"],
    "prompt": _text("A text with names and terms that the model should expect. Only its last 2000 characters count."),
    "keywords": _OURS["hotwords"],
    "temperature": {
        "type": "number",
        "minimum": 0,
        "maximum": 1,
        "description": "It has no effect, because the service chooses the temperature itself.",
        "examples": [""],
    },
    "known_speaker_names": _OURS["channel_labels"]
    | {
        "description": "The names of the speakers in the order of the channels. The service then transcribes each "
        "channel by itself."
    },
}
_SHAPING = {
    "response_format": {
        "type": "string",
        "enum": list(ResponseFormat),
        "description": "The form of the answer. The default is `json`. `diarized_json` names the speakers. It needs a "
        "recording with a channel for each speaker.",
        "examples": ["json"],
    },
    "timestamp_granularities": {
        "type": "array",
        "items": {"type": "string", "enum": list(GRANULARITIES)},
        "description": "`word` adds the words and their times to `verbose_json`. Without `segment` beside it, the "
        "segments are left out. The default is `segment`.",
        "examples": [[]],
    },
    "stream": {
        "type": "boolean",
        "description": "If true, the text comes in events while the job runs. Of the values of `response_format`, only "
        "`diarized_json` changes the events.",
        "examples": [False],
    },
}
"""The fields that decide the form of the answer. `/v1/transcribe` does not read them."""

_EXTRA = {
    "channels": _only_ours(
        "channels", "The default is `split` for `diarized_json` and with names of speakers, and otherwise `mix`."
    ),
    "channel_labels": _only_ours("channel_labels", "It does the same as `known_speaker_names`."),
    "hotwords": _only_ours("hotwords", "They are added to `keywords`."),
    **{name: _only_ours(name) for name in _OWN},
    "priority": _only_ours("priority", "The default is `3`."),
}
"""The fields that OpenAI's form does not have."""

_LISTS = "A list is sent as a repeated field, whose name may end in `[]`, or as JSON text in one field."


def _form(properties: dict[str, Any], file: str = "file") -> dict[str, Any]:
    lists = [name for name, field in properties.items() if field.get("type") == "array"]
    schema = {
        "type": "object",
        "description": f"A form with the recording in the part `{file}`. {_LISTS} Fields with other names are ignored.",
        "properties": {file: _FILE, **properties},
        "required": [file],
    }
    encoding = {name: {"style": "form", "explode": True} for name in lists}
    content = {"schema": schema, "encoding": encoding}
    return {"requestBody": {"required": True, "content": {"multipart/form-data": content}}}


TRANSCRIBE = _form({**_OPENAIS, **_SHAPING, **_EXTRA})
TRANSCRIBE_AUDIO = _form({**_OPENAIS, **_EXTRA}, "audio")


def with_nulls(operation: dict[str, Any]) -> None:
    """Writes `"param": null` into the examples of errors again, because FastAPI drops nulls in them."""
    for response in operation["responses"].values():
        content = response.get("content", {}).get(MEDIA_TYPE, {})
        if content.get("schema") == ERROR_SCHEMA:
            for example in content["examples"].values():
                example["value"]["error"].setdefault("param", None)
