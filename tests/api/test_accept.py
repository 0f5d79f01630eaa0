"""Which format a client gets for its Accept header."""

import pytest

from app.api.accept import negotiate
from app.transcripts.formats import Format


@pytest.mark.parametrize(
    ("accept", "expected"),
    [
        (None, Format.JSON),
        ("", Format.JSON),
        ("*/*", Format.JSON),
        ("application/*", Format.JSON),
        ("application/json", Format.JSON),
        ("text/plain", Format.TEXT),
        ("text/*", Format.TEXT),
        ("application/x-subrip", Format.SRT),
        ("Text/VTT; charset=utf-8", Format.VTT),
        ("text/tab-separated-values", Format.TSV),
        ("application/json, text/plain, */*", Format.JSON),
        ("text/vtt, */*", Format.VTT),
        ("text/vtt;q=0.5, */*", Format.JSON),
        ("text/plain;q=0.3, text/vtt;q=0.7, application/json;q=0.5", Format.VTT),
        ("text/vtt;q=0.5,text/plain;Q=0.50", Format.TEXT),
        ("text/*, text/plain;q=0", Format.VTT),
        ("*/*;q=0.1, application/json;q=0, text/*;q=0", Format.SRT),
        ("text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8", Format.JSON),
        ("text/vtt;q=2, text/plain;q=0.1", Format.TEXT),
        ("text/vtt;q=nan", None),
        ("application/json;q=0", None),
        ("image/png", None),
        ("nonsense", None),
    ],
)
def test_accept_decides_the_format(accept: str | None, expected: Format | None) -> None:
    assert negotiate(accept) is expected


def test_whisper_is_chosen_only_by_its_name() -> None:
    assert Format("whisper").media_type == Format.JSON.media_type == "application/json"
