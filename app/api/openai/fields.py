"""Reads the form of a client of OpenAI's API: what it asks for, and which answer it wants.

Such clients send every list in their own way, and fields that this service does not know. So more is accepted here than
in our own forms: an empty field counts as absent, an unknown one is ignored, and of a repeated value the last counts.
Some fields of our own forms are taken too, so that a CRM can find its call again.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from string import ascii_uppercase
from typing import Any

from pydantic_core import from_json

from app.api.openai.answers import ResponseFormat, Wanted
from app.api.openai.names import model_named
from app.errors import FieldError, InvalidRequest
from app.intake.ask import Ask
from app.intake.model_names import ModelNames
from app.intake.offered import NO_VOICES
from app.intake.requests import MAX_PROMPT_CHARACTERS, CreateTranscription, validated
from app.intake.text_fields import BOOLEANS, Part, field_of, in_order, separated, split, values_of
from app.speech.speakers import voices
from app.transcripts.transcript import Task

PRIORITY = 3
"""A client waits for the answer of such a job, so it comes before jobs that no client waits for."""

LISTS = frozenset(
    {"languages", "keywords", "hotwords", "timestamp_granularities", "known_speaker_names", "channel_labels"}
)
SINGLE = frozenset({"model", "language", "prompt", "response_format", "temperature", "stream", "channels"})
OWN = frozenset(
    {
        "external_id",
        "metadata",
        "webhook_url",
        "callback_url",
        "priority",
        "encoding",
        "sample_rate",
        "redact",
        "redact_terms",
        "redact_keep",
        "diarize",
        "speakers",
    }
)
"""Fields of our own form that OpenAI's does not have. They mean the same here."""
SEPARATED = frozenset({"languages", "timestamp_granularities"})  # no item of these has a comma
POSITIONAL = frozenset({"known_speaker_names", "channel_labels"})
SHAPE = frozenset({"response_format", "timestamp_granularities", "stream"})
"""Fields that shape the answer only."""
GRANULARITIES = ("segment", "word")


@dataclass(frozen=True)
class Asked:
    """What a client asks for, and the shape of the answer. If it `streams`, the answer comes in events."""

    ask: Ask
    wanted: Wanted
    streams: bool

    def require(self, channels: int) -> None:
        """Raises InvalidRequest if a recording with so many channels cannot have the answer that is wanted."""
        if self.ask.diarizes_one_channel and channels < 2:
            if not voices.installed():
                detail = f"diarized_json needs a recording with a channel for each speaker: {NO_VOICES}"
                raise _refused("response_format", detail)
            return  # names belong to channels, and nobody knows whose voice is whose
        names = self.ask.options.channel_labels
        if taken := set(names).intersection(ascii_uppercase[len(names) : channels]):
            detail = f"calls one channel {min(taken)}, which is how another one is called: name all channels"
            raise _refused("known_speaker_names", detail)


def is_known(name: str) -> bool:
    """Whether a part of a form with this name is read. Other parts are ignored."""
    return field_of(name) in LISTS | SINGLE | OWN


def read_fields(
    fields: Sequence[tuple[str, str]], models: ModelNames, task: Task, *, is_one_window: bool = False
) -> Asked:
    """Reads the fields of a form. Raises InvalidRequest, and ModelNotFound."""
    single = {field_of(name): text for name, text in fields if field_of(name) in SINGLE and text.strip()}
    names = {field_of(name) for name, _ in fields}
    with in_openais_words("known_speaker_names" if "known_speaker_names" in names else "channel_labels"):
        lists = _lists(fields)
        _temperature(single.get("temperature"))
        wanted, streams = _wanted(single, lists, task), _stream(single.get("stream"))
        own = values_of(CreateTranscription, [(name, text) for name, text in fields if field_of(name) in OWN])
        ask = validated(CreateTranscription, own | _values(single, lists, wanted, models)).ask()
    options = replace(ask.options, reports_text=streams, is_one_window=is_one_window and not streams)
    diarized = wanted.format is ResponseFormat.DIARIZED_JSON
    ask = replace(ask, options=options, default_priority=PRIORITY, is_awaited=True, diarizes_one_channel=diarized)
    return Asked(ask, wanted, streams)


def without_shape(fields: Sequence[tuple[str, str]]) -> list[tuple[str, str]]:
    """The fields of a form for a route whose answer has always the same shape."""
    return [(name, text) for name, text in fields if field_of(name) not in SHAPE]


