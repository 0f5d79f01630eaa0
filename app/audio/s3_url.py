"""`s3://bucket/key`, as it stands in settings and in requests."""

import re
from dataclasses import dataclass
from urllib.parse import unquote, urlsplit

BUCKET = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")


@dataclass(frozen=True, slots=True)
class S3Url:
    """`key` names an object, or is the prefix of many; empty for all of the bucket."""

    bucket: str
    key: str


def parse_s3_url(url: str) -> S3Url:
    """Read an address; what its key holds of `?`, `#` and `%` stands percent-encoded in it. Raises ValueError."""
    parts = urlsplit(url)
    if parts.scheme != "s3" or not BUCKET.fullmatch(parts.netloc):
        raise ValueError("is not s3://bucket/key, with the name of a bucket")
    if parts.query or parts.fragment:
        raise ValueError("holds a ? or #; percent-encode those of the key")
    key = unquote(parts.path).removeprefix("/").removesuffix("/")
    if key and not {"", ".", ".."}.isdisjoint(key.split("/")):
        raise ValueError("has a key with parts that are empty, . or ..")
    return S3Url(parts.netloc, key)
