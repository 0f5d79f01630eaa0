"""Callback URLs: which values may fill them, and which bytes the receiver gets."""

import asyncio
import unicodedata
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime
from urllib.parse import unquote
from uuid import uuid4

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from app.deliveries.channels import Outgoing
from app.deliveries.http import CallbackChannel, open_client
from app.deliveries.models import Style
from app.deliveries.receivers import (
    MAX_CHARACTERS,
    MAX_FILLED_CHARACTERS,
    MAX_PLACEHOLDERS,
    PlaceholderValues,
    Receivers,
    check_callback,
    filled,
    unsafe_placeholders,
)
from app.errors import InvalidRequest, UrlNotAllowed
from app.network.exchange import request_target
from app.network.guard import NetworkGuard, host_of
from tests.deliveries.conftest import THIS_MACHINE

CRM = "https://crm.example"
RECEIVERS = Receivers(NetworkGuard())
STEPS = ["", ".", "..", "%2e", "%2E%2e", "%252e%252e", "..%2f", "../x", "x/..", "..\\", "..;a=b", " .. ", "．．", "‥"]
VALUES = st.one_of(st.sampled_from(STEPS), st.text(st.characters(codec="utf-8", exclude_characters="\0")))
TEMPLATES = st.lists(
    st.sampled_from(
        ["{file_name}", "{external_id}", "{id}", "/", "/", "a", ".", "..", "%2e", "?", "&b=", "#", "ü", "|"]
    ),
    max_size=12,
)


def outgoing(url: str) -> Outgoing:
    return Outgoing(uuid4(), uuid4(), "transcription.completed", Style.CALLBACK, url, b"", None, datetime.now(UTC), ())


@asynccontextmanager
async def raw_receiver() -> AsyncIterator[tuple[int, list[bytes]]]:
    """The port of a receiver, and the first line of each HTTP request that it gets, unchanged."""
    lines: list[bytes] = []

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(asyncio.IncompleteReadError):
            lines.append((await reader.readuntil(b"\r\n\r\n")).partition(b"\r\n")[0])
            writer.write(b"HTTP/1.1 204 No Content\r\n\r\n")
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1")
    async with server:
        yield server.sockets[0].getsockname()[1], lines
        server.close()


@given(parts=TEMPLATES, file_name=VALUES, external_id=VALUES)
async def test_a_receiver_gets_the_filled_url_and_no_value_changes_the_rest_of_the_path(
    parts: list[str], file_name: str, external_id: str
) -> None:
    template = "/" + "".join(parts)
    values = {"file_name": file_name, "external_id": external_id, "id": "1", "status": "completed"}
    assume(not unsafe_placeholders(f"http://h{template}", values))
    async with raw_receiver() as (port, lines), open_client(THIS_MACHINE) as client:
        url = filled(f"http://127.0.0.1:{port}{template}", values)
        reply = await CallbackChannel(client, 10).send(outgoing(url))
    assert reply.status_code == 204
    assert lines == [b"GET " + request_target(url) + b" HTTP/1.1"]
    written, sent = (
        each.partition("#")[0].partition("?")[0].split("/") for each in (template, lines[0].decode()[4:-9])
    )
    assert len(written) == len(sent)
    for before, after in zip(written, sent, strict=True):
        if "{" in before:
            twice = unicodedata.normalize("NFKC", unquote(unquote(after))).replace("\\", "/")
            assert not {"", ".", ".."} & {part.partition(";")[0] for part in twice.split("/")}


@pytest.mark.parametrize("value", STEPS)
@pytest.mark.parametrize(
    "template", ["/api/{external_id}/done", "/api/{external_id}", "/{external_id}?a", "/..{status}/{external_id}#b"]
)
def test_the_error_names_the_field_whose_value_would_change_the_path(value: str, template: str) -> None:
    with pytest.raises(InvalidRequest) as refusal:
        RECEIVERS.callbacks(CRM + template, PlaceholderValues("call.wav", value, "file"))
    assert [error.field for error in refusal.value.errors] == ["external_id"]


