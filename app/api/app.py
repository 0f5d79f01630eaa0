"""The HTTP application: its routes, its errors and its server.

It must not read settings, so `serve` gets their values from its caller, with the service that it opens and closes.
"""

import asyncio
import socket
from collections import deque
from collections.abc import Hashable, Iterator, Sequence
from contextlib import AbstractAsyncContextManager, contextmanager
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import structlog
import uvicorn
from fastapi import Depends, FastAPI
from fastapi.routing import iter_route_contexts
from starlette.types import Scope
from uvicorn.server import ServerState

from app import __version__
from app.api import (
    audit,
    batches,
    deliveries,
    export,
    from_url,
    keys,
    lists,
    models,
    openapi,
    operations,
    problems,
    recordings,
    reports,
    retries,
    tenants,
    transcriptions,
    usage,
)
from app.api.analyses import analysis, categories, many, scorecards
from app.api.auth import client_name
from app.api.dependencies import service_if_open
from app.api.live import following
from app.api.live import routes as live
from app.api.live import tokens as live_tokens
from app.api.openai import routes as openai
from app.api.page import documentation
from app.api.page import routes as page
from app.api.parameters import refuse_unknown_parameters, refuse_useless_body
from app.api.rate_limits import RateLimitMiddleware
from app.api.server.availability import AvailabilityMiddleware
from app.api.server.bodies import RequestBodyMiddleware
from app.api.server.connection_limits import ConnectionLimits
from app.api.server.connections import Connection
from app.api.server.cross_origin import CrossOriginMiddleware
from app.api.server.forwarding import Networks, Proxies
from app.api.server.head_requests import HeadMiddleware
from app.api.server.headers import HeadersMiddleware
from app.api.server.listener import Listener
from app.api.server.request_limits import RequestLimits
from app.api.server.request_log import RequestLogMiddleware
from app.api.server.request_trace import RequestTraceMiddleware
from app.api.server.websockets import MESSAGE_BYTES, PING_SECONDS
from app.process.garbage import spare_what_stays
from app.process.open_files import most_connections
from app.service import Service, report_ready

DESCRIPTION = """
Callscribe turns phone-call recordings into text. Post a recording, and the service answers `202` with a transcription.
Read the transcription until it is completed. Then read its transcript in the format that you need.

```sh
curl http://127.0.0.1:8000/v1/transcriptions -F file=@call.wav -F channels=split \\
  -F channel_labels=agent -F channel_labels=customer
curl 'http://127.0.0.1:8000/v1/transcriptions/{id}?wait=60'
curl 'http://127.0.0.1:8000/v1/transcriptions/{id}/transcript?format=text'
```

Clients of OpenAI's API work with the base URL `http://127.0.0.1:8000/v1` and the model `whisper-1`: see
`/v1/audio/transcriptions`.

Errors are RFC 9457 problems. Below `/v1/audio/`, `/v1/transcribe` and `/v1/models/` they have the form of OpenAI's
errors instead. A `code` never changes its meaning. Times are RFC 3339 in UTC, and durations are seconds.
"""

# This is longer than proxies and clients keep an unused connection, so that they close it and not the service. If the
# service closed it, a request that is on its way would fail. When there are too many connections, unused ones are
# closed earlier to make room (`server.connection_limits`).
KEEP_ALIVE_SECONDS = 75
REQUEST_GRACE_SECONDS = 10  # for requests that are under way when the process is stopped

log = structlog.stdlib.get_logger("callscribe")


class Application(FastAPI):
    """Makes its OpenAPI document when it is first read, because that takes longer than the rest of the application."""

    def openapi(self) -> dict[str, Any]:
        if self.openapi_schema is None:
            self.openapi_schema = openapi.complete(super().openapi())
        return self.openapi_schema


