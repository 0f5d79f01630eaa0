"""Checks whether each part of the service can be used.

A load balancer asks for this, so that it sends requests only to a process that can answer them. The checks run when a
client asks, at most once a second however many clients ask. Strangers may ask too, so a finding keeps what everybody
may read apart from what only operators may read.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass

import structlog

from app.control.pausable import Pausable
from app.control.presence import Presence
from app.control.switches import Switches
from app.database.connections import Database
from app.deliveries import outputs_of_events
from app.deliveries.models import Style
from app.errors import InsufficientStorage
from app.intake.folder.watching import FolderWatch
from app.intake.intake import Intake
from app.jobs.claims import queue
from app.jobs.worker.runner import JobRunner
from app.network.redis_server import RedisServer
from app.process.kept import Kept
from app.speech.engine import Engine
from app.storage.disk import FreeSpace
from app.storage.folder_store import LocalAudioStore
from app.storage.store import AudioStore, StoreUnavailable
from app.storage.workspace import Workspace

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
    """Raised by a check whose part works, but needs an operator's attention."""


@dataclass(frozen=True)
class Finding:
    part: str
    reason: str
    details: str

    def shown(self, *, details: bool) -> str:
        return f"{self.part}: {self.details if details else self.reason}"


@dataclass(frozen=True)
class Findings:
    """`reasons` name parts that cannot be used. `warnings` name parts that work, but need an operator's attention."""

    reasons: Sequence[Finding] = ()
    warnings: Sequence[Finding] = ()


class Check:
    """One check of one part. It never runs twice at the same time, so that a hung disk takes only one thread."""

    def __init__(self, part: str, check: Callable[[], Awaitable[None]]) -> None:
        self._part = part
        self._check = check
        self._running: asyncio.Task[Finding | None] | None = None

    async def finding(self) -> Finding | None:
        """None if the part can be used."""
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
        except Exception as error:  # noqa: BLE001  after any error the part cannot be used
            return Finding(self._part, UNUSABLE, type(error).__name__)
        return None


Checks = Mapping[str, Callable[[], Awaitable[None]]]


class Readiness:
    """`checks` must pass before the service takes requests; `doubts` only warn. Each is a part's name and a check."""

    def __init__(self, checks: Checks, doubts: Checks | None = None) -> None:
        self._checks = [Check(part, check) for part, check in checks.items()]
        self._doubts = [Check(part, check) for part, check in (doubts or {}).items()]
        self._last = Findings()
        self._findings = Kept(KEPT_SECONDS, self._look)

    async def findings(self) -> Findings:
        """The findings, at most a second old. Clients that ask while the checks run share their result."""
        return await self._findings.value()

    async def _look(self) -> Findings:
        reasons = await _found(self._checks)
        findings = Findings(reasons, () if reasons else await _found(self._doubts))
        if findings != self._last:
            log.info(
                "readiness changed",
                reasons=[finding.shown(details=True) for finding in findings.reasons],
                warnings=[finding.shown(details=True) for finding in findings.warnings],
            )
        self._last = findings
        return findings


async def _found(checks: Sequence[Check]) -> Sequence[Finding]:
    found = await asyncio.gather(*(check.finding() for check in checks))
    return tuple(finding for finding in found if finding is not None)


Troubles = Callable[[], Mapping[str, str]]
"""Why models cannot be used at the moment, by their names."""
STARTING = Findings((Finding("service", "starting: waits for the database", "starting: waits for the database"),))


async def not_stopping(intake: Intake) -> None:
    if intake.closed:
        raise NotReady("stopping")


async def models_loaded(engine: Engine | None) -> None:
    if engine is not None and not engine.ready:
        raise NotReady("loading")


async def storage_usable(store: AudioStore, free_space: FreeSpace, least_free: str) -> None:
    try:
        await store.check()
        await free_space.require()
    except StoreUnavailable as error:
        raise NotReady(UNUSABLE, str(error)) from error
    except InsufficientStorage:
        raise NotReady("full", f"less than {least_free} free") from None


async def workspace_usable(workspace: Workspace, runner: JobRunner | None) -> None:
    try:
        await workspace.check()
    except OSError as error:
        raise NotReady(UNUSABLE, str(error)) from error
    if runner is not None and (trouble := runner.fitness.trouble) is not None:
        raise NotReady(UNUSABLE, trouble)


async def one_machine(store: AudioStore, database: Database) -> None:
    machines = await database.machines() if isinstance(store, LocalAudioStore) else set()
    if len(machines) > 1:
        shared = "a folder, which has to be shared by"
        raise Doubtful(f"{shared} several machines", f"{shared} {', '.join(sorted(machines))}")


async def not_paused(switches: Switches, what: Pausable) -> None:
    if (pause := switches.pause_of(what)) is not None:
        raise Doubtful("paused", pause.in_words())


async def not_drained(presence: Presence) -> None:
    if presence.drain is not None:
        raise Doubtful("drained", presence.drain)


async def workers_at_work(database: Database, switches: Switches, troubles: Troubles) -> None:
    if switches.pause_of(Pausable.CLAIMS) is not None:
        return
    async with database.transaction() as session:
        if await queue.is_untended(session, list(troubles())):
            raise Doubtful("some have been waiting for a minute, and none is running: is there a worker?")


async def redis_usable(server: RedisServer) -> None:
    """It asks nothing, because a server that is away must not delay the answer."""
    if (trouble := server.trouble) is not None:
        raise Doubtful(UNUSABLE, f"{server.address}: {trouble}")


async def models_served(database: Database, models: Sequence[str]) -> None:
    async with database.transaction() as session:
        unserved = await queue.unserved_models(session, models)
    if unserved:
        waiting = "jobs wait for a model that no worker seems to serve"
        raise Doubtful(waiting, f"{waiting}: {', '.join(unserved)}")


async def models_answer(troubles: Troubles) -> None:
    """It asks nothing, because a server that is away must not delay the answer."""
    if found := troubles():
        why = "; ".join(f"{name}: {trouble}" for name, trouble in found.items())
        raise Doubtful(f"{', '.join(found)} cannot be used, so its jobs wait", why)


WHAT_STYLES_REACH = {
    Style.S3: "transcripts cannot be written to a bucket",
    Style.FOLDER: "transcripts cannot be written to a folder",
    Style.STREAM: "events cannot be sent as messages",
}


async def neighbours_reached(database: Database) -> None:
    async with database.transaction() as session:
        styles = await outputs_of_events.troubled_styles(session)
    if styles:
        raise Doubtful("; ".join(WHAT_STYLES_REACH[style] for style in styles))


async def folder_watched(watch: FolderWatch) -> None:
    if (trouble := watch.trouble) is not None:
        raise Doubtful("recordings wait in the watched folder", trouble)
