"""Finds the family of a model by the model's name. It is the only module that imports families.

To add a family, put its code beside `whisper/`, and its `Family` into FAMILIES before Whisper. A contract in
pyproject.toml names the folders that only this module imports.
"""

from collections.abc import Iterable, Sequence
from pathlib import Path

from app.speech.endpoints import Endpoint
from app.speech.model import Abilities, DeviceChoice, Ears, Family, LoadedModel, LoadedText, OnDisk
from app.speech.moonshine.family import MoonshineFamily
from app.speech.remote.family import RemoteFamily
from app.speech.whisper import weights
from app.speech.whisper.family import WhisperFamily

WHISPER = WhisperFamily()
FAMILIES: list[Family] = [MoonshineFamily(), WHISPER]
"""They are asked in this order whether a model is theirs. Whisper is last, because it takes every name."""


def default_model() -> str:
    """The model that is served if the operator names none."""
    return weights.default_model()


class Families:
    """All families of models. `endpoints` are the models that other servers run."""

    def __init__(self, endpoints: Sequence[Endpoint] = ()) -> None:
        self._remote = RemoteFamily(endpoints, WHISPER.detectable)

    def _of(self, name: str) -> Family:
        return next(family for family in (self._remote, *FAMILIES) if family.serves(name))

    def abilities(self, name: str) -> Abilities:
        """What the model can do, as far as its name shows."""
        return self._of(name).abilities(name)

    def check(self, name: str, choice: DeviceChoice) -> None:
        """Raises ModelUnavailable if there is no such model, or if this machine lacks the device. Loads nothing."""
        self._of(name).check(name, choice)

    def load(self, names: Iterable[str], models_dir: Path, choice: DeviceChoice) -> dict[str, LoadedModel]:
        """Fetches, checks, loads and warms up models. Blocks. Raises ModelUnavailable.

        If a model only writes text, a Whisper model is loaded to help it.
        """
        loaded = {name: self._of(name).load(name, models_dir, choice) for name in names}
        ready = {name: each for name, each in loaded.items() if isinstance(each, LoadedModel)}
        texts = {name: each for name, each in loaded.items() if isinstance(each, LoadedText)}
        if texts:
            whisper = [name for name in loaded if self._of(name) is WHISPER]
            ears = WHISPER.ears(whisper, models_dir, choice)
            ready |= {name: _with_ears(each, ears) for name, each in texts.items()}
        return {name: ready[name] for name in loaded}

    def trial(self, name: str) -> str | None:
        """Tries a model of another server. Returns why it cannot be used, or None. Blocks."""
        return self._remote.trial(name)

    def bundled(self) -> list[str]:
        """The names of the models that are installed as packages."""
        return [name for family in FAMILIES for name in family.bundled()]

    def downloaded(self, models_dir: Path) -> list[str]:
        """The names of the models in `models_dir`."""
        return [name for family in FAMILIES for name in family.downloaded(models_dir)]

    def locate(self, name: str, models_dir: Path) -> Path | None:
        """The folder of a model that needs no download, or None. Raises ModelUnavailable if its files are damaged."""
        return self._of(name).locate(name, models_dir)

    def examine(self, name: str, models_dir: Path) -> OnDisk | None:
        """Reads all files of a model that needs no download, and compares their hashes. None if it needs one."""
        return self._of(name).examine(name, models_dir)

    def fetch(self, name: str, models_dir: Path) -> Path:
        """The folder of a model, downloaded into `models_dir` if it is not on disk. Raises ModelUnavailable."""
        return self._of(name).fetch(name, models_dir)


def _with_ears(loaded: LoadedText, ears: Ears) -> LoadedModel:
    from app.speech.timed_text import TimedText

    return LoadedModel(TimedText(loaded.model, ears), loaded.device, loaded.trouble, loaded.close)
