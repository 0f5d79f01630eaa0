"""The patterns that text fields must match, and plain words for each rule that a value can break.

It exists so that clients and operators never have to read a regular expression or a message of a library.
"""

import difflib
import re
from collections.abc import Iterable, Mapping
from typing import Any

NO_NUL = r"^[^\u0000]*$"  # Postgres stores no NUL in text
RECORDING_URL = r"^[A-Za-z][A-Za-z0-9+.-]*://[^\u0000]+$"

ONE, MANY = "<one>", "<many>"  # in pydantic's errors, the branches of a union; our texts leave them out
OF_BRANCHES = frozenset({ONE, MANY, "<category>", "<fact>", "<model>"})

OF_PATTERNS: Mapping[str, str] = {
    NO_NUL: "may not hold NUL characters",
    RECORDING_URL: "must be a URL such as https://host/call.wav or s3://bucket/key",
}
OF_ERRORS: Mapping[str, str] = {
    "extra_forbidden": "is not a field of this request",
    "list_type": "must be a list",
    "dict_type": "must be a JSON object",
    "model_type": "must be a JSON object",
    "model_attributes_type": "must be a JSON object",
    "missing": "is missing",
    "string_type": "must be text",
    "uuid_parsing": "must be a UUID",
    "bool_parsing": "must be true or false",
    "int_parsing": "must be a whole number",
    "float_parsing": "must be a number",
    "byte_size": "must be a size such as 500MB or 1GiB",
    "byte_size_unit": "must be a size such as 500MB or 1GiB",
}


def of_disk(error: OSError) -> str:
    """Returns why a folder or file cannot be used. The text follows its path."""
    if isinstance(error, FileExistsError | NotADirectoryError):
        return "there is a file where a folder is needed"
    return error.strerror or type(error).__name__


def in_words(error: Mapping[str, Any]) -> str:
    """Returns what is wrong with a value, from an entry of pydantic's `errors()`. The text continues a field's name."""
    words = OF_PATTERNS.get(error.get("ctx", {}).get("pattern", "")) or OF_ERRORS.get(error["type"])
    return words or of_pydantic(str(error["msg"]))


def of_pydantic(message: str) -> str:
    """Returns a message of pydantic without its own words. The text continues a field's name."""
    return re.sub(r"^\w+ should ", "must ", message).removeprefix("Value error, ").replace(" after validation", "")


def of_count(number: float, one: str, many: str) -> str:
    """Returns the number with what is counted, such as `1 waiting call` and `2 waiting calls`."""
    return f"{number if isinstance(number, int) else f'{number:g}'} {one if number == 1 else many}"


def suggestion(name: str, known: Iterable[str], *, prefix: str = "") -> str:
    """Returns `; did you mean NEAR?` with the most similar known name, or an empty text if no name is similar."""
    near = difflib.get_close_matches(name, list(known), n=1, cutoff=0.7)
    return f"; did you mean {prefix}{near[0]}?" if near else ""
