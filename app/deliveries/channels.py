"""What a channel is: the seam between the sender and the ways in which a delivery can be sent.

A channel sends one delivery once and returns a reply. The sender chooses the channel by the delivery's style. A new way
out is a new style with a migration, its receivers and its channel. Leases, the schedule
and the limit for each host are the same for all channels. So they belong to the outbox and the sender.
"""

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from enum import Enum, auto
from typing import Any, Protocol
from uuid import UUID

from app.deliveries.models import Style
from app.transcripts.formats import Format

ATTEMPT_SECONDS = 15.0  # an attempt has to end within this time, because the lease of its delivery ends soon after


@dataclass(frozen=True)
class Outgoing:
    """A delivery as its channel sees it. The placeholders of `url` are filled in. An output has a `format`.

    `claimed_at` is the database's time when the delivery was claimed. The signing secrets are those of that moment.
    """

    event_id: UUID
    transcription_id: UUID
    type: str
    style: Style
    url: str = field(repr=False)  # it may hold a password or a token
    body: bytes = field(repr=False)
    format: Format | None
    claimed_at: datetime
    signing_secrets: tuple[str, ...] = field(repr=False)
    traceparent: str | None = field(default=None, kw_only=True)
    _claimed_monotonic: float = field(default_factory=time.monotonic, init=False, repr=False)

    def now(self) -> datetime:
        """Returns the database's time now, for the signature.

        This machine's clock may be wrong by minutes, and then receivers would refuse the signature.
        """
        return self.claimed_at + timedelta(seconds=time.monotonic() - self._claimed_monotonic)


class Result(Enum):
    DELIVERED = auto()
    TRY_AGAIN = auto()
    REFUSED = auto()  # the receiver will never accept it, so there are no more attempts


@dataclass(frozen=True)
class Reply:
    """How an attempt ended. `result` decides what happens next. The other fields are for the delivery's log.

    At most one of `status_code` and `error` is set, and a delivery that succeeded needs neither. `error` is a word that
    clients read, and `response` is the beginning of the receiver's answer. If the delivery is tried again, this happens
    when `retry_after` has passed, or later.
    """

    started_at: datetime
    milliseconds: int
    result: Result = Result.TRY_AGAIN
    status_code: int | None = None
    error: str | None = None
    retry_after: timedelta = timedelta(0)
    response: str = ""


class Stopwatch:
    """Measures an attempt. It starts when it is made."""

    def __init__(self) -> None:
        self._started_at, self._started = datetime.now(UTC), time.monotonic()

    @property
    def seconds(self) -> float:
        return time.monotonic() - self._started

    def reply(self, result: Result = Result.TRY_AGAIN, **facts: Any) -> Reply:
        """Returns the reply of the attempt that ends now. `facts` are its other fields."""
        return Reply(self._started_at, round(self.seconds * 1000), result, **facts)


class Channel(Protocol):
    """Sends the deliveries of one style."""

    async def send(self, delivery: Outgoing) -> Reply:
        """Make one attempt, which has to end within ATTEMPT_SECONDS.

        A fault of the receiver is returned as a Reply. An exception counts as a failed attempt with the error
        `internal_error`.
        """


Channels = Mapping[Style, Channel]
