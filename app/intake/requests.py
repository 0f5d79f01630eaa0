"""The fields of a request, as texts or in JSON. Pydantic checks them, and `ask` turns them into an `Ask`.

Forms, JSON bodies, messages and the options of a folder all have these fields.

To add an option, add a field here and a field of the same name in `Options`. The rest of the API is derived from these.
"""

from codecs import BOM_UTF8
from collections.abc import Sequence
from dataclasses import fields
from typing import Annotated, Any, Self, TypeVar

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Discriminator,
    Field,
    JsonValue,
    Tag,
    TypeAdapter,
    ValidationError,
    model_validator,
)
from pydantic_core import from_json

from app import wording
from app.audio.raw import HIGHEST_RATE, LOWEST_RATE, rate_trouble
from app.deliveries.outputs import Output, check_output
from app.deliveries.receivers import MAX_CHARACTERS, MAX_RECEIVERS, as_list, check_callback, check_url
from app.errors import FieldError, InvalidRequest, field_errors
from app.intake.ask import DEFAULT_MODEL, DEFAULT_PRIORITY, Ask, Remote
from app.intake.metadata import checked_metadata
from app.intake.text_fields import BOOLEANS, field_of, values_of
from app.network.guard import MAX_URL_CHARACTERS
from app.speech.language_tags import AUTO, candidate_of, code_of
from app.transcripts.entities import Entity
from app.transcripts.formats import Format
from app.transcripts.transcript import Channels, Encoding, Options, Task

MOST_CHANNELS = 8
MOST_SPEAKERS = 8
MAX_PROMPT_CHARACTERS = 2000
OPTION_FIELDS = frozenset(field.name for field in fields(Options))
_OPTIONS = TypeAdapter(Options)

Model = TypeVar("Model", bound=BaseModel)
Each = TypeVar("Each", bound=str)


def _each_once(values: list[Each]) -> list[Each]:
    return list(dict.fromkeys(values))


def _distinct(labels: list[str]) -> list[str]:
    if len(set(labels)) < len(labels):
        raise ValueError("must differ from one another, because a dialogue names its speakers by them")
    usual = {f"channel_{number}": number for number in range(MOST_CHANNELS)}
    if any(usual.get(label, number) != number for number, label in enumerate(labels)):
        raise ValueError("must not give a channel the name that another one has without a label")
    return labels


def _all_entities(value: object) -> object:
    """`true` stands for all entities, also as the only item of a list, as a form sends it."""
    if isinstance(value, list) and len(value) == 1 and isinstance(value[0], str):
        value = BOOLEANS.get(value[0].strip().lower(), value)
    if not isinstance(value, bool | list):
        raise ValueError("must be true, false or a list of names")  # noqa: TRY004  pydantic shows it
    return [*Entity] * value if isinstance(value, bool) else value


def _one_or_many(value: object) -> str:
    return wording.MANY if isinstance(value, list) else wording.ONE


Label = Annotated[str, Field(min_length=1, max_length=40, pattern=wording.NO_NUL)]  # a row of a subtitle has 42 columns
WebUrl = Annotated[
    str,
    Field(max_length=MAX_CHARACTERS, json_schema_extra={"format": "uri", "examples": ["https://crm.example/calls"]}),
    AfterValidator(check_url),
]
CallbackUrl = Annotated[
    str,
    Field(max_length=MAX_CHARACTERS, json_schema_extra={"examples": ["https://crm.example/done?fileName={file_name}"]}),
    AfterValidator(check_url),
    AfterValidator(check_callback),
]
WebUrls = Annotated[
    Annotated[WebUrl, Tag(wording.ONE)] | Annotated[list[WebUrl], Field(max_length=MAX_RECEIVERS), Tag(wording.MANY)],
    Discriminator(_one_or_many),
]
CallbackUrls = Annotated[
    Annotated[CallbackUrl, Tag(wording.ONE)]
    | Annotated[list[CallbackUrl], Field(max_length=MAX_RECEIVERS), Tag(wording.MANY)],
    Discriminator(_one_or_many),
]
OutputFormat = Annotated[Format, Field(strict=False)]  # from text, as JSON and forms have it
Candidate = Annotated[str, Field(max_length=64), AfterValidator(candidate_of)]
RedactedTerm = Annotated[str, Field(min_length=2, max_length=100, pattern=wording.NO_NUL)]
Redacted = Annotated[Entity, Field(strict=False)]
Hotword = Annotated[str, Field(min_length=1, max_length=100, pattern=wording.NO_NUL)]


