"""The seam between the sender and everything that a delivery can be sent by.

A channel sends one delivery once and returns what came of it. The sender finds the channel by the delivery's style. A
new way out (a bucket, a folder, a stream) is a new style, its receivers and its channel. Channels must not know the
outbox: leases, the schedule and the limit for each host work in the same way for all of them.
"""

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import Enum, auto
from typing import Protocol
from uuid import UUID

from app.deliveries.models import Style

ATTEMPT_SECONDS = 15.0  # an attempt has to end within this time, because the lease of its delivery ends soon after


@dataclass(frozen=True)
class Outgoing:
    """A delivery as its channel sees it. `url` has its placeholders filled in.

    `signing_secrets` and `claimed_at`, the database's time, belong to the transaction that claimed the delivery.
    """

    event_id: UUID
    transcription_id: UUID
    type: str
    style: Style
    url: str = field(repr=False)  # it may hold a password or a token
    body: bytes = field(repr=False)
    claimed_at: datetime
    signing_secrets: tuple[str, ...] = field(repr=False)
    _claimed_monotonic: float = field(default_factory=time.monotonic, init=False, repr=False)

    def now(self) -> datetime:
        """The database's time. This machine's clock may be minutes off, and receivers refuse such a signature."""
        return self.claimed_at + timedelta(seconds=time.monotonic() - self._claimed_monotonic)


class Result(Enum):
    DELIVERED = auto()
    TRY_AGAIN = auto()
    REFUSED = auto()  # the receiver never wants it, so that more attempts are of no use


@dataclass(frozen=True)
class Reply:
    """What came of an attempt. `result` decides what happens next; the delivery's log shows the other fields.

    At most one of `status_code` and `error` is set, and a delivery that succeeded needs neither. `error` is a word that
    clients read, and `response` is the beginning of the receiver's answer. If the delivery is tried again, then not
    before `retry_after` has passed.
    """

    started_at: datetime
    milliseconds: int
    result: Result = Result.TRY_AGAIN
    status_code: int | None = None
    error: str | None = None
    retry_after: timedelta = timedelta(0)
    response: str = ""


class Channel(Protocol):
    async def send(self, delivery: Outgoing) -> Reply:
        """Make one attempt, within ATTEMPT_SECONDS.

        What is wrong with the receiver is a Reply. An exception counts as a failed attempt with `internal_error`.
        """


Channels = Mapping[Style, Channel]
