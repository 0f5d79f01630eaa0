"""Who is calling: an API key → Caller. Checked before any of a request's body is read."""

import hashlib
import hmac
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, Request
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from app.errors import Unauthorized

LOOPBACK_HOSTS = ("127.0.0.1", "::1", "localhost")


@dataclass(frozen=True)
class Caller:
    """The name that the operator gave to the key."""

    name: str


ANONYMOUS = Caller("anonymous")


class ApiKeys:
    """The configured keys, held as hashes. With none, everybody is let in: `serve` then binds loopback only."""

    def __init__(self, keys: Mapping[str, str]) -> None:
        self._hashes = {name: hashlib.sha256(key.encode()).digest() for name, key in keys.items()}

    def identify(self, key: str | None) -> Caller:
        """The caller with this key. Raises Unauthorized."""
        if not self._hashes:
            return ANONYMOUS
        given = hashlib.sha256((key or "").encode()).digest()
        names = [name for name, known in self._hashes.items() if hmac.compare_digest(known, given)]
        if key is None or not names:
            raise Unauthorized(
                "Send `Authorization: Bearer <key>` with one of the configured API keys.",
                headers={"WWW-Authenticate": "Bearer"},
            )
        return Caller(names[0])


bearer = HTTPBearer(auto_error=False, description="An API key from `CALLSCRIBE_API_KEYS`.")


async def authenticate(
    request: Request, credentials: Annotated[HTTPAuthorizationCredentials | None, Depends(bearer)]
) -> Caller:
    keys: ApiKeys = request.app.state.api_keys
    return keys.identify(credentials.credentials if credentials else None)


CallerDep = Annotated[Caller, Depends(authenticate)]
