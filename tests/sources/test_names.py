"""Names of recordings and URLs that strangers have chosen."""

from urllib.parse import urlsplit

import pytest

from app.sources.names import last_component, name_in, shown_name, shown_url


@pytest.mark.parametrize(
    ("url", "name", "shown"),
    [
        ("https://u:p@h.example:8443/a/call%201.wav?token=x#f", "call 1.wav", "https://h.example:8443/a/call%201.wav"),
        ("https://h.example/..%2f..%2fetc%2Fpasswd", "../../etc/passwd", "https://h.example/..%2f..%2fetc%2Fpasswd"),
        ("https://h.example", "", "https://h.example"),
        ("s3://bucket/2026/call.wav", "call.wav", "s3://bucket/2026/call.wav"),
        ("s3://bucket//k", "k", "s3://bucket//k"),
    ],
)
def test_a_url_is_shown_without_its_secrets(url: str, name: str, shown: str) -> None:
    assert last_component(url) == name
    assert shown_url(url) == shown
    assert urlsplit(shown).query == ""
    assert shown_url("upload") == "upload"


@pytest.mark.parametrize(
    ("sent", "shown"),
    [
        ("../../etc/passwd", "passwd"),
        ("C:\\calls\\call.wav", "call.wav"),
        ("a\r\nb\0.wav", "ab.wav"),
        ("call\u202evaw.exe", "callvaw.exe"),
        (" call.wav ", "call.wav"),
        ("x" * 300, "x" * 255),
        ("..", None),
        ("calls/", None),
        ("", None),
        (None, None),
    ],
)
def test_a_name_that_is_shown_names_only_a_file(sent: str | None, shown: str | None) -> None:
    assert shown_name(sent) == shown


@pytest.mark.parametrize(
    ("header", "name"),
    [
        (b'attachment; filename="call 1.wav"', "call 1.wav"),
        (b"attachment; filename=call.wav", "call.wav"),
        (b"attachment; filename=\"x.wav\"; filename*=UTF-8''%D0%B7%D0%B2%D0%BE%D0%BD%D0%BE%D0%BA.wav", "звонок.wav"),
        (b'attachment; filename="../../etc/passwd"', "passwd"),
        (b"inline", None),
        (b"", None),
    ],
)
def test_the_name_in_a_content_disposition_is_read(header: bytes, name: str | None) -> None:
    assert name_in(header) == name
