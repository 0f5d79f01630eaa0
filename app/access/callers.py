"""Who sends requests: a caller has a name, a tenant and scopes.

A tenant is a company or a department that owns calls. It sees only its own. Routes, the intake and the logs all take
who asked from here. The module must not know where keys are kept.
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import Self
from uuid import UUID

from app.errors import Forbidden

DEFAULT_TENANT = "default"
SEPARATOR = ":"  # it is in no name: CALLSCRIBE_API_KEYS ends a name at the first one


class Scope(StrEnum):
    """What a key may do.

    `transcribe` creates, changes and deletes calls. `read` reads calls and transcripts. `unredacted` reads them as they
    were before the redaction, where that is kept. `live` is for live calls. `admin` manages keys, and reads the numbers
    and the audit of all tenants.
    """

    TRANSCRIBE = "transcribe"
    READ = "read"
    UNREDACTED = "unredacted"
    LIVE = "live"
    ADMIN = "admin"


EVERY_SCOPE = frozenset(Scope)
USUAL_SCOPES = EVERY_SCOPE - {Scope.ADMIN, Scope.UNREDACTED}


@dataclass(frozen=True)
class Limits:
    """How much a caller, or all callers of a tenant together, may ask for. None means no limit."""

    requests_per_minute: int | None = None
    pending_jobs: int | None = None
    audio_hours_per_day: float | None = None


NO_LIMITS = Limits()


@dataclass(frozen=True)
class Caller:
    """Somebody who sends requests. Several keys of one name and tenant are the same caller.

    `key_id` is that of the key in the database, or None for a key of a setting. `most_urgent` is the most urgent
    priority that the caller may ask for. `limits` are its own, `tenant_limits` those of its tenant.
    """

    name: str
    tenant: str = DEFAULT_TENANT
    scopes: frozenset[Scope] = USUAL_SCOPES
    key_id: UUID | None = None
    most_urgent: int = 0
    limits: Limits = NO_LIMITS
    tenant_limits: Limits = NO_LIMITS

    @property
    def label(self) -> str:
        """The caller in one text, which no caller of another tenant has. Rows and logs name the caller by it."""
        return self.name if self.tenant == DEFAULT_TENANT else f"{self.tenant}{SEPARATOR}{self.name}"

    @classmethod
    def of_label(cls, label: str) -> Self:
        """The caller that a row names, for work that the service does on its behalf."""
        tenant, _, name = label.rpartition(SEPARATOR)
        return cls(name, tenant or DEFAULT_TENANT)


ANONYMOUS = Caller("anonymous", scopes=USUAL_SCOPES)
OWNER = Caller("anonymous", scopes=EVERY_SCOPE)
"""Who uses a service that has no keys and answers only this machine."""


def tenant_of(label: str) -> str:
    return Caller.of_label(label).tenant


def require_scope(caller: Caller, scope: Scope) -> None:
    """Raises Forbidden if the caller's key lacks the scope."""
    if scope not in caller.scopes:
        challenge = {"WWW-Authenticate": f'Bearer error="insufficient_scope", scope="{scope}"'}
        raise Forbidden(f"This needs an API key with the scope `{scope}`.", headers=challenge)
