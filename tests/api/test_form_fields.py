"""POST /v1/transcriptions takes the fields of a form in every way that clients send them and that has one meaning."""

import json
from typing import Any

import pytest

from testing.forms import END, FORM_TYPE, field, file, part, post_body, refused
from testing.recordings import tone
from testing.service import Service

JSON = "Content-Type: application/json"


def accepted(service: Service, *parts: bytes) -> dict[str, Any]:
    response = post_body(service, file() + b"".join(parts) + END)
    assert response.status_code == 202, response.text
    job: dict[str, Any] = response.json()
    return job


def complaint(service: Service, *parts: bytes) -> dict[str, str]:
    problem = refused(post_body(service, file() + b"".join(parts) + END), 422, "invalid_request")
    assert service.stored_files() == []
    [error] = problem["errors"]
    assert isinstance(error, dict)
    return error


def test_fields_may_be_sent_as_blobs_and_files(guarded: Service) -> None:
    job = accepted(
        guarded,
        part('name="metadata"; filename="blob"', b'{"queue": "orders"}', JSON),
        part('name="channel_labels"; filename="blob"', b'["agent", "customer"]', JSON),
        part('name="prompt"; filename="prompt.txt"', "Müller GmbH".encode(), "Content-Type: text/plain"),
        part('name="hotwords[]"; filename="words.txt"', b"Tarif"),
        part('name="word_timestamps"; filename="blob"', b"true", JSON),
    )
    options = job["options"]
    assert job["metadata"] == {"queue": "orders"}
    assert (options["channel_labels"], options["hotwords"]) == (["agent", "customer"], ["Tarif"])
    assert (options["prompt"], options["word_timestamps"]) == ("Müller GmbH", True)


def test_a_field_that_is_sent_as_a_file_may_not_be_larger_than_other_fields(guarded: Service) -> None:
    body = file() + part('name="prompt"; filename="blob"', b"x" * 70_000) + END
    refused(post_body(guarded, body), 422, "invalid_request")


def test_texts_that_are_sent_as_json_are_their_content(guarded: Service) -> None:
    job = accepted(
        guarded,
        part('name="language"', b'"de"', JSON),
        part('name="external_id"', b'"crm-\\u00fc"', JSON),
        part('name="prompt"', b"null", "Content-Type: application/json; charset=utf-8"),
    )
    assert (job["options"]["language"], job["external_id"], job["options"]["prompt"]) == ("de", "crm-ü", None)


def test_texts_may_have_the_charset_that_their_part_names(guarded: Service) -> None:
    latin = "Content-Type: text/plain; charset=ISO-8859-1"
    job = accepted(guarded, part('name="external_id"', "Müller".encode("latin-1"), latin))
    assert job["external_id"] == "Müller"
    guarded.client.delete(job["links"]["self"])
    error = complaint(guarded, part('name="prompt"', b"+2D8", "Content-Type: text/plain; charset=utf-7"))
    assert error == {"field": "prompt", "detail": "must be UTF-8, and not utf-7"}


@pytest.mark.parametrize("encoding", ["base64", "quoted-printable"])
def test_a_part_with_a_transfer_encoding_is_refused(guarded: Service, encoding: str) -> None:
    body = part('name="file"; filename="a.wav"', b"UklGRg==", f"Content-Transfer-Encoding: {encoding}") + END
    problem = refused(post_body(guarded, body), 422, "invalid_request")
    assert problem["errors"][0]["field"] == "file"
    assert "send the bytes as they are" in problem["errors"][0]["detail"]


@pytest.mark.parametrize(
    ("parts", "items"),
    [
        ([("hotwords", "a"), ("hotwords", "b, c")], ["a", "b, c"]),
        ([("hotwords[]", "a"), ("hotwords[]", "b, c")], ["a", "b, c"]),
        ([("hotwords[]", "Miller, Anna")], ["Miller, Anna"]),
        ([("hotwords[1]", "b"), ("hotwords[0]", "a")], ["a", "b"]),
        ([("hotwords", "a,b")], ["a", "b"]),
        ([("hotwords", " a , b,")], ["a", "b"]),
        ([("hotwords", '["a", "b, c"]')], ["a", "b, c"]),
        ([("hotwords[]", "[music]")], ["[music]"]),
        ([("hotwords", "")], []),
        ([("hotwords[]", ""), ("hotwords[]", "a")], ["a"]),
        ([("hotwords", "[]")], []),
    ],
)
def test_a_list_may_be_repeated_or_have_brackets_or_commas_or_be_json(
    guarded: Service, parts: list[tuple[str, str]], items: list[str]
) -> None:
    job = accepted(guarded, *(field(name, text) for name, text in parts))
    assert job["options"]["hotwords"] == items


