"""The routes of `/v1/analyses`: ask for the analyses of many calls, and see how many are not done yet."""

from collections.abc import Mapping
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Request
from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from app import wording
from app.analysis.views import AnalysesAskedOut, AnalysesWaitingOut
from app.api.analyses.examples import answer
from app.api.auth import MayRead, MayTranscribe
from app.api.dependencies import AnalysesDep
from app.api.json_body import read_json
from app.api.media_types import not_json, require_json
from app.api.openapi_requests import REF_TEMPLATE, curl
from app.api.problems import COMMON_ERRORS, responses
from app.api.times import TimeOrDay
from app.errors import NothingToAnalyse, TooLarge
from app.intake.requests import json_object, validated
from app.jobs.lifecycle import Status
from app.jobs.reads.listing import Wanted
from app.jobs.views import EXAMPLE_ID
from app.speech.language_tags import candidate_of

MOST_VALUES = 20
MOST_NAMES = 10

Language = Annotated[str, AfterValidator(candidate_of)]
MetadataName = Annotated[str, Field(min_length=1, max_length=100, pattern=wording.NO_NUL)]
MetadataValue = Annotated[str, Field(max_length=255, pattern=wording.NO_NUL)]

router = APIRouter(prefix="/v1/analyses", tags=["analyses"])


class AnalyseCalls(BaseModel):
    """Which completed transcriptions are analysed: those that fit all that you send. `{}` means all of your tenant."""

    model_config = ConfigDict(extra="forbid")

    created_after: TimeOrDay | None = Field(
        default=None,
        description="Only transcriptions whose `created_at` is this time or later. A day such as `2026-11-28` means "
        "its beginning in UTC.",
    )
    created_before: TimeOrDay | None = Field(
        default=None, description="Only transcriptions whose `created_at` is before this time."
    )
    language: Annotated[list[Language], Field(max_length=MOST_VALUES)] = Field(
        default_factory=list, description="Only transcriptions in one of these languages.", examples=[["zh", "en"]]
    )
    external_id: Annotated[str, Field(max_length=255, pattern=wording.NO_NUL)] | None = Field(
        default=None, description="Only transcriptions that were posted with this `external_id`."
    )
    metadata: Annotated[Mapping[MetadataName, MetadataValue], Field(max_length=MOST_NAMES)] = Field(
        default_factory=dict,
        description="Only transcriptions with these values in their `metadata`. They are compared as in the list of "
        "transcriptions.",
        examples=[{"queue": "billing"}],
    )
    judge: Annotated[bool, Field(strict=True)] = Field(
        default=False,
        description="Whether the language model judges the calls once more, which costs tokens. If it is false, only "
        "rules are applied, and earlier judgements stay.",
    )
    cursor: UUID | None = Field(
        default=None,
        description="The `next_cursor` of the answer to the same request before. Leave it out at first.",
    )

    def wanted(self) -> Wanted:
        return Wanted(
            statuses=[Status.COMPLETED],
            languages=self.language,
            external_id=self.external_id,
            metadata=list(self.metadata.items()),
            created_after=self.created_after,
            created_before=self.created_before,
            cursor=self.cursor,
        )


EXAMPLE: dict[str, Any] = {"created_after": "2026-11-01", "metadata": {"queue": "billing"}, "judge": False}
BODY: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {
            "application/json": {
                "schema": {"$ref": REF_TEMPLATE.format(model="AnalyseCalls")},
                "examples": {
                    "some": {"summary": "The calls of a queue since a day", "value": EXAMPLE},
                    "all": {"summary": "All calls", "value": {}},
                },
            }
        },
    },
    "x-codeSamples": [
        curl(
            "curl -X POST http://127.0.0.1:8000/v1/analyses -H 'Content-Type: application/json'",
            """-d '{"created_after": "2026-11-01", "metadata": {"queue": "billing"}}'""",
        )
    ],
}


@router.post(
    "",
    status_code=202,
    response_model=AnalysesAskedOut,
    summary="Analyse many calls",
    openapi_extra=BODY,
    responses={
        202: answer("The analyses wait.", {"queued": 20_000, "next_cursor": EXAMPLE_ID}),
        **responses(*COMMON_ERRORS, NothingToAnalyse, TooLarge, not_json()),
    },
)
async def analyse_many(request: Request, caller: MayTranscribe, analyses: AnalysesDep) -> AnalysesAskedOut:
    """Analyses completed transcriptions with the rules of today, such as after you have changed a category.

    New calls are analysed first. No events are sent. A call whose analysis waits or runs already is not queued again.
    """
    require_json(request)
    asked = validated(AnalyseCalls, json_object(await read_json(request.stream()), "body"))
    return await analyses.ask_many(asked.wanted(), caller, judge=asked.judge)


@router.get(
    "",
    response_model=AnalysesWaitingOut,
    summary="Count the analyses that are not done",
    responses={
        200: answer("The numbers of your tenant.", {"pending": 4180, "in_progress": 2}),
        **responses(*COMMON_ERRORS),
    },
)
async def count_analyses(caller: MayRead, analyses: AnalysesDep) -> AnalysesWaitingOut:
    """Returns how many analyses of your tenant wait and run."""
    return await analyses.waiting(caller)
