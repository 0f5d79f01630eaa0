"""The routes for those who follow a live call without being its client: who calls now, and what is said.

The text of a call comes from the database, so the call may be in another process.
"""

import asyncio
from collections.abc import AsyncIterator
from datetime import datetime
from typing import Annotated, Any, Literal
from uuid import UUID

import structlog
from fastapi import APIRouter, Header, Path
from pydantic import BaseModel, Field
from starlette.responses import StreamingResponse

from app.access.callers import Caller
from app.api.auth import MayRead
from app.api.dependencies import RootPathDep, ServiceDep
from app.api.event_streams import HEADERS, MEDIA_TYPE, TROUBLE_PAUSE_SECONDS, Pulse, data_of, named
from app.api.live import examples
from app.api.problems import COMMON_ERRORS, INTERNAL_ERROR_DETAIL, responses
from app.database.connections import DATABASE_TROUBLE
from app.errors import AppError, InternalError, NotFound, Unavailable
from app.live.following import LiveView
from app.service import Service
from app.transcripts.view import Seconds

KEEP_ALIVE = ": the call goes on\n\n"  # a comment, so that no proxy takes the connection for a dead one
CROWDED_RETRY_AFTER_SECONDS = 5

router = APIRouter(prefix="/v1/live", tags=["live"])
CallId = Annotated[UUID, Path(description="The call's id.")]
log = structlog.stdlib.get_logger("callscribe.http")


class LiveChannel(BaseModel):
    """A channel of the call, and who speaks on it."""

    index: int = Field(examples=[0])
    label: str = Field(examples=["agent"])


class LiveLinks(BaseModel):
    """Paths of this call, its events, and the transcription that is made of it when it ends."""

    self: str
    events: str
    transcription: str = Field(description="The path of the transcription. Until the call ends, it answers 404.")


class LiveCallOut(BaseModel):
    """A live call."""

    id: UUID = Field(description="The id of the call, and later of its transcription.")
    status: Literal["running", "interrupted", "ended"] = Field(
        description="`interrupted` if the process that had the call is gone. The call's client may come back for a "
        "minute. Then the call ends. `ended` calls can be read for some minutes."
    )
    started_at: datetime
    seconds: Seconds = Field(description="How many seconds of sound have come.", examples=[41.5])
    dialect: str = Field(
        description="How the call's client speaks with the service, such as `own` or `twilio`.", examples=["own"]
    )
    channels: list[LiveChannel]
    external_id: str | None = Field(description="The client's own id of the call.", examples=["crm-48151"])
    metadata: dict[str, Any] = Field(description="What the client has sent with the call.")
    links: LiveLinks

    @classmethod
    def of(cls, view: LiveView, root_path: str) -> "LiveCallOut":
        own = f"{root_path}/v1/live/{view.id}"
        return cls(
            id=view.id,
            status=view.status,
            started_at=view.started_at,
            seconds=view.heard_seconds,
            dialect=view.dialect,
            channels=[LiveChannel(index=index, label=label) for index, label in enumerate(view.speakers)],
            external_id=view.external_id,
            metadata=view.metadata,
            links=LiveLinks(self=own, events=f"{own}/events", transcription=f"{root_path}/v1/transcriptions/{view.id}"),
        )


class LiveCallList(BaseModel):
    """The live calls that go on, the oldest first."""

    items: list[LiveCallOut]


@router.get(
    "",
    response_model=LiveCallList,
    summary="List live calls",
    responses={200: examples.LISTED, **responses(*COMMON_ERRORS)},
)
async def list_live_calls(caller: MayRead, service: ServiceDep, root_path: RootPathDep) -> LiveCallList:
    """Lists the calls that go on now, the oldest first. A call that has ended is a transcription."""
    views = await service.following.running(caller)
    return LiveCallList(items=[LiveCallOut.of(view, root_path) for view in views])


@router.get(
    "/{call_id:uuid}",  # `tokens` is no id, so that `Allow` names only the methods of that path
    response_model=LiveCallOut,
    summary="Read a live call",
    responses={200: examples.READ, **responses(*COMMON_ERRORS, NotFound)},
)
async def read_live_call(call_id: CallId, caller: MayRead, service: ServiceDep, root_path: RootPathDep) -> LiveCallOut:
    """Reads a call that goes on, or that ended some minutes ago. Its text is in its events."""
    return LiveCallOut.of(await service.following.read(call_id, caller), root_path)


@router.get(
    "/{call_id:uuid}/events",
    summary="Follow a live call",
    response_class=StreamingResponse,
    responses={200: examples.FOLLOWED, **responses(*COMMON_ERRORS, NotFound)},
)
async def follow_live_call(
    call_id: CallId,
    caller: MayRead,
    service: ServiceDep,
    last_event_id: Annotated[
        int,
        Header(
            alias="Last-Event-ID",
            ge=0,
            le=2**31 - 1,
            description="The `id` of the last event that you have. Only later events are sent. Without it, they are "
            "sent from the start of the call.",
        ),
    ] = 0,
) -> StreamingResponse:
    """Sends what is said in a live call, as it is said, until the call ends.

    The last event is `stopped`. If the connection breaks before, ask again with the header `Last-Event-ID`, as
    `EventSource` in browsers does by itself. A `partial` is a draft, which the next one of its channel replaces. It has
    the `id` of the event before it, so you may miss some of them. The transcript of the whole recording follows as the
    transcription with the call's id.
    """
    await service.following.read(call_id, caller)
    if not service.waiting.has_room(caller.label):
        raise Unavailable("Too many clients follow live calls.", retry_after=CROWDED_RETRY_AFTER_SECONDS)
    stream = _events(service, call_id, caller, last_event_id)
    return StreamingResponse(stream, media_type=MEDIA_TYPE, headers=HEADERS)


async def _events(service: Service, call_id: UUID, caller: Caller, after: int) -> AsyncIterator[str]:
    """Yields the events, and signs of life. An error midway is an event too, because the status is sent."""
    try:
        with service.waiting.place(caller.label):
            async for text in _with_signs_of_life(service, call_id, caller, after):
                yield text
    except AppError as error:
        yield _failure(error)
    except Exception:
        log.exception("unhandled error", call=str(call_id))
        yield _failure(InternalError(INTERNAL_ERROR_DETAIL))


async def _with_signs_of_life(service: Service, call_id: UUID, caller: Caller, after: int) -> AsyncIterator[str]:
    """If the process stops, the stream ends without an error, and the client asks another process for the rest."""
    pulse = Pulse()
    while not service.intake.closed:
        try:
            async for news in service.following.events(call_id, caller, after):
                if service.intake.closed:
                    return
                if news is not None:
                    after = news[0]
                    pulse.sent()
                    yield named(*news)
                elif pulse.due_in == 0:
                    pulse.sent()
                    yield KEEP_ALIVE
        except DATABASE_TROUBLE:  # the call goes on, and so does the stream when the database is back
            await asyncio.sleep(TROUBLE_PAUSE_SECONDS)
        else:
            return


def _failure(error: AppError) -> str:
    return f"event: error\n{data_of({'type': 'error', 'code': error.code, 'message': str(error)})}"
