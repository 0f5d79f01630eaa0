"""The routes of `/v1/keys`: make, list and revoke keys, and say who a key is."""

from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Path, Query, Request
from pydantic import BeforeValidator, ConfigDict, Field, WithJsonSchema

from app import wording
from app.access import keys
from app.access.callers import Scope
from app.access.keys import NewKey
from app.access.views import CreatedKey, CurrentKey, KeyList, KeyOut, LimitFields
from app.api.auth import AnyKey, MayAdmin
from app.api.dependencies import DatabaseDep, ServiceDep
from app.api.json_body import read_json
from app.api.media_types import not_json, require_json
from app.api.openapi_requests import REF_TEMPLATE, curl
from app.api.problems import COMMON_ERRORS, responses
from app.api.times import TimeOrDay
from app.errors import NotFound, TooLarge
from app.intake.requests import json_object, validated

CREATE: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {
            "application/json": {
                "schema": {"$ref": REF_TEMPLATE.format(model="CreateKey")},
                "example": {"name": "crm", "tenant": "acme", "scopes": ["transcribe", "read"]},
            }
        },
    },
    "x-codeSamples": [
        curl(
            "curl http://127.0.0.1:8000/v1/keys",
            "-H 'Authorization: Bearer '$ADMIN_KEY -H 'Content-Type: application/json'",
            """-d '{"name": "crm", "tenant": "acme", "scopes": ["transcribe", "read"]}'""",
        )
    ],
}

router = APIRouter(prefix="/v1/keys", tags=["keys"])
Name = Annotated[
    str, WithJsonSchema({"type": "string", "pattern": f"^{keys.NAME.pattern}$", "maxLength": keys.LONGEST_NAME})
]


class CreateKey(LimitFields):
    """What is asked for a new key."""

    model_config = ConfigDict(extra="forbid")

    name: Name = Field(
        description="Who will use the key, such as `crm`. Several keys of one name are the same caller, so that a key "
        "can be replaced without a gap.",
        examples=["crm"],
    )
    tenant: Name | None = Field(
        default=None,
        description="The tenant whose calls the key reaches. The service makes it if there is none of this name. If "
        "you leave it out, it is your own tenant.",
        examples=["acme"],
    )
    scopes: list[Scope] = Field(
        default=[Scope.TRANSCRIBE, Scope.READ],
        min_length=1,
        description="What the key may do: `transcribe` creates, changes and deletes calls, `read` reads them, `live` "
        "is for live calls, and `admin` manages keys and reads the numbers of all tenants.",
    )
    expires_at: Annotated[TimeOrDay | None, BeforeValidator(lambda value: None if value == "" else value)] = Field(
        default=None,
        description="The key is refused from this time on. It must be in the future. A day such as `2027-11-28` means "
        "its beginning in UTC. Null if the key does not expire.",
    )
    priority_ceiling: int = Field(
        default=0, ge=0, le=9, description="The most urgent priority that the key may ask for. 0 is the most urgent."
    )

    def new_key(self, tenant: str, created_by: str) -> NewKey:
        """`tenant` is the one that is meant if the request names none."""
        return NewKey(
            name=self.name,
            tenant=self.tenant or tenant,
            scopes=self.scopes,
            created_by=created_by,
            expires_at=self.expires_at,
            most_urgent=self.priority_ceiling,
            limits=self.limits,
        )


@router.post(
    "",
    status_code=201,
    response_model=CreatedKey,
    response_description="The key. No other answer shows its text.",
    summary="Make a key",
    openapi_extra=CREATE,
    responses=responses(*COMMON_ERRORS, TooLarge, not_json()),
)
async def create_key(request: Request, caller: MayAdmin, database: DatabaseDep, service: ServiceDep) -> CreatedKey:
    """Makes a key. It works immediately, and within moments in other processes of the service.

    The service keeps only a hash of the key. Store the `key` of the answer, because you cannot read it again.
    """
    require_json(request)
    asked = validated(CreateKey, json_object(await read_json(request.stream()), "body"))
    async with database.transaction() as session:
        row, key = await keys.create(session, asked.new_key(caller.tenant, caller.label))
    await service.api_keys.load(database)
    return CreatedKey.with_text(row, key)


@router.get(
    "",
    response_model=KeyList,
    response_description="The keys.",
    summary="List the keys",
    responses=responses(*COMMON_ERRORS),
)
async def list_keys(
    caller: MayAdmin,
    database: DatabaseDep,
    tenant: Annotated[
        str | None,
        Query(max_length=64, pattern=wording.NO_NUL, description="Return only the keys of this tenant."),
    ] = None,
) -> KeyList:
    """Lists all keys, also those that are revoked or have expired. Keys of `CALLSCRIBE_API_KEYS` are not among them."""
    async with database.transaction() as session:
        return KeyList(items=[KeyOut.of(row) for row in await keys.listed(session, tenant)])


@router.get(
    "/current",
    response_model=CurrentKey,
    response_description="The key.",
    summary="Who am I?",
    responses=responses(*COMMON_ERRORS),
)
async def read_current_key(caller: AnyKey) -> CurrentKey:
    """Says to which tenant the key of this request belongs, and what it may do."""
    return CurrentKey.of(caller)


@router.delete(
    "/{key_id:uuid}",
    status_code=204,
    response_description="The key is revoked.",
    summary="Revoke a key",
    responses=responses(*COMMON_ERRORS, NotFound),
)
async def revoke_key(
    key_id: Annotated[UUID, Path(description="The key's id.")],
    caller: MayAdmin,
    database: DatabaseDep,
    service: ServiceDep,
) -> None:
    """Ends a key. It is refused immediately, and within seconds by other processes of the service.

    The list shows it as revoked.
    """
    async with database.transaction() as session:
        await keys.revoke(session, key_id, caller.label)
    await service.api_keys.load(database)
