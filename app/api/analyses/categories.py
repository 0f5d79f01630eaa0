"""The routes of `/v1/categories`: conditions by which a tenant sorts its calls."""

from datetime import datetime
from typing import Annotated, Any, Self

from fastapi import APIRouter, Path, Request, Response
from pydantic import BaseModel, Field

from app.analysis import defining
from app.analysis.definition_models import CategoryRow
from app.analysis.rules.definitions import Category
from app.api.analyses.examples import answer
from app.api.auth import MayRead, MayTranscribe
from app.api.dependencies import DatabaseDep
from app.api.json_body import read_json
from app.api.media_types import not_json, require_json
from app.api.openapi_requests import REF_TEMPLATE, curl
from app.api.problems import COMMON_ERRORS, responses
from app.errors import NotFound, TooLarge
from app.intake.requests import json_object, validated

REFUND: dict[str, Any] = {
    "description": "The customer wants the money back, and the agent does not say that it is coming.",
    "role": "customer",
    "any_of": ["refund*", "money back"],
    "also": [{"role": "agent", "none_of": ["we have refunded", "you will get your money"]}],
}
LONG_HOLD: dict[str, Any] = {"language": ["zh", "en"], "hold": {"longer_than": 60}}
CHINESE: dict[str, Any] = {"role": "customer", "any_of": ["退款", "退钱"], "metadata": {"queue": "billing"}}
EXAMPLE: dict[str, Any] = {"name": "refund", "definition": REFUND, "updated_at": "2026-11-28T09:30:00Z"}
BODY: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {
            "application/json": {
                "schema": {"$ref": REF_TEMPLATE.format(model="Category")},
                "examples": {
                    "refund": {"summary": "What is said and not said", "value": REFUND},
                    "hold": {"summary": "A long hold", "value": LONG_HOLD},
                    "chinese": {"summary": "A call in Chinese", "value": CHINESE},
                },
            }
        },
    },
    "x-codeSamples": [
        curl(
            "curl -X PUT http://127.0.0.1:8000/v1/categories/refund -H 'Content-Type: application/json'",
            """-d '{"role": "customer", "any_of": ["refund*", "money back"]}'""",
        )
    ],
}
NAME = Path(description="The name of the category. In URLs, names in other scripts than Latin are percent-encoded.")

router = APIRouter(prefix="/v1/categories", tags=["analyses"])


class CategoryOut(BaseModel):
    """A category, as it was sent."""

    name: str = Field(examples=["refund"])
    definition: Category
    updated_at: datetime = Field(description="When it was made or replaced.", examples=["2026-11-28T09:30:00Z"])

    @classmethod
    def of(cls, row: CategoryRow) -> Self:
        return cls(name=row.name, definition=Category.model_validate(row.definition), updated_at=row.updated_at)


class CategoryList(BaseModel):
    items: list[CategoryOut] = Field(description="The categories, by name.")


@router.put(
    "/{category}",
    response_model=CategoryOut,
    response_model_exclude_unset=True,
    summary="Make or replace a category",
    openapi_extra=BODY,
    responses={
        200: answer("The category, which replaces one of this name.", EXAMPLE),
        201: {**answer("The category, which is new.", EXAMPLE), "model": CategoryOut},
        **responses(*COMMON_ERRORS, TooLarge, not_json()),
    },
)
async def put_category(
    category: Annotated[str, NAME], request: Request, response: Response, caller: MayTranscribe, database: DatabaseDep
) -> CategoryOut:
    """Makes a category, or replaces the one of this name. All conditions that it names must hold in a call.

    It counts for calls that are analysed from now on. Calls that were analysed before stay as they are until somebody
    has them analysed again.
    """
    require_json(request)
    asked = validated(Category, json_object(await read_json(request.stream()), "body"))
    async with database.transaction() as session:
        row, is_new = await defining.put_category(session, caller, category, asked)
    response.status_code = 201 if is_new else 200
    return CategoryOut.of(row)


@router.get(
    "",
    response_model=CategoryList,
    response_model_exclude_unset=True,
    summary="List the categories",
    responses={200: answer("The categories.", {"items": [EXAMPLE]}), **responses(*COMMON_ERRORS)},
)
async def list_categories(caller: MayRead, database: DatabaseDep) -> CategoryList:
    """Lists the categories of your tenant, by name."""
    async with database.transaction() as session:
        rows = await defining.listed(session, CategoryRow, caller.tenant)
    return CategoryList(items=[CategoryOut.of(row) for row in rows])


@router.get(
    "/{category}",
    response_model=CategoryOut,
    response_model_exclude_unset=True,
    summary="Read a category",
    responses={200: answer("The category.", EXAMPLE), **responses(*COMMON_ERRORS, NotFound)},
)
async def read_category(category: Annotated[str, NAME], caller: MayRead, database: DatabaseDep) -> CategoryOut:
    """Returns one category, as it was sent."""
    async with database.transaction() as session:
        return CategoryOut.of(await defining.found(session, CategoryRow, caller.tenant, category))


@router.delete(
    "/{category}",
    status_code=204,
    response_description="The category is deleted.",
    summary="Delete a category",
    responses=responses(*COMMON_ERRORS, NotFound),
)
async def delete_category(category: Annotated[str, NAME], caller: MayTranscribe, database: DatabaseDep) -> None:
    """Deletes a category. Calls keep what was found in them.

    Questions of scorecards that the category answers are not applicable from now on.
    """
    async with database.transaction() as session:
        await defining.remove(session, CategoryRow, caller, category)
