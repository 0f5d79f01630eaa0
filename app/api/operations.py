"""Routes that say whether the process is alive, whether it can work, and what it has counted."""

from typing import Annotated, Literal

from fastapi import APIRouter, Depends, Request, Response
from pydantic import BaseModel, Field

from app.access.callers import DEFAULT_TENANT, Scope
from app.api.auth import MayAdmin, identify_known, is_anonymous, is_loopback
from app.api.dependencies import ServiceDep, service_if_open
from app.api.problems import responses
from app.errors import Forbidden, InvalidRequest, Unauthorized
from app.metrics import OPENMETRICS, TEXT
from app.readiness import STARTING

EXAMPLE = "# TYPE callscribe_queue_oldest_seconds gauge\ncallscribe_queue_oldest_seconds 3.5\n"

router = APIRouter(tags=["operations"])


class Health(BaseModel):
    status: Literal["ok"] = Field(examples=["ok"])


class Readiness(BaseModel):
    """`reasons` names what cannot be used. `warnings` names what works, but needs attention."""

    status: Literal["ready", "not_ready"] = Field(examples=["ready"])
    reasons: list[str] = Field(examples=[[]])
    warnings: list[str] = Field(examples=[[]])


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

    It may if the request has a key of the tenant `default` or with the scope `admin`. If the service has no keys, it
    may if the request comes from this machine.
    """
    if service_if_open(request.app) is None:
        return False
    try:  # it is no dependency of the route, because OpenAPI would then say that the route needs a key
        caller = await identify_known(request)
    except (Unauthorized, Forbidden):
        return False
    if is_anonymous(caller):
        return request.client is not None and is_loopback(request.client.host)
    return caller.tenant == DEFAULT_TENANT or Scope.ADMIN in caller.scopes


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

    If the request has a key of the tenant `default`, the reasons have details. The service's log has them too. The
    answer may be up to a second old.
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
    "/metrics",
    summary="Numbers for Prometheus",
    response_class=Response,
    response_description="The numbers of this process, and of the queue.",
    responses={
        200: {"content": {each: {"schema": {"type": "string"}, "example": EXAMPLE} for each in (TEXT, OPENMETRICS)}},
        **responses(Unauthorized, Forbidden, InvalidRequest),
    },
)
async def read_metrics(caller: MayAdmin, service: ServiceDep, request: Request) -> Response:
    """Answers in the format OpenMetrics if `Accept` names it, and otherwise in Prometheus's text format.

    The counters are those of the process that answers. If several processes share the address, scrape each of them on
    its own `CALLSCRIBE_METRICS_PORT` instead.
    """
    body, media_type = await service.parts.numbers.text(request.headers.get("accept", ""))
    return Response(body, media_type=media_type)
