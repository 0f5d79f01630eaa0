"""A machine whose settings a test chooses, and the findings of `callscribe doctor` on it."""

import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Protocol

import pytest

from app.cli.doctor.examining import examine
from app.cli.doctor.findings import Finding
from tests.conftest import clone


class Diagnosis(Protocol):
    async def __call__(self, check: str, **settings: str) -> list[Finding]: ...


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "data"
    folder.mkdir()
    return folder


@pytest.fixture
def diagnosed(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Diagnosis:
    """Runs one check, and those that it needs, with these settings and no others. Returns what the check found."""
    for name in [name for name in os.environ if name.startswith("CALLSCRIBE_")]:
        monkeypatch.delenv(name)

    async def run(check: str, **settings: str) -> list[Finding]:
        for name, value in {"DATA_DIR": str(folder), **settings}.items():
            monkeypatch.setenv(f"CALLSCRIBE_{name}", value)
        return [named.finding async for named in examine([check], quick=True) if named.check == check]

    return run


@pytest.fixture
async def address(postgres: str, template: str) -> AsyncIterator[str]:
    """The address of a migrated, empty database."""
    async with clone(postgres, template) as address:
        yield address
