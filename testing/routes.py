"""The OpenAPI document, and every route that answers requests, so that a test can try something on all of them."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from fastapi.routing import APIRoute, iter_route_contexts

from app.api.app import create_app

VALUES = {"name": "page.js", "model_id": "base", "transcription_id": "01989d2e-7c1b-7f9e-8a54-2f0f6f1f9c3e"}


@dataclass(frozen=True)
class Route:
    """A method and a path. `declared` is the route as FastAPI knows it."""

    method: str
    template: str
    declared: APIRoute

    def path(self, **values: str) -> str:
        """Returns the path with these values in it. Parameters without a value get an id that no row has."""
        known = dict.fromkeys(self.declared.param_convertors, VALUES["transcription_id"]) | VALUES | values
        return self.template.format(**known)

    def __str__(self) -> str:
        return f"{self.method} {self.template}"


def all_routes() -> Sequence[Route]:
    contexts: Any = iter_route_contexts(create_app().routes)
    declared = (context.original_route for context in contexts)
    return [
        Route(method, route.path_format, route)
        for route in declared
        if isinstance(route, APIRoute)  # a WebSocket is none
        for method in sorted(set(route.methods or ()) - {"HEAD"})
    ]


@cache
def openapi_document() -> dict[str, Any]:
    """Returns the document of the application with default settings. It takes a second to make, so it is made once."""
    return create_app().openapi()
