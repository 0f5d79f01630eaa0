"""The page at `/`: a few files that are read once and sent with their security headers.

The files hold no secrets, so they are sent without a key. Only the page's requests to the API need one. Starlette's
`StaticFiles` does not serve them, because it reads the disk in a thread for each request, and cannot send documents
that exist only in memory, as those of `documentation.py` do.

The page asks for its files below a folder whose name changes with any of them, such as `page/5f0c…/page.js`. So a
browser keeps them, and opens the page again with one request.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Annotated

from fastapi import APIRouter, Header
from starlette.responses import RedirectResponse, Response

from app.errors import NotFound

FOLDER = Path(__file__).parent / "assets"
INDEX = "index.html"
WORKLET = "_worklet.js"  # how a file ends that is no module of the page, because it runs beside it
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

    `Cache-Control: no-cache` lets a browser keep the file, but makes it ask each time whether the ETag is the same.
    """

    body: bytes
    headers: dict[str, str]


@cache
def assets() -> dict[str, Asset]:
    files = {path.name: path.read_bytes() for path in sorted(FOLDER.iterdir()) if path.suffix in MEDIA_TYPES}
    modules = [name for name in files if name.endswith(".js") and not name.endswith(WORKLET)]
    files[INDEX] = _with_folder(files[INDEX].decode(), modules, version()).encode()
    return {name: asset_of(body, MEDIA_TYPES[Path(name).suffix], POLICY) for name, body in files.items()}


@cache
def version() -> str:
    """The name of the folder, which changes with any file of the page."""
    every = hashlib.sha256()
    for path in sorted(FOLDER.iterdir()):
        every.update(path.name.encode() + path.read_bytes())
    return every.hexdigest()[:16]


def _with_folder(index: str, modules: Sequence[str], folder: str) -> str:
    """The page with all addresses of its files in the folder.

    It names all modules, because otherwise the browser learns of each only from those that import it.
    """
    preloads = "".join(f'<link rel="modulepreload" href="page/{name}">\n' for name in modules)
    return index.replace("<script ", f"{preloads}<script ", 1).replace('"page/', f'"page/{folder}/')


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


def forever(asset: Asset) -> Asset:
    """The same file for a client that has asked below the folder of this version: it never has to ask again."""
    return replace(asset, headers=asset.headers | {"Cache-Control": "public, max-age=31536000, immutable"})


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


@router.get("/page/{folder}/{name}")
async def read_kept_asset(folder: str, name: str, if_none_match: Annotated[str | None, Header()] = None) -> Response:
    # While two versions answer, a browser may ask this one for the files of the other.
    return respond(forever(_asset(name)), if_none_match) if folder == version() else _answer(name, if_none_match)


def _answer(name: str, if_none_match: str | None) -> Response:
    return respond(_asset(name), if_none_match)


def _asset(name: str) -> Asset:
    asset = assets().get(name)
    if asset is None:
        raise NotFound(f"The page has no file {name!r}.")
    return asset
