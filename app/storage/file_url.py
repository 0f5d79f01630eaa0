"""Paths as readable `file:///…` URLs: only what a URL or the database cannot hold is percent-encoded. Pure."""

import os
import re
from pathlib import Path
from urllib.parse import unquote_to_bytes

FILE_SCHEME = "file://"
SPECIAL = re.compile(r"[\x00-\x1f\x7f%?#{}\udc80-\udcff]")
SPECIAL_IN_TEMPLATE = re.compile(r"[\x00-\x1f\x7f%?#\udc80-\udcff]")


def file_url(path: Path) -> str:
    """Returns the URL of an absolute path. The bytes of a name that is not UTF-8 are percent-encoded."""
    return FILE_SCHEME + encoded(str(path))


def template_url(path: Path) -> str:
    """Returns the URL of an absolute path with placeholders in braces, which stay as they are."""
    return FILE_SCHEME + encoded(str(path), SPECIAL_IN_TEMPLATE)


def encoded(text: str, special: re.Pattern[str] = SPECIAL) -> str:
    return special.sub(lambda found: "".join(f"%{byte:02X}" for byte in os.fsencode(found[0])), text)


def path_of(url: str) -> Path:
    """Returns the path that `file_url` made the URL from."""
    return Path(os.fsdecode(unquote_to_bytes(url.removeprefix(FILE_SCHEME))))
