"""The HTTP service: routes and errors, and `serve`, which runs them with everything else in one process."""

import asyncio
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import structlog
import uvicorn
from fastapi import FastAPI
from starlette.requests import Request
from starlette.types import ASGIApp, Receive, Scope, Send

from app import __version__
from app.api import deliveries, openapi, operations, problems, recordings, transcriptions
from app.api.auth import ApiKeys, client_name, is_loopback
from app.api.page import documentation
from app.api.page import routes as page
from app.api.server import gate
from app.api.server.acceptor import Acceptor
from app.api.server.admission import Admission
from app.api.server.bodies import RequestBodies
from app.api.server.connections import Connection
from app.api.server.heads import Heads
from app.database.connections import Database
from app.deliveries.receivers import Receivers
from app.errors import InsufficientStorage, Unavailable
from app.intake.intake import Intake, Limits
from app.jobs import queue
from app.jobs.queue_limit import QueueLimit
from app.jobs.reading import Reader
from app.jobs.waiting import Waiting
from app.process.garbage import spare_what_stays
from app.process.open_files import most_connections
from app.readiness import UNUSABLE, Doubtful, NotReady, Readiness
from app.service import GRACE_SECONDS, Parts, open_parts
from app.settings import Settings, SettingsError
from app.speech.families import abilities
from app.storage.folder_store import LocalAudioStore
from app.storage.store import StoreUnavailable
from app.telemetry import RequestLog

DESCRIPTION = """
Callscribe turns phone-call recordings into text. Post a recording, get `202` and a transcription to poll, read the
transcript in the format you need.

```sh
curl http://127.0.0.1:8000/v1/transcriptions -F file=@call.wav -F channels=split \\
  -F channel_labels=agent -F channel_labels=customer
curl 'http://127.0.0.1:8000/v1/transcriptions/{id}?wait=60'
curl 'http://127.0.0.1:8000/v1/transcriptions/{id}/transcript?format=text'
```

Every error is an RFC 9457 problem whose `code` is stable. Times are RFC 3339 UTC, durations are seconds.
"""

# Longer than proxies and clients keep a connection that they do not use, so that it is they who close it: a request on
# its way to a connection that we close would fail. At a cap, such connections make room (`server.admission`).
KEEP_ALIVE_SECONDS = 75

log = structlog.stdlib.get_logger("callscribe")


def create_app() -> FastAPI:
    """Routes, errors and the OpenAPI document. `attach` gives it the parts that its routes work with."""
    app = FastAPI(
        title="Callscribe",
        version=__version__,
        summary="Phone-call recordings into text.",
        description=DESCRIPTION,
        openapi_url=None,
        redirect_slashes=False,
        license_info={"name": "Apache-2.0", "identifier": "Apache-2.0"},
        openapi_tags=[
            {"name": "transcriptions", "description": "Post recordings, poll their jobs, read their transcripts."},
            {"name": "webhooks", "description": "Who was told of a transcription's end, and telling them again."},
            {"name": "operations", "description": "Health, readiness and models."},
        ],
        generate_unique_id_function=lambda route: route.name,
    )
    app.include_router(page.router)
    app.include_router(transcriptions.router)
    app.include_router(deliveries.router)
    app.include_router(recordings.router)
    app.include_router(operations.router)
    problems.install(app)
    app.add_middleware(Doors)
    app.add_middleware(Heads)
    app.add_middleware(RequestLog)
    app.add_middleware(RequestBodies)
    app.include_router(documentation.routes(app.openapi))
    app.openapi_schema = openapi.complete(app.openapi())  # after the last route, which would have it made anew
    app.state.open = False
    app.state.readiness = Readiness({"service": _starting})
    return app


async def _starting() -> None:
    raise NotReady("starting: waits for the database")


