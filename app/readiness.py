"""Can the service work? Each part's check, asked once a second at most however many want to know.

An answer is for strangers too: what they may read is told apart from what only operators may. It knows no HTTP.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from math import inf

import structlog

KEPT_SECONDS = 1.0
CHECK_SECONDS = 5.0
UNUSABLE = "cannot be used"
SILENT = "does not answer"

log = structlog.stdlib.get_logger("callscribe.operations")


class NotReady(Exception):
    """Raised by a check whose part cannot be used. `reason` is for everybody, `details` for operators."""

    def __init__(self, reason: str, details: str | None = None) -> None:
        super().__init__(details or reason)
        self.reason, self.details = reason, details or reason


class Doubtful(NotReady):
    """Raised by a check whose part works and should be looked at."""


@dataclass(frozen=True)
class Finding:
    part: str
    reason: str
    details: str

    def shown(self, *, details: bool) -> str:
        return f"{self.part}: {self.details if details else self.reason}"


@dataclass(frozen=True)
class Findings:
    """`reasons` tell what cannot be used; `warnings` what works and should be looked at."""

    reasons: Sequence[Finding] = ()
    warnings: Sequence[Finding] = ()


class Check:
    """One check of one part, never begun again while it runs: a hung disk takes one thread, not one a request."""

    def __init__(self, part: str, check: Callable[[], Awaitable[None]]) -> None:
        self._part = part
        self._check = check
        self._running: asyncio.Task[Finding | None] | None = None

    async def finding(self) -> Finding | None:
        """None where all is well."""
        if self._running is None:
            self._running = asyncio.create_task(self._find())
        done, _ = await asyncio.wait({self._running}, timeout=CHECK_SECONDS)
        if not done:
            return Finding(self._part, SILENT, f"{SILENT} for {CHECK_SECONDS:g} s")
        finding, self._running = self._running.result(), None
        return finding

    async def _find(self) -> Finding | None:
        try:
            await self._check()
        except NotReady as error:
            return Finding(self._part, error.reason, error.details)
        except Exception as error:  # noqa: BLE001  whatever it is, the part cannot be used
            return Finding(self._part, UNUSABLE, type(error).__name__)
        return None


Checks = Mapping[str, Callable[[], Awaitable[None]]]


class Readiness:
    """What has to work before traffic is welcome, and what only should: a name and a check that raises, each."""

    def __init__(self, checks: Checks, doubts: Checks | None = None) -> None:
        self._checks = [Check(part, check) for part, check in checks.items()]
        self._doubts = [Check(part, check) for part, check in (doubts or {}).items()]
        self._kept, self._kept_at = Findings(), -inf
        self._looking: asyncio.Task[Findings] | None = None

    async def findings(self) -> Findings:
        """As they were a second ago at most. One look serves all who ask meanwhile."""
        if time.monotonic() - self._kept_at < KEPT_SECONDS:
            return self._kept
        if self._looking is None or self._looking.done():
            self._looking = asyncio.create_task(self._look())
        return await asyncio.shield(self._looking)

    async def _look(self) -> Findings:
        reasons = await _found(self._checks)
        findings = Findings(reasons, () if reasons else await _found(self._doubts))
        if findings != self._kept:
            log.info(
                "readiness changed",
                reasons=[finding.shown(details=True) for finding in findings.reasons],
                warnings=[finding.shown(details=True) for finding in findings.warnings],
            )
        self._kept, self._kept_at = findings, time.monotonic()
        return findings


async def _found(checks: Sequence[Check]) -> Sequence[Finding]:
    found = await asyncio.gather(*(check.finding() for check in checks))
    return tuple(finding for finding in found if finding is not None)
