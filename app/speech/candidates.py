"""Decides which languages a window may be in: limits them to the client's candidates. Pure."""

from collections.abc import Mapping, Sequence

# A window may have a language of its own if it is long and clear. Short ones are often taken for another language.
OWN_LANGUAGE_PROBABILITY = 0.9
OWN_LANGUAGE_SECONDS = 5


def among(candidates: Sequence[str], probabilities: Mapping[str, float]) -> Mapping[str, float]:
    """The probability of each candidate, if the speech is certainly in one of them. Without candidates, all of them.

    Returns nothing if all candidates have the probability 0.
    """
    if not candidates:
        return probabilities
    chosen = {language: probabilities.get(language, 0.0) for language in candidates}
    together = sum(chosen.values())
    return {language: probability / together for language, probability in chosen.items()} if together else {}


def own_language(possible: Mapping[str, float], seconds: float) -> str | None:
    """The language of a window with `seconds` of speech, whatever the language of its channel; None if it is not clear.

    `possible` is what `among` returned for the window.
    """
    language, probability = max(possible.items(), key=lambda item: item[1], default=("", 0.0))
    return language if seconds >= OWN_LANGUAGE_SECONDS and probability >= OWN_LANGUAGE_PROBABILITY else None
