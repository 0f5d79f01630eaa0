"""What people get of keys, as pydantic models. It must not know HTTP."""

from datetime import datetime
from typing import Self
from uuid import UUID

from pydantic import BaseModel, Field

from app.access.callers import DEFAULT_TENANT, Caller, Limits, Scope
from app.access.models import ApiKey


class LimitFields(BaseModel):
    """Limits. Null means no limit."""

    requests_per_minute: int | None = Field(
        default=None, ge=1, le=1_000_000, description="How many requests a minute are answered.", examples=[600]
    )
    pending_jobs: int | None = Field(
        default=None,
        ge=0,
        le=100_000_000,
        description="How many transcriptions may wait at the same time.",
        examples=[1000],
    )
    audio_hours_per_day: float | None = Field(
        default=None,
        ge=0,
        le=1_000_000,
        description="How many hours of recordings are taken on one day in UTC.",
        examples=[40.0],
    )

    @property
    def limits(self) -> Limits:
        return Limits(self.requests_per_minute, self.pending_jobs, self.audio_hours_per_day)


class KeyOut(LimitFields):
    """A key, without its text."""

    id: UUID = Field(examples=["01989d2e-7c1b-7f9e-8a54-2f0f6f1f9c3e"])
    name: str = Field(examples=["crm"])
    tenant: str = Field(examples=[DEFAULT_TENANT])
    scopes: list[str] = Field(examples=[["transcribe", "read"]])
    hint: str = Field(description="How the key begins.", examples=["csk_9fKq2w"])
    priority_ceiling: int = Field(examples=[0])
    created_by: str = Field(description="Who made the key.", examples=["admin"])
    created_at: datetime = Field(examples=["2026-11-28T09:30:00Z"])
    expires_at: datetime | None = Field(examples=[None])
    revoked_at: datetime | None = Field(examples=[None])
    last_used_at: datetime | None = Field(
        description="When the key was last used. It may be some minutes late.", examples=["2026-11-28T09:42:00Z"]
    )

    @classmethod
    def of(cls, row: ApiKey) -> Self:
        return cls(priority_ceiling=row.most_urgent, **row.model_dump(include=set(cls.model_fields)))


class CreatedKey(KeyOut):
    """A new key. Only this answer has its text."""

    key: str = Field(
        description="The key. It is shown only here, because the service keeps no more than its hash.",
        examples=["csk_9fKq2wVhPzE1m0uXc7T5sB3dJ8rN4yGaQ6LkHiOt_Zo"],
    )

    @classmethod
    def with_text(cls, row: ApiKey, key: str) -> Self:
        return cls(key=key, **KeyOut.of(row).model_dump())


_EXAMPLE = {
    "requests_per_minute": 600,
    "pending_jobs": 1000,
    "audio_hours_per_day": 40.0,
    "id": "01989d2e-7c1b-7f9e-8a54-2f0f6f1f9c3e",
    "name": "crm",
    "tenant": "acme",
    "scopes": ["transcribe", "read"],
    "hint": "csk_9fKq2w",
    "priority_ceiling": 0,
    "created_by": "admin",
    "created_at": "2026-11-28T09:30:00Z",
    "expires_at": "2027-11-28T09:30:00Z",
    "revoked_at": "2026-12-01T08:00:00Z",
    "last_used_at": "2026-11-28T09:42:00Z",
}


class KeyList(BaseModel):
    items: list[KeyOut] = Field(description="The keys, newest first.", examples=[[_EXAMPLE]])


class CurrentKey(BaseModel):
    """Who the sender of the request is."""

    name: str = Field(description="The key's name. `anonymous` if the service needs no key.", examples=["crm"])
    tenant: str = Field(examples=[DEFAULT_TENANT])
    scopes: list[Scope] = Field(description="What the key may do.", examples=[["transcribe", "read"]])

    @classmethod
    def of(cls, caller: Caller) -> Self:
        return cls(name=caller.name, tenant=caller.tenant, scopes=[scope for scope in Scope if scope in caller.scopes])
