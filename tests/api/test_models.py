"""Models under their own names and under aliases: as an option of a transcription, and in the lists of both worlds."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from openai import AsyncOpenAI, AuthenticationError, NotFoundError, OpenAI

from app.api.openai.names import OPENAI_NAMES
from app.database.connections import Database
from testing.forms import refused
from testing.listening import listening
from testing.recordings import tone
from testing.service import Service
from tests.conftest import ALICE

SERVED = ["base", "large-v3-turbo", "tiny.en"]
ALIASES = {"qwen3-asr-1.7b": "base", "Systran/faster-whisper:tiny": "tiny.en"}
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


def test_our_clients_get_the_served_models_with_what_they_can_do(guarded: Service) -> None:
    base, turbo, tiny = guarded.read("/v1/models")["items"]
    assert [(model["name"], model["default"]) for model in (base, turbo)] == [("base", True), ("large-v3-turbo", False)]
    assert {"en", "de", "zh"} <= set(base["languages"]) < set(turbo["languages"])
    assert tiny["languages"] == ["en"]
    assert [model["translates"] for model in (base, turbo, tiny)] == [True, False, False]
    assert [model["aliases"] for model in (base, turbo, tiny)] == [
        ["qwen3-asr-1.7b"],
        [],
        ["Systran/faster-whisper:tiny"],
    ]


@pytest.fixture
def client(guarded: Service) -> Iterator[OpenAI]:
    with OpenAI(base_url=f"{guarded.url}/v1", api_key=ALICE, max_retries=0) as client:
        yield client


@pytest.fixture
async def async_client(guarded: Service) -> AsyncIterator[AsyncOpenAI]:
    async with AsyncOpenAI(base_url=f"{guarded.url}/v1", api_key=ALICE, max_retries=0) as client:
        yield client


def test_clients_of_openai_list_served_models_then_aliases_then_the_names_of_openai(client: OpenAI) -> None:
    page = client.models.list()
    assert page.object == "list"
    assert [model.id for model in page] == [*SERVED, *ALIASES, *OPENAI_NAMES]
    assert {(model.object, model.owned_by) for model in page} == {("model", "callscribe")}
    assert client.models.list().data == page.data


async def test_asynchronous_clients_of_openai_list_and_read_models(async_client: AsyncOpenAI) -> None:
    listed = [model async for model in async_client.models.list()]
    for model in listed:
        assert (await async_client.models.retrieve(model.id)).to_dict().items() >= model.to_dict().items()


@pytest.mark.parametrize(
    ("name", "meant", "alias_of", "default"),
    [
        ("base", "base", None, True),
        ("tiny.en", "tiny.en", None, False),
        ("qwen3-asr-1.7b", "base", "base", True),
        ("Systran/faster-whisper:tiny", "tiny.en", "tiny.en", False),
        ("whisper-1", "base", "base", True),
        ("gpt-4o-transcribe-diarize", "base", "base", True),
    ],
)
def test_a_name_is_read_with_the_facts_of_the_model_that_it_means(
    guarded: Service, client: OpenAI, name: str, meant: str, alias_of: str | None, default: bool
) -> None:
    facts = client.models.retrieve(name).to_dict()
    [listed] = [model.to_dict() for model in client.models.list() if model.id == name]
    [item] = [item for item in guarded.read("/v1/models")["items"] if item["name"] == meant]
    del item["aliases"]
    assert facts == {**listed, **item, "alias_of": alias_of}
    assert facts["default"] == default


def test_an_id_may_hold_a_slash_as_it_is_and_percent_encoded(guarded: Service) -> None:
    for path in ("Systran/faster-whisper:tiny", "Systran%2Ffaster-whisper%3Atiny", "Systran%2ffaster-whisper:tiny"):
        assert guarded.read(f"/v1/models/{path}")["name"] == "tiny.en"


async def test_an_id_may_be_a_folder_or_a_revision_and_an_alias_may_take_a_name_of_openai(
    database: Database, tmp_path: Path
) -> None:
    served = ["/models/calls v2", "Systran/faster-whisper-small@0123abc", "distil-large-v3"]
    names = {"model": ",".join(served), "model_aliases": "whisper-1=distil-large-v3"}
    async with listening(database, tmp_path, **names) as service:
        url = f"http://127.0.0.1:{service.port}/v1"
        async with AsyncOpenAI(base_url=url, api_key="none", max_retries=0) as client:
            for name in served:
                facts = (await client.models.retrieve(name)).to_dict()
                assert (facts["id"], facts["name"], facts["alias_of"]) == (name, name, None)
            meant = [(await client.models.retrieve(name)).to_dict()["name"] for name in OPENAI_NAMES]
        job = await service.client.post("/v1/transcriptions", json={"url": URL, "model": "whisper-1"})
        unescaped = await service.client.get(f"/v1/models/{served[1]}")
    assert meant == [served[2], *[served[0]] * (len(OPENAI_NAMES) - 1)]
    assert (job.status_code, job.json()["options"]["model"]) == (202, served[2])
    assert unescaped.json()["name"] == served[1]


@pytest.mark.parametrize(
    "name",
    ["whisper-2", "BASE", "base/", "Systran/faster-whisper", "base@main", "..%2Fbase", "base%00", "%F0%9F%8E%A4"],
)
def test_an_unknown_model_is_not_found(guarded: Service, name: str) -> None:
    answer = guarded.client.get(f"/v1/models/{name}")
    assert (answer.status_code, answer.json()["error"]["code"]) == (404, "model_not_found")
    assert "Use one of: base, large-v3-turbo, tiny.en, qwen3-asr-1.7b" in answer.json()["error"]["message"]


def test_a_path_without_a_name_is_not_the_default_model(guarded: Service) -> None:
    answer = guarded.client.get("/v1/models/")
    assert answer.status_code == 404
    assert "names no model" in answer.text


def test_clients_of_openai_raise_their_own_errors(guarded: Service, client: OpenAI) -> None:
    with pytest.raises(NotFoundError) as unknown:
        client.models.retrieve("whisper-2")
    assert unknown.value.code == "model_not_found"
    stranger = client.with_options(api_key="wrong")
    with pytest.raises(AuthenticationError):
        stranger.models.list()
    with pytest.raises(AuthenticationError):
        stranger.models.retrieve("base")


def test_only_reading_is_supported(guarded: Service) -> None:
    for path in ("/v1/models", "/v1/models/base"):
        answer = guarded.client.delete(path)
        assert (answer.status_code, answer.headers["Allow"]) == (405, "GET, HEAD")
    refused(guarded.client.get("/v1/models", params={"limit": "1"}), 422, "invalid_request")
