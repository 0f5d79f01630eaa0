"""The files of the page over HTTP."""

import re
from pathlib import Path

import pytest

from app.audio.raw import BY_SUFFIX
from testing.service import Service

ASSETS = Path(__file__).parents[3] / "app" / "api" / "page" / "assets"


@pytest.mark.parametrize(
    ("path", "media_type"),
    [
        ("/", "text/html; charset=utf-8"),
        ("/page/page.css", "text/css; charset=utf-8"),
        ("/page/page.js", "text/javascript; charset=utf-8"),
        ("/page/icon.svg", "image/svg+xml"),
    ],
)
def test_the_files_of_the_page_need_no_key_and_are_not_sent_again_if_the_etag_matches(
    guarded: Service, path: str, media_type: str
) -> None:
    answer = guarded.client.get(path, headers={"Authorization": ""})
    assert (answer.status_code, answer.headers["Content-Type"]) == (200, media_type)
    assert answer.headers["Content-Security-Policy"].startswith("default-src 'none'; script-src 'self';")
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    again = guarded.client.get(path, headers={"If-None-Match": answer.headers["ETag"]})
    assert (again.status_code, again.content) == (304, b"")


@pytest.mark.parametrize("path", sorted(ASSETS.iterdir()), ids=lambda path: path.name)
def test_the_files_of_the_page_name_no_other_origin_and_build_no_markup_from_text(path: Path) -> None:
    text = path.read_text().replace("http://www.w3.org/2000/svg", "")
    markup = r"innerHTML|insertAdjacentHTML|outerHTML|document\.write|\bstyle=|\bon\w+=\""
    assert not re.search(rf"https?://\w|{markup}", text)


@pytest.mark.parametrize("path", ["/page/routes.py", "/page/..%2froutes.py", "/page/", "/page/none.js"])
def test_the_page_has_no_other_files(guarded: Service, path: str) -> None:
    answer = guarded.client.get(path)
    assert (answer.status_code, answer.json()["code"]) == (404, "not_found")


def test_the_page_offers_every_name_of_raw_sound_that_the_service_knows() -> None:
    [accepted] = re.findall(r'accept="([^"]*)"', (ASSETS / "index.html").read_text())
    names = {name.strip() for name in accepted.split(",")}
    assert {f".{suffix}" for suffix in BY_SUFFIX} <= names