@pytest.mark.parametrize(
    ("parts", "labels"),
    [
        ([("channel_labels", "agent,customer")], ["agent", "customer"]),
        ([("channel_labels", '["agent","customer"]')], ["agent", "customer"]),
        ([("channel_labels[]", "agent"), ("channel_labels[]", "customer")], ["agent", "customer"]),
        ([("channel_labels[0]", "agent"), ("channel_labels[1]", "customer")], ["agent", "customer"]),
        ([("channel_labels", "Miller, Anna"), ("channel_labels", "customer")], ["Miller, Anna", "customer"]),
        ([("channel_labels[]", "Miller, Anna")], ["Miller, Anna"]),
        ([("channel_labels", ""), ("channel_labels", "")], []),
    ],
)
def test_labels_are_a_list(guarded: Service, parts: list[tuple[str, str]], labels: list[str]) -> None:
    job = accepted(guarded, *(field(name, text) for name, text in parts))
    assert job["options"]["channel_labels"] == labels


@pytest.mark.parametrize(
    ("sent", "urls"),
    [
        (["https://crm.example/a?ids=1,2"], ["https://crm.example/a?ids=1,2"]),
        (["https://crm.example/a,https://erp.example/b?x=1"], ["https://crm.example/a", "https://erp.example/b?x=1"]),
        (
            ['["https://crm.example/a?x=1","https://erp.example/b"]'],
            ["https://crm.example/a?x=1", "https://erp.example/b"],
        ),
        (["https://a.example/?u=1,https://b.example"], None),
        ([""], []),
    ],
)
def test_urls_of_receivers_may_contain_commas(guarded: Service, sent: list[str], urls: list[str] | None) -> None:
    """The first request has one field for each URL. The second one repeats it only if its URLs are the same."""

    def post(name: str, texts: list[str]) -> int:
        body = file() + b"".join(field(name, text) for text in texts) + END
        headers = {"Content-Type": FORM_TYPE, "Idempotency-Key": f"urls {sent}"}
        return guarded.client.post("/v1/transcriptions", content=body, headers=headers).status_code

    if urls is None:
        assert post("callback_url", sent) == 422
    else:
        assert (post("callback_url[]", urls), post("callback_url", sent)) == (202, 200)


@pytest.mark.parametrize(
    ("parts", "name", "words"),
    [
        ([("channel_labels", "Miller, Anna")], "channel_labels", "repeat the field channel_labels[]"),
        ([("channel_labels", "[agent,customer]")], "channel_labels", "is not a JSON list"),
        ([("channel_labels[]", '["a"]'), ("channel_labels[]", "b")], "channel_labels", "has a JSON list"),
        ([("channel_labels[1]", "customer")], "channel_labels", "[0], [1] and so on"),
        ([("channel_labels[agent]", "x")], "channel_labels", "[0], [1] and so on"),
        ([("channel_labels", "agent"), ("channel_labels", "")], "channel_labels.1", "at least 1 character"),
        (
            [("webhook_url", "https://a.example/?x=1,https://b.example/")],
            "webhook_url",
            "repeat the field webhook_url[]",
        ),
        ([("language[]", "en")], "language", "without brackets"),
        ([("metadata[a][b]", "1")], "metadata", 'metadata={"queue": "orders"}'),
        ([("metadata[]", "1")], "metadata", 'metadata={"queue": "orders"}'),
        ([("metadata", "{}"), ("metadata[a]", "1")], "metadata", 'metadata={"queue": "orders"}'),
        ([("metadata", "queue=orders")], "metadata", "is not JSON"),
        ([("data", '{"language": "en"}')], "data", "send each option in a field of its own"),
        ([("priority", "high")], "priority", "integer"),
    ],
)
def test_a_field_with_two_meanings_is_refused_and_the_error_says_what_to_send(
    guarded: Service, parts: list[tuple[str, str]], name: str, words: str
) -> None:
    error = complaint(guarded, *(field(part_name, text) for part_name, text in parts))
    assert error["field"] == name
    assert words in error["detail"]


def test_metadata_may_have_its_names_in_brackets(guarded: Service) -> None:
    job = accepted(guarded, field("metadata[queue]", "orders"), field("metadata[agent]", "7"))
    assert job["metadata"] == {"queue": "orders", "agent": "7"}


def test_a_field_may_have_the_name_that_axios_gives_to_json(guarded: Service) -> None:
    job = accepted(guarded, field("metadata{}", '{"queue": "orders", "agent": 7}'))
    assert job["metadata"] == {"queue": "orders", "agent": 7}


@pytest.mark.parametrize(
    ("text", "value"),
    [
        *((text, True) for text in ("true", "True", "1", "on", "yes", " TRUE\n")),
        *((text, False) for text in ("false", "False", "0", "off", "no", "")),
    ],
)
def test_a_boolean_may_be_written_in_each_usual_way(guarded: Service, text: str, value: bool) -> None:
    assert accepted(guarded, field("word_timestamps", text))["options"]["word_timestamps"] is value


@pytest.mark.parametrize(("text", "value"), [(" 3 ", 3), ("3\r\n", 3), ("03", 3), ("+3", 3), ("", 5)])
def test_a_number_may_have_spaces_around_it(guarded: Service, text: str, value: int) -> None:
    assert accepted(guarded, field("priority", text))["options"]["priority"] == value


