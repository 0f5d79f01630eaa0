"""The bodies of the two routes that create transcriptions, in the OpenAPI document.

They are written by hand because these routes read their bodies while they arrive, so FastAPI does not see them. The
schemas must work in Swagger UI, which fills a form with examples, and in the clients that people generate.
"""

from collections.abc import Iterable, Iterator
from typing import Any

from pydantic import BaseModel

from app.intake.requests import CreateFromUrl, CreateTranscription

REF_TEMPLATE = "#/components/schemas/{model}"

OPTIONS_EXAMPLE: dict[str, Any] = {
    "channels": "split",
    "channel_labels": ["agent", "customer"],
    "language": "auto",
    "external_id": "crm-48151",
}


def curl(*lines: str) -> dict[str, str]:
    return {"lang": "Shell", "label": "curl", "source": " \\\n  ".join(lines)}


def _upload_schema() -> dict[str, Any]:
    schema = request_schema(CreateTranscription)
    return {
        **schema,
        "title": "CreateFromFile",
        "description": "A form with the recording in the part `file`, and with each option in a part of its own.",
        "properties": {
            "file": {
                "type": "string",
                "format": "binary",
                "contentMediaType": "application/octet-stream",
                "description": (
                    "The recording. It is an audio or video file in a common format, such as WAV, MP3, M4A, Ogg, FLAC, "
                    "AMR or WebM."
                ),
            },
            **{name: _form_field(field) for name, field in schema["properties"].items()},
        },
        "required": ["file"],
    }


def request_schema(model: type[BaseModel]) -> dict[str, Any]:
    """Returns the schema of a request for programs that generate clients of it.

    No field has a `default`, because some clients send defaults that the user did not set, and others demand these
    fields. If a field is missing, the service's own default applies, which may differ between API keys.
    """
    schema = model.model_json_schema(ref_template=REF_TEMPLATE)
    schema.pop("$defs", None)
    fields = {name: _one_or_many_as_list(_without_default(field)) for name, field in schema["properties"].items()}
    return {**schema, "properties": fields}


def form_fields(names: Iterable[str]) -> dict[str, Any]:
    """Returns the schemas of some fields for another form. They name no defaults, because those may differ there."""
    fields = CreateTranscription.model_json_schema(ref_template=REF_TEMPLATE)["properties"]
    kept = {name: {key: value for key, value in fields[name].items() if key != "default"} for name in names}
    return {name: _form_field(_one_or_many_as_list(field)) for name, field in kept.items()}


def _without_default(field: dict[str, Any]) -> dict[str, Any]:
    kept = {key: value for key, value in field.items() if key != "default"}
    if field.get("default") is None:
        return kept
    return {**kept, "description": f"{field['description']} The default is `{str(field['default']).lower()}`."}


def _one_or_many_as_list(field: dict[str, Any]) -> dict[str, Any]:
    """Returns the field as a list if it takes a value or a list of such values. Generated Java knows no such choice."""
    kinds = _kinds(field)
    if len(kinds) == 1:
        return field
    [many] = [kind for kind in kinds if kind["type"] == "array"]
    description = f"{field['description']} A single value may stand without a list."
    return {**field, "anyOf": [many, {"type": "null"}], "description": description}


def _kinds(field: dict[str, Any]) -> list[dict[str, Any]]:
    """Returns the schemas of the values that a field takes, except null."""
    choices = field.get("anyOf") or field.get("oneOf")
    if choices is None:
        return [] if field == {"type": "null"} else [field]
    return [kind for choice in choices for kind in _kinds(choice)]


def _form_field(field: dict[str, Any]) -> dict[str, Any]:
    """Returns the schema of a field in a form.

    A form cannot hold null, so clients leave the field out. An object is JSON text, because generated clients write
    objects in different ways, and some of them not as JSON. The empty example keeps Swagger UI from filling the field
    with an invented value.
    """
    [kind] = _kinds(field)
    if kind.get("type", "object") == "object":  # one with fields of its own is a reference
        text = {"type": "string", "examples": [""]}
        return {**text, "description": f"{field['description']} In a form, it is JSON text."}
    if kind["type"] == "array":
        items = {key: value for key, value in kind["items"].items() if key != "format"}
        kind = {**kind, "items": {**items, "examples": [""]}}
    return {**kind, "description": field["description"], "examples": [[] if kind["type"] == "array" else ""]}


def _list_fields(form: dict[str, Any]) -> Iterator[str]:
    return (name for name, field in form["properties"].items() if field.get("type") == "array")


CREATE_FROM_FILE = _upload_schema()
SCHEMAS = {"CreateFromFile": CREATE_FROM_FILE, "CreateFromUrl": request_schema(CreateFromUrl)}
CREATE: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {
            "multipart/form-data": {
                "schema": {"$ref": REF_TEMPLATE.format(model="CreateFromFile")},
                "encoding": {name: {"style": "form", "explode": True} for name in _list_fields(CREATE_FROM_FILE)},
            },
        },
    },
    "x-codeSamples": [
        curl(
            "curl http://127.0.0.1:8000/v1/transcriptions",
            "-H 'Authorization: Bearer '$KEY",
            "-F file=@call.wav",
            "-F channels=split -F channel_labels=agent -F channel_labels=customer",
        ),
    ],
}
CREATE_FROM_URL: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {
            "application/json": {
                "schema": {"$ref": REF_TEMPLATE.format(model="CreateFromUrl")},
                "example": {"url": "https://recordings.example.com/48151.wav", **OPTIONS_EXAMPLE},
            },
        },
    },
    "x-codeSamples": [
        curl(
            "curl http://127.0.0.1:8000/v1/transcriptions/from-url",
            "-H 'Authorization: Bearer '$KEY -H 'Content-Type: application/json'",
            """-d '{"url": "https://recordings.example.com/48151.wav", "channels": "split"}'""",
        ),
    ],
}
