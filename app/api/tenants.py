"""The routes of `/v1/tenants`: list the tenants, and limit what all keys of a tenant may use together."""

from datetime import datetime
from typing import Annotated, Any, Self

from fastapi import APIRouter, Path, Request, Response
from pydantic import BaseModel, ConfigDict, Field

from app.access import keys, limits
from app.access.models import Tenant
from app.access.views import LimitFields
from app.api.auth import MayAdmin
from app.api.dependencies import DatabaseDep, ServiceDep
from app.api.json_body import read_json
from app.api.media_types import not_json, require_json
from app.api.openapi_requests import REF_TEMPLATE
from app.api.problems import COMMON_ERRORS, responses
from app.errors import TooLarge
from app.intake.requests import json_object, validated

BODY: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {
            "application/json": {
                "schema": {"$ref": REF_TEMPLATE.format(model="TenantLimits")},
                "example": {"requests_per_minute": 600, "pending_jobs": 1000, "audio_hours_per_day": 40.0},
            }
        },
    }
}

router = APIRouter(prefix="/v1/tenants", tags=["keys"])


class TenantLimits(LimitFields):
    """What all keys of a tenant may use together. A limit that is missing or null is none."""

    model_config = ConfigDict(extra="forbid")


class TenantOut(LimitFields):
    """A tenant, and what all of its keys may use together."""

    name: str = Field(examples=["acme"])
    created_at: datetime = Field(examples=["2026-11-28T09:30:00Z"])

    @classmethod
    def of(cls, row: Tenant) -> Self:
        return cls(**row.model_dump())


EXAMPLE = {
    "name": "acme",
    "created_at": "2026-11-28T09:30:00Z",
    "requests_per_minute": 600,
    "pending_jobs": 1000,
    "audio_hours_per_day": 40.0,
}


class TenantList(BaseModel):
    items: list[TenantOut] = Field(description="The tenants, by name.", examples=[[EXAMPLE]])


@router.get(
    "",
    response_model=TenantList,
    response_description="The tenants.",
    summary="List the tenants",
    responses=responses(*COMMON_ERRORS),
)
async def list_tenants(_: MayAdmin, database: DatabaseDep) -> TenantList:
    """Lists the tenants that have keys or limits in the database."""
    async with database.transaction() as session:
        return TenantList(items=[TenantOut.of(row) for row in await keys.tenants(session)])


@router.put(
    "/{name}",
    response_model=TenantOut,
    response_description="The tenant.",
    summary="Limit a tenant",
    openapi_extra=BODY,
    responses={
        201: {"description": "The tenant, which is new.", "model": TenantOut},
        **responses(*COMMON_ERRORS, TooLarge, not_json()),
    },
)
async def limit_tenant(
    name: Annotated[str, Path(description="The name of the tenant. The service makes it if there is none.")],
    request: Request,
    response: Response,
    caller: MayAdmin,
    database: DatabaseDep,
    service: ServiceDep,
) -> TenantOut:
    """Sets what all keys of a tenant may use together. It holds within moments in all processes of the service.

    If there is no tenant of this name, the service makes it and answers `201`.
    """
    require_json(request)
    asked = validated(TenantLimits, json_object(await read_json(request.stream()), "body"))
    async with database.transaction() as session:
        row, is_new = await limits.change_tenant(session, name, asked.model_dump(), caller.label)
    await service.api_keys.load(database)
    response.status_code = 201 if is_new else 200
    return TenantOut.of(row)
