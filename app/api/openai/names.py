"""The names by which clients of OpenAI ask for a model. Pure.

Many clients send one of OpenAI's names and cannot be changed, so each of these names means the default model. A served
model or an alias of the operator comes first if it has the same name. They hold only on the routes that are shaped like
OpenAI's, because elsewhere a client that asks for an unknown model should learn of it.
"""

from app.errors import ModelNotFound
from app.intake.model_names import ModelNames

OPENAI_NAMES = (
    "whisper-1",
    "gpt-4o-transcribe",
    "gpt-4o-mini-transcribe",
    "gpt-transcribe",
    "gpt-4o-transcribe-diarize",
)
LONGEST_SHOWN_NAME = 255


def names_of(models: ModelNames) -> list[str]:
    """Every name that `model_named` knows: served models, then the operator's aliases, then OpenAI's names."""
    return list(dict.fromkeys((*models.served, *models.aliases, *OPENAI_NAMES)))


def model_named(models: ModelNames, name: str) -> str:
    """The served model that a client of OpenAI means. An empty name means the default. Raises ModelNotFound."""
    model = models.resolve(name)
    if model is not None:
        return model
    if name in OPENAI_NAMES:
        return models.default
    shown = name[:LONGEST_SHOWN_NAME]
    raise ModelNotFound(f"There is no model {shown!r}. Use one of: {', '.join(names_of(models))}.")
