"""Checks the URLs of receivers, fills in their placeholders, and returns what is sent for a URL.

The operator or the client writes a callback's URL, but a stranger may choose the values for its placeholders, such as
the caller of a phone system. So a value can neither change the rest of the path nor make the URL longer than a limit.
Which hosts may be reached is decided by the network guard.
"""

import re
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import quote, unquote, urlsplit

from app.errors import FieldError, InvalidRequest
from app.network.exchange import request_target
from app.network.guard import NetworkGuard, has_unfit_characters

PLACEHOLDERS = ("file_name", "external_id", "id", "status")
PLACEHOLDER = re.compile(r"\{(" + "|".join(PLACEHOLDERS) + r")\}")
MAX_PLACEHOLDERS = 8
MAX_RECEIVERS = 5
MAX_CHARACTERS = 2048
MAX_FILLED_CHARACTERS = 7680  # of path and query: together with the host less than the guard allows
# These values are known only when the transcription ends. Until then, checks use values that are at least as long.
NOT_KNOWN_YET = {"id": "0" * 36, "status": "completed"}
SPECIAL_SEGMENTS = ("", ".", "..")  # servers resolve them, or merge `//`


def check_callback(url: str) -> str:
    """Returns the URL. Raises ValueError unless all its braces are known placeholders and come after the host."""
    known = PLACEHOLDER.sub("", url)
    if "{" in known or "}" in known:
        raise ValueError("knows the placeholders " + ", ".join(f"{{{name}}}" for name in PLACEHOLDERS))
    if "{" in re.split("[/?#]", url.partition("://")[2])[0]:
        raise ValueError("may have placeholders after its host only")
    if len(PLACEHOLDER.findall(url)) > MAX_PLACEHOLDERS:
        raise ValueError(f"may have at most {MAX_PLACEHOLDERS} placeholders")
    return url


def filled(url: str, values: Mapping[str, str]) -> str:
    """Returns a callback URL with its placeholders filled in. All of a value is percent-encoded, also `/` and `&`."""
    return PLACEHOLDER.sub(lambda found: quote(values[found[1]], safe=""), url)


def unsafe_placeholders(url: str, values: Mapping[str, str]) -> list[str]:
    """Returns the placeholders of a callback URL whose values would change its path.

    They would do so because the filled segment would be one that servers treat specially (SPECIAL_SEGMENTS).
    """
    found: dict[str, None] = {}
    for segment in re.split("[?#]", url)[0].split("/"):
        names = PLACEHOLDER.findall(segment)
        if names and _may_be_special(filled(segment, values)):
            found.update(dict.fromkeys(names))
    return list(found)


def check_url(url: str) -> str:
    """Returns the URL. Raises ValueError if it is not an HTTP URL. The network guard checks its host later."""
    if not 0 < len(url) <= MAX_CHARACTERS:
        raise ValueError(f"must have 1 to {MAX_CHARACTERS} characters")
    if has_unfit_characters(url):
        raise ValueError("must not contain spaces, control characters or backslashes")
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.port == 0:
        raise ValueError("must be https://… with a host")
    return url


def as_list(urls: str | Sequence[str] | None) -> list[str] | None:
    """Returns the URLs of a request without repetitions, or None if the request does not have the field."""
    if urls is None:
        return None
    return [urls] if isinstance(urls, str) else list(dict.fromkeys(urls))


@dataclass(frozen=True)
class PlaceholderValues:
    """What a request has for the placeholders. `file_field` is the field of the request that names the recording."""

    file_name: str | None
    external_id: str | None
    file_field: str

    @property
    def of_placeholders(self) -> Mapping[str, str]:
        return {"file_name": self.file_name or "", "external_id": self.external_id or "", **NOT_KNOWN_YET}

    def field_of(self, placeholder: str) -> str:
        """Returns the field of the request that a placeholder gets its value from."""
        return self.file_field if placeholder == "file_name" else placeholder


@dataclass(frozen=True)
class Receivers:
    """The receivers of requests: their own, which the guard checks, or the operator's if a request names none."""

    guard: NetworkGuard
    webhook_urls: tuple[str, ...] = ()
    callback_urls: tuple[str, ...] = ()

    def webhooks(self, asked: str | Sequence[str] | None) -> list[str]:
        """Returns the webhooks that the request asks for, or the operator's. Raises UrlNotAllowed."""
        return self._checked("webhook_url", as_list(asked), self.webhook_urls)

    def callbacks(self, asked: str | Sequence[str] | None, values: PlaceholderValues) -> list[str]:
        """Returns the callbacks that the request asks for, or the operator's. Their placeholders are not filled in yet.

        Raises UrlNotAllowed, and InvalidRequest if these values cannot be filled in.
        """
        urls = self._checked("callback_url", as_list(asked), self.callback_urls)
        for url in urls:
            _require_fillable(url, values)
        return urls

    def _checked(self, field: str, asked: list[str] | None, default: tuple[str, ...]) -> list[str]:
        for url in asked or ():
            self.guard.require_allowed(filled(url, dict.fromkeys(PLACEHOLDERS, "")), field=field)
        return list(default) if asked is None else asked


def _require_fillable(url: str, values: PlaceholderValues) -> None:
    if names := unsafe_placeholders(url, values.of_placeholders):
        detail = "must have a value that the path of the callback may contain: not empty, '.' or '..'"
        errors = tuple(FieldError(values.field_of(name), detail) for name in names)
        raise InvalidRequest("The callback URL cannot be filled in.", errors=errors)
    if len(request_target(filled(url, values.of_placeholders))) > MAX_FILLED_CHARACTERS:
        detail = f"has more than {MAX_FILLED_CHARACTERS} characters once its placeholders are filled in"
        raise InvalidRequest("The callback URL becomes too long.", errors=(FieldError("callback_url", detail),))


def _may_be_special(segment: str) -> bool:
    """Returns whether some server may read a segment, or a part of it, as one of SPECIAL_SEGMENTS.

    Servers decode once or twice, read `\\` as `/` and cut off `;…`. Some normalize Unicode.
    """
    while (decoded := unquote(segment)) != segment:
        segment = decoded
    parts = re.split(r"[/\\]", unicodedata.normalize("NFKC", segment))
    return any(part.partition(";")[0].strip() in SPECIAL_SEGMENTS for part in parts)
