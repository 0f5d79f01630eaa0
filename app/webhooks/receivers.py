"""The URLs that receivers are told at: which are allowed, and what is put in for their placeholders."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import quote, urlsplit

from app.network import NetworkGuard, has_unfit_characters

PLACEHOLDERS = ("file_name", "external_id", "id", "status")
PLACEHOLDER = re.compile(r"\{(" + "|".join(PLACEHOLDERS) + r")\}")
MAX_RECEIVERS = 5
MAX_CHARACTERS = 2048


def check_callback(url: str) -> str:
    """The URL, if its braces are placeholders we know, after the host. Raises ValueError."""
    known = PLACEHOLDER.sub("", url)
    if "{" in known or "}" in known:
        raise ValueError("knows the placeholders " + ", ".join(f"{{{name}}}" for name in PLACEHOLDERS))
    if "{" in url.partition("://")[2].partition("/")[0].partition("?")[0]:
        raise ValueError("may have placeholders after its host only")
    return url


def filled(url: str, values: Mapping[str, str]) -> str:
    """A callback URL with its placeholders percent-encoded, `/` and `&` too, so that a value stays one value."""
    return PLACEHOLDER.sub(lambda found: quote(values[found[1]], safe=""), url)


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
class Receivers:
    """Who is told of every transcription that names nobody, and the guard that judges whom a request names."""

    guard: NetworkGuard
    webhook_urls: tuple[str, ...] = ()
    callback_urls: tuple[str, ...] = ()

    def webhooks(self, asked: str | Sequence[str] | None) -> list[str]:
        """Raises UrlNotAllowed."""
        return self._judged("webhook_url", as_list(asked), self.webhook_urls)

    def callbacks(self, asked: str | Sequence[str] | None) -> list[str]:
        """With their placeholders. Raises UrlNotAllowed."""
        return self._judged("callback_url", as_list(asked), self.callback_urls)

    def _judged(self, field: str, asked: list[str] | None, default: tuple[str, ...]) -> list[str]:
        for url in asked or ():
            self.guard.require_allowed(filled(url, dict.fromkeys(PLACEHOLDERS, "")), field=field)
        return list(default) if asked is None else asked
