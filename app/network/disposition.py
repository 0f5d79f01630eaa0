"""Reads the header `Content-Disposition` as programs really write it: the name of a part of a form, and of its file.

python-multipart would skip `filename*`, which .NET and PowerShell send. They, browsers, mobile apps and old libraries
each encode a name in their own way. Pure.
"""

import re
from email.errors import HeaderParseError
from email.header import decode_header
from itertools import islice
from urllib.parse import unquote, unquote_to_bytes

MAX_PARAMETERS = 8  # so that a long header takes no long time
# A quoted value ends at a quotation mark before `;` or the end, because some programs do not escape those within it.
_PARAMETER = re.compile(r';\s*([^\s=;"]+)\s*=\s*("(?:\\.|[^\\])*?"(?=\s*(?:;|$))|[^;]*)', re.DOTALL)
_ENCODED_WORDS = re.compile(r"\s*(?:=\?[\w.-]+\?[BbQq]\?[^?\s]*\?=\s*)+")
# Python knows more charsets, and some of them, such as punycode, take minutes for the text of a stranger.
_CHARSETS = re.compile(
    r"utf-8|us-ascii|iso-8859-(?:[1-9]|1[0-6])|windows-125[0-8]|koi8-[ru]|gb2312|gbk|gb18030|big5|shift_jis"
    r"|iso-2022-(?:jp|kr)|euc-(?:jp|kr)",
    re.IGNORECASE,
)
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
            return "".join(_decoded(*word) for word in decode_header(value))
        except (ValueError, HeaderParseError):
            return value
    return _unescaped(_text(value))


def _decoded(word: bytes | str, charset: str | None) -> str:
    """Returns an encoded word of RFC 2047 as text. Raises ValueError if it is not in one of the usual charsets."""
    if isinstance(word, str):
        return word
    if not _CHARSETS.fullmatch(charset or "us-ascii"):
        raise ValueError("unusual charset")
    return word.decode(charset or "us-ascii")


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
