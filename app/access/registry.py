"""Finds the caller of a key, from memory.

A request costs no query, and works while the database is away. The keys of the database are read again when one has
changed, every few seconds, and when a key arrives that is not known, because it may be new.
"""

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from uuid import UUID

import structlog

from app.access import keys
from app.access.callers import ANONYMOUS, EVERY_SCOPE, OWNER, USUAL_SCOPES, Caller, Limits, Scope
from app.access.models import ApiKey
from app.database.connections import DATABASE_TROUBLE, Database
from app.database.notifications import Signals
from app.errors import Unauthorized
from app.process.tasks import within

REFRESH_SECONDS = 5.0
SHORTEST_REFRESH_SECONDS = 1.0  # for keys that are not known, so that strangers cost one query a second at most
NOTE_USE_SECONDS = 60.0
ADMIN = "admin"
"""A key of CALLSCRIBE_API_KEYS with this name may do everything."""

CHALLENGE = {"WWW-Authenticate": "Bearer"}

log = structlog.stdlib.get_logger("callscribe.access")


class ApiKeys:
    """The keys of the settings and of the database, by their hashes.

    `configured` has the keys of the settings by the name of their caller. If it is None, authentication is off, and
    everybody is a caller. If `is_exposed` is false, only this machine reaches the service. Then everybody is a caller
    while there is no key at all.
    """

    def __init__(
        self,
        configured: Mapping[str, Sequence[str]] | None,
        ceilings: Mapping[str, int] | None = None,
        *,
        is_exposed: bool = False,
    ) -> None:
        self._is_off, self._is_exposed = configured is None, is_exposed
        self._ceilings = ceilings or {}
        self._configured = {
            keys.hash_of(key): self._caller_of_setting(name)
            for name, many in (configured or {}).items()
            for key in many
        }
        self._rows: dict[bytes, tuple[Caller, datetime | None]] = {}
        self._default_limits = Limits()
        self._used: set[UUID] = set()
        self._refreshing: asyncio.Task[None] | None = None
        self._refreshed_at = float("-inf")
        self._loading = asyncio.Lock()

    @property
    def has_keys(self) -> bool:
        return bool(self._configured or self._rows)

    @property
    def guards_loopback(self) -> bool:
        """Whether everybody on this machine is a caller, and nobody else."""
        return not (self._is_off or self._is_exposed or self.has_keys)

    def label_of(self, key: str) -> str | None:
        """The label of this key's caller, or None if the key is not valid."""
        with suppress(Unauthorized):
            return self._known(keys.hash_of(key)).label
        return None

    def identify(self, key: str | None) -> Caller:
        """The caller with this key. Raises Unauthorized."""
        if self._is_off:
            return ANONYMOUS
        if self.guards_loopback:
            return OWNER
        if key is None:
            raise Unauthorized("Send `Authorization: Bearer <key>` with an API key.", headers=CHALLENGE)
        caller = self._known(keys.hash_of(key))
        if caller.key_id is not None:
            self._used.add(caller.key_id)
        return caller

    def caller_with(self, label: str, is_key: Callable[[bytes], bool]) -> Caller | None:
        """The caller of this label with the valid key whose hash `is_key` recognizes, or None."""
        known = [*self._configured.items(), *((hashed, caller) for hashed, (caller, _) in self._rows.items())]
        for hashed, caller in known:
            if caller.label == label and is_key(hashed):
                with suppress(Unauthorized):
                    return self._known(hashed)
        return None

    def _known(self, hashed: bytes) -> Caller:
        if (configured := self._configured.get(hashed)) is not None:
            return replace(configured, tenant_limits=self._default_limits)
        caller, expires_at = self._rows.get(hashed, (None, None))
        if caller is None:
            raise Unauthorized("This API key is not valid.", headers=CHALLENGE)
        if expires_at is not None and expires_at <= datetime.now(UTC):
            raise Unauthorized("This API key has expired.", headers=CHALLENGE)
        return caller

    async def find(self, key: str | None, database: Database) -> Caller:
        """As `identify`, but looks for a key that is not known in the database. Raises Unauthorized."""
        hashed = keys.hash_of(key) if key is not None and not self._is_off else None
        is_unknown = hashed is not None and hashed not in self._configured and hashed not in self._rows
        if is_unknown and time.monotonic() - self._refreshed_at >= SHORTEST_REFRESH_SECONDS:
            with suppress(*DATABASE_TROUBLE):
                await self._refresh_once(database)
        return self.identify(key)

    async def load(self, database: Database) -> None:
        """Reads the keys of the database. Raises DATABASE_TROUBLE."""
        if self._is_off:
            return
        async with self._loading:  # an older answer must not replace a newer one
            await self._load(database)

    async def _load(self, database: Database) -> None:
        async with database.transaction() as session:
            rows, tenants = await keys.in_force(session), await keys.tenants(session)
        limits = {tenant.name: tenant.limits for tenant in tenants}
        self._rows = {row.hash: (_caller_of(row, limits), row.expires_at) for row in rows}
        self._default_limits = limits.get(ANONYMOUS.tenant, Limits())
        self._refreshed_at = time.monotonic()

    async def run(self, database: Database, signals: Signals) -> None:
        """Keep the keys fresh, and note when they were used, until cancelled."""
        noted_at, works = time.monotonic(), True
        with signals.subscribe(keys.KEYS_TOPIC) as changed:
            while not self._is_off:
                with suppress(TimeoutError):
                    await within(REFRESH_SECONDS, changed.wait())
                changed.clear()
                try:
                    await self.load(database)
                    if time.monotonic() - noted_at >= NOTE_USE_SECONDS:
                        await self.note_use(database)
                        noted_at = time.monotonic()
                    works = True
                except DATABASE_TROUBLE as error:
                    if works:
                        log.warning("keys not refreshed", error=type(error).__name__)
                    works = False

    async def note_use(self, database: Database) -> None:
        if used := sorted(self._used):
            async with database.transaction() as session:
                await keys.note_use(session, used)
            self._used.difference_update(used)

    async def _refresh_once(self, database: Database) -> None:
        """Reads the keys, once for all requests that ask at the same time."""
        if self._refreshing is None or self._refreshing.done():
            self._refreshing = asyncio.create_task(self.load(database))
        await asyncio.shield(self._refreshing)

    def _caller_of_setting(self, name: str) -> Caller:
        scopes = EVERY_SCOPE if name == ADMIN else USUAL_SCOPES
        return Caller(name, scopes=scopes, most_urgent=self._ceilings.get(name, 0))


def _caller_of(row: ApiKey, tenants: Mapping[str, Limits]) -> Caller:
    scopes = frozenset(Scope(scope) for scope in row.scopes if scope in list(Scope))  # a newer version may have more
    return Caller(row.name, row.tenant, scopes, row.id, row.most_urgent, row.limits, tenants.get(row.tenant, Limits()))
