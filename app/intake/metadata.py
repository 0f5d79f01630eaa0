"""The rules for `metadata`, the JSON object that a client sends with a recording and gets back unchanged; pure."""

import json
from collections.abc import Iterator
from itertools import chain

from pydantic import JsonValue

MAX_METADATA_BYTES = 4096


def checked_metadata(metadata: dict[str, JsonValue]) -> dict[str, JsonValue]:
    """Returns the object. Raises ValueError if it is too large or cannot be stored."""
    text = json.dumps(metadata, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    if len(text.encode()) > MAX_METADATA_BYTES:
        raise ValueError(f"may have at most {MAX_METADATA_BYTES} bytes of JSON")
    if any("\0" in string for string in _strings(metadata)):
        raise ValueError("may not hold NUL characters")
    return metadata


def _strings(value: JsonValue) -> Iterator[str]:
    """Yields every string in a JSON value, including the keys of objects."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, list):
        yield from chain.from_iterable(map(_strings, value))
    elif isinstance(value, dict):
        yield from value
        yield from chain.from_iterable(map(_strings, value.values()))
