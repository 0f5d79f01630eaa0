"""Reads a multipart form while it arrives. The file goes to the store in blocks, and the other fields stay in memory.

FastAPI's own form parsing would write the whole file to disk before the API key is checked.
"""

from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass

from python_multipart import MultipartParser
from python_multipart.exceptions import MultipartParseError
from python_multipart.multipart import parse_options_header

from app.errors import FieldError, InvalidRequest
from app.storage.store import StoredAudio

FORM_BYTES = 256 * 1024  # how much larger than its file a form may be
MAX_FIELDS_BYTES = 64 * 1024
MAX_PARTS = 250


@dataclass(frozen=True)
class PartBegin:
    """The headers of a part have arrived. `filename` is None for a plain field."""

    name: str
    filename: str | None


@dataclass(frozen=True)
class PartData:
    chunk: bytes


@dataclass(frozen=True)
class PartEnd:
    pass


Event = PartBegin | PartData | PartEnd


@dataclass(frozen=True)
class Form:
    """A form whose file is already stored. `filename` is the name that the client sent, unchanged."""

    fields: list[tuple[str, str]]
    filename: str | None
    audio: StoredAudio


async def read_form(
    stream: AsyncIterator[bytes], content_type: str, save: Callable[[AsyncIterator[bytes]], Awaitable[StoredAudio]]
) -> Form:
    """Reads a whole form, and passes the bytes of its part `file` to `save`.

    Raises InvalidRequest and the errors of `save`. If it raises after it has called `save`, the caller has to erase
    what was saved.
    """
    fields: list[tuple[str, str]] = []
    audio: StoredAudio | None = None
    filename: str | None = None
    left = MAX_FIELDS_BYTES
    events = _events(stream, _boundary(content_type))
    async for event in events:
        assert isinstance(event, PartBegin)
        if event.name == "file":
            if audio is not None:
                raise InvalidRequest("Send exactly one file in a request.", errors=(FieldError("file", "is repeated"),))
            filename = event.filename
            audio = await save(_part(events))
        elif event.filename is not None:
            raise InvalidRequest(
                "Send the recording in the part named `file`.", errors=(FieldError(event.name, "must not be a file"),)
            )
        else:
            value = b""
            async for chunk in _part(events):
                value += chunk
                if len(value) > left:
                    raise InvalidRequest(f"The form's fields are larger than {MAX_FIELDS_BYTES} bytes.")
            left -= len(value)
            fields.append((event.name, _text(event.name, value)))
    if audio is None:
        raise _without_file(fields)
    return Form(fields, filename, audio)


def _without_file(fields: Sequence[tuple[str, str]]) -> InvalidRequest:
    detail = "The form has no part named `file`."
    if any(name == "url" for name, _ in fields):
        detail += (
            " If the service should fetch a `url`, send the fields as a JSON body, with `Content-Type: "
            "application/json`."
        )
    return InvalidRequest(detail, errors=(FieldError("file", "is missing"),))


async def _part(events: AsyncIterator[Event]) -> AsyncIterator[bytes]:
    async for event in events:
        if not isinstance(event, PartData):
            return
        yield event.chunk


async def _events(stream: AsyncIterator[bytes], boundary: bytes) -> AsyncIterator[Event]:
    collector = _Collector()
    parser = MultipartParser(boundary, collector.callbacks())  # type: ignore[arg-type]
    async for chunk in stream:
        try:
            parser.write(chunk)
        except MultipartParseError as error:
            raise InvalidRequest(f"The form is malformed: {error}.") from None
        while collector.events:
            yield collector.events.popleft()
    if not collector.complete:
        raise InvalidRequest("The form ended before its closing boundary.")


class _Collector:
    """Turns the parser's callbacks into events."""

    def __init__(self) -> None:
        self.events: deque[Event] = deque()
        self.complete = False
        self._header, self._value, self._headers = b"", b"", dict[bytes, bytes]()
        self._parts = 0

    def callbacks(self) -> dict[str, Callable[..., None]]:
        return {
            "on_part_begin": self._begin,
            "on_header_field": self._header_field,
            "on_header_value": self._header_value,
            "on_header_end": self._header_end,
            "on_headers_finished": self._headers_finished,
            "on_part_data": lambda data, start, end: self.events.append(PartData(data[start:end])),
            "on_part_end": lambda: self.events.append(PartEnd()),
            "on_end": self._end,
        }

    def _begin(self) -> None:
        self._header, self._value, self._headers = b"", b"", {}
        self._parts += 1
        if self._parts > MAX_PARTS:
            raise InvalidRequest(f"The form has more than {MAX_PARTS} parts.")

    def _header_field(self, data: bytes, start: int, end: int) -> None:
        self._header += data[start:end]

    def _header_value(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]

    def _header_end(self) -> None:
        self._headers[self._header.lower()] = self._value
        self._header, self._value = b"", b""

    def _headers_finished(self) -> None:
        _, options = parse_options_header(self._headers.get(b"content-disposition", b""))
        if b"name" not in options:
            raise InvalidRequest("A part of the form has no name.")
        filename = options.get(b"filename")
        self.events.append(
            PartBegin(
                options[b"name"].decode("utf-8", "replace"),
                filename.decode("utf-8", "replace") if filename is not None else None,
            )
        )

    def _end(self) -> None:
        self.complete = True


def _boundary(content_type: str) -> bytes:
    _, options = parse_options_header(content_type)
    boundary = options.get(b"boundary", b"")
    if not 0 < len(boundary) <= 256:
        raise InvalidRequest("The `Content-Type` of a form must have a `boundary` of 1 to 256 bytes.")
    return boundary


def _text(name: str, value: bytes) -> str:
    try:
        return value.decode()
    except UnicodeDecodeError:
        raise InvalidRequest("A field is not UTF-8.", errors=(FieldError(name, "is not UTF-8"),)) from None
