"""Which versions of the code can work with the database's schema, so that a rolling deploy and a rollback work.

The table `schema_floor` names the oldest revision whose code can work with the schema. A migration that only adds
leaves the floor alone. A migration that older code cannot work with sets the floor to its own revision. This module
only reads the floor and decides. `alembic/env.py` runs the migrations.
"""

from dataclasses import dataclass

import structlog
from alembic.script import ScriptDirectory
from alembic.util import CommandError
from sqlalchemy import Boolean, CheckConstraint, Column, Connection, Table, Text, inspect, select, true
from sqlmodel import SQLModel

FLOOR = Table(
    "schema_floor",
    SQLModel.metadata,
    Column("only_row", Boolean, CheckConstraint("only_row", name="schema_floor_one_row"), primary_key=True),
    Column("revision", Text, nullable=False),
)

log = structlog.stdlib.get_logger("callscribe.db")


@dataclass(frozen=True)
class Schema:
    """The revisions that a database is at, which is normally one, and its floor.

    `floor` is None if the database is new, or was last migrated before there was a floor.
    """

    revisions: tuple[str, ...]
    floor: str | None


class SchemaTooNew(CommandError):
    """The database has a schema that this version cannot work with. The message is one line."""


def read(connection: Connection, revisions: tuple[str, ...]) -> Schema:
    """Read the floor of a database that is at these revisions."""
    if not inspect(connection).has_table(FLOOR.name):
        return Schema(revisions, None)
    return Schema(revisions, connection.execute(select(FLOOR.c.revision).where(FLOOR.c.only_row == true())).scalar())


def is_newer(schema: Schema, known: ScriptDirectory) -> bool:
    """Returns whether newer code made the schema, so that this code has nothing to migrate and uses it as it is.

    Raises SchemaTooNew if this code cannot work with the schema.
    """
    ours = {script.revision for script in known.walk_revisions()}
    newer = [revision for revision in schema.revisions if revision not in ours]
    if not newer:
        return False
    if schema.floor not in ours:
        raise SchemaTooNew(
            f"its schema {newer[0]} was made by a newer version, and this version is too old for it: "
            "run a newer version, or restore the backup from before the upgrade"
        )
    log.warning(
        "a newer version made the database's schema; this version can work with it", schema=newer[0], floor=schema.floor
    )
    return True