class Doors:
    """ASGI middleware: until the application has its parts, it answers what needs none and is `unavailable` else."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
        elif scope["state"].get(gate.OVERLOADED):
            await _refuse("Too many requests are under way.", scope, receive, send)
        elif scope["app"].state.open or scope["path"] in operations.PROBES:
            await self.app(scope, receive, send)
        else:
            await _refuse("The service is starting.", scope, receive, send)


async def _refuse(reason: str, scope: Scope, receive: Receive, send: Send) -> None:
    error = Unavailable(reason, headers={"Retry-After": "5"})
    await problems.render(Request(scope), error)(scope, receive, send)


def attach(app: FastAPI, settings: Settings, parts: Parts, database: Database) -> Intake:
    """Give the application's routes what they work with, and open its doors.

    `database` has connections of its own, so that requests cannot take those of jobs and deliveries.
    """
    intake = Intake(
        database,
        parts.store,
        parts.fetcher,
        settings.model,
        Receivers(parts.guard, settings.webhook_urls, settings.callback_urls),
        parts.free_space,
        Limits(
            settings.max_upload_bytes,
            settings.max_audio_seconds,
            QueueLimit(settings.max_pending, len(settings.api_keys)),
            settings.priority_ceilings,
        ),
    )
    app.state.intake = intake
    app.state.database = database
    app.state.reader = Reader(database)
    app.state.waiting = Waiting(database, parts.signals)
    app.state.retention = parts.retention
    app.state.store = parts.store
    keys = {name: key.get_secret_value() for name, key in settings.api_keys.items()}
    app.state.api_keys = ApiKeys(keys if settings.auth == "on" else None)
    app.state.models = [
        operations.ModelOut(name=name, default=name == settings.model[0], languages=list(abilities(name).languages))
        for name in settings.model
    ]

    app.state.readiness = _readiness(settings, parts, intake)
    app.state.open = True
    return intake


def _readiness(settings: Settings, parts: Parts, intake: Intake) -> Readiness:
    """What has to work, and what should. It asks the database as jobs do, so that requests do not make it unready."""

    async def not_stopping() -> None:
        if intake.closed:
            raise NotReady("stopping")

    async def models_loaded() -> None:
        if parts.engine is not None and not parts.engine.ready:
            raise NotReady("loading")

    async def storage_usable() -> None:
        try:
            await parts.store.check()
            await parts.free_space.require()
        except StoreUnavailable as error:
            raise NotReady(UNUSABLE, str(error)) from error
        except InsufficientStorage:
            raise NotReady("full", f"less than {settings.min_free_bytes.human_readable()} free") from None

    async def workspace_usable() -> None:
        try:
            await parts.workspace.check()
        except OSError as error:
            raise NotReady(UNUSABLE, str(error)) from error
        if parts.runner is not None and (trouble := parts.runner.fitness.trouble) is not None:
            raise NotReady(UNUSABLE, trouble)

    async def one_machine() -> None:
        machines = await parts.database.machines() if isinstance(parts.store, LocalAudioStore) else set()
        if len(machines) > 1:
            shared = "a folder, which has to be shared by"
            raise Doubtful(f"{shared} several machines", f"{shared} {', '.join(sorted(machines))}")

    async def workers_at_work() -> None:
        async with parts.database.transaction() as session:
            if await queue.is_untended(session):
                raise Doubtful("some have been waiting for a minute, and none is running: is there a worker?")

    return Readiness(
        {
            "service": not_stopping,
            "database": parts.database.check,
            "model": models_loaded,
            "storage": storage_usable,
            "workspace": workspace_usable,
        },
        {"storage": one_machine, "jobs": workers_at_work},
    )


class Server(uvicorn.Server):
    """Uvicorn, told to stop by `serve` instead of by signals of its own, with connections that clients cannot hold."""

    def __init__(self, app: FastAPI, max_connections_per_client: int) -> None:
        config = uvicorn.Config(
            app,
            lifespan="off",
            ws="none",
            log_config=None,
            access_log=False,
            server_header=False,
            timeout_keep_alive=KEEP_ALIVE_SECONDS,
            timeout_graceful_shutdown=int(GRACE_SECONDS),
        )
        super().__init__(config)
        self._admission = Admission(most_connections(), max_connections_per_client)
        self._gate = gate.Gate(lambda scope: client_name(getattr(app.state, "api_keys", None), scope))

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        acceptors: Any = [Acceptor(listener, self._admission, self._connection) for listener in sockets or ()]
        self.servers = acceptors
        self.started = True

    def _connection(self) -> Connection:
        return Connection(self.config, self.server_state, {}, admission=self._admission, gate=self._gate)


def check_exposure(settings: Settings, host: str) -> None:
    """Raises SettingsError where the service would be open to strangers."""
    if not settings.api_keys and settings.auth == "on" and not is_loopback(host):
        raise SettingsError(
            f"CALLSCRIBE_API_KEYS: set it to serve on {host}, or set CALLSCRIBE_AUTH=off to let everybody in"
        )


def listen(host: str, port: int) -> socket.socket:
    """Raises SettingsError where that is not possible, before anything else is started."""
    try:
        return socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET)
    except OSError as error:
        raise SettingsError(f"--host {host} --port {port}: {error.strerror}") from None


async def serve(settings: Settings, listener: socket.socket, *, executor: bool) -> bool:
    """Serve until told to stop. Returns whether that was the reason.

    HTTP is up before the database is, so that probes tell a process that waits from one that is dead.
    """
    app = create_app()
    server = Server(app, settings.max_connections_per_client)
    serving = asyncio.create_task(server.serve([listener]))
    try:
        async with open_parts(settings, executor=executor) as parts, parts.database.beside() as database:
            intake = attach(app, settings, parts, database)
            spare_what_stays()
            name, number = listener.getsockname()[:2]
            log.info("serving", page=f"http://{name}:{number}/", data_dir=str(settings.data_dir))
            stopping = asyncio.create_task(parts.stop.wait())
            await asyncio.wait({serving, stopping}, return_when=asyncio.FIRST_COMPLETED)
            log.info("stopping; a second signal stops immediately", running_jobs_may_take_seconds=GRACE_SECONDS)
            intake.closed = True
            parts.signals.wake()
            server.should_exit = True
            await asyncio.gather(serving, parts.drain())
            stopping.cancel()
            return parts.stop.is_set() and not parts.failed
    finally:
        server.should_exit = True
        await serving
