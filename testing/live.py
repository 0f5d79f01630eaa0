"""Live calls as rows, without sound: what those who follow a call see."""

from uuid import UUID

from uuid_utils.compat import uuid7

from app.access.callers import Caller
from app.database.connections import Database
from app.live import rows
from app.live.events import LiveEvent, Partial, Started, Stopped
from app.live.models import LiveCallRow


async def running(database: Database, caller: Caller | None = None, external_id: str | None = None) -> UUID:
    """A call of two channels that has begun. It belongs to alice, unless it is another caller's."""
    caller = caller or Caller("alice")
    row = LiveCallRow(
        id=uuid7(),
        tenant=caller.tenant,
        caller=caller.label,
        dialect="own",
        external_id=external_id,
        metadata_={"agent": "Anna"},
        speakers=["agent", "customer"],
        sound_channels=2,
    )
    call_id = row.id
    async with database.transaction() as session:
        await rows.add(session, row)
    await told(database, call_id, (1, Started(call_id, {})))
    return call_id


async def told(
    database: Database, call_id: UUID, *events: tuple[int, LiveEvent], partial: Partial | None = None
) -> None:
    """The call tells these events, which have numbers, and `partial` is the newest draft."""
    news = rows.News(
        events=[(number, event.as_json()) for number, event in events],
        partials={} if partial is None else {str(partial.channel): partial.as_json()},
        heard_seconds=2.5,
        changed=True,
    )
    async with database.transaction() as session:
        await rows.write(session, call_id, news)


async def ended(database: Database, call_id: UUID) -> None:
    async with database.transaction() as session:
        await rows.end(session, call_id, Stopped(call_id, {}).as_json(), has_recording=True)
