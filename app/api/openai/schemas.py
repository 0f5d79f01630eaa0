"""The schemas of answers and events in the OpenAPI document, made of `shapes`.

The formats of a transcript share one schema, and so do the kinds of events. A member is required only if all
kinds have it. A choice between schemas (`oneOf`) would say more, but generators make classes of it that do not compile,
or that lose members.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import TypeAdapter

from app.api.openai import shapes
from app.api.openai.answers import ResponseFormat

REF_TEMPLATE = "#/components/schemas/{model}"
Schema = dict[str, Any]


def of(shape: Any) -> Schema:
    """The schema of one shape, which refers to the named schemas that it needs."""
    schema = TypeAdapter(shape).json_schema(ref_template=REF_TEMPLATE)
    return {key: value for key, value in schema.items() if key not in ("$defs", "title")}


def joined(title: str, description: str, kinds: Mapping[str, Any]) -> Schema:
    """One schema for shapes of several kinds. The description of a member names the kinds that have it."""
    schemas = {kind: of(shape) for kind, shape in kinds.items()}
    names = dict.fromkeys(name for schema in schemas.values() for name in schema["properties"])
    members = {
        name: _member({kind: each["properties"][name] for kind, each in schemas.items() if name in each["properties"]})
        for name in names
    }
    for name, member in members.items():
        having = [kind for kind, schema in schemas.items() if name in schema["properties"]]
        if len(having) < len(schemas):
            member["description"] = f"{member.get('description', '')} Only in {_listed(having)}.".strip()
    required = [name for name in names if all(name in schema["required"] for schema in schemas.values())]
    return {"title": title, "description": description, "type": "object", "properties": members, "required": required}


def _member(kinds: Mapping[str, Schema]) -> Schema:
    """What is the same in all kinds. A member whose type differs gets none, so that programs read it as it comes."""
    first, *others = kinds.values()
    same = {key: value for key, value in first.items() if all(other.get(key) == value for other in others)}
    if "description" in same:
        return same
    kinds_of: dict[str, list[str]] = {}
    for kind, schema in kinds.items():
        if "description" in schema:
            kinds_of.setdefault(schema["description"], []).append(kind)
    described = " ".join(f"In {_listed(kinds)}: {text}" for text, kinds in kinds_of.items())
    return {**same, "description": described} if described else same


def _listed(kinds: Sequence[str]) -> str:
    *most, last = (f"`{kind}`" for kind in kinds)
    return f"{', '.join(most)} and {last}" if most else last


def _reference(name: str) -> Schema:
    return {"$ref": REF_TEMPLATE.format(model=name)}


_FORMATS: Mapping[str, Any] = {
    ResponseFormat.JSON: shapes.Plain,
    ResponseFormat.VERBOSE_JSON: shapes.Verbose,
    ResponseFormat.DIARIZED_JSON: shapes.Diarized,
}
_SEGMENTS: Mapping[str, Any] = {
    ResponseFormat.JSON: shapes.PlainSegment,
    ResponseFormat.VERBOSE_JSON: shapes.WhisperSegment,
    ResponseFormat.DIARIZED_JSON: shapes.DiarizedSegment,
}
_EVENTS: Mapping[str, Any] = {
    "transcript.text.delta": shapes.Delta,
    "transcript.text.segment": shapes.DiarizedSegment,
    "transcript.text.done": shapes.Done,
    "error": shapes.ErrorEvent,
}


_PARTS: Sequence[Any] = (shapes.OpenAIUsage, shapes.OpenAILanguage, shapes.OpenAIWord)


def _transcription() -> Schema:
    schema = joined("OpenAITranscription", "A transcript. `response_format` decides which members it has.", _FORMATS)
    schema["properties"]["segments"] = {
        "type": "array",
        "items": _reference("OpenAISegment"),
        "description": "Sentences, or the words between two pauses. `verbose_json` leaves them out if "
        "`timestamp_granularities` has only `word`.",
    }
    return schema


SCHEMAS: Mapping[str, Schema] = {
    "OpenAITranscription": _transcription(),
    "OpenAISegment": joined("OpenAISegment", "A stretch of speech in a transcript.", _SEGMENTS),
    "OpenAIEvent": joined("OpenAIEvent", "An event of a stream. `type` says which members it has.", _EVENTS),
    **{each.__name__: {"title": each.__name__, **of(each)} for each in _PARTS},
}
TRANSCRIPTION = _reference("OpenAITranscription")
