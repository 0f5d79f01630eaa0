"""Chooses the format of a transcript, by the `format` parameter or the `Accept` header (RFC 9110, section 12.5.1)."""

import re
from collections.abc import Iterator, Sequence
from typing import Protocol, TypeVar

from app.errors import NotAcceptable
from app.transcripts.formats import Format

# The grammar of the RFC, for a header in lower case.
_MEDIA_RANGE = re.compile(r"\s*([^\s/;]+/[^\s/;]+)\s*(;.*)?")
_QUALITY_PARAMETER = re.compile(r";\s*q\s*=\s*([^;\s]*)")
_QUALITY = re.compile(r"0(\.\d{0,3})?|1(\.0{0,3})?")


def choose_format(named: Format | None, accept: str | None) -> Format:
    """Returns the format that the parameter named, or else the one that the `Accept` header asks for.

    Raises NotAcceptable if the client accepts none of the formats.
    """
    found = named or negotiate(accept)
    if found is None:
        offered = ", ".join(sorted({each.media_type for each in Format}))
        raise NotAcceptable(f"The transcript is available with these media types: {offered}.")
    return found


def negotiate(accept: str | None) -> Format | None:
    """Returns the format that an `Accept` header asks for: JSON if there is no header, None if no format is acceptable.

    `whisper` is never chosen here, because its media type is that of `json`.
    """
    return preferred(accept, [each for each in Format if each is not Format.WHISPER])


class Offered(Protocol):
    """A format that an answer may have."""

    @property
    def media_type(self) -> str: ...


Offer = TypeVar("Offer", bound=Offered)


def preferred(accept: str | None, offered: Sequence[Offer]) -> Offer | None:
    """Returns what an `Accept` header asks for: the first one if there is no header, None if none is acceptable.

    The highest quality wins, then the more specific range, then the order of `offered`. Malformed ranges and parameters
    other than `q` are ignored.
    """
    if accept is None or not accept.strip():
        return offered[0]
    ranges = dict(_media_ranges(accept))
    offers = [(*_preference(each.media_type, ranges), each) for each in offered]
    quality, _, best = max(offers, key=lambda offer: offer[:2])
    return best if quality > 0 else None


def _media_ranges(accept: str) -> Iterator[tuple[str, float]]:
    for item in accept.lower().split(","):
        if media_range := _MEDIA_RANGE.fullmatch(item):
            parameter = _QUALITY_PARAMETER.search(media_range[2] or "")
            quality = parameter[1] if parameter else "1"
            if _QUALITY.fullmatch(quality):
                yield media_range[1], float(quality)


def _preference(media_type: str, ranges: dict[str, float]) -> tuple[float, int]:
    """Returns the quality that the most specific range gives a media type, and how specific that range is."""
    candidates = ("*/*", f"{media_type.partition('/')[0]}/*", media_type)
    covering = [(specificity, name) for specificity, name in enumerate(candidates) if name in ranges]
    specificity, name = max(covering, default=(0, ""))
    return ranges.get(name, 0.0), specificity
