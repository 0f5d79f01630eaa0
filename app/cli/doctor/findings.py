"""What a check of `callscribe doctor` answers: whether a part works and, if not, what to do."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any


class Status(StrEnum):
    """`failed`: the service cannot do all of its work. `skipped`: something else has to be put right first."""

    OK = "ok"
    WARNING = "warning"
    FAILED = "failed"
    SKIPPED = "skipped"


@dataclass(frozen=True, slots=True)
class Finding:
    """One answer of a check. `about` names the part if the check has several, such as a model or a bucket.

    `text` says what was found and `advice` what to do. `facts` are numbers and words for programs. None of them may
    hold a secret, because people paste them into reports.
    """

    status: Status
    text: str
    advice: str = ""
    about: str = ""
    facts: Mapping[str, Any] = field(default_factory=dict)


def fine(text: str, *, about: str = "", **facts: Any) -> Finding:
    return Finding(Status.OK, text, about=about, facts=facts)


def warning(text: str, advice: str, *, about: str = "", **facts: Any) -> Finding:
    return Finding(Status.WARNING, text, advice, about, facts)


def failed(text: str, advice: str, *, about: str = "", **facts: Any) -> Finding:
    return Finding(Status.FAILED, text, advice, about, facts)


def skipped(text: str, *, about: str = "") -> Finding:
    return Finding(Status.SKIPPED, text, about=about)
