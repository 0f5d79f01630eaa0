"""The route of `/v1/live/tokens`, for clients that must not know a key, such as a page in a browser."""

from datetime import datetime
from typing import Any

from fastapi import APIRouter, Request
from pydantic import BaseModel, ConfigDict, Field

from app.api.auth import MayLive, key_of
from app.api.dependencies import DatabaseDep
from app.api.json_body import read_json
from app.api.media_types import not_json, require_json
from app.api.openapi_requests import REF_TEMPLATE, curl
from app.api.problems import COMMON_ERRORS, responses
from app.errors import TooLarge
from app.intake.requests import json_object, validated
from app.live import tokens

CREATE: dict[str, Any] = {
    "requestBody": {
        "required": False,
        "content": {
            "application/json": {
                "schema": {"$ref": REF_TEMPLATE.format(model="CreateLiveToken")},
                "example": {"expires_in": tokens.USUAL_SECONDS},
            }
        },
    },
    "x-codeSamples": [
        curl("curl -X POST http://127.0.0.1:8000/v1/live/tokens", "-H 'Authorization: Bearer '$KEY"),
    ],
}

router = APIRouter(prefix="/v1/live", tags=["live"])


class CreateLiveToken(BaseModel):
    """What is asked for a token."""

    model_config = ConfigDict(extra="forbid")

    expires_in: int = Field(
        default=tokens.USUAL_SECONDS,
        ge=tokens.SHORTEST_SECONDS,
        le=tokens.LONGEST_SECONDS,
        description="After how many seconds the token is refused. A call that it has opened goes on.",
        examples=[tokens.USUAL_SECONDS],
    )


class LiveTokenOut(BaseModel):
    """A token that opens live calls."""

    token: str = Field(
        description="Open `/v1/live?token=…` with it, as often as you want until it expires.",
        examples=["clt_4t1rBVSa4NU5bD5kGPVKqDlcyeS0vCxCdZ3AqV2kfHs"],
    )
    expires_at: datetime = Field(
        description="The token is refused from this time on, or earlier if its key is revoked.",
        examples=["2026-11-28T09:35:00Z"],
    )


@router.post(
    "/tokens",
    status_code=201,
    response_model=LiveTokenOut,
    response_description="The token. No other answer shows it.",
    summary="Make a token for live calls",
    openapi_extra=CREATE,
    responses=responses(*COMMON_ERRORS, TooLarge, not_json()),
)
async def create_live_token(request: Request, caller: MayLive, database: DatabaseDep) -> LiveTokenOut:
    """Makes a token for a browser or a phone system, which opens live calls with it instead of a key.

    It can do nothing else. It names the same caller as the key of this request.
    """
    body = await read_json(request.stream())
    asked = CreateLiveToken()
    if not b"{}".startswith(b"".join(body.split())):  # clients that ask for nothing may name no media type
        require_json(request)
        asked = validated(CreateLiveToken, json_object(body, "body"))
    async with database.transaction() as session:
        token, expires_at = await tokens.create(session, caller, await key_of(request), asked.expires_in)
    return LiveTokenOut(token=token, expires_at=expires_at)
