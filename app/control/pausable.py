"""The names of what operators may pause.

They are a module of their own because the command line needs them before it knows that it needs the database.
"""

from enum import StrEnum


class Pausable(StrEnum):
    """What operators may pause: claims, which begin jobs, and the intake, which accepts them."""

    CLAIMS = "claims"
    INTAKE = "intake"
