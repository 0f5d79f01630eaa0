"""Waits for the end of a job on the connection of the client that has asked for it.

A client that waits costs no database connection and no thread. If it closes its connection, the service cancels the
job, unless the client repeats its request or another client waits for the job (`jobs.changes.interest`).
"""

import asyncio
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any, NoReturn, TypeVar
from uuid import UUID

from app.access.callers import Caller
from app.api.event_streams import TROUBLE_PAUSE_SECONDS
from app.api.openai.errors import Failure, failure_of, failure_of_job
from app.database.connections import DATABASE_TROUBLE
from app.errors import Abandoned, ShuttingDown, Unavailable
from app.jobs.lifecycle import Status
from app.jobs.models import Transcription
from app.jobs.reads.reading import Read
from app.process.tasks import run_unless
from app.service import Service

CROWDED_RETRY_AFTER_SECONDS = 5
STOPPING_RETRY_AFTER_SECONDS = 5  # a restart takes about as long; then the repeated request finds its job
GIVEN_UP_RETRY_AFTER_SECONDS = 1

T = TypeVar("T")


def require_room(service: Service, caller: Caller) -> None:
    """Raises Unavailable if so many clients wait that this one may not, and ShuttingDown."""
    if not service.waiting.has_room(caller.label):
        raise Unavailable("Too many clients wait for transcriptions.", retry_after=CROWDED_RETRY_AFTER_SECONDS)
    require_open(service)


def require_open(service: Service) -> None:
    """Raises ShuttingDown if the process stops."""
    if service.intake.closed:
        raise ShuttingDown(retry_after=STOPPING_RETRY_AFTER_SECONDS)


@contextmanager
def waiting_for(service: Service, job_id: UUID, caller: Caller) -> Iterator[asyncio.Event]:
    """Keeps the job alive until the block ends. Gives an event that is set when the job may have changed.

    Raises Unavailable if too many clients wait.
    """
    with service.waiting.join(job_id, caller.label) as changed, service.interest.held(job_id):
        if changed is None:
            require_room(service, caller)
        assert changed is not None
        yield changed


async def end_of(
    service: Service, job_id: UUID, caller: Caller, hang_up: Callable[[], Coroutine[Any, Any, NoReturn]]
) -> Read:
    """The job, once it has ended. Raises what `hang_up` raises, ShuttingDown, and NotFound if the job was deleted."""
    job = partial(service.reader.read, job_id, caller)
    with waiting_for(service, job_id, caller) as changed:
        read = await run_unless(hang_up(), patiently(service, job))
        while not read.final:
            require_open(service)
            await run_unless(hang_up(), changed.wait())
            changed.clear()
            read = await run_unless(hang_up(), patiently(service, job))
    return read


async def patiently(service: Service, read: Callable[[], Coroutine[Any, Any, T]]) -> T:
    """Does what `read` does, as soon as the database answers. The job goes on meanwhile, so its client should wait."""
    while True:
        try:
            return await read()
        except DATABASE_TROUBLE:  # other parts log it
            require_open(service)
            await asyncio.sleep(TROUBLE_PAUSE_SECONDS)


def failure_at_end(job: Transcription) -> Failure | None:
    """Why an ended job has no transcript, or None if it has one.

    If the job was cancelled because no client seemed to wait, this one should repeat its request. That happens if this
    process did not reach the database for a while.
    """
    if job.status == Status.COMPLETED:
        return None
    if job.error_code == Abandoned.code:
        detail = "The service lost contact with its database while the request waited. Repeat the request."
        return failure_of(Unavailable(detail, retry_after=GIVEN_UP_RETRY_AFTER_SECONDS))
    return failure_of_job(job.status, job.error_code, job.error_message)
