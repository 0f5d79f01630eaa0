"""The fields of a request for a recording batch, and what a row of it asks for its recording."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Annotated, Any, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Discriminator, Field, Tag, model_validator

from app import wording
from app.deliveries.outputs import check_default
from app.errors import AppError, FieldError, InvalidRequest
from app.intake.ask import Ask, Remote
from app.intake.requests import CreateFromUrl, CreateTranscription, OutputRequest, json_object, validated
from app.intake.text_fields import field_of, values_of
from app.network.guard import MAX_URL_CHARACTERS
from app.recording_batches.key_patterns import MAX_CHARACTERS

BATCH_PRIORITY = 8  # behind the calls of the day, whose usual priority is 5
MOST_URLS = 10_000


def _given(values: object) -> object:
    """An empty value counts as not given, as in other requests."""
    if not isinstance(values, dict):
        return values
    return {name: value for name, value in values.items() if value not in (None, "")}


def _hide_output(schema: dict[str, Any]) -> None:
    schema.get("properties", {}).pop("output", None)


class BatchOptions(CreateTranscription):
    """The options of each transcription of a batch. The output stands beside them."""

    model_config = ConfigDict(json_schema_extra=_hide_output)


def _kind_of_source(value: object) -> str:
    return wording.ONE if isinstance(value, str) else wording.MANY


RecordingUrl = Annotated[str, Field(max_length=MAX_URL_CHARACTERS, pattern=wording.RECORDING_URL)]


class UrlList(BaseModel):
    """The URLs of the recordings."""

    model_config = ConfigDict(extra="forbid", strict=True)

    urls: list[RecordingUrl] = Field(
        min_length=1,
        max_length=MOST_URLS,
        description=f"URLs as in `POST /v1/transcriptions/from-url`, at most {MOST_URLS}. Send more as a manifest.",
    )


class BatchFields(BaseModel):
    """What is asked for all recordings of a batch. They have the same names in a form and in JSON."""

    model_config = ConfigDict(extra="forbid", strict=True)

    options: Annotated[BatchOptions, BeforeValidator(_given)] | None = Field(
        default=None,
        description="The options of each transcription, as in `POST /v1/transcriptions`. The `priority` is 8 unless "
        "you send another one, so that the batch waits behind the calls of the day.",
    )
    output: Annotated[OutputRequest, BeforeValidator(_given)] | None = Field(
        default=None, description="Where the service writes the transcripts, as in `POST /v1/transcriptions`."
    )
    name: str | None = Field(
        default=None, max_length=255, pattern=wording.NO_NUL, description="A name for people, for example `2019`."
    )

    @model_validator(mode="after")
    def _one_output(self) -> Self:
        if self.options is not None and self.options.output is not None:
            error = FieldError("options.output", "must be sent beside the options, as the field output")
            raise InvalidRequest("Some fields are not valid.", errors=(error,))
        return self

    def require_distinct_output(self) -> None:
        """Raises InvalidRequest if the recordings of the batch would write the same file."""
        try:
            if self.output is not None:
                check_default(self.output.url)
        except ValueError as error:
            errors = (FieldError("output.url", str(error)),)
            raise InvalidRequest("The transcripts of the batch would replace each other.", errors=errors) from None

    @property
    def asked(self) -> dict[str, Any]:
        """The fields that a request for one of the recordings would have, besides its URL."""
        asked = {} if self.options is None else self.options.model_dump(mode="json", exclude_unset=True)
        if self.output is not None:
            asked["output"] = self.output.model_dump(mode="json", exclude_unset=True)
        return asked

    @classmethod
    def has_field(cls, name: str) -> bool:
        """Whether a text with this name belongs to a field."""
        return field_of(name) in cls.model_fields

    @classmethod
    def from_texts(cls, fields: Sequence[tuple[str, str]]) -> Self:
        """Reads the fields of a form. Raises InvalidRequest."""
        return validated(cls, values_of(cls, fields))


class CreateBatch(BatchFields):
    """Recordings that the service fetches and transcribes behind the calls of the day."""

    source: Annotated[
        Annotated[str, Field(max_length=MAX_CHARACTERS), Tag(wording.ONE)] | Annotated[UrlList, Tag(wording.MANY)],
        Discriminator(_kind_of_source),
    ] = Field(
        description="`s3://bucket/pattern` for all objects whose keys match, for example `s3://calls/2019/**/*.wav`, "
        'or `{"urls": […]}`. In a pattern, `*` and `?` stand for text and for one character without a slash, `**` for '
        "any text, and `**/` for any number of folders.",
    )

    @classmethod
    def from_json(cls, body: bytes) -> Self:
        """Reads a JSON object. Raises InvalidRequest if it or a field is not valid."""
        values = json_object(body, "body")
        return validated(cls, {name: value for name, value in values.items() if value not in (None, "")})


def asked_of(asked: Mapping[str, Any], url: str, fields: Mapping[str, Any]) -> tuple[Remote, Ask]:
    """What is asked for one recording. The `fields` of its row count instead of those that are asked for all.

    Raises InvalidRequest.
    """
    common = asked
    if "language" in fields or "languages" in fields:
        common = {name: value for name, value in asked.items() if name not in ("language", "languages")}
    request = validated(CreateFromUrl, {**common, **fields, "url": url})
    return request.recording(), replace(request.ask(), default_priority=BATCH_PRIORITY)


def asked_or_error(asked: Mapping[str, Any], url: str, fields: Mapping[str, Any]) -> tuple[Remote, Ask] | AppError:
    try:
        return asked_of(asked, url, fields)
    except AppError as error:
        return error


def fingerprint_of(request: BatchFields, manifest_sha256: str | None = None) -> str:
    """A hash by which a repeated request is compared with the first one."""
    content = {"request": request.model_dump(mode="json", exclude_unset=True), "manifest": manifest_sha256}
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def of_row(number: int, error: AppError, *, is_manifest: bool) -> list[FieldError]:
    """The errors of a row, each with its place. Rows of a manifest count from 1, without the header.

    The URLs of a list have their places in the JSON, which count from 0.
    """
    place = f"row {number}" if is_manifest else f"source.urls.{number - 1}"
    if not error.errors:
        return [FieldError(place, error.detail)]
    return [
        FieldError(place if each.field == "url" and not is_manifest else f"{place}: {each.field}", each.detail)
        for each in error.errors
    ]


def of_all(asked: Mapping[str, Any], fields: Mapping[str, Any], error: AppError) -> AppError | None:
    """The part of a row's error that is about what is asked for all rows, with the names of the request's fields."""
    errors = []
    for each in error.errors:
        name = each.field.partition(".")[0]
        if name in asked and name not in fields:
            errors.append(each if name == "output" else FieldError(f"options.{each.field}", each.detail))
    return type(error)(error.detail, errors=tuple(errors)) if errors else None
