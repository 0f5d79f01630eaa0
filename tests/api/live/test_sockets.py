"""The WebSockets of live calls, with a real client and the real server."""

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

from testing.service import Service, serving
from tests.conftest import ALICE, clone


@pytest.fixture(scope="module")
async def service(postgres: str, template: str, workspace: Path) -> AsyncIterator[Service]:
    async with clone(postgres, template) as database:
        settings = {"DATABASE_URL": database, "API_KEYS": f"alice:{ALICE}"}
        with serving(workspace / "live", "--no-executor", key=ALICE, **settings) as service:
            yield service


def call(service: Service, path: str = "/v1/live", **arguments: Any) -> ClientConnection:
    opened: ClientConnection = connect(f"ws://127.0.0.1:{service.port}{path}", proxy=None, **arguments)
    return opened


def bearer(key: str = ALICE) -> dict[str, str]:
    return {"Authorization": f"Bearer {key}"}


def closed_with(websocket: ClientConnection) -> int:
    with pytest.raises(ConnectionClosed) as caught:
        websocket.recv(timeout=15)
    assert caught.value.rcvd is not None
    return caught.value.rcvd.code


def test_a_process_without_a_model_asks_to_call_again(service: Service) -> None:
    with call(service, additional_headers=bearer()) as websocket:
        websocket.send('{"type": "start"}')
        websocket.send(bytes(32_000))
        assert json.loads(websocket.recv(timeout=5))["code"] == "try_again_later"
        assert closed_with(websocket) == 1013


def test_wrong_key(service: Service) -> None:
    with call(service, additional_headers=bearer("wrong")) as websocket:
        assert json.loads(websocket.recv(timeout=5))["code"] == "unauthorized"
        assert closed_with(websocket) == 1008


def test_no_key(service: Service) -> None:
    with call(service) as websocket:
        assert json.loads(websocket.recv(timeout=10))["code"] == "unauthorized"
        assert closed_with(websocket) == 1008
