"""Finds the family of a model by the model's name. It is the only module that imports families.

To add a family, put its code beside `whisper/`, and its `Family` into FAMILIES before Whisper. A contract in
pyproject.toml names the folders that only this module imports.
"""

from pathlib import Path

from app.speech.model import Abilities, DeviceChoice, Family, LoadedModel, OnDisk
from app.speech.whisper import weights
from app.speech.whisper.family import WhisperFamily

FAMILIES: list[Family] = [WhisperFamily()]
"""They are asked in this order whether a model is theirs. Whisper is last, because it takes every name."""


def _family_of(name: str) -> Family:
    return next(family for family in FAMILIES if family.serves(name))


def default_model() -> str:
    """The model that is served if the operator names none."""
    return weights.default_model()


def abilities(name: str) -> Abilities:
    """What the model can do, as far as its name shows."""
    return _family_of(name).abilities(name)


def check(name: str, choice: DeviceChoice) -> None:
    """Raises ModelUnavailable if there is no such model, or if this machine lacks the device. Loads nothing."""
    _family_of(name).check(name, choice)


def load(name: str, models_dir: Path, choice: DeviceChoice) -> LoadedModel:
    """Fetches, checks, loads and warms up a model. Blocks. Raises ModelUnavailable."""
    return _family_of(name).load(name, models_dir, choice)


def bundled_models() -> list[str]:
    """The names of the models that are installed as packages."""
    return [name for family in FAMILIES for name in family.bundled()]


def downloaded_models(models_dir: Path) -> list[str]:
    """The names of the models in `models_dir`."""
    return [name for family in FAMILIES for name in family.downloaded(models_dir)]


def locate(name: str, models_dir: Path) -> Path | None:
    """The folder of a model that needs no download, or None. Raises ModelUnavailable if its files are damaged."""
    return _family_of(name).locate(name, models_dir)


def examine(name: str, models_dir: Path) -> OnDisk | None:
    """Reads all files of a model that needs no download, and compares their hashes. None if it needs one."""
    return _family_of(name).examine(name, models_dir)


def fetch(name: str, models_dir: Path) -> Path:
    """The folder of a model, downloaded into `models_dir` if it is not on disk. Raises ModelUnavailable."""
    return _family_of(name).fetch(name, models_dir)
