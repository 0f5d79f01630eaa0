"""The lock files have what pyproject.toml asks for, because the installation takes nothing else."""

import re
import tomllib
from itertools import chain
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
WHOLE = tomllib.loads((ROOT / "pyproject.toml").read_text())
PROJECT, GROUPS = WHOLE["project"], WHOLE["dependency-groups"]


def named(requirements: list[str]) -> set[str]:
    return {re.split(r"[^A-Za-z0-9._-]", each)[0].lower() for each in requirements}


@pytest.mark.parametrize(
    ("lock", "requirements"),
    [
        (
            "requirements.lock",
            [*PROJECT["dependencies"], *chain.from_iterable(PROJECT["optional-dependencies"].values())],
        ),
        ("requirements-dev.lock", [each for each in GROUPS["dev"] if isinstance(each, str)]),
    ],
)
def test_every_dependency_is_locked(lock: str, requirements: list[str]) -> None:
    locked = set(re.findall(r"^([A-Za-z0-9._-]+)==", (ROOT / lock).read_text(), re.MULTILINE))
    assert named(requirements) - {name.lower() for name in locked} == set()
