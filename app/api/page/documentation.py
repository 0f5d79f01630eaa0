"""`/docs` and `/openapi.json`: the API's documentation, which needs no internet.

Swagger UI comes from the package `fastapi_offline`. That package's own page is not used, because its script is inline,
which a strict Content-Security-Policy forbids. The files hold no secrets, so they are sent without a key.
"""

import json
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from threading import Lock
from typing import Annotated, Any

from fastapi import APIRouter, Header
from starlette.responses import Response

from app.api.page.routes import MEDIA_TYPES, Asset, asset_of, respond
from app.errors import NotFound
from app.process.package_files import package_folder

FILES = ("swagger-ui-bundle.js", "swagger-ui.css", "favicon.png")
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
PAGE = b"""<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Callscribe API</title>
<link rel="stylesheet" href="docs/static/swagger-ui.css">
<link rel="icon" href="docs/static/favicon.png">
<div id="swagger-ui"></div>
<script src="docs/static/swagger-ui-bundle.js"></script>
<script src="docs/static/start.js"></script>
</html>
"""
START = b"""SwaggerUIBundle({
  url: "openapi.json",
  dom_id: "#swagger-ui",
  layout: "BaseLayout",
  deepLinking: true,
  presets: [SwaggerUIBundle.presets.apis, SwaggerUIBundle.SwaggerUIStandalonePreset],
  // Without its checkboxes "Send empty value", Swagger UI leaves empty fields out of a form.
  plugins: [() => ({ wrapComponents: { ParameterIncludeEmpty: () => () => null } })],
});
"""


def routes(document: Callable[[], Mapping[str, Any]]) -> APIRouter:
    """Returns the routes of the documentation. They call `document` when a client first reads `/openapi.json`."""
    page = asset_of(PAGE, "text/html; charset=utf-8", POLICY)
    files = {"start.js": asset_of(START, MEDIA_TYPES[".js"], POLICY), **_swagger_ui()}
    router = APIRouter(include_in_schema=False)

    making = Lock()

    @cache
    def description() -> Asset:
        return asset_of(json.dumps(document(), ensure_ascii=False).encode(), "application/json", POLICY)

    @router.get("/docs")
    async def read_documentation(if_none_match: Annotated[str | None, Header()] = None) -> Response:
        return respond(page, if_none_match)

    @router.get("/openapi.json")
    def read_description(if_none_match: Annotated[str | None, Header()] = None) -> Response:
        with making:  # it runs in a thread, because the first answer takes long to make
            return respond(description(), if_none_match)

    @router.get("/docs/static/{name}")
    async def read_file(name: str, if_none_match: Annotated[str | None, Header()] = None) -> Response:
        if name not in files:
            raise NotFound(f"The documentation has no file {name!r}.")
        return respond(files[name], if_none_match)

    return router


def _swagger_ui() -> dict[str, Asset]:
    package = package_folder("fastapi_offline")
    assert package is not None
    folder = package / "static"
    return {name: asset_of((folder / name).read_bytes(), MEDIA_TYPES[Path(name).suffix], POLICY) for name in FILES}
