"""Where transcripts are written: places, placeholders and names. Pure."""

from datetime import UTC, datetime
from pathlib import Path

import pytest

from app.deliveries.outputs import (
    MAX_NAME_BYTES,
    Output,
    OutputFile,
    Outputs,
    check_default,
    check_output,
    files_of,
    values_of,
)
from app.errors import InvalidRequest, UrlNotAllowed
from app.storage.file_url import file_url, path_of, template_url
from app.storage.s3_url import S3Url
from app.transcripts.formats import Format

NOON = datetime(2026, 11, 28, 12, tzinfo=UTC)
ALLOWED = (S3Url("results", ""), S3Url("shared", "ours"))


def keys(url: str, name: str | None, external_id: str | None = None, *formats: Format) -> list[str]:
    values = values_of("the-id", external_id, name, NOON)
    return [file.url for file in files_of([Output(url, formats or (Format.JSON,))], values)]


def test_placeholders_are_filled_in_and_each_format_has_its_ending() -> None:
    values = values_of("the-id", "crm-1", "call 7.wav", NOON)
    formats = (Format.JSON, Format.TEXT, Format.WHISPER)
    assert files_of([Output("s3://results/{date}/{external_id}-{file_stem}", formats)], values) == [
        OutputFile("s3://results/2026-11-28/crm-1-call 7.json", Format.JSON),
        OutputFile("s3://results/2026-11-28/crm-1-call 7.txt", Format.TEXT),
        OutputFile("s3://results/2026-11-28/crm-1-call 7.whisper.json", Format.WHISPER),
    ]
    assert keys("s3://results/{file_name}", "a.wav", None, Format.WHISPER) == ["s3://results/a.wav.json"]


@pytest.mark.parametrize(
    ("name", "written"),
    [
        ("你好 “x”.wav", "你好 “x”"),
        ("a#b?c.wav", "a%23b%3Fc"),
        ("50%.wav", "50%25"),
        ("{id}.wav", "%7Bid%7D"),
        ("a\\..\\b.wav", "a%5C..%5Cb"),
    ],
)
def test_a_value_is_a_part_of_one_name(name: str, written: str) -> None:
    assert keys("s3://results/x/{file_stem}", name) == [f"s3://results/x/{written}.json"]
    [url] = keys(template_url(Path("/results/{file_stem}")), name)
    assert path_of(url) == Path(f"/results/{written}.json")


@pytest.mark.parametrize("name", ["..", ".", "", None, "x" * (MAX_NAME_BYTES + 1)])
def test_a_name_that_no_file_can_have_is_refused_and_later_replaced_by_the_id(name: str | None) -> None:
    values = values_of("the-id", None, name, NOON)
    with pytest.raises(InvalidRequest) as refused:
        Outputs(ALLOWED).of(Output("s3://results/{file_name}"), values, "file")
    assert [field.field for field in refused.value.errors] == ["file"]
    assert keys("s3://results/{file_name}", name) == ["s3://results/the-id.json"]


@pytest.mark.parametrize(
    ("url", "allowed"),
    [
        ("s3://results/a", True),
        ("s3://shared/ours/a", True),
        ("s3://shared/ours2/a", False),
        ("s3://shared/a", False),
        ("s3://others/a", False),
        ("file:///etc/a", False),
    ],
)
def test_a_client_names_allowed_places_only(url: str, allowed: bool) -> None:
    values = values_of("the-id", None, None, NOON)
    if allowed:
        assert Outputs(ALLOWED).of(Output(url), values, "file") == [Output(url, (Format.JSON,))]
    else:
        with pytest.raises(UrlNotAllowed):
            Outputs(ALLOWED).of(Output(url), values, "file")


def test_without_an_output_the_operators_applies() -> None:
    default, values = Output("s3://results/{id}"), values_of("the-id", None, None, NOON)
    assert Outputs(ALLOWED).of(None, values, "file") == []
    formats = (Format.SRT, Format.TEXT)
    assert Outputs(ALLOWED, default, formats).of(None, values, "file") == [Output("s3://results/{id}", formats)]


@pytest.mark.parametrize(
    "url",
    [
        "s3://results",
        "s3://results/",
        "s3://results/a/",
        "s3://results//a",
        "s3://results/../a",
        "s3://results/{name}",
        "s3://results/a{",
        "s3://{id}/a",
        "s3://Results/a",
        "https://results/a",
        "/results/a",
        "s3://results/a\nb",
    ],
)
def test_what_names_no_object_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match=r"must|knows"):
        check_output(url)


def test_a_default_must_differ_between_jobs() -> None:
    assert check_default("s3://results/{file_stem}") == "s3://results/{file_stem}"
    with pytest.raises(ValueError, match="needs a placeholder"):
        check_default("s3://results/{date}")


@pytest.mark.parametrize("name", [b"a b.wav", "你好.wav".encode(), b"50%#?{id}.wav", b"\xff\xfe.wav", b"a\nb.wav"])
def test_a_path_survives_its_url(name: bytes) -> None:
    path = Path("/in") / name.decode(errors="surrogateescape")
    assert path_of(file_url(path)) == path
    file_url(path).encode()