EMPTY = ("language", "task", "model", "channels", "prompt", "priority", "external_id", "webhook_url", "callback_url")


def test_an_empty_field_counts_as_not_given(guarded: Service) -> None:
    plain = accepted(guarded)
    names = (*EMPTY, "channel_labels", "hotwords", "metadata", "word_timestamps", "diarize")
    job = accepted(guarded, *(field(name, "") for name in names))
    for same in ("options", "external_id", "metadata"):
        assert job[same] == plain[same]


@pytest.mark.parametrize("value", ["", None])
def test_an_empty_value_in_json_counts_as_not_given(guarded: Service, value: str | None) -> None:
    names = (*EMPTY, "channel_labels", "hotwords", "metadata", "word_timestamps", "diarize")
    asked = {"url": "https://93.184.215.14/call.wav"}
    plain = guarded.client.post("/v1/transcriptions", json=asked).json()
    job = guarded.client.post("/v1/transcriptions", json=asked | dict.fromkeys(names, value))
    assert job.status_code == 202, job.text
    for same in ("options", "external_id", "metadata"):
        assert job.json()[same] == plain[same]


@pytest.mark.parametrize("name", ["langauge", "reports_text"])  # the latter is an option that only a way in sets
def test_an_unknown_field_is_refused_even_if_it_is_empty(guarded: Service, name: str) -> None:
    assert complaint(guarded, field(name, ""))["field"] == name
    asked = {"url": "https://93.184.215.14/call.wav", name: None}
    problem = refused(guarded.client.post("/v1/transcriptions", json=asked), 422, "invalid_request")
    assert problem["errors"] == [{"field": name, "detail": "is not a field of this request"}]


@pytest.mark.parametrize("text", ["call.wav", "", "/calls/Anruf Müller.wav"])
def test_a_recording_without_the_at_sign_of_curl_is_refused(guarded: Service, text: str) -> None:
    problem = refused(post_body(guarded, field("file", text) + END), 422, "invalid_request")
    assert problem["errors"] == [{"field": "file", "detail": "must be a file"}]
    assert "`-F file=@call.wav`" in problem["detail"]
    assert guarded.stored_files() == []


def test_a_url_in_the_place_of_the_file_is_refused_and_the_error_names_the_json_body(guarded: Service) -> None:
    body = field("file", "https://calls.example/call.wav") + END
    assert "JSON body" in refused(post_body(guarded, body), 422, "invalid_request")["detail"]


def test_a_recording_may_have_no_file_name(guarded: Service) -> None:
    job = post_body(guarded, field("file", tone()) + END).json()
    assert (job["audio"]["filename"], job["audio"]["bytes"]) == (None, len(tone()))


@pytest.mark.parametrize("name", ["audio", "recording", "file[]", "files[]", "upload"])
def test_a_recording_under_another_name_is_refused_and_the_error_names_the_right_one(
    guarded: Service, name: str
) -> None:
    body = part(f'name="{name}"; filename="call.wav"', tone(), "Content-Type: audio/wav") + END
    problem = refused(post_body(guarded, body), 422, "invalid_request")
    assert problem["errors"] == [{"field": name, "detail": "must be named file"}]
    assert "in the part named `file`" in problem["detail"]


def test_options_in_one_json_part_are_refused_and_the_error_says_so(guarded: Service) -> None:
    options = json.dumps({"language": "en"}).encode()
    error = complaint(guarded, part('name="request"; filename="blob"', options, JSON))
    assert error["field"] == "request"
    assert "a field of its own" in error["detail"]


def test_a_form_that_goes_on_after_its_end_is_refused_at_the_limit(guarded: Service) -> None:
    def endless() -> Any:
        yield file() + END
        for _ in range(40):
            yield b"x" * 10_000

    refused(post_body(guarded, endless()), 413, "too_large")
    assert guarded.stored_files() == []


@pytest.mark.parametrize(
    ("sent", "stored"), [("en-US", "en"), ("pt_BR", "pt"), ("German", "de"), ("iw", "he"), ("", "auto")]
)
def test_a_language_is_kept_as_its_code_from_a_form_and_from_json(guarded: Service, sent: str, stored: str) -> None:
    assert accepted(guarded, field("language", sent))["options"]["language"] == stored
    asked = {"url": "https://93.184.215.14/call.wav", "language": sent}
    assert guarded.client.post("/v1/transcriptions", json=asked).json()["options"]["language"] == stored


def test_a_repetition_may_name_the_same_language_otherwise(guarded: Service) -> None:
    key = {"Idempotency-Key": "language"}
    answers = [guarded.post(headers=key, language=language) for language in ("de", "de-AT", "German")]
    assert [answer.status_code for answer in answers] == [202, 200, 200]


def test_a_language_that_no_model_knows_is_refused_and_the_error_says_where_they_are_listed(guarded: Service) -> None:
    error = complaint(guarded, field("language", "ga-IE"))
    assert error["field"] == "language"
    assert error["detail"] == "is not a language of the model base; GET /v1/models lists the languages of each model"
