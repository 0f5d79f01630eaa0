"""Finds the files that installed packages bring, and tells by their hash whether they are what was published."""

import hashlib
from importlib.util import find_spec
from pathlib import Path


def package_folder(name: str) -> Path | None:
    """The folder of an installed package, or None. Finds it without running the package's code."""
    spec = find_spec(name)
    return None if spec is None or spec.origin is None else Path(spec.origin).parent


def sha256_of(path: Path) -> str:
    """The SHA-256 of a file, in hex. Reads all of it. Raises OSError."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
