"""The list of transcriptions: its filters, and the search in what was said."""

from dataclasses import replace
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Query

from app import wording
from app.api import openapi
from app.api.auth import MayRead
from app.api.dependencies import ReaderDep, RootPathDep
from app.api.filters import METADATA_PARAMETER, Chosen
from app.api.problems import COMMON_ERRORS, responses
from app.api.times import TimeOrDay
from app.errors import FieldError, InvalidRequest
from app.jobs.reads.listing import Order
from app.jobs.views import ListedTranscription, TranscriptionList
from app.search import query
from app.search.hits import NO_HITS
from app.search.query import LONGEST_QUERY

router = APIRouter(prefix="/v1/transcriptions", tags=["transcriptions"])
router = APIRouter(prefix="/v1/transcriptions", tags=["transcriptions"])


def _query(text: str) -> query.Query:
    try:
        return query.parse(text)
    except ValueError as error:
        errors = (FieldError("query.q", str(error)),)
        raise InvalidRequest("Some query parameters are not valid.", errors=errors) from None


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
    chosen: Chosen,
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
    wanted = replace(
        chosen.wanted,
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
