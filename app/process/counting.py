"""Counts what is going on for each key, for limits and for questions such as which jobs are waited for."""

from collections import Counter
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from typing import TypeVar
from uuid import UUID

Key = TypeVar("Key", str, UUID)


@contextmanager
def counted(counter: Counter[Key], keys: Collection[Key]) -> Iterator[None]:
    """Counts each key once more until the block ends. A key whose count is 0 is not in the counter."""
    counter.update(keys)
    try:
        yield
    finally:
        counter.subtract(keys)
        for key in keys:
            if not counter[key]:
                del counter[key]
