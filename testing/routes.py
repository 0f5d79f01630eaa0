"""Lists every route of the application, so that a test can try something on all of them."""

from collections.abc import Sequence
from dataclasses import dataclass
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
    return [
        Route(method, context.original_route.path_format, context.original_route)
        for context in contexts
        for method in sorted(context.original_route.methods - {"HEAD"})
    ]
