"""What a scenario found, beside what was promised."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True)
class Figure:
    """A row of a scenario's table; `details` are lines that tell what is not as promised."""

    what: str
    value: float
    promised: str
    kept: bool
    details: Sequence[str] = ()

    @classmethod
    def found(cls, what: str, value: float) -> "Figure":
        """Something to know, of which nothing is promised."""
        return cls(what, value, "-", True)

    @classmethod
    def none(cls, what: str, value: float, details: Sequence[str] = ()) -> "Figure":
        return cls(what, value, "0", value == 0, details)

    @classmethod
    def at_least(cls, what: str, value: float, least: float) -> "Figure":
        return cls(what, value, f">= {least:g}", value >= least)

    @classmethod
    def at_most(cls, what: str, value: float, most: float) -> "Figure":
        """Of times: where there is none, nothing was measured."""
        return cls(what, value, f"<= {most:g}", 0 < value <= most)

    @classmethod
    def within(cls, what: str, value: float, most: float) -> "Figure":
        """Of growth, which may be none."""
        return cls(what, value, f"<= {most:g}", value <= most)

    def __str__(self) -> str:
        mark = "ok  " if self.kept else "MISS"
        return "\n    ".join([f"{mark} {self.what}: {self.value:.4g} (promised: {self.promised})", *self.details])


class NotAsPromised(Exception):
    """A scenario's figures, of which at least one is not kept."""

    def __init__(self, figures: Sequence[Figure]) -> None:
        super().__init__("not as promised")
        self.figures = figures


def rate(moments: Sequence[datetime]) -> float:
    """How many a second, from the first to the last; 0 where these are not two."""
    if not moments or (seconds := (max(moments) - min(moments)).total_seconds()) == 0:
        return 0.0
    return (len(moments) - 1) / seconds


def percentile(values: Sequence[float], share: float) -> float:
    """The value below which that share of them lies; 0 of none."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else 0.0
