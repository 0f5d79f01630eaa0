"""Who is calling: an API key → Caller. Checked before any of a request's body is read."""

import hashlib
import hmac
import ipaddress
from collections.abc import Mapping
from typing import Annotated
from urllib.parse import SplitResult, urlsplit

from fastapi import Depends, Request
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from starlette.datastructures import Headers
from starlette.types import Scope

from app.api.server.admission import client_of
from app.errors import Forbidden, Unauthorized
from app.jobs.caller import ANONYMOUS, Caller

OWN_SITE = {"same-origin", "none"}  # what a browser sends in Sec-Fetch-Site for the service's own page and by hand


def is_loopback(host: str) -> bool:
    """Whether a host's name or address leads to this machine and nowhere else."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


class ApiKeys:
    """The configured keys, held as hashes.

    With none, everybody on this machine is let in, as `serve` then binds loopback only; with None, everybody.
    """

    def __init__(self, keys: Mapping[str, str] | None) -> None:
        self.guards_loopback = keys is not None and not keys
        keys = keys or {}
        self._hashes = {name: hashlib.sha256(key.encode()).digest() for name, key in keys.items()}

    def name_of(self, key: str) -> str | None:
        """The name of this key, if it is one of them."""
        given = hashlib.sha256(key.encode()).digest()
        names = [name for name, known in self._hashes.items() if hmac.compare_digest(known, given)]
        return names[0] if names else None

    def identify(self, key: str | None) -> Caller:
        """The caller with this key. Raises Unauthorized."""
        if not self._hashes:
            return ANONYMOUS
        name = self.name_of(key) if key is not None else None
        if name is None:
            raise Unauthorized(
                "Send `Authorization: Bearer <key>` with one of the configured API keys.",
                headers={"WWW-Authenticate": "Bearer"},
            )
        return Caller(name)


bearer = HTTPBearer(auto_error=False, description="An API key from `CALLSCRIBE_API_KEYS`.")


async def authenticate(
    request: Request, credentials: Annotated[HTTPAuthorizationCredentials | None, Depends(bearer)]
) -> Caller:
    keys: ApiKeys = request.app.state.api_keys
    if keys.guards_loopback:
        _refuse_other_sites(request)
    caller = keys.identify(credentials.credentials if credentials else None)
    if caller is not ANONYMOUS:
        request.state.caller = caller.name  # for the request's line in the log
    return caller


def client_name(keys: ApiKeys | None, scope: Scope) -> tuple[str, str]:
    """What tells a request's client from others: the name of its key where that is valid, else its address."""
    scheme, _, key = Headers(scope=scope).get("authorization", "").partition(" ")
    name = keys.name_of(key) if keys is not None and scheme.lower() == "bearer" else None
    return ("key", name) if name is not None else ("address", client_of(scope["client"][0] if scope["client"] else ""))


def _refuse_other_sites(request: Request) -> None:
    """Without keys, a page of another site could use the service through the browser of somebody on this machine.

    Raises Forbidden for a name that merely resolves to loopback (DNS rebinding) and for another page's request.
    """
    host = request.headers.get("host", "")
    if not is_loopback(_split(f"//{host}").hostname or ""):
        raise Forbidden("Without API keys the service is used as localhost or 127.0.0.1 only.")
    origins, sites = (request.headers.getlist(name) for name in ("origin", "sec-fetch-site"))
    if any(_split(origin).netloc != host for origin in origins) or not OWN_SITE.issuperset(sites):
        raise Forbidden("Without API keys the service answers no other site's pages.")


def _split(address: str) -> SplitResult:
    """Its parts, all of them empty where it is malformed."""
    try:
        return urlsplit(address)
    except ValueError:
        return urlsplit("")


CallerDep = Annotated[Caller, Depends(authenticate)]