class OutputRequest(BaseModel):
    """Where the service writes the transcript, and in which formats."""

    model_config = ConfigDict(extra="forbid", strict=True)

    url: Annotated[str, AfterValidator(check_output)] = Field(
        max_length=MAX_CHARACTERS,
        examples=["s3://results/{date}/{file_stem}"],
        description="`s3://bucket/key` without the ending, which the service adds, such as `.json`. The operator "
        "decides which buckets are allowed. The service replaces `{id}`, `{external_id}`, `{file_name}`, "
        "`{file_stem}` (the name without its ending) and `{date}` (of the request, in UTC) by their values.",
    )
    formats: Annotated[list[OutputFormat], AfterValidator(_each_once)] = Field(
        default_factory=list,
        max_length=len(Format),
        description="The formats of the transcript. If you leave the list out, the operator's formats apply, which are "
        "`json` unless a setting says otherwise.",
    )

    @property
    def output(self) -> Output:
        return Output(self.url, tuple(self.formats))


class CreateTranscription(BaseModel):
    """The options of a transcription. They have the same names in a form and in JSON."""

    model_config = ConfigDict(extra="forbid", strict=True)

    language: Annotated[str, AfterValidator(code_of)] = Field(
        default=AUTO,
        max_length=64,
        description="The language of the call as an ISO 639-1 code such as `en`, or `auto` if the service should "
        "detect it. The service also takes tags such as `en-US`, of which only the first part counts, codes of three "
        "letters such as `eng`, and English names such as `English`.",
    )
    languages: Annotated[list[Candidate], AfterValidator(_each_once)] = Field(
        default_factory=list,
        max_length=100,
        description="The languages that the call may be in, written as in `language`. The service then detects the "
        "language among these only. A call that changes its language may be in several of them. Send either `language` "
        "or `languages`.",
    )
    task: Task = Field(
        default="transcribe",
        description="`transcribe` gives the words in the language of the call. `translate` gives them in English.",
    )
    model: str | None = Field(
        default=None,
        max_length=255,
        description="The name of a model from `GET /v1/models`, or one of its aliases. If you leave the field out, the "
        "service uses the first model.",
    )
    channels: Channels = Field(
        default="mix",
        description="With `split`, the service transcribes each channel by itself and merges the results into a "
        "dialogue. With `mix`, it first mixes all channels into one track, and does not know who speaks.",
    )
    channel_labels: Annotated[list[Label], AfterValidator(_distinct)] = Field(
        default_factory=list,
        max_length=MOST_CHANNELS,
        description="The names of the speakers in the order of the channels, for example `agent` and `customer`.",
    )
    diarize: bool = Field(
        default=False,
        description="If true, the service tells several speakers on one track apart by their voices, and calls them "
        "`speaker_1`, `speaker_2` and so on, or after the label of their channel. A stretch has no speaker (null) if "
        "it is not sure who speaks. The operator may not have installed what this needs. Separate channels with "
        "`channels=split` are surer.",
    )
    speakers: int | None = Field(
        default=None,
        ge=2,
        le=MOST_SPEAKERS,
        description="How many speakers there are on the track, with `diarize=true`. If you leave the field out, the "
        "service finds one or two. With several separate channels, each has at most so many.",
    )
    word_timestamps: bool = Field(
        default=False, description="If true, each segment lists its words, with their start, end and probability."
    )
    prompt: str | None = Field(
        default=None,
        max_length=MAX_PROMPT_CHARACTERS,
        pattern=wording.NO_NUL,
        description="A text with names and terms that the model should expect. With a small model, a prompt can make "
        "the transcript worse, so compare the results with and without it.",
    )
    hotwords: list[Hotword] = Field(
        default_factory=list,
        max_length=100,
        description="Words that the model should expect. They share limited space with `prompt`. If there are many, "
        "the model reads less of the prompt.",
    )
    encoding: Encoding | None = Field(
        default=None,
        description="What a recording without a header holds, for example `mulaw` for a raw telephone recording. It is "
        "one channel. If you leave the field out, the ending of the file's name says it, such as `.ulaw` or `.sln16`. "
        "A header inside the file is always believed instead.",
    )
    sample_rate: int | None = Field(
        default=None,
        ge=LOWEST_RATE,
        le=HIGHEST_RATE,
        description="The sample rate in Hz of a recording with the `encoding` that you send. If you leave the field "
        "out, it is 16000 for `g722` and 8000 for all others.",
    )
    redact: Annotated[list[Redacted], BeforeValidator(_all_entities), AfterValidator(_each_once)] = Field(
        default_factory=list,
        max_length=100,
        description="What the service takes out of the transcript, its words and the recording, and replaces by its "
        "name, such as `[PHONE]`. `true` takes out all of it. What was taken out is stored nowhere. `NUMBER` is "
        "any long number. Names and addresses are found as well as the service can. The operator may take out more.",
    )
    redact_terms: list[RedactedTerm] = Field(
        default_factory=list,
        max_length=100,
        description="Names and words that the service takes out besides, such as the customer's name, also if they are "
        "misspelled in the transcript. The service forgets them when the transcription is completed.",
    )
    redact_keep: bool = Field(
        default=False,
        description="If true, the service also keeps the transcript and the recording as they were, for API keys with "
        "the scope `unredacted`. If the operator redacts all calls, your own key needs this scope too.",
    )
    priority: int = Field(
        default=DEFAULT_PRIORITY,
        ge=0,
        le=9,
        description="How urgent the job is, from 0 (most urgent) to 9 (least urgent). The operator may limit how "
        "urgent the jobs of an API key can be.",
    )
    external_id: str | None = Field(
        default=None,
        max_length=255,
        pattern=wording.NO_NUL,
        description="Your own id for the call. You can use it to find the transcription with `GET /v1/transcriptions`.",
    )
    metadata: Annotated[dict[str, JsonValue], AfterValidator(checked_metadata)] = Field(
        default_factory=dict, description="Any JSON object of at most 4 kB. The service returns it unchanged."
    )
    webhook_url: WebUrls | None = Field(
        default=None,
        description="One URL or several. When the transcription has ended, the service sends a signed event to each "
        "URL by POST. If you leave the field out, the service uses the URLs that the operator has set, if "
        "any.",
    )
    callback_url: CallbackUrls | None = Field(
        default=None,
        description="One URL or several. When the transcription has ended, the service sends a plain GET request to "
        "each URL. Before that, it replaces `{file_name}`, `{external_id}`, `{id}` and `{status}` in the "
        "URL by their values. `webhook_url` and `callback_url` may have five URLs together. If you leave "
        "the field out, the service uses the URLs that the operator has set, if any.",
    )

    output: OutputRequest | None = Field(
        default=None,
        description="A JSON object with `url` and `formats`. When the transcription is completed, the service writes "
        "the transcript there, and sends webhooks and callbacks afterwards. If you leave the field out, the "
        "service writes what the operator has set, if anything.",
    )

    @model_validator(mode="after")
    def _few_receivers(self) -> Self:
        if len(as_list(self.webhook_url) or []) + len(as_list(self.callback_url) or []) > MAX_RECEIVERS:
            raise ValueError(f"webhook_url and callback_url may have at most {MAX_RECEIVERS} URLs together")
        return self

    @model_validator(mode="after")
    def _rate_of_the_encoding(self) -> Self:
        if trouble := rate_trouble(self.encoding, self.sample_rate):
            raise InvalidRequest("Some fields are not valid.", errors=(FieldError("sample_rate", trouble),))
        return self

    @model_validator(mode="after")
    def _speakers_of_voices(self) -> Self:
        if self.speakers is not None and not self.diarize:
            detail = "is how many voices there are on a track, so it needs diarize=true"
            raise InvalidRequest("Some fields are not valid.", errors=(FieldError("speakers", detail),))
        return self

    def ask(self) -> Ask:
        """Returns the request as an `Ask`. Its language is None for `auto`."""
        options = self.model_dump(include=set(OPTION_FIELDS))
        options |= {
            "model": self.model or DEFAULT_MODEL,
            "language": None if self.language == AUTO else self.language,
        }
        return Ask(
            options=_OPTIONS.validate_python(options),
            priority=self.priority if "priority" in self.model_fields_set else None,
            external_id=self.external_id,
            metadata=self.metadata,
            webhook_url=self.webhook_url,
            callback_url=self.callback_url,
            output=None if self.output is None else self.output.output,
        )

    @classmethod
    def has_field(cls, name: str) -> bool:
        """Whether a text with this name, such as `hotwords[]`, belongs to a field."""
        return field_of(name) in cls.model_fields

    @classmethod
    def from_texts(cls, fields: Sequence[tuple[str, str]]) -> Self:
        """Reads fields whose values are text, as in a form. Raises InvalidRequest if a field is not valid."""
        return validated(cls, values_of(cls, fields))


