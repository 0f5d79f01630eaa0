"""Moonshine as a family of models. It has one model, for English, whose weights are in a wheel."""

from collections.abc import Sequence
from pathlib import Path

from app.process.cores import cores
from app.speech.model import Abilities, Device, DeviceChoice, LoadedText, ModelUnavailable, OnDisk
from app.speech.moonshine import weights
from app.speech.moonshine.weights import INSTALL, NAME

BATCH_SIZE = 4  # that of Whisper on a processor, with which it shares its threads


class MoonshineFamily:
    """A `Family`. Its model runs on the processor, also if other models run on a GPU."""

    def serves(self, name: str) -> bool:
        return name == NAME

    def abilities(self, name: str) -> Abilities:
        return Abilities("moonshine", ("en",), translates=False, prompt=False)

    def check(self, name: str, choice: DeviceChoice) -> None:
        if weights.folder() is None:
            raise ModelUnavailable(f"CALLSCRIBE_MODEL: the model {NAME!r} is not installed: {INSTALL}")

    def load(self, name: str, models_dir: Path, choice: DeviceChoice) -> LoadedText:
        from app.speech.moonshine import model

        return LoadedText(model.load(weights.fetch()), Device("cpu", (0,), cores(), "int8", BATCH_SIZE))

    def bundled(self) -> Sequence[str]:
        return [NAME] if weights.folder() else []

    def downloaded(self, models_dir: Path) -> Sequence[str]:
        return []

    def locate(self, name: str, models_dir: Path) -> Path | None:
        return weights.fetch() if weights.folder() else None

    def examine(self, name: str, models_dir: Path) -> OnDisk | None:
        return weights.examine()

    def fetch(self, name: str, models_dir: Path) -> Path:
        return weights.fetch()
