"""The SQL of categories and scorecards, of which each tenant has its own. A change leaves an entry in the audit."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import structlog
from pydantic import BaseModel, ValidationError
from sqlalchemy import Text, cast, func, literal_column, or_, true
from sqlalchemy.dialects.postgresql import insert
from sqlmodel import col, delete, select
from sqlmodel.ext.asyncio.session import AsyncSession

from app.access import audit
from app.access.audit import Action
from app.access.callers import Caller
from app.analysis import embedding
from app.analysis.definition_models import CategoryRow, DefinitionRow, ScorecardRow
from app.analysis.rules.definitions import Category, Definitions, Scorecard, checked_name, stored
from app.errors import FieldError, InvalidRequest, NotFound

log = structlog.stdlib.get_logger("callscribe")

# Reading a megabyte of definitions takes half a second, which each call costs.
MOST_BYTES = 1_000_000
# An example takes 31 ms of the model, once in each process.
MOST_EXAMPLES = 500

Row = TypeVar("Row", bound=DefinitionRow)
Definition = TypeVar("Definition", bound=BaseModel)


@dataclass(frozen=True)
class _Kind:
    one: str
    many: str
    most: int
    changed: Action
    deleted: Action


_KINDS: Mapping[type[DefinitionRow], _Kind] = {
    CategoryRow: _Kind("category", "categories", 500, Action.CATEGORY_CHANGED, Action.CATEGORY_DELETED),
    ScorecardRow: _Kind("scorecard", "scorecards", 100, Action.SCORECARD_CHANGED, Action.SCORECARD_DELETED),
}


async def put_category(
    session: AsyncSession, caller: Caller, name: str, category: Category
) -> tuple[CategoryRow, bool]:
    """Make or replace a category of the caller's tenant. Returns it, and whether it is new. Raises InvalidRequest."""
    if category.needs_meaning and not embedding.is_installed():
        detail = f"`meaning` needs the extra `checks`, which the operator of the service installs: {embedding.INSTALL}"
        raise InvalidRequest("Some fields are not valid.", errors=(FieldError("by", detail),))
    if category.needs_meaning:
        others = _read(Category, await listed(session, CategoryRow, caller.tenant))
        examples = len(category.examples) + sum(len(each.examples) for key, each in others.items() if key != name)
        if examples > MOST_EXAMPLES:
            raise InvalidRequest(f"All categories by meaning of a tenant may have at most {MOST_EXAMPLES} examples.")
    return await _put(session, CategoryRow, caller, name, category)


async def put_scorecard(
    session: AsyncSession, caller: Caller, name: str, scorecard: Scorecard
) -> tuple[ScorecardRow, bool]:
    """As `put_category`. Also raises InvalidRequest if the scorecard names a category that does not exist."""
    known = {row.name for row in await listed(session, CategoryRow, caller.tenant)}
    missing = [
        FieldError(field, f"names the category {category}, which does not exist")
        for category, field in scorecard.categories.items()
        if category not in known
    ]
    if missing:
        raise InvalidRequest("Some fields are not valid.", errors=tuple(missing))
    return await _put(session, ScorecardRow, caller, name, scorecard)


async def _put(
    session: AsyncSession, table: type[Row], caller: Caller, name: str, definition: BaseModel
) -> tuple[Row, bool]:
    kind, content = _KINDS[table], stored(definition)
    name = checked_name(name, kind.one)
    if await _is_full(session, table, caller.tenant, name, kind.most):
        raise InvalidRequest(f"A tenant may have at most {kind.most} {kind.many}. Delete one that is not needed.")
    if await _other_bytes(session, table, caller.tenant, name) + len(json.dumps(content)) > MOST_BYTES:
        raise InvalidRequest(
            f"All categories and scorecards of a tenant may have at most {MOST_BYTES} characters as JSON. Delete some."
        )
    made = insert(table).values(tenant=caller.tenant, name=name, definition=content, updated_at=func.now())
    put: Any = made.on_conflict_do_update(
        index_elements=["tenant", "name"],
        set_={"definition": made.excluded.definition, "updated_at": made.excluded.updated_at},
    ).returning(table, literal_column("xmax = 0"))
    row, is_new = (await session.exec(put, execution_options={"populate_existing": True})).one()
    await audit.note_change(session, kind.changed, caller.label, tenant=caller.tenant, about=name, details=content)
    return row, bool(is_new)


async def _is_full(session: AsyncSession, table: type[DefinitionRow], tenant: str, name: str, most: int) -> bool:
    others = select(func.count()).select_from(table).where(col(table.tenant) == tenant, col(table.name) != name)
    return bool((await session.exec(others)).one() >= most)


async def _other_bytes(session: AsyncSession, table: type[DefinitionRow], tenant: str, name: str) -> int:
    """How long the tenant's definitions are without the one of this name."""
    total = 0
    for each in (CategoryRow, ScorecardRow):
        length = func.coalesce(func.sum(func.length(cast(col(each.definition), Text))), 0)
        is_other = true() if each is not table else col(each.name) != name
        total += (await session.exec(select(length).where(col(each.tenant) == tenant, is_other))).one()
    return total


async def listed(session: AsyncSession, table: type[Row], tenant: str) -> Sequence[Row]:
    """All of a tenant, by name."""
    rows = select(table).where(col(table.tenant) == tenant).order_by(col(table.name))
    return (await session.exec(rows)).all()


async def found(session: AsyncSession, table: type[Row], tenant: str, name: str) -> Row:
    """Raises NotFound."""
    row = (await session.exec(select(table).where(col(table.tenant) == tenant, col(table.name) == name))).first()
    if row is None:
        raise _unknown(table, name)
    return row


async def remove(session: AsyncSession, table: type[DefinitionRow], caller: Caller, name: str) -> None:
    """Raises NotFound."""
    gone = delete(table).where(col(table.tenant) == caller.tenant, col(table.name) == name).returning(col(table.name))
    if (await session.exec(gone)).first() is None:
        raise _unknown(table, name)
    await audit.note_change(session, _KINDS[table].deleted, caller.label, tenant=caller.tenant, about=name)


def _unknown(table: type[DefinitionRow], name: str) -> NotFound:
    return NotFound(f"There is no {_KINDS[table].one} {name}.")


async def any_defined(session: AsyncSession, tenant: str) -> bool:
    """Whether the tenant has a category or a scorecard."""
    tables: Sequence[type[DefinitionRow]] = (CategoryRow, ScorecardRow)
    has = [select(col(table.name)).where(col(table.tenant) == tenant).exists() for table in tables]
    return bool((await session.exec(select(or_(*has)))).one())


async def rows(session: AsyncSession, tenant: str) -> Sequence[DefinitionRow]:
    """All that the tenant has defined."""
    return [*await listed(session, CategoryRow, tenant), *await listed(session, ScorecardRow, tenant)]


def definitions(rows: Sequence[DefinitionRow]) -> Definitions:
    """What a tenant has defined, for the rules."""
    return Definitions(
        _read(Category, [row for row in rows if isinstance(row, CategoryRow)]),
        _read(Scorecard, [row for row in rows if isinstance(row, ScorecardRow)]),
    )


def _read(model: type[Definition], rows: Sequence[DefinitionRow]) -> dict[str, Definition]:
    """The definitions by name. One that a newer version wrote may have fields that this version does not know."""
    known: dict[str, Definition] = {}
    for row in rows:
        try:
            known[row.name] = model.model_validate(row.definition)
        except ValidationError as error:
            details: dict[str, Any] = {"tenant": row.tenant, "name": row.name}
            log.warning("definition cannot be read", kind=model.__name__, errors=error.error_count(), **details)
    return known
