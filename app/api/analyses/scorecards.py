"""The routes of `/v1/scorecards`: weighted questions about calls."""

from datetime import datetime
from typing import Annotated, Any, Self

from fastapi import APIRouter, Path, Request, Response
from pydantic import BaseModel, Field

from app.analysis import defining
from app.analysis.definition_models import ScorecardRow
from app.analysis.rules.definitions import Scorecard
from app.api.analyses.examples import answer
from app.api.auth import MayRead, MayTranscribe
from app.api.dependencies import DatabaseDep
from app.api.json_body import read_json
from app.api.media_types import not_json, require_json
from app.api.openapi_requests import REF_TEMPLATE, curl
from app.api.problems import COMMON_ERRORS, responses
from app.errors import NotFound, TooLarge
from app.intake.requests import json_object, validated

GREETING: dict[str, Any] = {
    "question": "Does the agent greet the customer?",
    "by": "category",
    "category": "greeting",
    "weight": 2,
}
QUALITY: dict[str, Any] = {
    "description": "For calls about refunds.",
    "applies_if": "refund",
    "questions": [
        GREETING,
        {"question": "Was nobody on hold for more than a minute?", "by": "fact", "fact": "longest_hold", "at_most": 60},
        {"question": "Did the agent explain how long the refund takes?", "by": "model", "weight": 3},
    ],
}
EXAMPLE: dict[str, Any] = {"name": "quality", "definition": QUALITY, "updated_at": "2026-11-28T09:30:00Z"}
BODY: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {
            "application/json": {"schema": {"$ref": REF_TEMPLATE.format(model="Scorecard")}, "example": QUALITY}
        },
    },
    "x-codeSamples": [
        curl(
            "curl -X PUT http://127.0.0.1:8000/v1/scorecards/quality -H 'Content-Type: application/json'",
            """-d '{"questions": [{"question": "Is it short?", "by": "fact", "fact": "duration", "at_most": 300}]}'""",
        )
    ],
}
NAME = Path(description="The name of the scorecard. In URLs, names in other scripts than Latin are percent-encoded.")

router = APIRouter(prefix="/v1/scorecards", tags=["analyses"])


class ScorecardOut(BaseModel):
    """A scorecard, as it was sent."""

    name: str = Field(examples=["quality"])
    definition: Scorecard
    updated_at: datetime = Field(description="When it was made or replaced.", examples=["2026-11-28T09:30:00Z"])

    @classmethod
    def of(cls, row: ScorecardRow) -> Self:
        return cls(name=row.name, definition=Scorecard.model_validate(row.definition), updated_at=row.updated_at)


class ScorecardList(BaseModel):
    items: list[ScorecardOut] = Field(description="The scorecards, by name.")


@router.put(
    "/{scorecard}",
    response_model=ScorecardOut,
    response_model_exclude_unset=True,
    summary="Make or replace a scorecard",
    openapi_extra=BODY,
    responses={
        200: answer("The scorecard, which replaces one of this name.", EXAMPLE),
        201: {**answer("The scorecard, which is new.", EXAMPLE), "model": ScorecardOut},
        **responses(*COMMON_ERRORS, TooLarge, not_json()),
    },
)
async def put_scorecard(
    scorecard: Annotated[str, NAME], request: Request, response: Response, caller: MayTranscribe, database: DatabaseDep
) -> ScorecardOut:
    """Makes a scorecard, or replaces the one of this name. The categories that it names must exist.

    It counts for calls that are analysed from now on. Calls that were analysed before stay as they are until somebody
    has them analysed again.
    """
    require_json(request)
    asked = validated(Scorecard, json_object(await read_json(request.stream()), "body"))
    async with database.transaction() as session:
        row, is_new = await defining.put_scorecard(session, caller, scorecard, asked)
    response.status_code = 201 if is_new else 200
    return ScorecardOut.of(row)


@router.get(
    "",
    response_model=ScorecardList,
    response_model_exclude_unset=True,
    summary="List the scorecards",
    responses={200: answer("The scorecards.", {"items": [EXAMPLE]}), **responses(*COMMON_ERRORS)},
)
async def list_scorecards(caller: MayRead, database: DatabaseDep) -> ScorecardList:
    """Lists the scorecards of your tenant, by name."""
    async with database.transaction() as session:
        rows = await defining.listed(session, ScorecardRow, caller.tenant)
    return ScorecardList(items=[ScorecardOut.of(row) for row in rows])


@router.get(
    "/{scorecard}",
    response_model=ScorecardOut,
    response_model_exclude_unset=True,
    summary="Read a scorecard",
    responses={200: answer("The scorecard.", EXAMPLE), **responses(*COMMON_ERRORS, NotFound)},
)
async def read_scorecard(scorecard: Annotated[str, NAME], caller: MayRead, database: DatabaseDep) -> ScorecardOut:
    """Returns one scorecard, as it was sent."""
    async with database.transaction() as session:
        return ScorecardOut.of(await defining.found(session, ScorecardRow, caller.tenant, scorecard))


@router.delete(
    "/{scorecard}",
    status_code=204,
    response_description="The scorecard is deleted.",
    summary="Delete a scorecard",
    responses=responses(*COMMON_ERRORS, NotFound),
)
async def delete_scorecard(scorecard: Annotated[str, NAME], caller: MayTranscribe, database: DatabaseDep) -> None:
    """Deletes a scorecard. Calls keep the scores that they have."""
    async with database.transaction() as session:
        await defining.remove(session, ScorecardRow, caller, scorecard)
