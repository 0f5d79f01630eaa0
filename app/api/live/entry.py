"""Finds the caller of a live call: by the header `Authorization`, by `?token=`, or by a key in its first messages.

Browsers and many phone systems cannot set headers, so the dialects may give a key later.
"""

from base64 import b64decode
from contextlib import suppress

from fastapi.security.utils import get_authorization_scheme_param
from starlette.websockets import WebSocket

from app.access import rates
from app.access.callers import Caller, Scope, require_scope
from app.api.auth import find_caller, note_caller
from app.api.dependencies import service_of
from app.errors import RateLimited, Unauthorized
from app.live import tokens

KEY_SUBPROTOCOL = "openai-insecure-api-key."
"""Before a key in the offered subprotocols, where OpenAI's clients in browsers put it."""


class Entry:
    """Lets the client of one WebSocket in."""

    def __init__(self, websocket: WebSocket) -> None:
        self._websocket = websocket

    async def open(self) -> Caller | None:
        """Returns the caller that the handshake names, or None if it names nobody, and a key may come later.

        Raises Unauthorized, Forbidden or RateLimited.
        """
        if (key := _key_of(self._websocket)) is not None:
            return await self.identify(key)
        try:
            return await self._admitted(None)  # a service without keys needs none
        except Unauthorized:
            return None

    async def identify(self, key: str) -> Caller:
        """Returns the caller of a key or a token. Raises Unauthorized, Forbidden or RateLimited."""
        return await self._admitted(key)

    async def _admitted(self, key: str | None) -> Caller:
        caller = await self._find(key)
        require_scope(caller, Scope.LIVE)
        if rates.is_limited(caller):  # the opening of a call counts as one request
            counted = await rates.count(service_of(self._websocket).database, caller)
            if not counted.admitted:
                raise RateLimited("The requests of this key or its tenant have been used up for this minute.")
        return caller

    async def _find(self, key: str | None) -> Caller:
        if key is None or not key.startswith(tokens.PREFIX):
            return await find_caller(self._websocket, key)
        with suppress(Unauthorized):
            return await find_caller(self._websocket, None)  # a service without keys needs no token
        service = service_of(self._websocket)
        async with service.database.transaction() as session:
            caller = await tokens.caller_of(session, key, service.api_keys)
        if caller is None:
            raise Unauthorized("This token is not valid, or it has expired.")
        return note_caller(self._websocket, caller)


def chosen_subprotocol(websocket: WebSocket) -> str | None:
    """The first one that the client offers, because browsers want one of theirs. Never one that holds a key."""
    offered: list[str] = websocket.scope["subprotocols"]
    return next((name for name in offered if not name.startswith(KEY_SUBPROTOCOL)), None)


def _key_of(websocket: WebSocket) -> str | None:
    scheme, key = get_authorization_scheme_param(websocket.headers.get("authorization"))
    if scheme.lower() == "bearer":
        return key
    if scheme.lower() == "basic":
        return _password(key)
    if tokens := websocket.query_params.getlist("token"):
        return tokens[0]
    keys = (name for name in websocket.scope["subprotocols"] if name.startswith(KEY_SUBPROTOCOL))
    offered = next(keys, None)
    return None if offered is None else offered.removeprefix(KEY_SUBPROTOCOL)


def _password(credentials: str) -> str:
    """The key in the only header that jambonz, Exotel and FreeSWITCH can send. The user's name does not count."""
    try:
        return b64decode(credentials, validate=True).decode().partition(":")[2]
    except ValueError:
        return ""