def create_app(root_path: str = "", cors_origins: Sequence[str] = ()) -> FastAPI:
    """Returns the application with its routes and middlewares.

    It answers only probes until `app.state.service` is an open service. A proxy may publish it under `root_path`. Pages
    of `cors_origins` may use it from a browser.
    """
    app = Application(
        title="Callscribe",
        version=__version__,
        summary="Turns phone-call recordings into text.",
        description=DESCRIPTION,
        openapi_url=None,
        servers=[{"url": root_path}] if root_path else None,
        redirect_slashes=False,
        license_info={"name": "Apache-2.0", "identifier": "Apache-2.0"},
        openapi_tags=[
            {
                "name": "transcriptions",
                "description": "Post recordings, follow their transcriptions, and read their transcripts.",
            },
            {"name": "batches", "description": "Transcribe many old recordings behind the calls of the day."},
            {
                "name": "live",
                "description": "Get the text of a call while it goes on. A client sends the sound to the WebSocket "
                "`/v1/live`, or `/v1/realtime` if it speaks OpenAI's Realtime API. OpenAPI cannot describe a "
                "WebSocket: the guides `docs/live.md` and `docs/phone-systems.md` do.",
            },
            {
                "name": "openai",
                "description": "Transcribe with the clients of OpenAI's API. Their base URL is `/v1` of this service.",
            },
            {
                "name": "webhooks",
                "description": "See which receivers were notified of a transcription's end, and notify them again.",
            },
            {"name": "events", "description": "The requests that the service sends to your `webhook_url`."},
            {"name": "analyses", "description": "Say what to look for in calls, and read what was found."},
            {"name": "keys", "description": "Make and revoke API keys, and see who a key is."},
            {"name": "usage", "description": "Read how much was transcribed."},
            {"name": "audit", "description": "Read who read, changed or erased which call."},
            {"name": "operations", "description": "Check whether the service is alive and ready, and list its models."},
        ],
        generate_unique_id_function=lambda route: route.name,
        telemetry={"tracing": False, "metrics": False, "logs": False},  # its spans have the parameters of URLs
        dependencies=[Depends(refuse_unknown_parameters), Depends(refuse_useless_body)],
    )
    if root_path:
        app.include_router(page.redirect_to_slash(root_path))
    app.include_router(page.router)
    app.include_router(lists.router)
    app.include_router(export.router)
    app.include_router(transcriptions.router)
    app.include_router(from_url.router)
    app.include_router(retries.router)
    app.include_router(analysis.router)
    app.include_router(many.router)
    app.include_router(batches.router)
    app.include_router(following.router)
    app.include_router(live_tokens.router)
    app.include_router(openai.router)
    app.include_router(deliveries.router)
    app.include_router(recordings.router)
    app.include_router(operations.router)
    app.include_router(models.router)
    app.include_router(categories.router)
    app.include_router(scorecards.router)
    app.include_router(keys.router)
    app.include_router(tenants.router)
    app.include_router(usage.router)
    app.include_router(reports.router)
    app.include_router(audit.router)
    app.router.routes.extend(live.websockets)
    app.add_middleware(RateLimitMiddleware)
    problems.install(app)
    app.add_middleware(HeadMiddleware)
    app.add_middleware(AvailabilityMiddleware)
    app.add_middleware(HeadersMiddleware)
    app.add_middleware(CrossOriginMiddleware, origins=cors_origins)
    app.add_middleware(RequestLogMiddleware)
    app.add_middleware(RequestTraceMiddleware)
    app.add_middleware(RequestBodyMiddleware)  # the last one added is the first one that a request meets
    app.include_router(documentation.routes(app.openapi))
    app.state.service = None
    app.state.root_path = root_path
    app.state.cors_origins = frozenset(cors_origins)
    return app


