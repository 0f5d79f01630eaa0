"""The sender, in every replica: claim → send → record. No transaction is open while a receiver is asked."""

import asyncio
import time
from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from functools import partial

import httpx
import structlog

from app.database.connections import DATABASE_TROUBLE, Database
from app.database.notifications import Signals
from app.database.retries import despite_database_trouble, write_down
from app.deliveries import outbox, signing, signing_secrets
from app.deliveries.http import ATTEMPT_SECONDS, send
from app.deliveries.models import Style
from app.deliveries.outbox import Leased
from app.deliveries.schedule import Reply
from app.errors import InternalError, UrlNotAllowed

POLL_SECONDS = 2.0
SLOTS = 64
RECORD_PAUSES_SECONDS = (0.2, 0.5, 1.0)

log = structlog.stdlib.get_logger("callscribe.webhooks")


class WebhookSender:
    """Brings events to their receivers, up to `slots` at once. Signs with `secrets`, or else with the database's."""

    def __init__(
        self,
        database: Database,
        signals: Signals,
        client: httpx.AsyncClient,
        signing_secrets: Sequence[str] = (),
        *,
        attempt_seconds: float = ATTEMPT_SECONDS,
        slots: int = SLOTS,
    ) -> None:
        self._database = database
        self._signals = signals
        self._client = client
        self._secrets = signing_secrets
        self._attempt_seconds = attempt_seconds
        self._slots = slots
        self._draining = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()
        self._attempts: set[asyncio.Task[Reply]] = set()

    async def run(self) -> None:
        """Send what is due until `drain` was called."""
        with self._signals.subscribe(outbox.DUE) as due:
            while not self._draining.is_set():
                due.clear()
                await despite_database_trouble(partial(self._claim, due))
                with suppress(TimeoutError):
                    await asyncio.wait_for(due.wait(), POLL_SECONDS)
        await self._idle()

    async def drain(self, grace_seconds: float) -> None:
        """Claim no more; let attempts under way end within the grace, then give the rest back."""
        self._draining.set()
        self._signals.wake(outbox.DUE)
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=grace_seconds)
        for attempt in self._attempts:
            attempt.cancel()
        await self._idle()

    async def _idle(self) -> None:
        while self._tasks:
            await asyncio.wait(self._tasks)

    async def _claim(self, due: asyncio.Event) -> None:
        free = self._slots - len(self._tasks)
        if free <= 0:
            return
        async with self._database.transaction() as session:
            claimed = await outbox.claim_due(session, free)
            keys = self._secrets or (await signing_secrets.valid(session) if claimed else ())

        def ended(task: asyncio.Task[None]) -> None:
            self._tasks.discard(task)
            due.set()
            if not task.cancelled() and (error := task.exception()) is not None:
                log.error("delivery could not be recorded", exc_info=error)

        for leased in claimed:
            if self._draining.is_set():  # the claim was under way when the order came
                await self._give_back(leased)
                continue
            task = asyncio.create_task(self._deliver(leased, keys, time.monotonic()))
            self._tasks.add(task)
            task.add_done_callback(ended)

    async def _deliver(self, leased: Leased, keys: Sequence[str], claimed: float) -> None:
        """One attempt, in a straight line; broken off, it goes back."""
        attempt = asyncio.create_task(self._attempt(leased, keys, claimed))
        self._attempts.add(attempt)
        attempt.add_done_callback(self._attempts.discard)
        try:
            reply = await attempt
        except asyncio.CancelledError:
            await self._give_back(leased)
            return
        except Exception as error:  # noqa: BLE001  counted, or it would be tried for ever; its text may hold the URL
            reply = _broken(leased, error)
        try:
            await self._record(leased, reply)
        except Exception as error:  # noqa: BLE001  so is an answer that cannot be written down
            await self._record(leased, _broken(leased, error))

    async def _attempt(self, leased: Leased, keys: Sequence[str], claimed: float) -> Reply:
        """The signature has the database's time: receivers refuse one whose time is minutes off, as our clock may be.

        `claimed` is the moment of the claim by the monotonic clock.
        """
        event_id, seconds = str(leased.event_id), self._attempt_seconds
        if leased.style is Style.CALLBACK and "{" in leased.url:
            return Reply(datetime.now(UTC), 0, error=UrlNotAllowed.code)
        if leased.style is Style.CALLBACK:
            return await send(self._client, "GET", leased.url, {"webhook-id": event_id}, b"", seconds)
        now = leased.claimed_at + timedelta(seconds=time.monotonic() - claimed)
        signed = signing.headers(keys, event_id, now, leased.body)
        headers = {"Content-Type": "application/json", **signed}
        return await send(self._client, "POST", leased.url, headers, leased.body, seconds)

    async def _record(self, leased: Leased, reply: Reply) -> None:
        """Write the attempt down, through connection loss; if that fails for long, it is made again."""
        record = partial(outbox.record, leased=leased, reply=reply)
        try:
            row = await write_down(self._database, record, RECORD_PAUSES_SECONDS)
        except DATABASE_TROUBLE as error:
            log.warning("attempt not recorded", delivery=str(leased.id), error=type(error).__name__)
            return
        log.info(
            "delivery attempted",
            delivery=str(leased.id),
            type=leased.type,
            host=leased.host,
            status_code=reply.status_code,
            error=reply.error,
            ms=reply.milliseconds,
            waited_ms=round(leased.waited_seconds * 1000),
            status=row.status if row else "lease lost",
            attempts=row.attempts if row else None,
        )

    async def _give_back(self, leased: Leased) -> None:
        with suppress(*DATABASE_TROUBLE):  # its lease runs out in any case
            async with self._database.transaction() as session:
                await outbox.give_back(session, leased)


def _broken(leased: Leased, error: Exception) -> Reply:
    log.error("attempt broke down", delivery=str(leased.id), error=type(error).__name__)
    return Reply(datetime.now(UTC), 0, error=InternalError.code)