class CreateFromUrl(CreateTranscription):
    """The URL of a recording that the service fetches, and the options of its transcription."""

    url: str = Field(
        max_length=MAX_URL_CHARACTERS,
        pattern=wording.RECORDING_URL,
        description="The URL of the recording: `https://…` with a public host, or `s3://bucket/key`. The operator "
        "decides which buckets are allowed, and whether `http://…` and other hosts are allowed.",
        json_schema_extra={"format": "uri"},
    )
    file_name: str | None = Field(
        default=None,
        max_length=255,
        pattern=wording.NO_NUL,
        description="Your name for the recording. It is shown as `source.filename`, and replaces "
        "`{file_name}` in callbacks. If you leave the field out, it is the last part of the URL, or the name that the "
        "recording's server sends.",
    )

    def recording(self) -> Remote:
        return Remote(self.url, self.file_name)

    @classmethod
    def from_json(cls, body: bytes) -> Self:
        """Reads a JSON object. Raises InvalidRequest if it or a field is not valid."""
        values = json_object(body, "body")
        return validated(cls, {name: value for name, value in values.items() if not cls._is_empty(name, value)})

    @classmethod
    def _is_empty(cls, name: str, value: object) -> bool:
        """Whether a field counts as not given. An empty URL does not, because the field is required."""
        return name in cls.model_fields and name != "url" and (value is None or value == "")


def json_object(content: bytes, name: str) -> dict[str, Any]:
    """Raises InvalidRequest, which calls the content by its name."""
    try:
        values = from_json(content.removeprefix(BOM_UTF8).decode(), allow_inf_nan=False)
    except UnicodeDecodeError:
        raise InvalidRequest(f"The {name} is not UTF-8. Send the JSON in UTF-8.") from None
    except ValueError as error:
        raise InvalidRequest(f"The {name} is not JSON: {error}.") from None
    if not isinstance(values, dict):
        raise InvalidRequest(f"The {name} must be a JSON object.")
    return values


def validated(model: type[Model], values: dict[str, Any]) -> Model:
    """Raises InvalidRequest."""
    try:
        return model.model_validate(values)
    except ValidationError as error:
        raise InvalidRequest("Some fields are not valid.", errors=field_errors(error.errors())) from None
