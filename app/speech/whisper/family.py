"""Whisper as a family of models. Its libraries are imported only when they are needed, because that is slow."""

from collections.abc import Sequence
from pathlib import Path

from app.speech.model import Abilities, DeviceChoice, LoadedModel, ModelUnavailable, OnDisk
from app.speech.whisper import hub, languages, weights
from app.speech.whisper.examining import examine
from app.speech.whisper.hub import WEIGHTS


class WhisperFamily:
    """All models that faster-whisper can load. A `Family`."""

    def serves(self, name: str) -> bool:
        return True

    def abilities(self, name: str) -> Abilities:
        return Abilities(languages.languages(name), translates=languages.translates(name))

    def check(self, name: str, choice: DeviceChoice) -> None:
        from app.speech.whisper.device import find_device

        find_device(choice)
        try:
            weights.require_known(name)
        except ModelUnavailable as error:
            raise ModelUnavailable(f"CALLSCRIBE_MODEL: {error}") from None

    def load(self, name: str, models_dir: Path, choice: DeviceChoice) -> LoadedModel:
        from app.speech.whisper import recognizing
        from app.speech.whisper.device import find_device, fitted
        from app.speech.whisper.instructions import chosen_instructions

        device = find_device(choice)
        with chosen_instructions():
            model = recognizing.load(weights.fetch(name, models_dir), device, choice.beam_size)
        if len(self.abilities(name).languages) > 1 and len(model.languages) == 1:
            raise ModelUnavailable(
                f"The model {name!r} knows English only: name it by a folder, or a link to one, whose name ends in .en"
            )
        return LoadedModel(model, fitted(device, model.whisper.width))

    def bundled(self) -> Sequence[str]:
        return weights.bundled_models()

    def downloaded(self, models_dir: Path) -> Sequence[str]:
        own = [path.name for path in models_dir.glob("*") if (path / WEIGHTS).is_file()]
        return [*own, *hub.downloaded(models_dir)]

    def locate(self, name: str, models_dir: Path) -> Path | None:
        return weights.locate(name, models_dir)

    def examine(self, name: str, models_dir: Path) -> OnDisk | None:
        return examine(name, models_dir)

    def fetch(self, name: str, models_dir: Path) -> Path:
        return weights.fetch(name, models_dir)
