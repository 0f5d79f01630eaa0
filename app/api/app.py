"""The HTTP application: its routes, its errors and its server.

It exists so that everything HTTP hangs together in one place. It must not read settings, and it must not know how the
parts of the service are opened: `serve` is handed a service to open.
"""

import asyncio
import socket
from collections.abc import Hashable, Iterator
from contextlib import AbstractAsyncContextManager, contextmanager
from pathlib import Path
from typing import Any

import structlog
import uvicorn
from fastapi import FastAPI
from starlette.requests import Request
from starlette.types import ASGIApp, Receive, Scope, Send

from app import __version__
from app.api import deliveries, openapi, operations, problems, recordings, transcriptions
from app.api.auth import client_name
from app.api.dependencies import opened
from app.api.page import documentation
from app.api.page import routes as page
from app.api.server import gate
from app.api.server.acceptor import Acceptor
from app.api.server.admission import Admission
from app.api.server.bodies import RequestBodies
from app.api.server.connections import Connection
from app.api.server.heads import Heads
from app.api.server.request_log import RequestLog
from app.errors import Unavailable
from app.process.garbage import spare_what_stays
from app.process.open_files import most_connections
from app.service import GRACE_SECONDS, Service

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

# Longer than proxies and clients keep an unused connection, so that they close it: if we closed it, a request that is
# on its way would fail. At a limit, unused connections are closed for new ones (`server.admission`).
KEEP_ALIVE_SECONDS = 75

log = structlog.stdlib.get_logger("callscribe")


def create_app() -> FastAPI:
    """Routes, errors and the OpenAPI document. Routes work once `app.state.service` is an open service."""
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
            {
                "name": "webhooks",
                "description": "Who was notified of a transcription's end, and how to notify them again.",
            },
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
    app.openapi_schema = openapi.complete(app.openapi())  # after the last route, because each new route discards it
    app.state.service = None
    return app


class Doors:
    """ASGI middleware: until the service is open, only the probes are answered. Other requests are `unavailable`."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
        elif scope["state"].get(gate.OVERLOADED):
            await _refuse("Too many requests are under way.", scope, receive, send)
        elif opened(scope["app"]) is not None or scope["path"] in operations.PROBES:
            await self.app(scope, receive, send)
        else:
            await _refuse("The service is starting.", scope, receive, send)


async def _refuse(reason: str, scope: Scope, receive: Receive, send: Send) -> None:
    error = Unavailable(reason, retry_after=5)
    await problems.render(Request(scope), error)(scope, receive, send)


class Server(uvicorn.Server):
    """Uvicorn with our connections, which clients cannot hold open. `serve` stops it, not a signal."""

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

        def name_of(scope: Scope) -> Hashable:
            service = opened(app)
            return client_name(service.api_keys if service else None, scope)

        self._gate = gate.Gate(name_of)

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        acceptors: Any = [Acceptor(listener, self._admission, self._connection) for listener in sockets or ()]
        self.servers = acceptors
        self.started = True

    def _connection(self) -> Connection:
        return Connection(self.config, self.server_state, {}, admission=self._admission, gate=self._gate)


async def serve(
    opening: AbstractAsyncContextManager[Service],
    listener: socket.socket,
    *,
    max_connections_per_client: int,
    data_dir: Path,
) -> bool:
    """Serve until a signal stops the process or a part fails. Returns whether it was a signal.

    HTTP is up before the database is, so that probes can tell a process that waits from one that is dead.
    """
    app = create_app()
    server = Server(app, max_connections_per_client)
    serving = asyncio.create_task(server.serve([listener]))
    try:
        async with opening as service:
            app.state.service = service
            spare_what_stays()
            name, number = listener.getsockname()[:2]
            log.info("serving", page=f"http://{name}:{number}/", data_dir=str(data_dir))
            stopping = asyncio.create_task(service.parts.shutdown.requested.wait())
            await asyncio.wait({serving, stopping}, return_when=asyncio.FIRST_COMPLETED)
            log.info("stopping; a second signal stops immediately", running_jobs_may_take_seconds=GRACE_SECONDS)
            service.close()
            server.should_exit = True
            await asyncio.gather(serving, service.parts.shutdown.drain())
            stopping.cancel()
            return service.parts.shutdown.requested.is_set() and not service.parts.shutdown.failed
    finally:
        server.should_exit = True
        await serving