@pytest.mark.parametrize(
    ("template", "file_name", "external_id", "fields"),
    [
        ("/a/{file_name}{external_id}/b", ".", ".", ["url", "external_id"]),
        ("/a/{file_name}{external_id}/b", None, None, ["url", "external_id"]),
        ("/a/.{external_id}/b", "x", ".", ["external_id"]),
        ("/a/.{external_id}/b", "x", None, ["external_id"]),
        ("/a/%2e{external_id}/b", "x", "%2e", ["external_id"]),
        ("/a/%252{external_id}/b", "x", "e.", ["external_id"]),
        ("/{file_name}/{external_id}", "..", "x", ["url"]),
    ],
)
def test_values_in_the_same_segment_are_checked_together(
    template: str, file_name: str | None, external_id: str | None, fields: list[str]
) -> None:
    with pytest.raises(InvalidRequest) as refusal:
        RECEIVERS.callbacks(CRM + template, PlaceholderValues(file_name, external_id, "url"))
    assert [error.field for error in refusal.value.errors] == fields


@pytest.mark.parametrize(
    ("template", "value"),
    [
        ("/done?id={external_id}", ".."),
        ("/done?id={external_id}", None),
        ("/done?{external_id}/../", "a/../b"),
        ("/x-{external_id}/done", ".."),
        ("/{external_id}/done", "..."),
        ("/{external_id}/done", "2026/11 ünï.wav"),
        ("/{external_id}/done", "a..b"),
        ("/a/../{id}", None),
    ],
)
def test_other_values_are_allowed(template: str, value: str | None) -> None:
    assert RECEIVERS.callbacks(CRM + template, PlaceholderValues("call.wav", value, "file")) == [CRM + template]


def test_callback_urls_of_the_operator_are_checked_too() -> None:
    receivers = Receivers(NetworkGuard(), callback_urls=(f"{CRM}/{{external_id}}/done",))
    assert receivers.callbacks([], PlaceholderValues("call.wav", "..", "file")) == []
    with pytest.raises(InvalidRequest):
        receivers.callbacks(None, PlaceholderValues("call.wav", "..", "file"))


def test_the_length_of_a_filled_url_is_limited() -> None:
    longest = "\U0001f600" * 255
    within = f"{CRM}/?{{file_name}}&{{external_id}}&{{id}}&{{status}}&" + "a" * 1300
    RECEIVERS.callbacks(within, PlaceholderValues(longest, longest, "file"))
    for beyond in (f"{CRM}/?{{file_name}}{{file_name}}{{file_name}}", f"{CRM}/?" + "\U0001f600" * 700):
        with pytest.raises((InvalidRequest, UrlNotAllowed)) as refusal:
            RECEIVERS.callbacks(beyond, PlaceholderValues(longest, longest, "file"))
        assert [error.field for error in refusal.value.errors] == ["callback_url"]
    check_callback(f"{CRM}/" + "{id}" * MAX_PLACEHOLDERS)
    with pytest.raises(ValueError, match="at most 8 placeholders"):
        check_callback(f"{CRM}/" + "{id}" * (MAX_PLACEHOLDERS + 1))
    assert MAX_FILLED_CHARACTERS > MAX_CHARACTERS


def test_placeholders_in_the_host_are_refused() -> None:
    for url in ("https://{id}/", "https://crm.example{id}", "https://crm.example:{id}/", "https://{id}.example?a=/"):
        with pytest.raises(ValueError, match="after its host"):
            check_callback(url)


SPELLINGS = [
    ["https://example.com/", "https://EXAMPLE.com./a", "https://example.com:443", "https://example。com/?b"],
    [
        "https://münchen.example/",
        "https://MÜNCHEN.example./",
        "https://xn--mnchen-3ya.example/",
        "https://XN--MNCHEN-3YA.example/",
    ],
    ["http://127.0.0.1/", "http://127.1:80/", "http://0x7f.1/", "http://2130706433./", "http://[::ffff:127.0.0.1]/"],
    ["https://[2606:4700::1111]/", "https://[2606:4700:0:0:0:0:0:1111]:443/"],
]


def test_different_spellings_of_a_host_count_as_one_host() -> None:
    counted = [{host_of(url) for url in spellings} for spellings in SPELLINGS]
    assert counted == [{"example.com:443"}, {"xn--mnchen-3ya.example:443"}, {"127.0.0.1:80"}, {"2606:4700::1111:443"}]
    assert host_of("https://example.com:8443/") == "example.com:8443"
    assert (host_of("file:///calls/a.json"), host_of("folder:calls")) == ("file:", "folder:")


@pytest.mark.parametrize(
    "url", ["https://mu\u0308nchen.example/", "https://ｅｘａｍｐｌｅ.com/", "https://ex%61mple.com/"]
)
def test_spellings_that_are_not_valid_host_names_are_refused(url: str) -> None:
    with pytest.raises(UrlNotAllowed):
        RECEIVERS.webhooks(url)
