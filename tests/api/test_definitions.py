"""The routes of categories and scorecards."""

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from app.access.callers import Scope
from app.analysis import defining, embedding
from app.analysis.definition_models import CategoryRow
from app.analysis.rules.definitions import Category
from app.api.analyses import categories, scorecards
from app.database.connections import Database
from testing.forms import refused
from testing.keys import bearer
from testing.listening import Listening, listening
from testing.rows import execute

REFUND = {"role": "customer", "any_of": ["refund"]}
QUALITY = {"questions": [{"question": "Greeting?", "by": "category", "category": "退款"}]}


@pytest.fixture
async def served(database: Database, tmp_path: Path) -> AsyncIterator[Listening]:
    async with listening(database, tmp_path) as served:
        yield served


async def test_a_category_is_made_replaced_read_listed_and_deleted(served: Listening) -> None:
    client, path = served.client, "/v1/categories/退款"
    made = await client.put(path, json=REFUND)
    assert made.status_code == 201
    assert (made.json()["name"], made.json()["definition"]) == ("退款", REFUND)
    replaced = await client.put(path, json=REFUND | {"description": "Money back"})
    assert replaced.status_code == 200
    assert replaced.json()["updated_at"] >= made.json()["updated_at"]
    await client.put("/v1/categories/hold", json={"hold": {"longer_than": 60}})
    assert (await client.get(path)).json() == replaced.json()
    assert [item["name"] for item in (await client.get("/v1/categories")).json()["items"]] == ["hold", "退款"]
    assert (await client.delete(path)).status_code == 204
    for gone in (await client.get(path), await client.delete(path)):
        assert (gone.status_code, gone.json()["detail"]) == (404, "There is no category 退款.")


async def test_a_scorecard_is_made_replaced_read_listed_and_deleted(served: Listening) -> None:
    client, path = served.client, "/v1/scorecards/quality"
    await client.put("/v1/categories/退款", json=REFUND)
    assert (await client.put(path, json=QUALITY)).status_code == 201
    again = await client.put(path, json=QUALITY | {"applies_if": "退款"})
    assert again.status_code == 200
    assert (await client.get(path)).json() == again.json()
    assert (await client.get("/v1/scorecards")).json() == {"items": [again.json()]}
    assert (await client.delete(path)).status_code == 204
    assert (await client.get(path)).json()["detail"] == "There is no scorecard quality."


@pytest.mark.parametrize(
    ("path", "definition", "field", "detail"),
    [
        ("categories/a", {}, "body", "must have a condition, such as `any_of`"),
        ("categories/a", {"anyof": ["refund"]}, "anyof", "is not a field of this request"),
        ("categories/a", {"any_of": ["a", "?"]}, "any_of.1", "must have a letter or a digit"),
        ("categories/a", {"any_of": ["a"], "also": [{"role": 3, "any_of": ["b"]}]}, "also.0.role", "must be text"),
        ("categories/a", {"hold": {"longer_than": 3}}, "hold.longer_than", "must be greater than or equal to 10"),
        ("categories/a", {"language": "klingon!"}, "language", "must be a language such as en"),
        ("categories/-a", REFUND, "category", "must begin with a letter or digit"),
        ("scorecards/a", QUALITY, "questions.0.category", "names the category 退款, which does not exist"),
        ("scorecards/a", QUALITY | {"applies_if": "b"}, "applies_if", "names the category b, which does not exist"),
        ("scorecards/a", {"questions": [{"question": "?", "by": "luck"}]}, "questions.0", "must have the field `by`"),
        (
            "scorecards/a",
            {"questions": [{"question": "?", "by": "fact", "fact": "mood", "at_most": 1}]},
            "questions.0.fact",
            "must be 'duration'",
        ),
    ],
)
async def test_a_definition_that_makes_no_sense_is_refused_with_its_field(
    served: Listening, path: str, definition: dict[str, Any], field: str, detail: str
) -> None:
    answer = await served.client.put(f"/v1/{path}", json=definition)
    errors = {error["field"]: error["detail"] for error in refused(answer, 422, "invalid_request")["errors"]}
    assert detail in errors[field]


async def test_the_examples_of_the_openapi_document_are_accepted(served: Listening) -> None:
    for name, example in (("refund", categories.REFUND), ("b", categories.LONG_HOLD), ("c", categories.CHINESE)):
        assert (await served.client.put(f"/v1/categories/{name}", json=example)).status_code == 201
    await served.client.put("/v1/categories/greeting", json=REFUND)
    assert (await served.client.put("/v1/scorecards/quality", json=scorecards.QUALITY)).status_code == 201


