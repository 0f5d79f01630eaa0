"""Short-lived tokens, with which a browser or a phone system opens live calls without knowing a key.

A token names the caller of the key that made it, with the scope `live` only. It ends with its key.
"""

import hashlib
import secrets
from dataclasses import replace
from datetime import datetime, timedelta

from sqlalchemy import func, text
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from app.access.callers import Caller, Scope
from app.access.keys import hash_of
from app.access.registry import ApiKeys
from app.live.models import LiveToken

PREFIX = "clt_"  # scanners of source code find a token by it
SHORTEST_SECONDS, USUAL_SECONDS, LONGEST_SECONDS = 10, 300, 24 * 60 * 60
ROWS_AT_ONCE = 5000


async def create(session: AsyncSession, caller: Caller, key: str | None, seconds: int) -> tuple[str, datetime]:
    """Adds a token of the caller, who has sent this key. Returns its text, which is kept nowhere, and its end."""
    now: datetime = (await session.exec(select(func.now()))).one()
    token, expires_at = PREFIX + secrets.token_urlsafe(32), now + timedelta(seconds=seconds)
    check = _check(token, hash_of(key or ""))
    session.add(LiveToken(hash=hash_of(token), caller=caller.label, key_check=check, expires_at=expires_at))
    return token, expires_at


async def caller_of(session: AsyncSession, token: str, keys: ApiKeys) -> Caller | None:
    """Returns the caller of a token, or None if there is no such token, or it or its key has ended."""
    wanted = select(LiveToken).where(LiveToken.hash == hash_of(token), col(LiveToken.expires_at) > func.now())
    row = (await session.exec(wanted)).first()
    if row is None:
        return None
    caller = keys.caller_with(
        row.caller, lambda key_hash: secrets.compare_digest(_check(token, key_hash), row.key_check)
    )
    return None if caller is None else replace(caller, scopes=caller.scopes & {Scope.LIVE})


def _check(token: str, key_hash: bytes) -> bytes:
    """Recognizes a key. Who reads the table learns nothing about the key from it, because the token is not there."""
    return hashlib.sha256(token.encode() + key_hash).digest()


async def erase_expired(session: AsyncSession) -> int:
    """Deletes some of the tokens that have expired. Returns how many."""
    statement = text("""
        DELETE FROM live_token WHERE hash IN (
            SELECT hash FROM live_token WHERE expires_at <= now() LIMIT :limit FOR UPDATE SKIP LOCKED
        )
    """).bindparams(limit=ROWS_AT_ONCE)
    return int((await session.exec(statement)).rowcount)  # type: ignore[call-overload]
