"""Says by how much two contenders differ in accuracy, and how sure that is."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from proofs.bench.calls import Call
from proofs.bench.scoring import Heard, errors

RESAMPLES = 10_000
SEED = 18
HARDLY_KNOWN = frozenset({"hi", "ja", "pl", "zh"})
"""Languages that the model `base` hardly knows. In them, contenders make about as many errors as there are words."""


@dataclass(frozen=True)
class Difference:
    """The word error rate of one contender minus that of another on the same calls, as shares from 0 to 1.

    In 95 % of the resamples, the difference is between `lowest` and `highest`. So if 0 is between them, chance may
    explain the difference.
    """

    first: str
    second: str
    condition: str
    calls: int
    first_rate: float
    second_rate: float
    lowest: float
    highest: float


def well_known(calls: Sequence[Call]) -> list[Call]:
    return [call for call in calls if call.language not in HARDLY_KNOWN]


def differences(calls: Sequence[Call], first: tuple[str, Heard], second: tuple[str, Heard]) -> list[Difference]:
    """Compares two contenders by condition, with and without the languages that the model hardly knows."""
    groups = {"all": list(calls)}
    groups |= {
        name: [call for call in calls if call.condition == name] for name in sorted({c.condition for c in calls})
    }
    groups |= {f"{name}, languages that base knows": well_known(group) for name, group in groups.items()}
    compared = (difference(name, group, first, second) for name, group in groups.items())
    return [each for each in compared if each]


def difference(
    condition: str, calls: Sequence[Call], first: tuple[str, Heard], second: tuple[str, Heard]
) -> Difference | None:
    """Draws the calls anew, each with the errors of both contenders. None if no call has a reference text."""
    counted = [(errors(call, first[1]), errors(call, second[1])) for call in calls]
    table = np.array([(one.errors, other.errors, one.words) for one, other in counted if one.words], float)
    if not len(table):
        return None
    drawn = np.random.default_rng(SEED).integers(len(table), size=(RESAMPLES, len(table)))
    sums = table[drawn].sum(axis=1)
    lowest, highest = np.quantile((sums[:, 0] - sums[:, 1]) / sums[:, 2], (0.025, 0.975))
    of_first, of_second, words = table.sum(axis=0)
    rates = float(of_first / words), float(of_second / words)
    return Difference(first[0], second[0], condition, len(table), *rates, float(lowest), float(highest))
