"""Runs the application in this process behind a real HTTP server, for tests that need access to its parts."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import httpx
from fastapi import FastAPI

from app.access.registry import ApiKeys
from app.api.app import Server, create_app
from app.api.server.forwarding import Proxies
from app.control.away import ModelsAway
from app.control.switches import Switches
from app.database.connections import Database
from app.database.notifications import Signals
from app.deliveries.http import http_channels, open_client
from app.deliveries.sender import DeliverySender
from app.jobs.upkeep.retention import Retention
from app.making import live_calls_of, open_fetcher, open_intake
from app.network.guard import NetworkGuard
from app.numbers import Numbers
from app.process.shares import Shares
from app.process.shutdown import Shutdown
from app.readiness import Readiness
from app.service import Parts, Service, assemble_service
from app.settings import Settings
from app.speech.engine import EngineConfig
from app.storage.disk import FreeSpace
from app.storage.folder_store import LocalAudioStore
from app.storage.workspace import Workspace
from testing.engine_double import EngineDouble
from testing.files import files_in
from testing.rows import FORGET_AUDIO


@dataclass(frozen=True)
class Listening:
    """A running server: its port, a client of it, the folder of its recordings, and its service."""

    port: int
    client: httpx.AsyncClient
    audio: Path
    service: Service

    def stored_files(self) -> list[Path]:
        return files_in(self.audio)


def app_with(readiness: Readiness, api_keys: ApiKeys | None = None) -> FastAPI:
    """Returns the application with a service that has nothing but readiness and API keys."""
    unused = cast("Any", None)
    app = create_app()
    app.state.service = Service(
        parts=unused,
        database=unused,
        intake=unused,
        reader=unused,
        waiting=unused,
        interest=unused,
        batch_intake=unused,
        batch_reader=unused,
        feeder=unused,
        retries=unused,
        analyses=unused,
        reports=unused,
        following=unused,
        api_keys=api_keys or ApiKeys({}),
        readiness=readiness,
    )
    return app


@asynccontextmanager
async def listening(database: Database, folder: Path, **settings: str) -> AsyncIterator[Listening]:
    """Serves on a free port until the end of the block."""
    chosen = Settings.model_validate({"data_dir": str(folder), "min_free_bytes": 0, "model": "base", **settings})
    audio, free_space = folder / "audio", FreeSpace(chosen.disks, chosen.min_free_bytes)
    store = LocalAudioStore(audio)
    guard, signals = NetworkGuard(chosen.allowed_networks), Signals(database)
    workspace, shares = Workspace(folder / "work"), Shares()
    fetcher, switches = open_fetcher(chosen, guard, store, free_space), Switches(database, signals)
    intake = open_intake(chosen, database, guard, store, fetcher, free_space, switches, shares)
    engine = EngineDouble(EngineConfig(chosen.models, folder), shares)
    engine.load()
    parts = Parts(
        database=database,
        signals=signals,
        guard=guard,
        workspace=workspace,
        store=store,
        free_space=free_space,
        fetcher=fetcher,
        retention=Retention(database, store),
        at_end=FORGET_AUDIO,
        executor=None,
        redis=None,
        watch=None,
        numbers=Numbers(database, free_space),
        switches=switches,
        away=ModelsAway(database, signals),
        presence=None,
        shutdown=Shutdown([(DeliverySender(database, signals, http_channels(open_client(guard))), 0.0)]),
        shares=shares,
        live=live_calls_of(chosen, database, intake, engine, workspace, free_space, shares),
    )
    app = create_app(chosen.root_path, chosen.cors_origins)
    app.state.service = service = assemble_service(chosen, parts, database)
    await service.api_keys.load(database)
    server = Server(app, chosen.max_connections_per_client, Proxies(chosen.trusted_proxies))
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        serving = asyncio.create_task(server.serve([listener]))
        try:
            async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=60, trust_env=False) as client:
                yield Listening(port, client, audio, service)
        finally:  # a server that stays would keep the next test's server from accepting connections
            server.should_exit = True
            await serving
            await server.close_websockets()
