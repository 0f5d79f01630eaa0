"""`languages`: the candidates among which the language of a call is detected."""

from typing import Any

import pytest
from openai import OpenAI

from testing.forms import END, field, file, post_body, refused
from testing.recordings import tone
from testing.service import Service
from testing.speech_samples import sample

URL = "https://93.184.215.14/call.wav"
NO_CANDIDATE = "must be a language such as en, en-US, eng or English, and not auto; GET /v1/models lists the languages"


def by_form(guarded: Service, *fields: tuple[str, str]) -> dict[str, Any]:
    answer = post_body(guarded, file() + b"".join(field(*each) for each in fields) + END)
    assert answer.status_code == 202, answer.text
    options: dict[str, Any] = answer.json()["options"]
    return options


def by_json(guarded: Service, **fields: Any) -> dict[str, Any]:
    answer = guarded.client.post("/v1/transcriptions", json={"url": URL, **fields})
    assert answer.status_code == 202, answer.text
    options: dict[str, Any] = answer.json()["options"]
    return options


@pytest.mark.parametrize(
    "fields",
    [
        [("languages", "en, es-MX")],
        [("languages", '["English", "spa"]')],
        [("languages", "en"), ("languages", "es")],
        [("languages[]", "en"), ("languages[]", "ES"), ("languages[]", "en-GB")],
        [("languages", "en,es"), ("language", "auto")],
        [("languages", "en,es"), ("language", "")],
    ],
)
def test_candidates_are_kept_as_their_codes_from_a_form(guarded: Service, fields: list[tuple[str, str]]) -> None:
    options = by_form(guarded, *fields)
    assert (options["language"], options["languages"]) == ("auto", ["en", "es"])


def test_candidates_are_kept_as_their_codes_from_json(guarded: Service) -> None:
    options = by_json(guarded, languages=["pt_BR", "German", "de"])
    assert (options["language"], options["languages"]) == ("auto", ["pt", "de"])


@pytest.mark.parametrize("languages", [["de"], ["de-AT", "German"]])
def test_one_candidate_is_the_language_of_the_call(guarded: Service, languages: list[str]) -> None:
    options = by_json(guarded, languages=languages)
    assert (options["language"], options["languages"]) == ("de", [])


def test_no_candidates_are_all_languages(guarded: Service) -> None:
    for options in (by_json(guarded, languages=[]), by_form(guarded, ("languages", "")), by_form(guarded)):
        assert (options["language"], options["languages"]) == ("auto", [])


@pytest.mark.parametrize(
    ("fields", "name", "detail"),
    [
        ({"languages": ["en", "auto"]}, "languages.1", NO_CANDIDATE),
        ({"languages": ["und"]}, "languages.0", NO_CANDIDATE),
        ({"languages": ["en", ""]}, "languages.1", NO_CANDIDATE),
        ({"languages": ["en/es"]}, "languages.0", NO_CANDIDATE),
        ({"languages": "en"}, "languages", "must be a list"),
        (
            {"languages": ["en", "ga", "xx-YY"]},
            "languages",
            "holds ga, xx, which the model base does not know; GET /v1/models lists the languages of each model",
        ),
        (
            {"languages": ["en", "de"], "model": "tiny.en"},
            "languages",
            "holds de, which the model tiny.en does not know; GET /v1/models lists the languages of each model",
        ),
        (
            {"languages": ["en", "de"], "language": "de"},
            "languages",
            "are candidates for a language that the service detects: send either language or languages",
        ),
    ],
)
def test_candidates_that_cannot_be_used_are_refused(
    guarded: Service, fields: dict[str, Any], name: str, detail: str
) -> None:
    answer = guarded.client.post("/v1/transcriptions", json={"url": URL, **fields})
    assert refused(answer, 422, "invalid_request")["errors"] == [{"field": name, "detail": detail}]


def test_a_refused_upload_leaves_nothing(guarded: Service) -> None:
    body = file() + field("languages", "en") + field("languages", "auto") + END
    [error] = refused(post_body(guarded, body), 422, "invalid_request")["errors"]
    assert error == {"field": "languages.1", "detail": NO_CANDIDATE}
    assert guarded.stored_files() == []


def test_a_repetition_may_name_the_same_candidates_otherwise(guarded: Service) -> None:
    key, same, other = {"Idempotency-Key": "candidates"}, ("de,en", "German,eng,de-AT"), "en,fr"
    answers = [guarded.post(tone(), headers=key, languages=languages) for languages in (*same, other)]
    assert [answer.status_code for answer in answers] == [202, 200, 422]


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"languages[]": ["en", "auto"]}, "languages"),
        ({"languages": ["en", "ga"]}, "languages"),
        ({"languages": '["en", "de"]', "language": "de"}, "languages"),
    ],
)
def test_the_door_of_openai_refuses_candidates_that_cannot_be_used(
    guarded: Service, fields: dict[str, Any], param: str
) -> None:
    answer = guarded.client.post("/v1/audio/transcriptions", files={"file": tone()}, data=fields)
    error = answer.json()["error"]
    assert (answer.status_code, error["param"], error["code"]) == (400, param, "unsupported_value")
    assert guarded.stored_files() == []


def test_clients_of_openai_may_name_candidates(service: Service) -> None:
    with OpenAI(base_url=f"{service.url}/v1", api_key="none", max_retries=0) as client:
        written = client.audio.transcriptions.create(
            model="gpt-transcribe",
            file=sample("pl", "liczenie").path,
            languages=["en", "pl"],
            response_format="verbose_json",
        )
    assert written.language == "polish"


def test_a_call_is_transcribed_in_one_of_its_candidates(service: Service) -> None:
    polish = sample("pl", "liczenie").path.read_bytes()  # without candidates, `base` takes it for Czech
    job = service.ended(service.create(polish, languages="en,pl"))
    transcript = service.read(job["links"]["transcript"])
    assert (job["status"], job["language"], job["options"]["languages"]) == ("completed", "pl", ["en", "pl"])
    assert {segment["language"] for segment in transcript["segments"]} == {"pl"}
