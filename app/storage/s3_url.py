"""Parses `s3://bucket/key`, as settings and requests have it."""

import re
from dataclasses import dataclass
from urllib.parse import unquote, urlsplit

CONTROL_CHARACTERS = re.compile(r"[\x00-\x1f\x7f]")  # not part of an object's name, and removed by urlsplit
BUCKET = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")


@dataclass(frozen=True, slots=True)
class S3Url:
    """A place in a bucket. `key` is the name of an object or a prefix of names. It is empty for the whole bucket."""

    bucket: str
    key: str


def parse_s3_url(url: str) -> S3Url:
    """Parse an address. In its key, `?`, `#` and `%` have to be percent-encoded.

    Raises ValueError, whose text continues a sentence that begins with the address: "has a key that is not UTF-8".
    """
    parts = urlsplit(url)
    if parts.scheme != "s3":
        raise ValueError("does not begin with s3://")
    if not BUCKET.fullmatch(parts.netloc):
        raise ValueError("has no valid name of a bucket: 3 to 63 of a-z, 0-9, . and -, no . or - at either end")
    if parts.query or parts.fragment:
        raise ValueError("holds a ? or #; percent-encode those of the key")
    try:
        key = unquote(parts.path, errors="strict").removeprefix("/")
        key.encode()
    except UnicodeError:
        raise ValueError("has a key that is not UTF-8") from None
    if CONTROL_CHARACTERS.search(url + key):
        raise ValueError("has a key with control characters")
    if not {".", ".."}.isdisjoint(key.split("/")):
        raise ValueError("has a key with parts that are . or ..")
    return S3Url(parts.netloc, key)


def parse_s3_place(url: str) -> S3Url:
    """Parse an address under which objects are written. It may end in a slash. Raises ValueError as `parse_s3_url`."""
    place = parse_s3_url(url)
    key = place.key.removesuffix("/")
    if key and "" in key.split("/"):
        raise ValueError("has a key with parts that are empty")
    return S3Url(place.bucket, key)
