"""Limits the detection of a language to those that the client named as candidates. Pure."""

from collections.abc import Mapping, Sequence


def among(candidates: Sequence[str], probabilities: Mapping[str, float]) -> Mapping[str, float]:
    """The probability of each candidate, if the speech is certainly in one of them. Without candidates, all of them.

    Returns nothing if all candidates have the probability 0.
    """
    if not candidates:
        return probabilities
    chosen = {language: probabilities.get(language, 0.0) for language in candidates}
    together = sum(chosen.values())
    return {language: probability / together for language, probability in chosen.items()} if together else {}
