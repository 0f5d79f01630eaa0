"""Sends deliveries that are due. Every process of the service runs one sender.

The sender claims deliveries, lets the channel of each make one attempt, and records the reply. No transaction is open
during an attempt, because a receiver may take seconds. The channel decides how an attempt is made.
"""

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, datetime
from functools import partial

import structlog

from app import metrics, tracing
from app.database.connections import DATABASE_TROUBLE, Database, is_bad_data
from app.database.notifications import Signals
from app.database.retries import write_down
from app.database.work import WorkLoop
from app.deliveries import outbox
from app.deliveries.channels import ATTEMPT_SECONDS, Channels, Reply, Result
from app.deliveries.models import Delivery, DeliveryStatus
from app.deliveries.outbox import Leased
from app.deliveries.outputs_of_events import DUE_TOPIC
from app.errors import InternalError

SLOTS = 64
# Less than the lease, so that a channel that hangs is stopped before another process may claim its delivery.
LIMIT_SECONDS = ATTEMPT_SECONDS + 2
RECORD_PAUSES_SECONDS = (0.2, 0.5, 1.0)

RESULTS = {
    DeliveryStatus.PENDING: "retried",
    DeliveryStatus.DELIVERED: "delivered",
    DeliveryStatus.FAILED: "failed",
}

log = structlog.stdlib.get_logger("callscribe.webhooks")


class DeliverySender:
    """Makes up to `slots` attempts at the same time, through `channels`.

    Events are signed with `signing_secrets`, or with the secrets of the database if there are none.
    """

    def __init__(
        self,
        database: Database,
        signals: Signals,
        channels: Channels,
        signing_secrets: Sequence[str] = (),
        *,
        slots: int = SLOTS,
    ) -> None:
        self._database = database
        self._channels = channels
        self._signing_secrets = signing_secrets
        self._slots = slots
        self._loop: WorkLoop[Leased, Reply] = WorkLoop(
            signals, DUE_TOPIC, claim=self._claim, run=self._send, record=self._record
        )

    async def run(self) -> None:
        """Send what is due until `drain` is called. Returns when no attempt is under way any more."""
        await self._loop.work()

    async def drain(self, grace_seconds: float) -> None:
        """Claim no more deliveries, wait up to `grace_seconds` for the attempts under way, then stop the others.

        Stopped attempts are not counted. `idle` waits until they are given back to other processes.
        """
        await self._loop.drain(grace_seconds)

    async def idle(self) -> None:
        """Wait until all attempts have ended and were recorded or given back. There is no limit on this wait."""
        await self._loop.idle()

    async def _claim(self) -> list[Leased]:
        free = self._slots - len(self._loop.running)
        if free <= 0:
            return []
        async with self._database.transaction() as session:
            return await outbox.claim_due(session, free, self._channels.keys(), self._signing_secrets)

    async def _send(self, leased: Leased) -> Reply:
        """Each attempt has a span of its own, and the receiver of a notification gets this span as the parent."""
        with tracing.span(
            f"deliver {leased.style}",
            tracing.of_row(leased.traceparent),
            tracing.SpanKind.CLIENT,
            callscribe__job__id=str(leased.transcription_id),
            callscribe__delivery__id=str(leased.id),
            callscribe__event__type=leased.type,
            server__address=leased.host.rpartition("@")[2],
        ) as span:
            async with asyncio.timeout(LIMIT_SECONDS):
                reply = await self._channels[leased.style].send(leased)
            tracing.describe(span, http__response__status_code=reply.status_code)
            if reply.result is not Result.DELIVERED:
                tracing.fail(span, reply.error or reply.status_code)
            return reply

    async def _record(self, leased: Leased, ended: Reply | Exception | None) -> None:
        """Record an attempt. If it raised, it counts as failed, because it would otherwise be repeated forever."""
        if ended is None:
            await self._give_back(leased)
            return
        reply = _broken(leased, ended) if isinstance(ended, Exception) else ended
        try:
            await self._write(leased, reply)
        except Exception as error:  # noqa: BLE001  a reply that the database does not accept has to count too
            await self._write(leased, _broken(leased, error))

    async def _write(self, leased: Leased, reply: Reply) -> None:
        """Write the reply, and try again for a short time if the database is in trouble.

        If that does not help, the delivery is sent once more after its lease. Raises the database's error if the reply
        contains data that it never accepts.
        """
        record = partial(outbox.record, leased=leased, reply=reply)
        try:
            row = await write_down(self._database, record, RECORD_PAUSES_SECONDS)
        except DATABASE_TROUBLE as error:
            if is_bad_data(error):
                raise
            log.warning("attempt not recorded", delivery=str(leased.id), error=type(error).__name__)
            return
        _log_attempt(leased, reply, row)

    async def _give_back(self, leased: Leased) -> None:
        with suppress(*DATABASE_TROUBLE):  # the lease ends by itself, only later
            async with self._database.transaction() as session:
                await outbox.give_back(session, leased)


def _log_attempt(leased: Leased, reply: Reply, row: Delivery | None) -> None:
    """Write the log line of an attempt. `row` is the delivery after it, or None if the lease was lost meanwhile."""
    facts = {
        "job": str(leased.transcription_id),
        "delivery": str(leased.id),
        "type": leased.type,
        "host": leased.host,
        **({"error": reply.error} if reply.error else {"status_code": reply.status_code}),
        "ms": reply.milliseconds,
        "waited_ms": round(leased.waited_seconds * 1000),
    }
    if row is None:
        log.warning("the lease of a delivery is lost, so its attempt was not recorded", **facts)
        return
    facts["attempts"] = row.attempts
    metrics.delivery_attempted(leased.style, RESULTS[row.status])
    match row.status:
        case DeliveryStatus.DELIVERED:
            log.info("the receiver was notified", **facts)
        case DeliveryStatus.FAILED:
            log.warning("the receiver was not notified, and there are no more attempts", **facts)
        case _:
            next_attempt = row.next_attempt_at.isoformat(timespec="seconds")
            log.info("the receiver was not notified, and another attempt follows", not_before=next_attempt, **facts)


def _broken(leased: Leased, error: Exception) -> Reply:
    """Returns the reply for an attempt that raised. Logs only the error's type, because its text may have the URL."""
    log.error("an attempt raised an error", delivery=str(leased.id), error=type(error).__name__)
    return Reply(datetime.now(UTC), 0, error=InternalError.code)
