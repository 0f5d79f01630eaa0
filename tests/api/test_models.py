"""Models under their own names and under aliases: as an option of a transcription, and in the lists of both worlds."""

import pytest

from testing.recordings import tone
from testing.service import Service

URL = "https://example.com/call.wav"


@pytest.mark.parametrize(("name", "model"), [("qwen3-asr-1.7b", "base"), ("Systran/faster-whisper:tiny", "tiny.en")])
@pytest.mark.parametrize("path", ["/v1/transcriptions", "/v1/transcriptions/from-url"])
def test_a_json_request_may_name_an_alias_and_the_job_shows_the_served_model(
    guarded: Service, path: str, name: str, model: str
) -> None:
    response = guarded.client.post(path, json={"url": URL, "model": name})
    assert (response.status_code, response.json()["options"]["model"]) == (202, model)


def test_a_form_may_name_an_alias_and_the_job_shows_the_served_model(guarded: Service) -> None:
    job = guarded.create(model="Systran/faster-whisper:tiny")
    assert guarded.read(job["links"]["self"])["options"]["model"] == "tiny.en"


def test_the_rules_of_the_served_model_hold_for_its_alias(guarded: Service) -> None:
    response = guarded.post(tone(), model="Systran/faster-whisper:tiny", language="de")
    [error] = response.json()["errors"]
    assert response.status_code == 422
    assert error["detail"].startswith("is not a language of the model tiny.en;")


def test_the_error_for_an_unknown_model_names_the_models_and_the_aliases(guarded: Service) -> None:
    for name in ("whisper-1", "Qwen3-ASR-1.7B"):
        response = guarded.post(tone(), model=name)
        assert response.status_code == 422
        assert response.json()["errors"] == [
            {
                "field": "model",
                "detail": "must be one of: base, large-v3-turbo, tiny.en; or an alias: qwen3-asr-1.7b, "
                "Systran/faster-whisper:tiny",
            }
        ]
