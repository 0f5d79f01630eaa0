"""Reads a multipart form while it arrives. The file goes to the store in blocks, and the other fields stay in memory.

FastAPI's own form parsing would write the whole file to disk before the API key is checked.
Which fields there are, and what their texts mean, is decided elsewhere.
"""

import codecs
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass

from pydantic_core import from_json
from python_multipart import MultipartParser
from python_multipart.exceptions import MultipartParseError
from python_multipart.multipart import parse_options_header

from app.errors import FieldError, InvalidRequest, TooLarge
from app.intake.intake import MOST_BESIDE_RECORDING
from app.network.disposition import names
from app.storage.store import StoredAudio

URL_FORM = "If the service should fetch a `url`, send the fields as a JSON body, with `Content-Type: application/json`."
FORM_BYTES = MOST_BESIDE_RECORDING  # how much larger than its file a form may be
MAX_FIELDS_BYTES = 64 * 1024
MAX_PARTS = 250
FILELESS_BYTES = 8 * 1024  # of a part `file` without a file name are looked at: is it a recording, or a field with text
JSON_TYPE = "application/json"
PLAIN_ENCODINGS = (b"binary", b"8bit", b"7bit")
# Apache's HttpClient for Java sends text in ISO-8859-1 unless it is asked for another one.
CHARSETS = {"": "utf-8", "utf-8": "utf-8", "utf8": "utf-8", "us-ascii": "utf-8"} | {
    "iso-8859-1": "cp1252",  # browsers read this name as Windows-1252 too, which has more characters
    "windows-1252": "cp1252",
}


@dataclass(frozen=True)
class PartBegin:
    """The headers of a part have arrived. `filename` is None for a plain field."""

    name: str
    filename: str | None
    media_type: str = ""
    charset: str = ""


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
    stream: AsyncIterator[bytes],
    content_type: str,
    save: Callable[[AsyncIterator[bytes]], Awaitable[StoredAudio]],
    *,
    is_field: Callable[[str], bool],
    max_bytes: int,
    files: Sequence[str] = ("file",),
    ignores_others: bool = False,
    content: str = "recording",
) -> Form:
    """Reads a whole form, and passes the bytes of its file to `save`.

    `files` are the names that the part with the file may have. Clients may send a field as a file too, as browsers do
    with a Blob. `is_field` says which names are fields. If it `ignores_others`, it skips parts that are neither.

    Raises InvalidRequest, TooLarge if the form has more than `max_bytes`, and the errors of `save`. If it raises after
    it has called `save`, the caller has to erase what was saved.
    """
    fields: list[tuple[str, str]] = []
    audio: StoredAudio | None = None
    filename: str | None = None
    left = MAX_FIELDS_BYTES
    events = _events(_at_most(max_bytes, stream), _boundary(content_type))
    async for event in events:
        assert isinstance(event, PartBegin)
        if event.name in files:
            if audio is not None:
                repeated = FieldError(event.name, "is repeated")
                raise InvalidRequest("Send exactly one file in a request.", errors=(repeated,))
            filename = event.filename
            audio = await save(_recording(events, filename))
        elif ignores_others and not is_field(event.name):
            async for _ in _part(events):
                pass
        elif event.filename is not None and event.media_type != JSON_TYPE and not is_field(event.name):
            raise _misnamed(event.name, files[0], content)
        else:
            value = await _value(events, left)
            left -= len(value)
            fields.append((event.name, _text(event, value)))
    if audio is None:
        raise _without_file(fields, files[0])
    return Form(fields, filename, audio)


def _misnamed(name: str, file: str, content: str) -> InvalidRequest:
    detail = f"Send the {content} in the part named `{file}`. This form has a file in a part named `{name[:100]}`."
    return InvalidRequest(detail, errors=(FieldError(name, f"must be named {file}"),))


def _without_file(fields: Sequence[tuple[str, str]], file: str) -> InvalidRequest:
    detail = f"The form has no part named `{file}`."
    if any(name == "url" for name, _ in fields):
        detail += f" {URL_FORM}"
    return InvalidRequest(detail, errors=(FieldError(file, "is missing"),))


async def _at_most(max_bytes: int, stream: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    received = 0
    async for chunk in stream:
        received += len(chunk)
        if received > max_bytes:
            raise TooLarge(f"The form is larger than {max_bytes} bytes.")
        yield chunk


async def _recording(events: AsyncIterator[Event], filename: str | None) -> AsyncIterator[bytes]:
    """Yields the bytes of the part `file`. Raises InvalidRequest if it has no file name, and is text.

    Some programs send a recording without a name. But curl without `@` sends the file's name as text.
    """
    head, looked_at = b"", filename is not None
    async for chunk in _part(events):
        if looked_at:
            yield chunk
            continue
        head += chunk
        if len(head) > FILELESS_BYTES:
            looked_at = True
            yield _not_text(head)
    if not looked_at:
        yield _not_text(head)


def _not_text(head: bytes) -> bytes:
    try:
        text = codecs.getincrementaldecoder("utf-8")().decode(head)
    except UnicodeDecodeError:
        return head
    if not all(character.isprintable() or character in "\t\r\n" for character in text):
        return head
    url = f" {URL_FORM}" if "://" in text[:20] else ""
    detail = "The part `file` is text, not a file. With curl, write `-F file=@call.wav`: the @ sends the file's bytes."
    raise InvalidRequest(detail + url, errors=(FieldError("file", "must be a file"),))


async def _value(events: AsyncIterator[Event], max_bytes: int) -> bytes:
    value = b""
    async for chunk in _part(events):
        value += chunk
        if len(value) > max_bytes:
            detail = f"The form's fields are larger than {MAX_FIELDS_BYTES} bytes. The recording belongs in `file`."
            raise InvalidRequest(detail)
    return value


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
        name, filename = names(self._headers.get(b"content-disposition", b""))
        if name is None:
            raise InvalidRequest("A part of the form has no name.")
        if self._headers.get(b"content-transfer-encoding", b"binary").strip().lower() not in PLAIN_ENCODINGS:
            detail = "must not have a Content-Transfer-Encoding: send the bytes as they are"
            raise InvalidRequest("A part of the form is encoded.", errors=(FieldError(name, detail),))
        media_type, options = parse_options_header(self._headers.get(b"content-type", b""))
        charset = options.get(b"charset", b"").decode("latin-1").lower()
        self.events.append(PartBegin(name, filename, media_type.decode("latin-1"), charset))

    def _end(self) -> None:
        self.complete = True


def _boundary(content_type: str) -> bytes:
    _, options = parse_options_header(content_type)
    boundary = options.get(b"boundary", b"")
    if not 0 < len(boundary) <= 256:
        raise InvalidRequest(
            "The `Content-Type` of a form must have a `boundary` of 1 to 256 bytes. Do not set this header yourself: "
            "your HTTP library writes it, with the boundary."
        )
    return boundary


def _text(part: PartBegin, value: bytes) -> str:
    """Returns the text of a field. A JSON string, which some programs send for text, is its content."""
    try:
        text = value.decode(CHARSETS[part.charset])
    except KeyError:
        detail = f"must be UTF-8, and not {part.charset[:40]}"
        raise InvalidRequest("A field is not UTF-8.", errors=(FieldError(part.name, detail),)) from None
    except UnicodeDecodeError:
        raise InvalidRequest("A field is not UTF-8.", errors=(FieldError(part.name, "is not UTF-8"),)) from None
    if part.media_type == JSON_TYPE and text.strip().startswith(('"', "null")):
        try:
            return from_json(text) or ""
        except ValueError:
            pass
    return text
