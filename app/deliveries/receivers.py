"""The URLs of receivers: which are allowed, what their placeholders become, and which bytes are sent for them.

A callback's URL is the operator's or the client's; the values put into it may be anybody's, such as the caller of a
phone system. So a value stays one value: it can neither leave its place in the path nor make the URL grow for ever.
Whether a host may be reached is the network guard's to say.
"""

import re
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import quote, unquote, urlsplit

from app.errors import FieldError, InvalidRequest
from app.network.guard import NetworkGuard, has_unfit_characters

PLACEHOLDERS = ("file_name", "external_id", "id", "status")
PLACEHOLDER = re.compile(r"\{(" + "|".join(PLACEHOLDERS) + r")\}")
MAX_PLACEHOLDERS = 8
MAX_RECEIVERS = 5
MAX_CHARACTERS = 2048
MAX_FILLED_CHARACTERS = 7680  # and its host: less than the guard lets pass
# Of a transcription that has not ended yet: as long as they will be.
TO_COME = {"id": "0" * 36, "status": "completed"}
NOT_SENT = re.compile(r"%(?![0-9A-Fa-f]{2})|[^!#$%&'()*+,\-./0-9:;=?@A-Z\[\]_a-z~]")
STEPS = ("", ".", "..")


def check_callback(url: str) -> str:
    """The URL, if its braces are placeholders we know, after the host. Raises ValueError."""
    known = PLACEHOLDER.sub("", url)
    if "{" in known or "}" in known:
        raise ValueError("knows the placeholders " + ", ".join(f"{{{name}}}" for name in PLACEHOLDERS))
    if "{" in re.split("[/?#]", url.partition("://")[2])[0]:
        raise ValueError("may have placeholders after its host only")
    if len(PLACEHOLDER.findall(url)) > MAX_PLACEHOLDERS:
        raise ValueError(f"may have at most {MAX_PLACEHOLDERS} placeholders")
    return url


def filled(url: str, values: Mapping[str, str]) -> str:
    """A callback URL with its placeholders percent-encoded, `/` and `&` too, so that a value stays one value."""
    return PLACEHOLDER.sub(lambda found: quote(values[found[1]], safe=""), url)


def misplaced(url: str, values: Mapping[str, str]) -> list[str]:
    """The placeholders of a callback URL whose values would change its path: servers resolve `..` and merge `//`."""
    found: dict[str, None] = {}
    for segment in re.split("[?#]", url)[0].split("/"):
        names = PLACEHOLDER.findall(segment)
        if names and _is_step(filled(segment, values)):
            found.update(dict.fromkeys(names))
    return list(found)


def target(url: str) -> bytes:
    """What is sent for a URL: its path and query as they are, but for characters that HTTP cannot carry.

    httpx would resolve dot segments, so that another path was called than the one that was checked and shown.
    """
    host = re.split("[/?#]", url.partition("://")[2])[0]
    rest = url.partition("://")[2][len(host) :].partition("#")[0]
    sent = NOT_SENT.sub(lambda found: quote(found[0], safe=""), rest)
    return (sent if sent.startswith("/") else f"/{sent}").encode("ascii")


def check(url: str) -> str:
    """The URL as given, if it is one; whether it may be called is the network guard's to say. Raises ValueError."""
    if not 0 < len(url) <= MAX_CHARACTERS:
        raise ValueError(f"must have 1 to {MAX_CHARACTERS} characters")
    if has_unfit_characters(url):
        raise ValueError("may hold no spaces, control characters or backslashes")
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.port == 0:
        raise ValueError("must be https://… with a host")
    return url


def as_list(urls: str | Sequence[str] | None) -> list[str] | None:
    """The different URLs among those of a request; None where it says nothing."""
    if urls is None:
        return None
    return [urls] if isinstance(urls, str) else list(dict.fromkeys(urls))


@dataclass(frozen=True)
class Given:
    """What a request gives for placeholders; `file_field` is the field of it that names the recording."""

    file_name: str | None
    external_id: str | None
    file_field: str

    @property
    def values(self) -> Mapping[str, str]:
        return {"file_name": self.file_name or "", "external_id": self.external_id or "", **TO_COME}

    def field_of(self, placeholder: str) -> str:
        return self.file_field if placeholder == "file_name" else placeholder


@dataclass(frozen=True)
class Receivers:
    """Who is told of every transcription that names nobody, and the guard that judges whom a request names."""

    guard: NetworkGuard
    webhook_urls: tuple[str, ...] = ()
    callback_urls: tuple[str, ...] = ()

    def webhooks(self, asked: str | Sequence[str] | None) -> list[str]:
        """Raises UrlNotAllowed."""
        return self._judged("webhook_url", as_list(asked), self.webhook_urls)

    def callbacks(self, asked: str | Sequence[str] | None, given: Given) -> list[str]:
        """With their placeholders. Raises UrlNotAllowed, and InvalidRequest where they cannot be filled in."""
        urls = self._judged("callback_url", as_list(asked), self.callback_urls)
        for url in urls:
            _require_fillable(url, given)
        return urls

    def _judged(self, field: str, asked: list[str] | None, default: tuple[str, ...]) -> list[str]:
        for url in asked or ():
            self.guard.require_allowed(filled(url, dict.fromkeys(PLACEHOLDERS, "")), field=field)
        return list(default) if asked is None else asked


def _require_fillable(url: str, given: Given) -> None:
    if names := misplaced(url, given.values):
        detail = "must have a value that can stand in the path of the callback: not empty, no '.' or '..'"
        errors = tuple(FieldError(given.field_of(name), detail) for name in names)
        raise InvalidRequest("The callback URL cannot be filled in.", errors=errors)
    if len(target(filled(url, given.values))) > MAX_FILLED_CHARACTERS:
        detail = f"has more than {MAX_FILLED_CHARACTERS} characters once its placeholders are filled in"
        raise InvalidRequest("The callback URL gets too long.", errors=(FieldError("callback_url", detail),))


def _is_step(segment: str) -> bool:
    """Whether any server may read a segment, or a part of it, as no segment, as this folder or as the one above.

    Servers decode once or twice, take `\\` for `/`, cut `;…` off, and some normalize Unicode.
    """
    while (decoded := unquote(segment)) != segment:
        segment = decoded
    parts = re.split(r"[/\\]", unicodedata.normalize("NFKC", segment))
    return any(part.partition(";")[0].strip() in STEPS for part in parts)
