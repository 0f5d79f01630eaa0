"""Reads the header `Content-Disposition` as programs really write it: the name of a part of a form, and of its file.

python-multipart would skip `filename*`, which .NET and PowerShell send. They, browsers, mobile apps and old libraries
each encode a name in their own way. Pure.
"""

import re
from email.errors import HeaderParseError
from email.header import decode_header, make_header
from itertools import islice
from urllib.parse import unquote, unquote_to_bytes

MAX_PARAMETERS = 8  # so that a long header takes no long time
# A quoted value ends at a quotation mark before `;` or the end, because some programs do not escape those within it.
_PARAMETER = re.compile(r';\s*([^\s=;"]+)\s*=\s*("(?:\\.|[^\\])*?"(?=\s*(?:;|$))|[^;]*)', re.DOTALL)
_ENCODED_WORDS = re.compile(r"\s*(?:=\?[\w.-]+\?[BbQq]\?[^?\s]*\?=\s*)+")
_ESCAPED_UTF8 = re.compile(r"%[89A-Fa-f][0-9A-Fa-f]")
_ESCAPED_BY_BROWSERS = re.compile(r"%(?:22|0D|0A)", re.IGNORECASE)


def names(header: bytes) -> tuple[str | None, str | None]:
    """Returns the parameters `name` and `filename` of a `Content-Disposition`, decoded. Each is None if it is missing.

    A file name may still contain folders and control characters.
    """
    parameters: dict[str, str] = {}
    for found in islice(_PARAMETER.finditer(header.decode("latin-1")), MAX_PARAMETERS):
        parameters.setdefault(found[1].lower(), _unquoted(found[2].strip()))
    name, filename = parameters.get("name"), parameters.get("filename")
    return (
        None if name is None else _unescaped(_text(name)),
        _extended(parameters.get("filename*", "")) or (None if filename is None else _file_name(filename)),
    )


def _unquoted(value: str) -> str:
    if len(value) < 2 or not value.startswith('"') or not value.endswith('"'):
        return value
    return re.sub(r'\\(["\\])', r"\1", value[1:-1])


def _extended(value: str) -> str | None:
    """Returns the text of a value such as `utf-8''M%C3%BCller.wav` (RFC 8187), or None if it is not valid."""
    charset, _, rest = value.partition("'")
    if charset.lower() not in ("utf-8", "iso-8859-1"):
        return None
    try:
        return unquote_to_bytes(rest.partition("'")[2].encode("latin-1")).decode(charset)
    except UnicodeDecodeError:
        return None


def _file_name(value: str) -> str:
    if _ENCODED_WORDS.fullmatch(value):
        try:
            return str(make_header(decode_header(value)))
        except (LookupError, ValueError, HeaderParseError):
            return value
    return _unescaped(_text(value))


def _text(value: str) -> str:
    """Returns the text of bytes that were read as Latin-1: they are UTF-8, or what Windows writes."""
    for encoding in ("utf-8", "cp1252"):
        try:
            return value.encode("latin-1").decode(encoding)
        except UnicodeDecodeError:
            pass
    return value


def _unescaped(name: str) -> str:
    """Returns the name without percent-encoding.

    Browsers encode only quotation marks and line ends, so that any other `%` belongs to the name. But a name in ASCII
    with escapes of UTF-8, such as `M%C3%BCller`, was written by a program that encodes whole names.
    """
    if name.isascii() and _ESCAPED_UTF8.search(name):
        try:
            return unquote(name, errors="strict")
        except UnicodeDecodeError:
            pass
    return _ESCAPED_BY_BROWSERS.sub(lambda found: unquote(found[0]), name)
