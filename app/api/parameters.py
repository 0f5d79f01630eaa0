"""Refuses query parameters that a route does not declare, repetitions of those that have one value, and useless bodies.

Otherwise the route would ignore a misspelt parameter, and a list would show all transcriptions instead of a few. A
retry would ignore the language that somebody sends with it. The names come from the declarations of the routes, so that
a new route needs nothing for this.
"""

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

from fastapi import Request
from fastapi.dependencies.models import Dependant
from fastapi.dependencies.utils import get_flat_params
from fastapi.routing import APIRoute

from app import wording
from app.api.auth import identify
from app.api.openai.errors import speaks_openai
from app.api.openai.fields import is_known
from app.api.server.bodies import announces_body
from app.api.server.request_limits import GUARDED_PATHS
from app.errors import FieldError, InvalidRequest
from app.intake.annotations import classes_of

MOST_ERRORS = 10  # a query may have thousands of names, and comparing each with the known ones takes time
LONGEST_NAME = 100
LISTS = frozenset({list, tuple, set, frozenset})


async def refuse_unknown_parameters(request: Request) -> None:
    """Raises InvalidRequest for query parameters that the request's route does not declare, or of which it wants one.

    It is a dependency of every route. A request without a valid key learns only that it needs one. Clients of OpenAI's
    API add parameters such as `api-version`, for a gateway before the service. Their routes ignore parameters, except
    those that have the name of a form's field.
    """
    if not request.scope["query_string"]:
        return
    sent = Counter(name for name, _ in request.query_params.multi_items())
    if speaks_openai(request.scope["path"]):
        sent = Counter({name: times for name, times in sent.items() if is_known(name)})
    errors = _errors(request.scope["route"], sent)
    if errors:
        await _identify(request)
        raise InvalidRequest("Some query parameters are not valid.", errors=errors)


async def refuse_useless_body(request: Request) -> None:
    """Raises InvalidRequest for the body of a route that takes none.

    It is a dependency of every route. An empty JSON object is fine, because some clients send it with every POST. The
    body of a GET has no meaning in HTTP, and is ignored.
    """
    route = request.scope["route"]
    if "GET" in route.methods or takes_body(route) or not announces_body(request.scope):
        return
    await _identify(request)
    sent = b""
    async for chunk in request.stream():
        sent = b"".join((sent + chunk).split())
        if not b"{}".startswith(sent):
            break
    if sent not in (b"", b"{}"):
        error = FieldError("body", "must be empty, because this route takes no fields")
        raise InvalidRequest("The request has a body.", errors=(error,))


async def _identify(request: Request) -> None:
    if request.scope["path"].startswith(GUARDED_PATHS):
        await identify(request)


def _errors(route: APIRoute, sent: Mapping[str, int]) -> tuple[FieldError, ...]:
    known, prefixes = query_parameters(route), prefixes_of(route)
    wrong = [
        name
        for name, times in sent.items()
        if (name not in known and not name.startswith(prefixes)) or (times > 1 and not known.get(name))
    ]
    return tuple(FieldError(f"query.{name[:LONGEST_NAME]}", _problem(name, route)) for name in wrong[:MOST_ERRORS])


def _problem(name: str, route: APIRoute) -> str:
    known = query_parameters(route)
    if name in known or name.startswith(prefixes_of(route)):
        return "may appear only once"
    near = wording.suggestion(name, known) if len(name) <= LONGEST_NAME else ""
    in_body = "; send fields of the request in its body" if takes_body(route) else ""
    return f"is not a query parameter of this route{near or in_body}"


def takes_body(route: APIRoute) -> bool:
    return "requestBody" in (route.openapi_extra or {})


def query_parameters(route: APIRoute) -> Mapping[str, bool]:
    """Returns the names of the route's query parameters, each with whether it may appear several times."""
    fields = get_flat_params(Dependant(query_params=list(_query_fields(route.dependant))))
    return {field.alias: not LISTS.isdisjoint(classes_of(field.field_info.annotation)) for field in fields}


class NamesAfter:
    """A dependency for all query parameters whose names begin with a prefix, such as `metadata.agent`."""

    def __init__(self, prefix: str) -> None:
        self.prefix = prefix

    async def __call__(self, request: Request) -> Mapping[str, str]:
        """Returns the values by the rest of their names."""
        sent = request.query_params.items()
        return {name.removeprefix(self.prefix): value for name, value in sent if name.startswith(self.prefix)}


def prefixes_of(route: APIRoute) -> tuple[str, ...]:
    return tuple(_prefixes(route.dependant))


def _prefixes(dependant: Dependant) -> Iterator[str]:
    for dependency in dependant.dependencies:
        if isinstance(dependency.call, NamesAfter):
            yield dependency.call.prefix
        yield from _prefixes(dependency)


def _query_fields(dependant: Dependant) -> Iterator[Any]:
    yield from dependant.query_params
    for dependency in dependant.dependencies:
        yield from _query_fields(dependency)
