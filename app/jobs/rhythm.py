"""What is done again and again goes on when the database is away."""

import asyncio
import time
from collections.abc import Awaitable, Callable

import structlog

from app.db import DATABASE_TROUBLE

log = structlog.stdlib.get_logger("callscribe.jobs")


async def despite_database_trouble(action: Callable[[], Awaitable[None]]) -> None:
    """Log and go on: whoever calls tries again on the next beat."""
    try:
        await action()
    except DATABASE_TROUBLE as error:
        log.warning("database trouble", error=type(error).__name__)


async def every(seconds: float, action: Callable[[], Awaitable[None]]) -> None:
    """Repeat an action on a fixed beat."""
    while True:
        started = time.monotonic()
        await despite_database_trouble(action)
        await asyncio.sleep(max(0.0, started + seconds - time.monotonic()))
