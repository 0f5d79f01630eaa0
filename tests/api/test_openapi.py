"""The OpenAPI document is complete, it is committed, and the service behaves as it says."""

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest

from app.api.app import create_app
from app.api.openai.errors import speaks_openai
from testing.routes import openapi_document
from testing.service import Service
from tests.conftest import ALICE

ROOT = Path(__file__).parents[2]
DOCUMENT = openapi_document()
OPERATIONS = {
    f"{method.upper()} {path}": operation
    for path, item in DOCUMENT["paths"].items()
    for method, operation in item.items()
}
NEED_NO_KEY = {"GET /healthz", "GET /readyz"}


WAITING_ROUTES = "^/v1/(audio/|transcribe$)"  # they wait for the end of a job
NO_LINK = "API Links:    0 covered"
PATIENCE_SECONDS = 250  # some 25 s on a machine with nothing else to do


@pytest.mark.slow
@pytest.mark.timeout(2 * PATIENCE_SECONDS)
def test_the_service_behaves_as_its_openapi_document_says(guarded: Service) -> None:
    """It tries only a few requests. `schemathesis.toml` says how to try more."""
    options = ("--exclude-path-regex", WAITING_ROUTES, "-H", f"Authorization: Bearer {ALICE}")
    outputs = [fuzzed(guarded, *options)]
    while NO_LINK in outputs[-1] and len(outputs) < 4:  # a scenario follows a link by chance
        outputs.append(fuzzed(guarded, *options, "--phases", "stateful", seed=len(outputs) + 1))
    assert NO_LINK not in outputs[-1]


@pytest.mark.slow
def test_routes_that_wait_for_a_job_behave_as_the_document_says(service: Service) -> None:
    fuzzed(service, "--include-path-regex", WAITING_ROUTES, "--exclude-checks", "ignored_auth")  # it has no keys


def fuzzed(service: Service, *options: str, seed: int = 1) -> str:
    fuzzer = Path(sys.executable).with_name("schemathesis")
    command = f"{fuzzer} run {service.url}/openapi.json --max-examples 5 --seed {seed} --no-shrink --no-color"
    run = subprocess.run(
        [*command.split(), *options], cwd=ROOT, capture_output=True, text=True, timeout=PATIENCE_SECONDS, check=False
    )
    assert run.returncode == 0, run.stdout
    return run.stdout


def test_the_document_is_made_when_it_is_first_read() -> None:
    app = create_app()
    assert app.openapi_schema is None
    assert app.openapi() == DOCUMENT
    assert app.openapi() is app.openapi_schema


def test_the_committed_document_is_the_same_as_the_served_one(guarded: Service) -> None:
    served = guarded.read("/openapi.json")
    assert json.loads((ROOT / "docs" / "openapi.json").read_text()) == served, "run .venv/bin/python scripts/openapi.py"


def test_every_reference_in_the_document_can_be_resolved() -> None:
    for reference in references(DOCUMENT):
        assert isinstance(resolve({"$ref": reference}), dict)


def resolve(node: dict[str, Any]) -> dict[str, Any]:
    if "$ref" not in node:
        return node
    place = DOCUMENT
    for key in node["$ref"].removeprefix("#/").split("/"):
        place = place[key]
    return place


def references(node: Any) -> Iterator[str]:
    if isinstance(node, dict):
        if isinstance(node.get("$ref"), str):
            yield node["$ref"]
        node = list(node.values())
    if isinstance(node, list):
        for child in node:
            yield from references(child)


@pytest.mark.parametrize("name", OPERATIONS)
def test_every_operation_is_described(name: str) -> None:
    operation = OPERATIONS[name]
    assert operation["summary"]
    assert operation["description"]
    assert all(parameter["description"] for parameter in operation.get("parameters", []))
    assert ("401" in operation["responses"]) == (name not in NEED_NO_KEY)
    is_named = re.search(r"_id}|^(GET|DELETE) .*{(category|scorecard)}", name) is not None
    assert ("404" in operation["responses"]) == (is_named or operation["tags"] == ["openai"])


