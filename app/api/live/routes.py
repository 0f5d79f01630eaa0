"""The WebSockets of live calls: `/v1/live` for all dialects, and `/v1/realtime` for clients of OpenAI's API."""

from contextlib import suppress

from starlette.routing import WebSocketRoute
from starlette.websockets import WebSocket, WebSocketDisconnect

from app.api.dependencies import service_of
from app.api.live.closing import NORMAL, close_code
from app.api.live.conversation import converse, refuse
from app.api.live.entry import Entry, chosen_subprotocol
from app.api.server.websockets import PATHS
from app.errors import AppError


async def _talk(websocket: WebSocket) -> None:
    """Lets the client in, holds its call, and closes the connection with the code that says why."""
    websocket.scope["route"] = _ROUTES[websocket.scope["path"]]  # for the log and the metrics, as FastAPI does
    service, entry = service_of(websocket), Entry(websocket)
    models = service.intake.models
    await websocket.accept(chosen_subprotocol(websocket))
    code = NORMAL
    try:
        try:
            caller = await entry.open()
        except AppError as error:
            await refuse(websocket, models, error)
            raise
        await converse(websocket, service.parts.live, models, caller=caller, identify=entry.identify)
    except AppError as error:
        websocket.state.code, websocket.state.reason = error.code, error.reason
        code = close_code(error)
    except WebSocketDisconnect:
        return
    with suppress(WebSocketDisconnect, RuntimeError):  # the client has closed it already
        await websocket.close(code)


_ROUTES = {path: WebSocketRoute(path, _talk, name=path) for path in PATHS}
websockets = list(_ROUTES.values())
