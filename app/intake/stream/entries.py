"""What an entry of the stream asks for, and what is written when it is refused. Pure.

An entry has either the JSON body of `POST /v1/transcriptions` in its field `request`, or the fields of that body, with
texts as values as in a form. The second way needs one command and no JSON, so that any client can send it. In both
ways, an entry may also have the field `traceparent`, which is no part of the request.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field

from app import tracing
from app.errors import AppError, FieldError, InvalidRequest, TooLarge
from app.intake.problem import problem_of
from app.intake.requests import CreateFromUrl

REQUEST = "request"
TRACEPARENT = tracing.HEADER.encode()
MAX_BYTES = 64 * 1024  # as for the JSON body of a request


@dataclass(frozen=True)
class Entry:
    """One entry of a stream. Its fields may be repeated. They may hold the address of a recording, which is secret."""

    id: str
    fields: Sequence[tuple[bytes, bytes]] = field(repr=False)

    @property
    def bytes(self) -> int:
        return sum(len(name) + len(value) for name, value in self.fields)

    @property
    def traceparent(self) -> str | None:
        """The span that the sender names as the parent. It may be any text."""
        found = [value for name, value in self.fields if name == TRACEPARENT]
        return found[0].decode(errors="replace") if len(found) == 1 else None


def request_of(entry: Entry) -> CreateFromUrl:
    """Returns what the entry asks for. Raises InvalidRequest and TooLarge."""
    if entry.bytes > MAX_BYTES:
        raise TooLarge(f"The entry has more than {MAX_BYTES} bytes.")
    fields = [(name, value) for name, value in entry.fields if name != TRACEPARENT]
    names = [name for name, _ in fields]
    if REQUEST.encode() not in names:
        return CreateFromUrl.from_texts([(_text(name, "name"), _text(value, name)) for name, value in fields])
    if len(names) > 1:
        wrong = FieldError(
            REQUEST, "must be the only field, apart from traceparent, because it holds the whole request"
        )
        raise InvalidRequest("The entry has two requests.", errors=(wrong,))
    return CreateFromUrl.from_json(fields[0][1])


def _text(value: bytes, name: bytes | str) -> str:
    try:
        return value.decode()
    except UnicodeDecodeError:
        named = name if isinstance(name, str) else name.decode(errors="replace")
        raise InvalidRequest("Some fields are not valid.", errors=(FieldError(named, "is not UTF-8"),)) from None


def rejection(stream: str, entry: Entry, error: AppError) -> list[tuple[str, str]]:
    """Returns the fields of the entry that says why `entry` was refused. `fields` has what it held, as JSON.

    If the entry is too large, `fields` is left out. The entry itself is still in its stream.
    """
    fields = [
        ("entry", entry.id),
        ("stream", stream),
        ("code", error.code),
        ("detail", error.reason),
        ("problem", json.dumps(problem_of(error), ensure_ascii=False)),
    ]
    return fields if entry.bytes > MAX_BYTES else [*fields, ("fields", json.dumps(_held(entry), ensure_ascii=False))]


def _held(entry: Entry) -> dict[str, str | list[str]]:
    """Returns the fields of an entry. One that is repeated has a list."""
    held: dict[str, list[str]] = {}
    for name, value in entry.fields:
        held.setdefault(name.decode(errors="replace"), []).append(value.decode(errors="replace"))
    return {name: values[0] if len(values) == 1 else values for name, values in held.items()}
