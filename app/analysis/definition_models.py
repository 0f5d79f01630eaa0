"""The tables of categories and scorecards, which belong to tenants."""

from datetime import datetime
from typing import Any

from sqlalchemy import DateTime, Text
from sqlalchemy.dialects.postgresql import JSONB
from sqlmodel import Field, SQLModel


class DefinitionRow(SQLModel):
    """`definition` is what was sent, as `rules.definitions.stored` writes it."""

    tenant: str = Field(sa_type=Text, primary_key=True)
    name: str = Field(sa_type=Text, primary_key=True)
    definition: dict[str, Any] = Field(sa_type=JSONB)
    updated_at: datetime = Field(sa_type=DateTime(timezone=True))


class CategoryRow(DefinitionRow, table=True):
    __tablename__ = "category"


class ScorecardRow(DefinitionRow, table=True):
    __tablename__ = "scorecard"
