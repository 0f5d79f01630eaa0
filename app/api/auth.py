"""Finds a request's caller by its API key, before any of its body is read.

So a client without a valid key costs the service only this check.
"""

from typing import Annotated
from urllib.parse import SplitResult, urlsplit

from fastapi import Depends, Request
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from starlette.datastructures import Headers
from starlette.types import Scope

from app.api.dependencies import service_of
from app.api.server.connection_limits import client_of, parse_address
from app.callers import ANONYMOUS, ApiKeys, Caller
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
    description="An API key. The operator sets keys as `name:key` in `CALLSCRIBE_API_KEYS`; send the part after the "
    "colon.",
)


async def authenticate(
    request: Request, credentials: Annotated[HTTPAuthorizationCredentials | None, Depends(bearer)]
) -> Caller:
    """Returns the caller that the request's API key names.

    Raises Unauthorized if the key is missing or wrong. If the service has no keys, it raises Forbidden for a request
    that may come from a page of another site.
    """
    keys = service_of(request).api_keys
    if keys.guards_loopback:
        _refuse_other_sites(request)
    caller = keys.identify(credentials.credentials if credentials else None)
    if caller is not ANONYMOUS:
        request.state.caller = caller.name  # for the request's log line
    return caller


def client_name(keys: ApiKeys | None, scope: Scope) -> tuple[str, str]:
    """Returns what identifies the client of a request: the name of its key if that is valid, otherwise its address."""
    scheme, _, key = Headers(scope=scope).get("authorization", "").partition(" ")
    name = keys.name_of(key) if keys is not None and scheme.lower() == "bearer" else None
    return ("key", name) if name is not None else ("address", client_of(scope["client"][0] if scope["client"] else ""))


def _refuse_other_sites(request: Request) -> None:
    """Raises Forbidden if a page of another site may have sent the request.

    Without keys, such a page could use the service through the browser of a person at this machine. It can send a
    request directly, or make the name of its own site resolve to loopback (DNS rebinding).
    """
    host = request.headers.get("host", "")
    if not is_loopback(_url_parts(f"//{host}").hostname or ""):
        raise Forbidden(
            "The service has no API keys, so it answers only at `localhost` and loopback addresses such as 127.0.0.1."
        )
    origins, sites = (request.headers.getlist(name) for name in ("origin", "sec-fetch-site"))
    if any(_url_parts(origin).netloc != host for origin in origins) or not OWN_SITE.issuperset(sites):
        raise Forbidden("The service has no API keys, so it refuses requests from pages of other sites.")


def _url_parts(address: str) -> SplitResult:
    """Returns the parts of a URL. All of them are empty if the URL is malformed."""
    try:
        return urlsplit(address)
    except ValueError:
        return urlsplit("")


CallerDep = Annotated[Caller, Depends(authenticate)]
