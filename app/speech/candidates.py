"""Decides which languages a window may be in, within the client's candidates, and where they change. Pure."""

from collections.abc import Iterable, Mapping, Sequence

# A window may have a language of its own if it is long and clear. Short ones are often taken for another language.
OWN_LANGUAGE_PROBABILITY = 0.9
OWN_LANGUAGE_SECONDS = 5

# The language changes inside a window if another one is this many times likelier than the language before it.
CHANGE_FACTOR = 10


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


def sure_languages(stretches: Iterable[Mapping[str, float]]) -> set[str]:
    """The languages that are clear in at least one stretch."""
    return {
        language
        for possible in stretches
        for language, probability in possible.items()
        if probability >= OWN_LANGUAGE_PROBABILITY
    }


def changes(stretches: Sequence[Mapping[str, float]], before: str, known: Iterable[str]) -> list[tuple[int, str]]:
    """Where the language changes: the index of the first stretch in another language, and that language.

    `before` is the language before the first stretch, and `known` are the languages that the channel may be in. Each
    stretch is what `among` returned for it.
    """
    possible = sorted({before, *known})
    found, now = [], before
    for index, probabilities in enumerate(stretches):
        likeliest = max(possible, key=lambda language: probabilities.get(language, 0.0))
        if probabilities.get(likeliest, 0.0) > CHANGE_FACTOR * probabilities.get(now, 0.0):
            found.append((index, likeliest))
            now = likeliest
    return found
