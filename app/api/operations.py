"""Routes for operators and orchestrators: is the process alive, can it work, which models does it serve."""

from typing import Annotated, Literal

from fastapi import APIRouter, Depends, Request, Response
from pydantic import BaseModel, Field

from app.api.auth import CallerDep, authenticate, bearer, is_loopback
from app.api.dependencies import IntakeDep, service_if_open
from app.api.problems import GUARDED, responses
from app.callers import ANONYMOUS
from app.errors import Forbidden, Unauthorized
from app.readiness import STARTING
from app.speech.families import abilities

router = APIRouter(tags=["operations"])


class Health(BaseModel):
    status: Literal["ok"] = Field(examples=["ok"])


class Readiness(BaseModel):
    """`reasons` names what cannot be used; `warnings` what works but should be looked at."""

    status: Literal["ready", "not_ready"] = Field(examples=["ready"])
    reasons: list[str] = Field(examples=[[]])
    warnings: list[str] = Field(examples=[[]])


class ModelOut(BaseModel):
    """A model that jobs may ask for."""

    name: str = Field(examples=["base"])
    default: bool = Field(examples=[True])
    languages: list[str] = Field(description="ISO 639-1 codes.", examples=[["en", "es"]])


class ModelList(BaseModel):
    items: list[ModelOut] = Field(examples=[[{"name": "base", "default": True, "languages": ["en", "es"]}]])


@router.get("/healthz", summary="Is the process alive?")
async def read_health() -> Health:
    """Answers as long as the process lives, and checks nothing else."""
    return Health(status="ok")


async def may_read_details(request: Request) -> bool:
    """Whether the request may read host names and paths. It needs a valid key or, without keys, this machine."""
    if service_if_open(request.app) is None:
        return False
    try:
        caller = await authenticate(request, await bearer(request))  # optional here, so OpenAPI does not name it
    except (Unauthorized, Forbidden):
        return False
    return caller is not ANONYMOUS or (request.client is not None and is_loopback(request.client.host))


@router.get(
    "/readyz",
    summary="Can the service work?",
    responses={503: {"model": Readiness, "description": "Not ready: see `reasons`."}},
)
async def read_readiness(
    request: Request, response: Response, *, details: Annotated[bool, Depends(may_read_details)]
) -> Readiness:
    """`200` once the database, the models and the audio store can be used, `503` with the reasons if not.

    With a valid key the reasons have details; the service's log has them too. The answer may be a second old.
    """
    service = service_if_open(request.app)
    findings = await service.readiness.findings() if service else STARTING
    response.status_code = 503 if findings.reasons else 200
    return Readiness(
        status="not_ready" if findings.reasons else "ready",
        reasons=[finding.shown(details=details) for finding in findings.reasons],
        warnings=[finding.shown(details=details) for finding in findings.warnings],
    )


@router.get("/v1/models", summary="List the models", responses=responses(*GUARDED))
async def list_models(intake: IntakeDep, caller: CallerDep) -> ModelList:
    """The models that jobs may ask for; the first is the default."""
    default, *_ = intake.models
    return ModelList(
        items=[
            ModelOut(name=name, default=name == default, languages=list(abilities(name).languages))
            for name in intake.models
        ]
    )
