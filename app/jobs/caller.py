"""Who asks. Every way in names a caller, and every read of jobs is made for one.

This module must not know how callers prove who they are.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Caller:
    """`name` is the one that the operator gave to the API key."""

    name: str


ANONYMOUS = Caller("anonymous")
