"""Which calls a request is about: the filters that the list of calls and the reports share."""

from collections.abc import Mapping
from typing import Annotated

from fastapi import Depends, Query
from pydantic import AfterValidator, StringConstraints

from app import wording
from app.analysis.reports.filters import Filters, Sentiment
from app.api.parameters import NamesAfter
from app.errors import FieldError, InvalidRequest
from app.jobs.lifecycle import Status
from app.jobs.reads.listing import Wanted
from app.jobs.reads.metadata_terms import LONGEST_TERM
from app.speech.language_tags import candidate_of

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


Language = Annotated[str, AfterValidator(candidate_of)]
Name = Annotated[str, StringConstraints(min_length=1, max_length=255, pattern=wording.NO_NUL)]


class CallFilters:
    """A dependency: the parameters that choose calls, without times and words."""

    def __init__(
        self,
        metadata: Annotated[Mapping[str, str], Depends(METADATA)],
        status: Annotated[
            list[Status],
            Query(
                max_length=len(Status),
                description="Return only transcriptions with this status. If you repeat the parameter, with any of "
                "them.",
            ),
        ] = [],  # noqa: B006  FastAPI copies it
        language: Annotated[
            list[Language],
            Query(
                max_length=MOST_VALUES,
                description="Return only transcriptions in this language, such as `en`. If you repeat the parameter, "
                "in any of them.",
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
        category: Annotated[
            list[Name],
            Query(
                max_length=MOST_VALUES,
                description="Return only calls in this category. If you repeat the parameter, in any of them.",
            ),
        ] = [],  # noqa: B006
        scorecard: Annotated[
            list[Name],
            Query(
                max_length=MOST_VALUES,
                description="Return only calls that have a score of this scorecard. If you repeat the parameter, of "
                "any of them.",
            ),
        ] = [],  # noqa: B006
        intent: Annotated[
            list[Name],
            Query(
                max_length=MOST_VALUES,
                description="Return only calls with this intent, as the language model judged. If you repeat the "
                "parameter, with any of them.",
            ),
        ] = [],  # noqa: B006
        sentiment: Annotated[
            list[Sentiment],
            Query(
                max_length=len(Sentiment),
                description="Return only calls whose customer was `positive`, `neutral` or `negative`, as the language "
                "model judged. A call is positive if the share of the customer's positive turns exceeds that of the "
                "negative ones by 0.2 or more. If you repeat the parameter, with any of them.",
            ),
        ] = [],  # noqa: B006
        resolved: Annotated[
            bool | None,
            Query(description="Return only calls that settled the customer's concern, or only those that did not."),
        ] = None,
        model: Annotated[
            list[Name],
            Query(
                max_length=MOST_VALUES,
                description="Return only transcriptions by this model. If you repeat the parameter, by any of them.",
            ),
        ] = [],  # noqa: B006
    ) -> None:
        self.analysed = Filters(category, scorecard, intent, sentiment, resolved, model)
        self.wanted = Wanted(
            statuses=status,
            languages=language,
            external_id=external_id,
            metadata=_values(metadata),
            also=self.analysed.conditions(),
        )


Chosen = Annotated[CallFilters, Depends()]
