"""For operators and orchestrators: is the process alive, can it work, which models does it serve."""

from collections.abc import Awaitable, Callable, Mapping
from typing import Literal

import structlog
from fastapi import APIRouter, Request, Response
from pydantic import BaseModel, Field

from app.auth import CallerDep
from app.problems import GUARDED, responses

log = structlog.stdlib.get_logger("callscribe.operations")
PROBES = ("/healthz", "/readyz")
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


class NotReady(Exception):
    """Raised by a check: the text is for the operator."""


class Doubtful(Exception):
    """Raised by a check of what works and should be looked at: the text is for the operator."""


Checks = Mapping[str, Callable[[], Awaitable[None]]]


class Readinesses:
    """What has to work before traffic is welcome, and what only should: a name and a check that raises, each."""

    def __init__(self, checks: Checks, doubts: Checks | None = None) -> None:
        self._checks = checks
        self._doubts = doubts or {}
        self._logged: list[str] = []

    async def warnings(self) -> list[str]:
        """What works and should be looked at."""
        warnings = []
        for name, check in self._doubts.items():
            try:
                await check()
            except Doubtful as doubt:
                warnings.append(f"{name}: {doubt}")
        return warnings

    async def reasons(self) -> list[str]:
        """What cannot be used, empty when all can. Logged when it changes, however often it is asked."""
        reasons = []
        for name, check in self._checks.items():
            try:
                await check()
            except Exception as error:  # noqa: BLE001  whatever it is, the part cannot be used
                reasons.append(f"{name}: {error if isinstance(error, NotReady) else type(error).__name__}")
        if reasons != self._logged:
            log.info("readiness changed", reasons=reasons)
            self._logged = reasons
        return reasons


@router.get("/healthz", summary="Is the process alive?")
async def read_health() -> Health:
    """Answers while the process lives; looks at nothing else."""
    return Health(status="ok")


@router.get(
    "/readyz",
    summary="Can the service work?",
    responses={503: {"model": Readiness, "description": "Not ready: see `reasons`."}},
)
async def read_readiness(request: Request, response: Response) -> Readiness:
    """`200` once the database, the models and the audio store can be used, else `503` with the reasons."""
    readinesses: Readinesses = request.app.state.readinesses
    reasons = await readinesses.reasons()
    response.status_code = 503 if reasons else 200
    if reasons:
        return Readiness(status="not_ready", reasons=reasons, warnings=[])
    return Readiness(status="ready", reasons=[], warnings=await readinesses.warnings())


@router.get("/v1/models", summary="List the models", responses=responses(*GUARDED))
async def list_models(request: Request, caller: CallerDep) -> ModelList:
    """The models that jobs may ask for; the first is the default."""
    models: list[ModelOut] = request.app.state.models
    return ModelList(items=models)