async def test_a_tenant_has_a_limited_number_of_categories(served: Listening, monkeypatch: pytest.MonkeyPatch) -> None:
    few = replace(defining._KINDS[CategoryRow], most=1)
    kinds: dict[Any, Any] = {**defining._KINDS, CategoryRow: few}
    monkeypatch.setattr(defining, "_KINDS", kinds)
    assert (await served.client.put("/v1/categories/a", json=REFUND)).status_code == 201
    assert (await served.client.put("/v1/categories/a", json=REFUND)).status_code == 200
    problem = refused(await served.client.put("/v1/categories/b", json=REFUND), 422, "invalid_request")
    assert problem["detail"] == "A tenant may have at most 1 categories. Delete one that is not needed."


async def test_changes_are_in_the_audit(served: Listening) -> None:
    key, boss = await bearer(served, "crm", "acme"), await bearer(served, "boss", scopes=[Scope.ADMIN])
    for path, definition in (("categories/退款", REFUND), ("scorecards/quality", QUALITY), ("categories/退款", {})):
        await served.client.put(f"/v1/{path}", json=definition, headers=key)
    for path in ("scorecards/quality", "categories/退款"):
        await served.client.delete(f"/v1/{path}", headers=key)
    found = (await served.client.get("/v1/audit?caller=acme:crm", headers=boss)).json()["items"]
    shown = [(entry["action"], entry["about"], entry["tenant"]) for entry in reversed(found)]
    assert shown == [
        ("category.changed", "退款", "acme"),
        ("scorecard.changed", "quality", "acme"),
        ("scorecard.deleted", "quality", "acme"),
        ("category.deleted", "退款", "acme"),
    ]
    assert found[-1]["details"] == REFUND


async def test_rules_get_what_a_tenant_has_defined(served: Listening, database: Database) -> None:
    async with database.transaction() as session:
        assert not await defining.any_defined(session, "default")
    await served.client.put("/v1/categories/退款", json=REFUND)
    await served.client.put("/v1/scorecards/quality", json=QUALITY)
    await execute(
        database, """INSERT INTO category VALUES ('default', 'newer', '{"any_of": ["a"], "mood": "bad"}', now())"""
    )
    async with database.transaction() as session:
        assert await defining.any_defined(session, "default")
        assert not await defining.any_defined(session, "acme")
        read = defining.definitions(await defining.rows(session, "default"))
    assert read.categories == {"退款": Category.model_validate(REFUND)}
    assert list(read.scorecards) == ["quality"]


async def test_a_category_by_meaning_needs_the_extra(served: Listening, monkeypatch: pytest.MonkeyPatch) -> None:
    wanted = {"any_of": ["I want my money back."], "by": "meaning"}
    monkeypatch.setattr(embedding, "LIBRARY", "no_such_library")
    problem = refused(await served.client.put("/v1/categories/a", json=wanted), 422, "invalid_request")
    assert problem["errors"] == [
        {
            "field": "by",
            "detail": "`meaning` needs the extra `checks`, which the operator of the service installs: "
            "pip install 'callscribe[checks]'",
        }
    ]
    monkeypatch.setattr(embedding, "LIBRARY", "json")
    assert (await served.client.put("/v1/categories/a", json=wanted)).status_code == 201


async def test_all_definitions_of_a_tenant_have_a_limit(served: Listening, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each call of the tenant costs reading all of them."""
    monkeypatch.setattr(defining, "MOST_BYTES", 80)
    assert (await served.client.put("/v1/categories/a", json=REFUND)).status_code == 201
    assert (await served.client.put("/v1/categories/a", json=REFUND)).status_code == 200
    problem = refused(await served.client.put("/v1/categories/b", json=REFUND), 422, "invalid_request")
    assert "at most 80 characters" in problem["detail"]


async def test_examples_by_meaning_have_a_limit(served: Listening, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(defining, "MOST_EXAMPLES", 2)
    monkeypatch.setattr(embedding, "is_installed", lambda: True)
    wanted = {"any_of": ["I want my money back.", "Return it."], "by": "meaning"}
    assert (await served.client.put("/v1/categories/a", json=wanted)).status_code == 201
    assert (await served.client.put("/v1/categories/a", json=wanted)).status_code == 200
    problem = refused(await served.client.put("/v1/categories/b", json=wanted), 422, "invalid_request")
    assert "at most 2 examples" in problem["detail"]
