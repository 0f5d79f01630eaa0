"""The page at `/`: a few files that are read once and sent with their security headers.

The files hold no secrets, so they are sent without a key. Only the page's requests to the API need one. Starlette's
`StaticFiles` does not serve them, because it reads the disk in a thread for each request, and cannot send documents
that exist only in memory, as those of `documentation.py` do.
"""

import hashlib
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Annotated

from fastapi import APIRouter, Header
from starlette.responses import RedirectResponse, Response

from app.errors import NotFound

FOLDER = Path(__file__).parent / "assets"
INDEX = "index.html"
MEDIA_TYPES = {
    ".css": "text/css; charset=utf-8",
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".png": "image/png",
    ".svg": "image/svg+xml",
}
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    "media-src blob:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)

router = APIRouter(include_in_schema=False)


@dataclass(frozen=True)
class Asset:
    """A file and its headers.

    Its `Cache-Control: no-cache` lets a browser keep the file, but makes it ask each time whether the ETag is the same.
    """

    body: bytes
    headers: dict[str, str]


@cache
def assets() -> dict[str, Asset]:
    return {path.name: _read(path) for path in FOLDER.iterdir() if path.suffix in MEDIA_TYPES}


def _read(path: Path) -> Asset:
    return asset_of(path.read_bytes(), MEDIA_TYPES[path.suffix], POLICY)


def asset_of(body: bytes, media_type: str, policy: str) -> Asset:
    headers = {
        "Content-Type": media_type,
        "Content-Security-Policy": policy,
        "X-Content-Type-Options": "nosniff",
        "Referrer-Policy": "no-referrer",
        "Cache-Control": "no-cache",
        "ETag": f'"{hashlib.sha256(body).hexdigest()[:32]}"',
    }
    return Asset(body, headers)


def respond(asset: Asset, if_none_match: str | None) -> Response:
    """Returns the file, or `304` if the client already has it."""
    if asset.headers["ETag"] in (if_none_match or ""):
        return Response(status_code=304, headers=asset.headers)
    return Response(asset.body, headers=asset.headers)


def redirect_to_slash(root_path: str) -> APIRouter:
    """Returns a route that leads from `/speech` to `/speech/`, because the addresses in the page are relative."""
    redirecting = APIRouter(include_in_schema=False)

    @redirecting.get(root_path)
    async def redirect() -> RedirectResponse:
        return RedirectResponse(f"{root_path}/")

    return redirecting


@router.get("/")
async def read_page(if_none_match: Annotated[str | None, Header()] = None) -> Response:
    return _answer(INDEX, if_none_match)


@router.get("/page/{name}")
async def read_asset(name: str, if_none_match: Annotated[str | None, Header()] = None) -> Response:
    return _answer(name, if_none_match)


def _answer(name: str, if_none_match: str | None) -> Response:
    asset = assets().get(name)
    if asset is None:
        raise NotFound(f"The page has no file {name!r}.")
    return respond(asset, if_none_match)
