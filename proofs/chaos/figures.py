"""The figures that a scenario measured, and whether each is what was promised."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True)
class Figure:
    """A row of a scenario's table. `details` are printed below it and say what is not as promised."""

    what: str
    value: float
    promised: str
    kept: bool
    details: Sequence[str] = ()

    @classmethod
    def found(cls, what: str, value: float) -> "Figure":
        """Returns a figure for information. Nothing is promised about it."""
        return cls(what, value, "-", True)

    @classmethod
    def none(cls, what: str, value: float, details: Sequence[str] = ()) -> "Figure":
        return cls(what, value, "0", value == 0, details)

    @classmethod
    def at_least(cls, what: str, value: float, least: float) -> "Figure":
        return cls(what, value, f">= {least:g}", value >= least)

    @classmethod
    def at_most(cls, what: str, value: float, most: float) -> "Figure":
        """Returns a figure that is a time. 0 breaks the promise, because it means that nothing was measured."""
        return cls(what, value, f"<= {most:g}", 0 < value <= most)

    @classmethod
    def within(cls, what: str, value: float, most: float) -> "Figure":
        """Returns a figure that is a growth, which may be 0 or less."""
        return cls(what, value, f"<= {most:g}", value <= most)

    def __str__(self) -> str:
        mark = "ok  " if self.kept else "MISS"
        return "\n    ".join([f"{mark} {self.what}: {self.value:.4g} (promised: {self.promised})", *self.details])


class NotAsPromised(Exception):
    """Says that a promise is broken. It holds the figures of a scenario, of which at least one is not kept."""

    def __init__(self, figures: Sequence[Figure]) -> None:
        super().__init__("not as promised")
        self.figures = figures


def rate(moments: Sequence[datetime]) -> float:
    """Returns the moments per second between the first and the last, or 0 without two different moments."""
    if not moments or (seconds := (max(moments) - min(moments)).total_seconds()) == 0:
        return 0.0
    return (len(moments) - 1) / seconds


def percentile(values: Sequence[float], share: float) -> float:
    """Returns the value that `share` of the values do not exceed, or 0 if there are no values."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else 0.0