@contextmanager
def in_openais_words(speakers: str = "channel_labels") -> Iterator[None]:
    """Raises errors about fields of our own requests as errors about the fields that the client has sent.

    `speakers` is the field with the names of the speakers.
    """
    names = {"hotwords": "keywords", "channel_labels": speakers, "task": "model"}
    try:
        yield
    except InvalidRequest as error:
        sent = ((each.field.partition(".")[0], each.detail) for each in error.errors)
        renamed = tuple(FieldError(names.get(field, field), detail) for field, detail in sent)
        raise InvalidRequest(error.detail, errors=renamed) from None


def _values(
    single: Mapping[str, str], lists: Mapping[str, list[str]], wanted: Wanted, models: ModelNames
) -> dict[str, Any]:
    """The values of our own request. A prompt that is too long loses its beginning, as it does at OpenAI."""
    labels = _labels(lists)
    splits = bool(labels) or wanted.format is ResponseFormat.DIARIZED_JSON
    channels = single.get("channels", "split" if splits else "mix").strip()
    if channels != "split" and wanted.format is ResponseFormat.DIARIZED_JSON:
        raise _refused("channels", "must be split for diarized_json, because each speaker has a channel")
    values: dict[str, Any] = {
        "model": model_named(models, single.get("model", "").strip()),
        "task": wanted.task,
        "channels": channels,
        "channel_labels": labels,
        "word_timestamps": wanted.words,
        "hotwords": [*lists.get("keywords", []), *lists.get("hotwords", [])],
        "languages": lists.get("languages", []),
    }
    if "language" in single:
        values["language"] = single["language"]
    if "prompt" in single:
        values["prompt"] = single["prompt"][-MAX_PROMPT_CHARACTERS:]
    return values


def _wanted(single: Mapping[str, str], lists: Mapping[str, list[str]], task: Task) -> Wanted:
    asked = single.get("response_format", ResponseFormat.JSON).strip()
    if asked not in list(ResponseFormat):
        raise _refused("response_format", f"must be one of: {', '.join(ResponseFormat)}")
    granularities = lists.get("timestamp_granularities", [])
    if not set(granularities) <= set(GRANULARITIES):
        raise _refused("timestamp_granularities", f"must hold nothing but: {', '.join(GRANULARITIES)}")
    words = "word" in granularities and asked == ResponseFormat.VERBOSE_JSON
    segments, named = not words or "segment" in granularities, bool(_labels(lists))
    return Wanted(ResponseFormat(asked), task, words, segments, named)


def _labels(lists: Mapping[str, list[str]]) -> list[str]:
    return lists.get("known_speaker_names") or lists.get("channel_labels") or []


def _stream(text: str | None) -> bool:
    streams = BOOLEANS.get((text or "false").strip().lower())
    if streams is None:
        raise _refused("stream", "must be true or false")
    return streams


def _temperature(text: str | None) -> None:
    """Raises InvalidRequest for a temperature that OpenAI would refuse.

    The value itself has no effect, because the engine chooses the temperature by the quality of the result.
    """
    try:
        is_valid = text is None or 0 <= float(text) <= 1
    except ValueError:
        is_valid = False
    if not is_valid:
        raise _refused("temperature", "must be a number from 0 to 1")


def _lists(fields: Sequence[tuple[str, str]]) -> dict[str, list[str]]:
    parts: dict[str, list[Part]] = {}
    for name, text in fields:
        field, brackets = split(name)
        if field in LISTS:
            parts.setdefault(field, []).append((brackets, text))
    return {field: _without_empty(field, _items(field, sent)) for field, sent in parts.items()}


def _items(field: str, parts: Sequence[Part]) -> list[str]:
    """The items of a list. A field alone and without brackets may have several, as in our own forms."""
    if len(parts) == 1 and (parts[0][0] is None or field in SEPARATED):
        items = separated("channel_labels" if field in POSITIONAL else field, parts[0][1])
    else:
        items = [item for _, text in in_order(field, parts) for item in _items_of_part(text)]
    if not all(isinstance(item, str) for item in items):
        raise _refused(field, "must be a list of texts")
    return [item.strip() for item in items]


def _items_of_part(text: str) -> list[Any]:
    """One item, or several as JSON text."""
    if text.lstrip().startswith("["):
        with suppress(ValueError):
            items: list[Any] = from_json(text)
            return items
    return [text]


def _without_empty(field: str, items: list[str]) -> list[str]:
    """The items that are not empty. Raises InvalidRequest if one is missing whose place has a meaning."""
    given = [item for item in items if item]
    if field in POSITIONAL and given and len(given) < len(items):
        raise _refused(field, "has an empty name: send a name for each channel, in the order of the channels")
    return given


def _refused(field: str, detail: str) -> InvalidRequest:
    return InvalidRequest("Some fields are not valid.", errors=(FieldError(field, detail),))
