"""Finds short recordings and their texts in nine languages, which the package pytest-audioeval contains.

This module does not import the package, because the package needs an audio library that nothing else here uses.
"""

from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path


@dataclass(frozen=True)
class Sample:
    """A WAV file and the text that is spoken in it. `language` is an ISO 639-1 code."""

    language: str
    path: Path
    text: str


def samples(language: str | None = None) -> list[Sample]:
    """Returns all samples, or those of one language, in a stable order."""
    return [
        Sample(path.parent.name, path, path.with_suffix(".txt").read_text().strip())
        for path in sorted(_folder().glob(f"{language or '*'}/*.wav"))
    ]


def sample(language: str, name: str) -> Sample:
    """Returns the sample of a language whose file has this name, without the suffix."""
    return next(found for found in samples(language) if found.path.stem == name)


def _folder() -> Path:
    spec = find_spec("pytest_audioeval")
    assert spec
    assert spec.submodule_search_locations
    return Path(spec.submodule_search_locations[0]) / "samples" / "audio"
