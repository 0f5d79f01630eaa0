"""Routes that say whether the process is alive, whether it can work, and which models it has."""

from typing import Annotated, Literal

from fastapi import APIRouter, Depends, Request, Response
from pydantic import BaseModel, Field

from app.api.auth import CallerDep, authenticate, bearer, is_loopback
from app.api.dependencies import IntakeDep, service_if_open
from app.api.problems import COMMON_ERRORS, responses
from app.callers import ANONYMOUS
from app.errors import Forbidden, InvalidRequest, Unauthorized
from app.readiness import STARTING
from app.speech.families import abilities

router = APIRouter(tags=["operations"])


class Health(BaseModel):
    status: Literal["ok"] = Field(examples=["ok"])


class Readiness(BaseModel):
    """`reasons` names what cannot be used. `warnings` names what works, but needs attention."""

    status: Literal["ready", "not_ready"] = Field(examples=["ready"])
    reasons: list[str] = Field(examples=[[]])
    warnings: list[str] = Field(examples=[[]])


class ModelOut(BaseModel):
    """A model that you can choose for a transcription."""

    name: str = Field(examples=["base"])
    default: bool = Field(examples=[True])
    languages: list[str] = Field(
        description="The ISO 639-1 codes of the languages that it knows.", examples=[["en", "es"]]
    )


class ModelList(BaseModel):
    items: list[ModelOut] = Field(examples=[[{"name": "base", "default": True, "languages": ["en", "es"]}]])


@router.get(
    "/healthz",
    summary="Is the process alive?",
    response_description="The process is alive.",
    responses=responses(InvalidRequest),
)
async def read_health() -> Health:
    """Answers while the process is alive. Checks nothing else."""
    return Health(status="ok")


async def may_read_details(request: Request) -> bool:
    """Returns whether the answer may show host names and paths.

    It may if the request has a valid key. If the service has no keys, it may if the request comes from this machine.
    """
    if service_if_open(request.app) is None:
        return False
    try:  # it is no dependency of the route, because OpenAPI would then say that the route needs a key
        caller = await authenticate(request, await bearer(request))
    except (Unauthorized, Forbidden):
        return False
    return caller is not ANONYMOUS or (request.client is not None and is_loopback(request.client.host))


@router.get(
    "/readyz",
    summary="Can the service work?",
    response_description="The service is ready.",
    responses={
        503: {"model": Readiness, "description": "The service is not ready. `reasons` says why."},
        **responses(InvalidRequest),
    },
)
async def read_readiness(
    request: Request, response: Response, *, details: Annotated[bool, Depends(may_read_details)]
) -> Readiness:
    """Answers `200` if the database, the models and the audio store can be used, and otherwise `503` with the reasons.

    If the request has a valid key, the reasons have details. The service's log has them too. The answer may be up to a
    second old.
    """
    service = service_if_open(request.app)
    findings = await service.readiness.findings() if service else STARTING
    response.status_code = 503 if findings.reasons else 200
    return Readiness(
        status="not_ready" if findings.reasons else "ready",
        reasons=[finding.shown(details=details) for finding in findings.reasons],
        warnings=[finding.shown(details=details) for finding in findings.warnings],
    )


@router.get(
    "/v1/models", summary="List the models", response_description="The models.", responses=responses(*COMMON_ERRORS)
)
async def list_models(intake: IntakeDep, caller: CallerDep) -> ModelList:
    """Lists the models that you can choose for a transcription. The first one is the default."""
    models = intake.models
    return ModelList(
        items=[
            ModelOut(name=name, default=name == models.default, languages=list(abilities(name).languages))
            for name in models.served
        ]
    )
