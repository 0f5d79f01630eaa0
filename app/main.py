"""The HTTP service: routes and errors, and `serve`, which runs them with everything else in one process."""

import asyncio
import socket
from collections.abc import Iterator
from contextlib import contextmanager

import structlog
import uvicorn
from fastapi import FastAPI
from fastapi_offline import FastAPIOffline
from starlette.requests import Request
from starlette.types import ASGIApp, Receive, Scope, Send

from app import __version__, operations, problems
from app.audio.folder_store import LocalAudioStore
from app.audio.store import StoreUnavailable
from app.auth import ApiKeys, is_loopback
from app.bodies import RequestBodies
from app.connections import BoundedHeads
from app.errors import InsufficientStorage, Unavailable
from app.jobs import openapi, playback, queue
from app.jobs import router as transcriptions
from app.jobs.admission import QueueLimit
from app.jobs.intake import Intake, Limits
from app.page import routes as page
from app.settings import Settings, SettingsError
from app.speech.languages import languages
from app.telemetry import RequestLog
from app.webhooks import router as deliveries
from app.webhooks.receivers import Receivers
from app.worker import GRACE_SECONDS, Parts, open_parts

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

log = structlog.stdlib.get_logger("callscribe")


def create_app() -> FastAPI:
    """Routes, errors and the OpenAPI document. `attach` gives it the parts that its routes work with."""
    app = FastAPIOffline(
        title="Callscribe",
        version=__version__,
        summary="Phone-call recordings into text.",
        description=DESCRIPTION,
        redoc_url=None,
        redirect_slashes=False,
        static_url="/docs/static",
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
    app.include_router(playback.router)
    app.include_router(operations.router)
    problems.install(app)
    app.add_middleware(Doors)
    app.add_middleware(RequestLog)
    app.add_middleware(RequestBodies)
    app.openapi_schema = openapi.complete(app.openapi())
    app.state.open = False
    app.state.readinesses = operations.Readinesses({"service": _starting})
    return app


async def _starting() -> None:
    raise operations.NotReady("starting: waits for the database")


class Doors:
    """ASGI middleware: until the application has its parts, it answers what needs none and is `unavailable` else."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["app"].state.open or scope["path"] in operations.PROBES:
            await self.app(scope, receive, send)
        else:
            starting = Unavailable("The service is starting.", headers={"Retry-After": "5"})
            await problems.render(Request(scope), starting)(scope, receive, send)


def attach(app: FastAPI, settings: Settings, parts: Parts) -> Intake:
    """Give the application's routes what they work with, and open its doors."""
    intake = Intake(
        parts.database,
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
    app.state.database = parts.database
    app.state.retention = parts.retention
    app.state.store = parts.store
    app.state.signals = parts.signals
    keys = {name: key.get_secret_value() for name, key in settings.api_keys.items()}
    app.state.api_keys = ApiKeys(keys if settings.auth == "on" else None)
    app.state.models = [
        operations.ModelOut(name=name, default=name == settings.model[0], languages=list(languages(name)))
        for name in settings.model
    ]

    app.state.readinesses = _readinesses(settings, parts, intake)
    app.state.open = True
    return intake


def _readinesses(settings: Settings, parts: Parts, intake: Intake) -> operations.Readinesses:
    """What has to work, and what should."""

    async def not_stopping() -> None:
        if intake.closed:
            raise operations.NotReady("stopping")

    async def models_loaded() -> None:
        if parts.engine is not None and not parts.engine.ready:
            raise operations.NotReady("loading")

    async def storage_usable() -> None:
        try:
            await parts.store.check()
            await parts.free_space.require()
        except StoreUnavailable as error:
            raise operations.NotReady(str(error)) from error
        except InsufficientStorage:
            raise operations.NotReady(f"less than {settings.min_free_bytes.human_readable()} free") from None

    async def workspace_usable() -> None:
        try:
            await parts.workspace.check()
        except OSError as error:
            raise operations.NotReady(str(error)) from error
        if parts.runner is not None and (trouble := parts.runner.fitness.trouble) is not None:
            raise operations.NotReady(trouble)

    async def one_machine() -> None:
        machines = await parts.database.machines() if isinstance(parts.store, LocalAudioStore) else set()
        if len(machines) > 1:
            raise operations.Doubtful(f"a folder, which has to be shared by {', '.join(sorted(machines))}")

    async def workers_at_work() -> None:
        async with parts.database.transaction() as session:
            if await queue.is_untended(session):
                raise operations.Doubtful(
                    "some have been waiting for a minute, and none is running: is there a worker?"
                )

    return operations.Readinesses(
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
    """Uvicorn, told to stop by `serve` instead of by signals of its own."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def http_config(app: FastAPI) -> uvicorn.Config:
    return uvicorn.Config(
        app,
        http=BoundedHeads,
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=int(GRACE_SECONDS),
    )


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
    server = Server(http_config(app))
    serving = asyncio.create_task(server.serve([listener]))
    try:
        async with open_parts(settings, executor=executor) as parts:
            intake = attach(app, settings, parts)
            name, number = listener.getsockname()[:2]
            log.info("serving", page=f"http://{name}:{number}/", data_dir=str(settings.data_dir))
            stopping = asyncio.create_task(parts.stop.wait())
            await asyncio.wait({serving, stopping}, return_when=asyncio.FIRST_COMPLETED)
            log.info("stopping; a second signal stops at once", running_jobs_may_take_seconds=GRACE_SECONDS)
            intake.closed = True
            parts.signals.wake()
            server.should_exit = True
            await asyncio.gather(serving, parts.drain())
            stopping.cancel()
            return parts.stop.is_set() and not parts.failed
    finally:
        server.should_exit = True
        await serving