@pytest.mark.parametrize("name", OPERATIONS)
def test_every_answer_has_an_example_that_fits_its_schema(name: str) -> None:
    bodies = [response for response in OPERATIONS[name]["responses"].values() if "content" in response]
    for content in (content for body in bodies for content in body["content"].values()):
        examples = list(examples_of(content))
        assert examples
        for example in examples:
            jsonschema_rs.validate({**content["schema"], "components": DOCUMENT["components"]}, example)


def examples_of(content: dict[str, Any]) -> Iterator[Any]:
    if "example" in content:
        yield content["example"]
    elif "examples" in content:
        yield from (resolve(example)["value"] for example in content["examples"].values())
    else:
        fields = resolve(content["schema"])["properties"]
        yield {name: field["examples"][0] for name, field in fields.items()}


@pytest.mark.parametrize("name", OPERATIONS)
def test_every_error_has_the_form_of_its_path_and_its_codes_are_described(name: str) -> None:
    for status, response in OPERATIONS[name]["responses"].items():
        if int(status) >= 400 and name != "GET /readyz":
            [(media_type, content)] = response["content"].items()
            values = {code: example["value"] for code, example in content["examples"].items()}
            if speaks_openai(name.partition(" ")[2]):
                assert media_type == "application/json"
                assert {code: value["error"]["code"] for code, value in values.items()} == {
                    code: code for code in values
                }
            else:
                assert media_type == "application/problem+json"
                assert {value["status"] for value in values.values()} == {int(status)}
            assert all(f"`{code}`" in response["description"] for code in values)


def test_all_routes_that_make_a_transcription_name_the_refusals_of_a_new_one() -> None:
    makers = [
        name for name, operation in OPERATIONS.items() if "`queue_full`" in str(operation["responses"].get("429"))
    ]
    assert {"POST /v1/transcriptions", "POST /v1/transcriptions/from-url"} < set(makers)
    assert "POST /v1/transcriptions/{transcription_id}/retry" in makers
    codes = {
        name: {status: OPERATIONS[name]["responses"][status]["description"] for status in ("429", "503", "507")}
        for name in makers
    }
    assert all(each == codes["POST /v1/transcriptions"] for each in codes.values())


@pytest.mark.parametrize("name", OPERATIONS)
def test_no_description_of_an_error_names_a_code_twice(name: str) -> None:
    for status, response in OPERATIONS[name]["responses"].items():
        codes = re.findall("`[a-z_]+`", response["description"]) if int(status) >= 400 else []
        assert len(codes) == len(set(codes)), response["description"]


@pytest.mark.parametrize("name", OPERATIONS)
def test_no_operation_takes_two_media_types_because_generated_clients_send_only_one(name: str) -> None:
    assert len(OPERATIONS[name].get("requestBody", {}).get("content", {"": {}})) == 1


def test_events_share_no_tag_with_operations_because_generated_clients_name_files_by_tags() -> None:
    events = [item["post"] for item in DOCUMENT["webhooks"].values()]
    assert all(event["x-internal"] for event in events)
    of_events = {tag for event in events for tag in event["tags"]}
    assert of_events.isdisjoint({tag for operation in OPERATIONS.values() for tag in operation["tags"]})
    assert of_events < {tag["name"] for tag in DOCUMENT["tags"]}


@pytest.mark.parametrize("name", ["CreateFromFile", "CreateFromUrl"])
def test_requests_have_no_defaults_because_some_generated_clients_send_them(name: str) -> None:
    fields = DOCUMENT["components"]["schemas"][name]["properties"]
    assert [field for field in fields if "default" in fields[field]] == []
    assert "The default is `auto`." in fields["language"]["description"]
    assert "The default is" not in fields["external_id"]["description"]


def test_each_list_in_a_form_is_a_repeated_field() -> None:
    form = OPERATIONS["POST /v1/transcriptions"]["requestBody"]["content"]["multipart/form-data"]
    lists = {name for name, field in resolve(form["schema"])["properties"].items() if field["type"] == "array"}
    assert {"channel_labels", "hotwords", "webhook_url", "callback_url"} <= lists
    assert form["encoding"] == {name: {"style": "form", "explode": True} for name in lists}
