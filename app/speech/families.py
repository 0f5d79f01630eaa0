"""Which family serves a model's name: a new family is added here, and its code goes beside `whisper/`.

Importing this module is cheap, because a family's libraries are imported when its first model is loaded.
"""

from pathlib import Path
from typing import TYPE_CHECKING

from app.speech.model import Abilities, Model, ModelUnavailable
from app.speech.whisper import languages, weights

if TYPE_CHECKING:
    from app.speech.whisper.device import Device


def abilities(name: str) -> Abilities:
    """What the model can do, as far as its name shows."""
    return Abilities(languages.languages(name), translates=languages.translates(name))


def require_known(name: str) -> None:
    """Raises ModelUnavailable if no family serves the name. Loads nothing."""
    weights.require_known(name)


def load(name: str, models_dir: Path, device: "Device") -> Model:
    """Fetches and loads the model. Blocks; raises ModelUnavailable."""
    from app.speech.whisper import recognizing

    model = recognizing.load(weights.fetch(name, models_dir), device)
    if len(abilities(name).languages) > 1 and len(model.languages) == 1:
        raise ModelUnavailable(
            f"The model {name!r} knows English only: name it by a folder, or a link to one, whose name ends in .en"
        )
    return model
