"""The list of transcriptions: its filters, and the search in what was said."""

from collections.abc import Mapping
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Depends, Query
from pydantic import AfterValidator

from app import wording
from app.api import openapi
from app.api.auth import MayRead
from app.api.dependencies import ReaderDep, RootPathDep
from app.api.parameters import NamesAfter
from app.api.problems import COMMON_ERRORS, responses
from app.api.times import TimeOrDay
from app.errors import FieldError, InvalidRequest
from app.jobs.lifecycle import Status
from app.jobs.reads.listing import Order, Wanted
from app.jobs.reads.metadata_terms import LONGEST_TERM
from app.jobs.views import ListedTranscription, TranscriptionList
from app.search import query
from app.search.hits import NO_HITS
from app.search.query import LONGEST_QUERY
from app.speech.language_tags import candidate_of

router = APIRouter(prefix="/v1/transcriptions", tags=["transcriptions"])
MOST_VALUES = 20
MOST_NAMES = 10
METADATA = NamesAfter("metadata.")
METADATA_PARAMETER = {
    "name": "metadata",
    "in": "query",
    "required": False,
    "description": "Return only transcriptions with these values in their `metadata`. Put `metadata.` before each "
    "name, such as `metadata.agent=Mary`. A value is compared as a whole. A number, true or false is compared as it "
    "is written in JSON. If the value is an object or a list, one value in it suffices.",
    "style": "form",
    "explode": True,
    "schema": {
        "type": "object",
        "maxProperties": MOST_NAMES,
        "propertyNames": {"pattern": r"^metadata\.[^\u0000]+$", "maxLength": 100},
        "additionalProperties": {"type": "string", "maxLength": 255, "pattern": wording.NO_NUL},
    },
    "examples": {"agent": {"value": {"metadata.agent": "Mary"}}},
}


def _values(names: Mapping[str, str]) -> list[tuple[str, str]]:
    wrong = [
        name
        for name, value in names.items()
        if not name or "\0" in name + value or len(name) + len(value) >= LONGEST_TERM
    ]
    if len(names) > MOST_NAMES:
        wrong = ["*"]
    if wrong:
        detail = f"up to {MOST_NAMES} names, each with a value, and less than {LONGEST_TERM} characters"
        errors = tuple(FieldError(f"query.metadata.{name[:100]}", f"must be {detail}") for name in wrong[:MOST_NAMES])
        raise InvalidRequest("Some query parameters are not valid.", errors=errors)
    return list(names.items())


def _query(text: str) -> query.Query:
    try:
        return query.parse(text)
    except ValueError as error:
        errors = (FieldError("query.q", str(error)),)
        raise InvalidRequest("Some query parameters are not valid.", errors=errors) from None


Language = Annotated[str, AfterValidator(candidate_of)]


@router.get(
    "",
    response_model=TranscriptionList,
    summary="List transcriptions",
    openapi_extra={"parameters": [METADATA_PARAMETER]},
    responses={200: openapi.LISTED, **responses(*COMMON_ERRORS)},
)
async def list_transcriptions(
    caller: MayRead,
    reader: ReaderDep,
    root_path: RootPathDep,
    metadata: Annotated[Mapping[str, str], Depends(METADATA)],
    q: Annotated[
        str | None,
        Query(
            max_length=LONGEST_QUERY,
            pattern=wording.NO_NUL,
            description="Return only completed transcriptions in which all of these words were said. Words in quotes "
            "must follow each other in one turn. A word of four or more letters also finds longer words that begin "
            "with it, unless it is in quotes. Case, accents and punctuation do not matter. In Chinese, Japanese, "
            "Korean, Thai, Lao, Burmese and Khmer, characters must follow each other.",
            examples=['complaint "cancel my contract"'],
        ),
    ] = None,
    status: Annotated[
        list[Status],
        Query(
            max_length=len(Status),
            description="Return only transcriptions with this status. If you repeat the parameter, with any of them.",
        ),
    ] = [],  # noqa: B006  FastAPI copies it
    language: Annotated[
        list[Language],
        Query(
            max_length=MOST_VALUES,
            description="Return only transcriptions in this language, such as `en`. If you repeat the parameter, in "
            "any of them.",
        ),
    ] = [],  # noqa: B006
    external_id: Annotated[
        str | None,
        Query(
            max_length=255,
            pattern=wording.NO_NUL,
            description="Return only transcriptions that were posted with this `external_id`.",
        ),
    ] = None,
    created_after: Annotated[
        TimeOrDay | None,
        Query(
            description="Return only transcriptions whose `created_at` is this time or later. A day such as "
            "`2026-11-28` means its beginning in UTC."
        ),
    ] = None,
    created_before: Annotated[
        TimeOrDay | None,
        Query(
            description="Return only transcriptions whose `created_at` is before this time. A day means its beginning "
            "in UTC, so that day itself is not included."
        ),
    ] = None,
    order: Annotated[Order, Query(description="`newest` or `oldest`: which transcriptions come first.")] = "newest",
    limit: Annotated[int, Query(ge=1, le=100, description="The largest number of transcriptions on a page.")] = 20,
    cursor: Annotated[
        UUID | None,
        Query(
            description="The `next_cursor` of the previous page. Leave it out to get the first page. Send the other "
            "parameters again as they were."
        ),
    ] = None,
) -> TranscriptionList:
    """Lists transcriptions, newest first, and searches in what was said.

    To read the next page, send the `next_cursor` of this page as `cursor`. On the last page, `next_cursor` is null.
    """
    wanted = Wanted(
        statuses=status,
        languages=language,
        external_id=external_id,
        metadata=_values(metadata),
        created_after=created_after,
        created_before=created_before,
        query=None if q is None else _query(q),
        order=order,
        cursor=cursor,
        limit=limit,
    )
    page = await reader.page(wanted, caller)
    items = [
        ListedTranscription.with_hits(
            read.shown(root_path), page.hits.get(read.job.id, NO_HITS) if page.hits is not None else None
        )
        for read in page.items
    ]
    return TranscriptionList(items=items, next_cursor=None if page.cursor is None else str(page.cursor))
