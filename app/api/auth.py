"""Finds a request's caller by its API key, before any of its body is read.

So a client without a valid key costs the service only this check.
"""

from typing import Annotated
from urllib.parse import SplitResult, urlsplit

from fastapi import Depends, Request, Security
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer, SecurityScopes
from starlette.datastructures import Headers
from starlette.requests import HTTPConnection
from starlette.types import Scope

from app.access.audit import Origin, origin
from app.access.callers import ANONYMOUS, OWNER, Caller, require_scope
from app.access.callers import Scope as KeyScope
from app.access.registry import ApiKeys
from app.api.dependencies import service_of
from app.api.server.connection_limits import client_of, parse_address
from app.api.server.forwarding import SENT_HOST
from app.errors import Forbidden

OWN_SITE = {"same-origin", "none"}  # what browsers send as Sec-Fetch-Site from the own page and for typed addresses


def is_loopback(host: str) -> bool:
    """Returns whether a host's name or address leads only to this machine."""
    if host.lower() == "localhost":
        return True
    try:
        return parse_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


bearer = HTTPBearer(
    auto_error=False,
    description="An API key. The operator makes keys with `callscribe keys create` or `POST /v1/keys`, or sets them as "
    "`name:key` in `CALLSCRIBE_API_KEYS`; send the part after the colon. Each route names the scope that the key "
    "needs: `transcribe` to create, change and delete, `read` to read, `live` for live calls, and `admin` to manage "
    "the service.",
)


async def identify_known(request: Request) -> Caller:
    """As `identify`, but without a look into the database, so a key that is some seconds old may not be known yet."""
    return note_caller(request, _keys_for(request).identify(_sent(await bearer(request))))


async def identify(request: Request) -> Caller:
    """Returns the caller that the request's API key names.

    Raises Unauthorized if the key is missing or wrong. If the service has no keys, it raises Forbidden for a request
    that may come from a page of another site.
    """
    return await _identify(request, await bearer(request))


async def authenticate(
    request: Request,
    scopes: SecurityScopes,
    credentials: Annotated[HTTPAuthorizationCredentials | None, Depends(bearer)],
) -> Caller:
    """As `identify`. Also raises Forbidden if the key lacks a scope that the route names."""
    caller = await _identify(request, credentials)
    for scope in scopes.scopes:
        require_scope(caller, KeyScope(scope))
    return caller


async def _identify(request: Request, credentials: HTTPAuthorizationCredentials | None) -> Caller:
    return await find_caller(request, _sent(credentials))


async def find_caller(connection: HTTPConnection, key: str | None) -> Caller:
    """Returns the caller of a key that came with a request or a WebSocket. Raises Unauthorized or Forbidden."""
    keys = _keys_for(connection)
    return note_caller(connection, await keys.find(key, service_of(connection).database))


def _keys_for(request: HTTPConnection) -> ApiKeys:
    keys = service_of(request).api_keys
    if keys.guards_loopback:
        _refuse_other_sites(request)
    return keys


async def key_of(request: Request) -> str | None:
    """The key that the request was sent with."""
    return _sent(await bearer(request))


def _sent(credentials: HTTPAuthorizationCredentials | None) -> str | None:
    return credentials.credentials if credentials else None


def note_caller(request: HTTPConnection, caller: Caller) -> Caller:
    """Names the caller in the request's log line, and gives the audit the request's origin."""
    origin.set(Origin(request.client.host if request.client else None, request.state.request_id))
    if not is_anonymous(caller):
        request.state.caller = caller.label
    return caller


def is_anonymous(caller: Caller) -> bool:
    return caller in (ANONYMOUS, OWNER)


def client_name(keys: ApiKeys | None, scope: Scope) -> tuple[str, str]:
    """Returns what identifies the client of a request: its key's caller if the key is valid, otherwise its address."""
    scheme, _, key = Headers(scope=scope).get("authorization", "").partition(" ")
    label = keys.label_of(key) if keys is not None and scheme.lower() == "bearer" else None
    if label is not None:
        return "key", label
    return "address", client_of(scope["client"][0] if scope["client"] else "")


def _refuse_other_sites(request: HTTPConnection) -> None:
    """Raises Forbidden if a page of another site may have sent the request.

    Without keys, such a page could use the service through the browser of a person at this machine. It can send a
    request directly, or make the name of its own site resolve to loopback (DNS rebinding). Pages of the origins that
    the operator names may do so; `*` names none.

    Also raises Forbidden for a request that a proxy on this machine passes on for another one.
    """
    if request.client is None or not is_loopback(request.client.host):
        raise Forbidden("The service has no API keys, so it answers only clients on this machine.")
    host = request.headers.get("host", "")
    hosts = {host, getattr(request.state, SENT_HOST, host)}  # a page can send X-Forwarded-Host, but not Host
    if not all(is_loopback(_url_parts(f"//{each}").hostname or "") for each in hosts):
        raise Forbidden(
            "The service has no API keys, so it answers only at `localhost` and loopback addresses such as 127.0.0.1."
        )
    origins, sites = (request.headers.getlist(name) for name in ("origin", "sec-fetch-site"))
    if len(origins) == 1 and origins[0] in request.app.state.cors_origins:
        return
    if any(_url_parts(origin).netloc != host for origin in origins) or not OWN_SITE.issuperset(sites):
        raise Forbidden("The service has no API keys, so it refuses requests from pages of other sites.")


def _url_parts(address: str) -> SplitResult:
    """Returns the parts of a URL. All of them are empty if the URL is malformed."""
    try:
        return urlsplit(address)
    except ValueError:
        return urlsplit("")


AnyKey = Annotated[Caller, Security(authenticate)]
MayTranscribe = Annotated[Caller, Security(authenticate, scopes=[KeyScope.TRANSCRIBE.value])]
MayRead = Annotated[Caller, Security(authenticate, scopes=[KeyScope.READ.value])]
MayLive = Annotated[Caller, Security(authenticate, scopes=[KeyScope.LIVE.value])]
MayAdmin = Annotated[Caller, Security(authenticate, scopes=[KeyScope.ADMIN.value])]
