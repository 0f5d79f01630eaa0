"""Whisper as a family of models. Its libraries are imported only when they are needed, because that is slow."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from app.speech.model import Abilities, DeviceChoice, Ears, LoadedModel, ModelUnavailable, OnDisk
from app.speech.whisper import hub, languages, weights
from app.speech.whisper.examining import examine
from app.speech.whisper.hub import WEIGHTS

if TYPE_CHECKING:
    from app.speech.whisper.recognizing import WhisperRecognizer


class WhisperFamily:
    """All models that faster-whisper can load. A `Family`."""

    detectable = languages.MULTILINGUAL
    """The languages that every multilingual model of Whisper knows."""

    def serves(self, name: str) -> bool:
        return True

    def abilities(self, name: str) -> Abilities:
        return Abilities("whisper", languages.languages(name), translates=languages.translates(name))

    def check(self, name: str, choice: DeviceChoice) -> None:
        from app.speech.whisper.device import find_device

        find_device(choice)
        try:
            weights.require_known(name)
        except ModelUnavailable as error:
            raise ModelUnavailable(f"CALLSCRIBE_MODEL: {error}") from None

    def load(self, name: str, models_dir: Path, choice: DeviceChoice) -> LoadedModel:
        from app.speech.whisper.device import fitted

        model = self._recognizer(name, models_dir, choice)
        if len(self.abilities(name).languages) > 1 and len(model.languages) == 1:
            raise ModelUnavailable(
                f"The model {name!r} knows English only: name it by a folder, or a link to one, whose name ends in .en"
            )
        return LoadedModel(model, fitted(model.whisper.device, model.whisper.width))

    def _recognizer(self, name: str, models_dir: Path, choice: DeviceChoice) -> "WhisperRecognizer":
        from app.speech.whisper import recognizing
        from app.speech.whisper.device import find_device
        from app.speech.whisper.instructions import chosen_instructions

        with chosen_instructions():
            return recognizing.load(weights.fetch(name, models_dir), find_device(choice), choice.beam_size)

    def ears(self, served: Sequence[str], models_dir: Path, choice: DeviceChoice) -> Ears:
        """Loads the model that helps models of other families, if it is not loaded. Blocks. Raises ModelUnavailable.

        It is `base` if that is bundled, because it is small and hears well enough. Otherwise it is a served model.
        """
        from app.speech.whisper.ears import WhisperEars

        default = weights.default_model()
        name = default
        if default not in weights.bundled_models():
            name = next((each for each in served if len(self.abilities(each).languages) > 1), default)
        return WhisperEars(self._recognizer(name, models_dir, choice))

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
