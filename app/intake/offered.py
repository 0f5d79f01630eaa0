"""Compares asked options with what the service offers, and fills in what follows from them. Pure."""

from dataclasses import replace

from app.errors import FieldError, InvalidRequest
from app.intake.model_names import ModelNames
from app.speech.families import abilities
from app.transcripts.transcript import Options

_LISTED = "GET /v1/models lists the languages of each model"


def options_in_force(asked: Options, models: ModelNames) -> Options:
    """The options in force. If only one language is a candidate, it is the language of the call.

    Raises InvalidRequest for what this service does not offer.
    """
    model = models.resolve(asked.model)
    if model is None:
        raise _refused("The model is not served.", "model", f"must be one of: {models.in_words()}")
    _require_languages(asked, model)
    if asked.task == "translate" and not abilities(model).translates:
        raise _refused("The model cannot translate.", "task", f"the model {model} was not trained to translate")
    if len(asked.languages) == 1:
        return replace(asked, model=model, language=asked.languages[0], languages=())
    return replace(asked, model=model)


def _require_languages(asked: Options, model: str) -> None:
    known = abilities(model).languages
    if asked.language is not None and asked.languages:
        detail = "are candidates for a language that the service detects: send either language or languages"
        raise _refused("The language is both named and to be detected.", "languages", detail)
    if asked.language is not None and asked.language not in known:
        detail = f"is not a language of the model {model}; {_LISTED}"
        raise _refused("The language is not known.", "language", detail)
    if unknown := [language for language in asked.languages if language not in known]:
        detail = f"holds {', '.join(unknown)}, which the model {model} does not know; {_LISTED}"
        raise _refused("A language is not known.", "languages", detail)


def _refused(title: str, field: str, detail: str) -> InvalidRequest:
    return InvalidRequest(title, errors=(FieldError(field, detail),))
