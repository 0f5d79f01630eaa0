"""Compares asked options with what the service offers, and fills in what follows from them. Pure."""

import re
from collections.abc import Sequence
from dataclasses import replace

from app.errors import FieldError, InvalidRequest
from app.intake.model_names import ModelNames
from app.speech.model import Abilities
from app.speech.speakers import voices
from app.transcripts.transcript import Options

NO_VOICES = (
    "the operator has not installed the models of voices, as `make speakers` or the image's build argument SPEAKERS=1 "
    "does. Record agent and customer on separate channels and use channels=split instead"
)
_LISTED_ABILITIES = "GET /v1/models lists the abilities of each model"
_LISTED = "GET /v1/models lists the languages of each model"


def options_in_force(asked: Options, models: ModelNames) -> Options:
    """The options in force. If only one language is a candidate, it is the language of the call.

    Raises InvalidRequest for what this service does not offer.
    """
    model = models.resolve(asked.model)
    if model is None:
        raise _refused("The model is not served.", "model", f"must be one of: {models.in_words()}")
    able = models.abilities(model)
    _require_languages(asked, model, able.languages)
    _require_abilities(asked, model, able)
    _require_voices(asked)
    if len(asked.languages) == 1:
        return replace(asked, model=model, language=asked.languages[0], languages=())
    return replace(asked, model=model)


def _require_abilities(asked: Options, model: str, able: Abilities) -> None:
    if found := able.lack(asked):
        field, lack = found
        raise _refused(f"The model {lack}.", field, f"the model {model} {lack}; {_LISTED_ABILITIES}")


def _require_voices(asked: Options) -> None:
    if not asked.diarize:
        return
    if not voices.installed():
        raise _refused("Speakers cannot be told apart by their voices here.", "diarize", f"is not offered: {NO_VOICES}")
    names = asked.channel_labels
    if taken := [name for name in names for label in names if re.fullmatch(f"{re.escape(label)}_[0-9]+", name)]:
        detail = f"holds {taken[0]}, which may be the name of another channel's voice with diarize=true"
        raise _refused("The labels could name two speakers alike.", "channel_labels", detail)


def _require_languages(asked: Options, model: str, known: Sequence[str]) -> None:
    if asked.language is not None and asked.languages:
        detail = "are candidates for a language that the service detects: send either language or languages"
        raise _refused("Send either `language` or `languages`.", "languages", detail)
    if asked.language is not None and asked.language not in known:
        detail = f"is not a language of the model {model}; {_LISTED}"
        raise _refused("The language is not known.", "language", detail)
    if unknown := [language for language in asked.languages if language not in known]:
        detail = f"holds {', '.join(unknown)}, which the model {model} does not know; {_LISTED}"
        raise _refused("A language is not known.", "languages", detail)


def _refused(title: str, field: str, detail: str) -> InvalidRequest:
    return InvalidRequest(title, errors=(FieldError(field, detail),))