class Server(uvicorn.Server):
    """Uvicorn's server with our own connections, which limit slow and silent clients.

    It ignores signals, because `serve` stops it.
    """

    def __init__(self, app: FastAPI, max_connections_per_client: int, proxies: Proxies | None = None) -> None:
        config = uvicorn.Config(
            app,
            lifespan="off",
            ws="none",  # our connections become WebSockets by themselves
            ws_max_size=MESSAGE_BYTES,
            ws_ping_interval=PING_SECONDS,
            ws_ping_timeout=PING_SECONDS,
            ws_per_message_deflate=False,
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=False,  # our connections believe them before the request waits for its place
            timeout_keep_alive=KEEP_ALIVE_SECONDS,
            timeout_graceful_shutdown=REQUEST_GRACE_SECONDS,
        )
        super().__init__(config)
        self._websockets = ServerState()  # of its own, because live calls may end later than requests
        self._root_path: str = app.state.root_path
        self._proxies = proxies or Proxies()
        self._connection_limits = ConnectionLimits(
            most_connections(), max_connections_per_client, self._proxies.may_hold_any_number
        )

        def client_of_request(scope: Scope) -> Hashable:
            service = service_if_open(app)
            return client_name(service.api_keys if service else None, scope)

        self._request_limits = RequestLimits(client_of_request)

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        listeners: Any = [Listener(sock, self._connection_limits, self._connection) for sock in sockets or ()]
        self.servers = listeners
        self.started = True

    def _connection(self) -> Connection:
        return Connection(
            self.config,
            self.server_state,
            {},
            connection_limits=self._connection_limits,
            request_limits=self._request_limits,
            proxies=self._proxies,
            root_path=self._root_path,
            websockets=self._websockets,
        )

    async def close_websockets(self) -> None:
        """Closes the live calls that are still open, and waits for a while until what they have begun is ended."""
        for connection in list(self._websockets.connections):
            connection.shutdown()
        if self._websockets.tasks:
            _, late = await asyncio.wait(self._websockets.tasks, timeout=REQUEST_GRACE_SECONDS)
            for task in late:
                task.cancel()


def page_of(listener: socket.socket) -> str:
    """Returns the URL that opens the page on this machine, because no browser opens 0.0.0.0 or :: reliably."""
    name, number = listener.getsockname()[:2]
    name = "127.0.0.1" if ip_address(name).is_unspecified else name
    return f"http://[{name}]:{number}/" if ":" in name else f"http://{name}:{number}/"


async def serve(
    opening: AbstractAsyncContextManager[Service],
    listener: socket.socket,
    *,
    max_connections_per_client: int,
    data_dir: Path,
    root_path: str,
    trusted_proxies: Networks | None,
    cors_origins: Sequence[str],
) -> bool:
    """Serves HTTP until a signal stops the process or a part of the service fails. Returns whether it was a signal.

    The process answers HTTP before its database is up, so that probes can distinguish a process that still waits from a
    dead one.
    """
    app = create_app(root_path, cors_origins)
    deque(iter_route_contexts(app.routes), maxlen=0)  # otherwise the first request waits until all routes are prepared
    server = Server(app, max_connections_per_client, Proxies(trusted_proxies))
    serving = asyncio.create_task(server.serve([listener]))
    try:
        async with opening as service:
            app.state.service = service
            spare_what_stays()
            log.info("starting", data_dir=str(data_dir))
            page = page_of(listener)
            ready = (
                f"Callscribe is ready: the page is {page}, the API's documentation {page}docs, and the base URL for "
                f"OpenAI's clients {page}v1"
            )
            announcing = asyncio.create_task(report_ready(service.parts, ready))
            stopping = asyncio.create_task(service.parts.shutdown.requested.wait())
            await asyncio.wait({serving, stopping}, return_when=asyncio.FIRST_COMPLETED)
            log.info(
                "stopping; a second signal stops immediately",
                running_jobs_may_take_seconds=service.parts.shutdown.grace_seconds,
            )
            service.close()
            drained = asyncio.create_task(service.parts.shutdown.drain())
            await service.parts.live.drain(service.parts.shutdown.grace_seconds)  # over their connections
            server.should_exit = True
            await asyncio.gather(serving, drained)
            await server.close_websockets()
            stopping.cancel()
            announcing.cancel()
            return service.parts.shutdown.requested.is_set() and not service.parts.shutdown.failed
    finally:
        server.should_exit = True
        await serving
